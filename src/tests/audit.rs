//! Checks every slot of a pool, and every word and counter that describes one, and changes nothing.
//!
//! For tests in which all threads take turns: no operation is ever in progress, so all numbers must agree exactly.
//!
//! ```text
//! slots ever allocated   ==  live + in a list + in a remote list + in a remote-free buffer, each in one place
//! segments with a list   ==  segments in a pending list, or taken from one and still to be collected, each once
//! heaps                  ==  heaps that a thread holds + abandoned heaps
//! references             ==  handle + segments + heaps that a thread holds, has parked or must visit again
//! ```

use std::collections::HashMap;

use crate::ground::layout::{Span, magazine_slots};
use crate::heap::HeapRef;
use crate::heap::batch;
use crate::heap::registry::{RegistryRef, registry_of};
use crate::insight::stats::Stats;
use crate::memory::remote::Taken;
use crate::memory::segment::SegmentRef;
use crate::slot::SlotPtr;
use crate::thread::tests::Thread;

/// The expected state.
pub(super) struct Expected<'a> {
    pub(super) threads: &'a [Thread],
    /// The storage of every live value.
    pub(super) alive: Vec<(SlotPtr, Span)>,
    /// Whether the pool has a handle.
    pub(super) open: bool,
    /// The number of values ever allocated.
    pub(super) made: u64,
}

/// Panics if the state is not as expected.
pub(super) fn audit(pool: RegistryRef, expected: &Expected<'_>) {
    let mut book = Book::new(pool);
    book.mark_lists();
    book.mark_remote_lists();
    let in_batches = book.mark_remote_buffers(expected.threads);
    for &(slot, span) in &expected.alive {
        // SAFETY: a live value's storage is a slot of a segment of this span.
        book.mark(unsafe { SegmentRef::of(slot, span) }, slot);
    }
    book.check_sums();
    check_heaps(pool, expected.threads);
    book.check_pending_lists();
    book.check_counts(expected, in_batches);
}

struct Book {
    pool: RegistryRef,
    segments: HashMap<SegmentRef, FoundSlots>,
    /// Slots in remote lists.
    uncollected: usize,
}

/// The slots of a segment that were found.
struct FoundSlots {
    found: Vec<bool>,
    count: usize,
}

impl Book {
    fn new(pool: RegistryRef) -> Self {
        let mut segments = HashMap::new();
        for heap in pool.heaps() {
            for segment in heap.used_bins().flat_map(|bin| bin.segments()) {
                assert!(
                    segment.heap() == heap.id(),
                    "the header names the heap of the segment"
                );
                let slots = FoundSlots {
                    found: vec![false; segment.bumped()],
                    count: 0,
                };
                assert!(
                    segments.insert(segment, slots).is_none(),
                    "a segment is in one bin"
                );
            }
        }
        Self {
            pool,
            segments,
            uncollected: 0,
        }
    }

    fn mark(&mut self, segment: SegmentRef, slot: SlotPtr) {
        let slots = self.segments.get_mut(&segment);
        let slots = slots.expect("the segment of a slot is in a bin");
        let index = segment
            .index_of(slot)
            .expect("a slot is at the address of a slot");
        let found = slots
            .found
            .get_mut(index)
            .expect("the slot was allocated before");
        assert!(
            !core::mem::replace(found, true),
            "the slot is in one place only"
        );
        slots.count += 1;
    }

    fn mark_lists(&mut self) {
        for heap in self.pool.heaps() {
            for bin in heap.used_bins() {
                let span = Span::of(bin.stride());
                for slot in bin.stock() {
                    // SAFETY: the bin's slots are in segments of its stride.
                    self.mark(unsafe { SegmentRef::of(slot, span) }, slot);
                }
                for segment in bin.segments() {
                    segment.returned().for_each(|slot| self.mark(segment, slot));
                }
                let most = magazine_slots(bin.stride()) * 9 / 8 + 1;
                assert!(
                    bin.free_len() <= most,
                    "a free list has at most a magazine and an eighth"
                );
            }
        }
    }

    fn mark_remote_lists(&mut self) {
        for segment in self.segments.keys().copied().collect::<Vec<_>>() {
            let capacity = segment.identity().capacity;
            match segment.remote_word().peek() {
                Taken::List(list) => {
                    let mut slots = Vec::new();
                    // SAFETY: no other thread runs, so no thread takes the list meanwhile, and it is only read.
                    unsafe {
                        batch::peek(segment, list, |place| slots.push(segment.slot_at(place)))
                    };
                    assert_eq!(
                        slots.len(),
                        list.count,
                        "the count of a remote list is its length"
                    );
                    slots.into_iter().for_each(|slot| self.mark(segment, slot));
                    self.uncollected += list.count;
                }
                Taken::Purging => panic!("a purge was started and not finished"),
                Taken::Purged { .. } => {
                    let slots = self.segments.get_mut(&segment).expect("listed");
                    assert_eq!((slots.count, slots.found.len()), (0, capacity));
                    slots.count = capacity;
                    slots.found.fill(true);
                    self.uncollected += capacity;
                }
            }
        }
    }

    /// Returns the number of slots in batches.
    fn mark_remote_buffers(&mut self, threads: &[Thread]) -> usize {
        let mut in_batches = 0;
        for (segment, slot) in threads
            .iter()
            .flat_map(|thread| thread.remote_buffer().slots())
        {
            // SAFETY: a slot in a batch keeps its segment in use, and so its heap alive.
            if registry_of(unsafe { HeapRef::from_id(segment.heap()) }) == self.pool {
                self.mark(segment, slot);
                in_batches += 1;
            }
        }
        in_batches
    }

    fn check_sums(&self) {
        for (segment, slots) in &self.segments {
            let lost = slots.found.iter().filter(|found| !**found).count();
            assert_eq!(
                lost,
                0,
                "slots that are in no place, of {:?}",
                segment.identity()
            );
        }
    }

    /// Each segment with a remote list is in exactly one pending list.
    fn check_pending_lists(&self) {
        let mut waiting = HashMap::new();
        for segment in self
            .pool
            .heaps()
            .flat_map(|heap| heap.waiting().collect::<Vec<_>>())
        {
            *waiting.entry(segment).or_insert(0) += 1;
        }
        for segment in self.segments.keys() {
            let times = waiting.remove(segment).unwrap_or(0);
            let queued = !segment.remote_word().is_idle();
            assert_eq!(
                times,
                usize::from(queued),
                "in pending lists, of {:?}",
                segment.identity()
            );
        }
        assert!(waiting.is_empty(), "only segments in use wait");
    }

    fn check_counts(&self, expected: &Expected<'_>, in_batches: usize) {
        let (counts, stats) = (self.pool.counts(), Stats::of(self.pool, None));
        let spares: usize = self.pool.heaps().map(HeapRef::spares).sum();
        assert_eq!(
            counts.in_use,
            self.segments.len() + spares,
            "segments in use"
        );
        let references = expected.threads.iter().flat_map(Thread::referenced);
        let held = references
            .filter(|heap| registry_of(*heap) == self.pool)
            .count();
        let references = counts.in_use + held + usize::from(expected.open);
        assert_eq!(counts.references, references, "references to the pool");
        assert_eq!(stats.segments, self.segments.len() as u64);
        assert_eq!(stats.allocations, expected.made);
        assert_eq!(
            stats.live() - stats.large, // those with dedicated mappings are in no segment
            (expected.alive.len() + in_batches) as u64,
            "{stats}"
        );
        assert_eq!(stats.unreclaimed, self.uncollected as u64, "{stats}");
    }
}

/// Every heap is held by one thread or abandoned, and there are at most as many heaps as there were threads at once.
fn check_heaps(pool: RegistryRef, threads: &[Thread]) {
    let mut abandoned = 0;
    for heap in pool.heaps() {
        heap.check_at_rest();
        let holders: Vec<_> = threads
            .iter()
            .filter(|thread| thread.held().any(|held| held == heap))
            .collect();
        match holders[..] {
            [] => assert!(heap.is_abandoned(), "a heap without a holder is abandoned"),
            [thread] => assert!(!heap.is_abandoned() && heap.is_owned_by(thread.token())),
            _ => panic!("two threads hold one heap"),
        }
        abandoned += usize::from(heap.is_abandoned());
    }
    assert!(
        pool.counts().abandoned >= abandoned,
        "the hint is never too low"
    );
    assert!(
        pool.heaps().count() <= threads.len(),
        "at most one heap per thread"
    );
}
