//! What a look at all segments of a pool finds: what was freed and is not collected, and how full the segments are.
//!
//! A remote free is pushed to its segment, and counted there alone: another count would be one more write of a shared line for each
//! push. So who wants the sum visits every segment. No list is walked, and no owner need run.

use core::fmt;

use crate::ground::layout::CLASSES;
use crate::heap::HeapRef;
use crate::heap::registry::RegistryRef;
use crate::memory::segment::{Sight, capacity};
use crate::thread;

/// The segments of a pool that are about as full as each other.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let boxes: Vec<_> = (0..20_000_u64).map(|n| pool.alloc(n)).collect();
/// let report = pool.report();
/// let full = report.fill.last().unwrap();
/// assert!(full.up_to_percent == 100 && full.segments >= 2);
/// println!("{}", report.fill[0]); // such as: 1 segments up to 50 % full hold 3680
/// # drop(boxes);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillRange {
    /// As full as this at most, in percent of their slots, and fuller than those of the range before: 0, 10, 25, 50, 75, 99 or 100.
    pub up_to_percent: u64,
    /// How many segments are as full as that.
    pub segments: u64,
    /// Their slots that are neither free in the segment nor on their way back to it: those with values, in open batches, and at
    /// hand of the thread that has the heap.
    pub used: u64,
}

const RANGES: [u64; 7] = [0, 10, 25, 50, 75, 99, 100];

impl fmt::Display for FillRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            up_to_percent,
            segments,
            used,
        } = self;
        match up_to_percent {
            0 => write!(f, "{segments} segments are empty"),
            100 => write!(f, "{segments} segments are full"),
            percent => write!(f, "{segments} segments up to {percent} % full hold {used}"),
        }
    }
}

/// A heap, and how many slots wait for who has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeapCount {
    pub(crate) heap: HeapRef,
    pub(crate) unreclaimed: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Census {
    /// By bin: slots that were freed remotely and not collected.
    uncollected: [u64; CLASSES],
    fill: [FillRange; RANGES.len()],
}

impl Census {
    /// Room to count what waits for each heap of a pool: those that there are now. Foreign code runs.
    pub(crate) fn room_for_heaps(pool: RegistryRef) -> Vec<HeapCount> {
        let count = |heap| HeapCount {
            heap,
            unreclaimed: 0,
        };
        pool.heaps().map(count).collect()
    }

    /// Of a pool, with the calling thread's open batches; and of these heaps of the pool.
    pub(crate) fn of(pool: RegistryRef, heaps: &mut [HeapCount]) -> Self {
        let mut census = Self::none();
        heaps.sort_unstable_by_key(|count| count.heap.id()); // in place
        pool.look(|sight, stride| {
            let capacity = capacity(stride);
            census.add(&sight, capacity);
            if let Ok(place) = heaps.binary_search_by_key(&sight.heap, |count| count.heap.id()) {
                heaps[place].unreclaimed += sight.uncollected(capacity) as u64;
            }
        });
        thread::for_each_open_batch(|segment, slots| {
            if segment.pool() == pool.id() {
                census.add_uncollected(segment.identity().bin, slots);
            }
        });
        census
    }

    /// Of a pool without segments.
    pub(crate) fn none() -> Self {
        let range = |up_to_percent| FillRange {
            up_to_percent,
            ..FillRange::default()
        };
        Self {
            uncollected: [0; CLASSES],
            fill: RANGES.map(range),
        }
    }

    fn add(&mut self, sight: &Sight, capacity: usize) {
        self.add_uncollected(sight.bin, sight.uncollected(capacity));
        let used = sight.used(capacity);
        let percent = (100 * used).div_ceil(capacity.max(1)) as u64;
        let full = used >= capacity;
        let fits =
            |range: &&mut FillRange| percent.min(99 + u64::from(full)) <= range.up_to_percent;
        if let Some(range) = self.fill.iter_mut().find(fits) {
            range.segments += 1;
            range.used += used as u64;
        }
    }

    fn add_uncollected(&mut self, bin: usize, slots: usize) {
        self.uncollected[bin] += slots as u64;
    }

    /// Slots of a bin, in all heaps of the pool, that were freed remotely and not collected.
    pub(crate) fn uncollected(&self, bin: usize) -> u64 {
        self.uncollected[bin]
    }

    /// The same of all bins.
    pub(crate) fn uncollected_of_all(&self) -> u64 {
        self.uncollected.iter().sum()
    }

    /// The ranges in which there are segments, the emptiest first.
    pub(crate) fn fill(&self) -> Vec<FillRange> {
        let used = self.fill.iter().filter(|range| range.segments > 0);
        used.copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use core::ptr;

    use super::*;
    use crate::memory::remote::{Listed, Taken};

    fn sight(bumped: usize, returned: usize, remote: Taken) -> Sight {
        Sight {
            address: 0,
            heap: ptr::null_mut(),
            bin: 0,
            bumped,
            returned,
            remote,
        }
    }

    fn list(count: usize) -> Taken {
        Taken::List(Listed {
            head: None,
            count,
            batches: 1,
        })
    }

    /// What nobody can have meant, as a look at a segment in the making may find it, is counted as nothing.
    #[test]
    fn a_segment_is_in_one_range_whatever_its_words_say() {
        let ranges = |bumped, returned, remote| {
            let mut census = Census::none();
            census.add(&sight(bumped, returned, remote), 1000);
            let [range] = census.fill()[..] else {
                panic!("{census:?}")
            };
            (range.up_to_percent, range.used, census.uncollected(0))
        };
        assert_eq!(ranges(0, 0, list(0)), (0, 0, 0));
        assert_eq!(ranges(1, 0, list(0)), (10, 1, 0));
        assert_eq!(ranges(1000, 0, list(0)), (100, 1000, 0));
        assert_eq!(ranges(1000, 0, list(1)), (99, 999, 1));
        assert_eq!(ranges(1000, 900, list(50)), (10, 50, 50));
        assert_eq!(ranges(1000, 0, Taken::Purged { batches: 7 }), (0, 0, 1000));
        assert_eq!(ranges(10, 900, list(700)), (0, 0, 700));
        assert_eq!(ranges(usize::MAX, 0, list(65_535)), (100, 1000, 1000));
    }
}
