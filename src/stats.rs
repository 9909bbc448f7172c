//! Counters read from the parts above, and a walk that checks them.
//!
//! `Stats` adds up what the owners of the heaps count for themselves: any thread may read it at any time, and what a
//! running thread has not noticed yet is missing. `Census` visits every slot of the heaps it may visit and panics
//! where one is lost or in two places.

use core::fmt;
use std::collections::HashMap;

use crate::heap::HeapRef;
use crate::layout::Span;
use crate::registry::{self, RegistryRef};
use crate::remote::Taken;
use crate::segment::SegmentRef;
use crate::slot::SlotPtr;
use crate::thread;

/// What a pool did so far, as far as its threads have noticed.
///
/// A remote free counts when the owner collects it; until then its box counts as not freed. All numbers may lag
/// behind while other threads run, and are exact for threads that ended or wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Heaps of the pool: as many as threads used it at once.
    pub heaps: u64,
    /// Segments in use by the heaps, not counting spares.
    pub segments: u64,
    /// Address space of these segments, in bytes. Untouched pages in it cost no memory.
    pub segment_bytes: u64,
    /// Values that were given a slot.
    pub allocations: u64,
    /// Slots freed by the thread that owns their segment.
    pub local_frees: u64,
    /// Slots freed by other threads and collected by the owner.
    pub remote_frees: u64,
    /// Batches in which those came.
    pub batches: u64,
}

impl Stats {
    pub(crate) fn of(pool: RegistryRef) -> Self {
        let mut stats = Self::default();
        for heap in pool.heaps() {
            stats.heaps += 1;
            for (index, bin) in heap.bins().enumerate() {
                let counts = bin.counts();
                let segments = counts.segments.get();
                stats.segments += segments;
                stats.segment_bytes += segments * Span::of(heap.stride(index)).bytes() as u64;
                stats.allocations += bin.allocations();
                stats.local_frees += bin.local_frees();
                stats.remote_frees += counts.remote_frees.get();
                stats.batches += counts.batches.get();
            }
        }
        stats
    }

    /// Values that have a slot: allocations less frees.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.allocations
            .saturating_sub(self.local_frees + self.remote_frees)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "heaps         {:>14}", self.heaps)?;
        writeln!(
            f,
            "segments      {:>14}  ({} KiB)",
            self.segments,
            self.segment_bytes >> 10
        )?;
        writeln!(f, "allocations   {:>14}", self.allocations)?;
        writeln!(f, "local frees   {:>14}", self.local_frees)?;
        writeln!(f, "remote frees  {:>14}", self.remote_frees)?;
        writeln!(f, "batches       {:>14}", self.batches)?;
        write!(f, "live          {:>14}", self.live())
    }
}

/// The default pool's [`Stats`]. Cost: a few loads per heap and size class.
///
/// # Examples
///
/// ```
/// let before = segment_pool::stats();
/// drop(segment_pool::PoolBox::new(1_u64));
/// let after = segment_pool::stats();
/// assert_eq!(after.allocations - before.allocations, 1);
/// assert_eq!(after.local_frees - before.local_frees, 1);
/// ```
#[must_use]
pub fn stats() -> Stats {
    Stats::of(registry::default())
}

/// Every slot of the heaps that were visited, counted one by one.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let boxed = pool.alloc(7);
/// let census = pool.validate();
/// assert_eq!((census.heaps, census.segments, census.live), (1, 1, 1));
/// println!("{census}");
/// # drop(boxed);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Heaps visited.
    pub heaps: usize,
    /// Their segments.
    pub segments: usize,
    /// Slots in these segments.
    pub capacity: usize,
    /// Slots that are free: in one of the lists, or never handed out.
    pub free: usize,
    /// The others: alive, in the open batch of a thread that freed them, or kept by one for its own use.
    pub live: usize,
    /// Slots of segments of other heaps that a visited thread freed and keeps in its lists. To those they are alive.
    pub kept: usize,
}

impl Census {
    /// Counts the heaps of a pool that this thread or no thread holds.
    pub(crate) fn of(pool: RegistryRef) -> Self {
        let mut census = Self::default();
        thread::for_each_held(|heap| {
            if registry::registry_of(heap) == pool {
                census.visit(heap);
            }
        });
        for heap in pool.heaps() {
            if pool.adopt_one(heap) {
                pool.count_held();
                census.visit(heap);
                // SAFETY: adopted and counted above.
                unsafe { thread::leave(heap) };
            }
        }
        census
    }

    /// Owner only.
    fn visit(&mut self, heap: HeapRef) {
        self.heaps += 1;
        thread::collect(heap);
        for bin in heap.used_bins() {
            let mut segments: HashMap<SegmentRef, Marks> = bin
                .segments()
                .map(|segment| (segment, Marks::new(segment)))
                .collect();
            for slot in bin.stock() {
                // SAFETY: the bin's slots are in segments of its stride.
                let segment = unsafe { SegmentRef::of(slot, Span::of(bin.stride())) };
                match segments.get_mut(&segment) {
                    Some(marks) => marks.mark(slot),
                    None => {
                        assert!(segment.heap() != heap.id(), "a segment is in its bin");
                        self.kept += 1;
                    }
                }
            }
            segments.values().for_each(|marks| self.add(marks));
        }
    }

    fn add(&mut self, marks: &Marks) {
        let capacity = marks.segment.identity().capacity;
        let found = marks.free.iter().filter(|&&free| free).count();
        let free = found + marks.remote() + capacity - marks.segment.bumped();
        self.segments += 1;
        self.capacity += capacity;
        self.free += free;
        self.live += capacity - free;
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            heaps,
            segments,
            capacity,
            free,
            live,
            kept,
        } = self;
        write!(
            f,
            "{heaps} heaps, {segments} segments: {free} free + {live} live = {capacity} slots, {kept} kept"
        )
    }
}

/// Which slots of a segment were found in a list.
struct Marks {
    segment: SegmentRef,
    free: Vec<bool>,
}

impl Marks {
    fn new(segment: SegmentRef) -> Self {
        let mut marks = Self {
            segment,
            free: vec![false; segment.bumped()],
        };
        segment.home().for_each(|slot| marks.mark(slot));
        marks
    }

    /// Slots on the remote list, which came since the owner collected: not looked at, for whoever frees the last one may
    /// purge them all.
    fn remote(&self) -> usize {
        match self.segment.remote_word().peek() {
            Taken::List(listed) => listed.count,
            Taken::Purging | Taken::Purged { .. } => self.segment.identity().capacity,
        }
    }

    fn mark(&mut self, slot: SlotPtr) {
        let index = self
            .segment
            .index_of(slot)
            .expect("a free slot starts where slots start");
        let mark = self
            .free
            .get_mut(index)
            .expect("a free slot was handed out before");
        assert!(
            !core::mem::replace(mark, true),
            "a free slot is in one list once"
        );
    }
}

/// Walks every free list of the default pool's heaps that belong to this thread or to none, and checks that each slot
/// is in one place: `free + live == capacity`. Heaps of other running threads are not visited. For tests and
/// diagnosis: it looks at every free slot.
///
/// # Panics
///
/// If a list is damaged: a slot in two lists, or outside of its segment. Only a misuse of
/// [`PoolBox::from_raw`](crate::PoolBox::from_raw), or a bug, can cause that.
///
/// # Examples
///
/// ```
/// let boxed = segment_pool::PoolBox::new(1_u64);
/// let census = segment_pool::validate();
/// assert!(census.live >= 1);
/// assert_eq!(census.free + census.live, census.capacity);
/// ```
#[must_use]
pub fn validate() -> Census {
    Census::of(registry::default())
}
