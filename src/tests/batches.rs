//! Batches of slots of every stride, freed in various orders: the list contains each freed slot once, in the order of
//! the frees or, from a deferred list, in address order.

use crate::ground::layout::{CANARY_BYTES, CLASSES, Span, batch_slots, magazine_slots, stride_of};
use crate::heap::HeapRef;
use crate::heap::batch::{self, OpenBatch};
use crate::heap::deferred::{DeferredList, MANY, Places};
use crate::heap::handover::DeferredReclaims;
use crate::heap::registry::RegistryRef;
use crate::memory::remote::Listed;
use crate::memory::segment::SegmentRef;
use crate::slot::free_list;
use crate::slot::{self, SlotPtr};
use crate::thread;

/// A deterministic random number generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// A segment whose slots are all in use.
struct Full {
    heap: HeapRef,
    segment: SegmentRef,
    /// In address order.
    slots: Vec<SlotPtr>,
}

impl Full {
    fn new(stride: usize) -> Self {
        let pool = RegistryRef::create(stride, usize::MAX, "batches").unwrap();
        let heap = pool.acquire(1 << 40).unwrap();
        assert!(heap.add_segments(0, 1, false).is_ok());
        let bin = heap.bin(0);
        let segment = bin.segments().next().unwrap();
        let next = || {
            let slot = bin.pop();
            slot.or_else(|| bin.refill_from_segments().then(|| bin.pop()).flatten())
        };
        let mut slots: Vec<_> = core::iter::from_fn(next).collect();
        assert_eq!(slots.len(), segment.identity().capacity);
        slots.sort();
        Self {
            heap,
            segment,
            slots,
        }
    }

    fn stride(&self) -> usize {
        self.segment.identity().stride
    }

    /// Frees slots in batches of at most `most` slots.
    fn free(&self, order: &[SlotPtr], most: usize) -> Listed {
        let mut list = Listed {
            head: None,
            count: 0,
            batches: 0,
        };
        let batch = OpenBatch::new();
        for slots in order.chunks(most) {
            batch.open(self.segment);
            // SAFETY: the batch contains no slots.
            assert!(unsafe { batch.write(self.segment) }.is_none());
            slots.iter().for_each(|slot| self.push(&batch, *slot));
            assert_eq!(self.slots_of(&batch), sorted(slots));
            // SAFETY: this test owns the slots.
            let written = unsafe { batch.write(self.segment) }.unwrap();
            // SAFETY: the node was just written.
            unsafe { slot::set_node_next(written.oldest, self.stride(), list.head) };
            list.head = Some(written.newest);
            list.count += slots.len();
            list.batches += 1;
        }
        list
    }

    fn push(&self, batch: &OpenBatch, slot: SlotPtr) {
        let span = Span::of(self.stride());
        // SAFETY: this test owns the slot, which is in use.
        unsafe { slot::make_free(slot, span, 0) };
        batch.push(SegmentRef::offset_of(slot, span));
    }

    fn slots_of(&self, batch: &OpenBatch) -> Vec<SlotPtr> {
        let slots: Vec<_> = batch
            .offsets()
            .map(|offset| self.segment.slot_at(offset))
            .collect();
        assert_eq!(slots.len(), batch.slots(self.segment));
        sorted(&slots)
    }

    /// Returns the slots of a list in the order in which a free list would pop them. Afterwards they are in use again.
    fn unpack(&self, list: Listed) -> Vec<SlotPtr> {
        let mut slots = Vec::new();
        // SAFETY: this test owns the list.
        unsafe { batch::each(self.segment, list, |slot| slots.push(slot)) };
        for slot in &slots {
            // SAFETY: the slot is free, and this test owns it.
            unsafe { slot::set_link(*slot, None) };
            // SAFETY: the slot is free and was just linked.
            unsafe { slot::bytes::make_live(*slot) };
        }
        slots.reverse();
        slots
    }

    /// Passes a list through a deferred list, and returns the slots in the order in which they come out. Afterwards
    /// they are in use again. After each chain, the remaining slots are checked. Returns `None`
    /// if the list does not suit.
    fn defer_and_pop(&self, list: Listed, deferred: &DeferredList) -> Option<Vec<SlotPtr>> {
        // SAFETY: this test owns the list.
        if unsafe { !deferred.suit(self.segment, list) } {
            return None;
        }
        // SAFETY: as above.
        unsafe { deferred.defer(self.segment, list) };
        // SAFETY: as above. The deferred list already has a list.
        assert!(unsafe { !deferred.suit(self.segment, list) });
        let all: Vec<_> = deferred.iter().collect();
        assert_eq!(all.len(), list.count);
        let mut slots = Vec::new();
        while let Some((first, len)) = deferred.pop_chain() {
            assert_eq!(free_list::chain(Some(first)).count(), len);
            assert!(len <= magazine_slots(self.stride()));
            for slot in free_list::chain(Some(first)).collect::<Vec<_>>() {
                // SAFETY: the slot is free and was just linked.
                unsafe { slot::bytes::make_live(slot) };
                slots.push(slot);
            }
            assert!(deferred.iter().eq(all[slots.len()..].iter().copied()));
        }
        assert_eq!(slots, all);
        Some(slots)
    }

    /// Frees every slot and ends the test.
    fn end(self) {
        for slot in &self.slots {
            // SAFETY: the slot is in use, and this test owns it.
            unsafe { slot::make_free(*slot, Span::of(self.stride()), 0) };
            // SAFETY: this test holds the heap, and the slot is of its only bin.
            if unsafe { self.heap.bin(0).push(*slot) } {
                crate::heap::handover::spill(self.heap, 0, &DeferredReclaims::new());
            }
        }
        let pool = crate::heap::registry::registry_of(self.heap);
        // SAFETY: `new` acquired the heap.
        unsafe { thread::leave(self.heap) };
        // SAFETY: `new` made the pool.
        unsafe { thread::close(pool) };
    }
}

fn sorted(slots: &[SlotPtr]) -> Vec<SlotPtr> {
    let mut slots = slots.to_vec();
    slots.sort();
    slots
}

/// Ascending, descending, shuffled, in shuffled runs, and with gaps.
fn orders(slots: &[SlotPtr], dice: &mut Dice) -> [Vec<SlotPtr>; 5] {
    let mut shuffled = slots.to_vec();
    dice.shuffle(&mut shuffled);
    let mut runs = Vec::new();
    let mut rest = slots;
    while !rest.is_empty() {
        let (run, others) = rest.split_at((1 + dice.below(20)).min(rest.len()));
        runs.push(run);
        rest = others;
    }
    dice.shuffle(&mut runs);
    let some = slots.iter().filter(|_| dice.below(4) > 0);
    [
        slots.to_vec(),
        slots.iter().rev().copied().collect(),
        shuffled,
        runs.concat(),
        some.copied().collect(),
    ]
}

fn strides() -> impl Iterator<Item = usize> {
    let of_classes = (0..CLASSES).map(stride_of);
    let of_pools = (136..=1024)
        .step_by(40)
        .chain((1088..16384).step_by(64 * 31));
    of_classes
        .chain(of_pools)
        .filter(|stride| *stride > CANARY_BYTES)
}

/// Makes a deferred list with its bitmap in `places`, which live longer.
fn deferred_list_in(places: &Places) -> DeferredList {
    let deferred = DeferredList::new();
    // SAFETY: the places live longer, and each deferred list has its own.
    unsafe { deferred.prepare(places.into()) };
    deferred
}

#[test]
fn slots_freed_in_batches_are_listed_once_each_and_in_order() {
    let mut dice = Dice(1);
    let places = Places::new();
    let deferred = deferred_list_in(&places);
    for stride in strides() {
        let full = Full::new(stride);
        for order in orders(&full.slots, &mut dice) {
            for most in [batch_slots(stride), 1 + dice.below(batch_slots(stride))] {
                assert_eq!(full.unpack(full.free(&order, most)), order, "{stride}");
                let freed = full.free(&order, most);
                match full.defer_and_pop(freed, &deferred) {
                    Some(back) => assert_eq!(back, sorted(&order), "{stride}"),
                    None => assert_eq!(full.unpack(freed), order, "{stride}"),
                }
            }
        }
        full.end();
    }
}

#[test]
fn short_lists_and_small_slots_in_order_are_not_deferred() {
    let mut dice = Dice(2);
    let places = Places::new();
    let deferred = deferred_list_in(&places);
    for (stride, in_order) in [(16, false), (24, false), (32, true), (1024, true)] {
        let full = Full::new(stride);
        let [upwards, downwards, shuffled, ..] = orders(&full.slots, &mut dice);
        for (order, deferrable) in [(upwards, in_order), (downwards, true), (shuffled, true)] {
            let freed = full.free(&order, batch_slots(stride));
            assert_eq!(
                full.defer_and_pop(freed, &deferred).is_some(),
                deferrable,
                "{stride}"
            );
            if !deferrable {
                full.unpack(freed);
            }
            let few = full.free(&order[..MANY - 1], batch_slots(stride));
            assert!(full.defer_and_pop(few, &deferred).is_none());
            full.unpack(few);
        }
        full.end();
    }
}
