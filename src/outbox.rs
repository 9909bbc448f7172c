//! A thread's open batches of remote frees, and how a batch is sent.
//!
//! An entry collects the offsets of freed slots of one segment. The slots themselves are not touched until the entry
//! is full, displaced by another segment, or flushed; then the offsets are written *into* as few of the slots as hold
//! them, and the chain of these carriers goes to the segment with one compare-and-swap.
//!
//! ```text
//! freed:    a b c d | e f g h      (a carrier and, here, three it carries)
//! carriers:    a <- e              the newest first, as the segment's remote list wants it
//! ```
//!
//! Held back at most: [`ENTRIES`] batches of at most 32 slots and 8 KiB each.

use core::cell::Cell;

use crate::handover;
use crate::heap::HeapRef;
use crate::layout::{BATCH_SLOTS, batch_slots};
use crate::os;
use crate::remote::Pushed;
use crate::segment::SegmentRef;
use crate::slot::{self, Offset, SlotPtr};

/// Open batches of a thread.
const ENTRIES: usize = if cfg!(loom) { 1 } else { 32 };

/// See the module. Used by one thread.
#[derive(Debug)]
pub(crate) struct Outbox {
    entries: [Entry; ENTRIES],
}

#[derive(Debug)]
struct Entry {
    segment: Cell<Option<SegmentRef>>,
    len: Cell<usize>,
    /// The length at which the batch is sent.
    limit: Cell<usize>,
    offsets: [Cell<Option<Offset>>; BATCH_SLOTS],
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            entries: [const { Entry::new() }; ENTRIES],
        }
    }

    /// Frees a slot of another thread's segment.
    ///
    /// # Safety
    ///
    /// The caller gives up the slot, which is one of the segment's.
    #[inline]
    pub(crate) unsafe fn add(&self, segment: SegmentRef, slot: SlotPtr) {
        let entry = &self.entries[entry_index(slot)];
        if entry.segment.get() != Some(segment) {
            entry.send();
            entry.open(segment);
        }
        if entry.push(segment.offset_of(slot)) {
            entry.send();
        }
    }

    /// Sends every open batch.
    pub(crate) fn flush(&self) {
        self.entries.iter().for_each(Entry::send);
    }
}

/// Spreads segments of every span over the entries.
fn entry_index(slot: SlotPtr) -> usize {
    let addr = slot.addr().get();
    ((addr >> 16) ^ (addr >> 21)) % ENTRIES
}

impl Entry {
    const fn new() -> Self {
        Self {
            segment: Cell::new(None),
            len: Cell::new(0),
            limit: Cell::new(0),
            offsets: [const { Cell::new(None) }; BATCH_SLOTS],
        }
    }

    fn open(&self, segment: SegmentRef) {
        self.segment.set(Some(segment));
        self.limit.set(batch_slots(segment.identity().stride));
    }

    /// True when the batch is full.
    fn push(&self, offset: Offset) -> bool {
        let len = self.len.get();
        self.offsets[len].set(Some(offset));
        self.len.set(len + 1);
        len + 1 == self.limit.get()
    }

    /// Sends the batch, if there is one, and closes the entry.
    fn send(&self) {
        let len = self.len.replace(0);
        let Some(segment) = self.segment.take() else {
            return;
        };
        let mut offsets = [None; BATCH_SLOTS];
        for (copy, offset) in offsets.iter_mut().zip(&self.offsets[..len]) {
            *copy = offset.get();
        }
        // SAFETY: the slots were given to the outbox, and an open entry has one at least.
        unsafe { send_batch(segment, &offsets[..len]) };
    }
}

/// Pushes a batch of slots onto their segment's remote list, and the segment into its heap's inbox if it must.
///
/// # Safety
///
/// The caller gives up the slots: one at least, all some.
unsafe fn send_batch(segment: SegmentRef, offsets: &[Option<Offset>]) {
    let stride = segment.identity().stride;
    let mut newest = None;
    for group in offsets.chunks(1 + slot::carrier_offsets(stride)) {
        let carrier = group[0];
        let slot = segment.slot_at(carrier.expect("offsets of a batch are some"));
        // SAFETY: the slot is the caller's, and a group fits a carrier.
        unsafe { slot::write_carrier(slot, stride, newest, &group[1..]) };
        newest = carrier;
    }
    let (Some(newest), Some(oldest)) = (newest, offsets[0]) else {
        return;
    };
    let tail = segment.slot_at(oldest);
    // SAFETY: the caller's slots keep the segment in use, and so its heap alive.
    let mut completion = Completion::new(segment, unsafe {
        HeapRef::from_id(segment.heap_to_enter())
    });
    let purges = |total| completion.purges(total);
    // SAFETY: the chain's slots are the caller's; its oldest carrier is the batch's first slot.
    let mut pushed = unsafe { segment.push_remote(newest, tail, offsets.len(), purges) };
    if let Pushed::Purging(purge) = pushed {
        // SAFETY: every slot is free, and PURGING keeps the owner from them.
        unsafe { segment.purge(os::purge) };
        // SAFETY: done just now.
        pushed = unsafe { segment.finish_purge(purge) };
    }
    if pushed == Pushed::Queued {
        // SAFETY: this push turned QUEUED on.
        unsafe { handover::deliver(segment) };
    }
}

/// Decides, attempt by attempt, whether a push that completes a segment purges it.
struct Completion {
    heap: HeapRef,
    capacity: usize,
    bytes: usize,
    counted: bool,
}

impl Completion {
    fn new(segment: SegmentRef, heap: HeapRef) -> Self {
        let identity = segment.identity();
        Self {
            heap,
            capacity: identity.capacity,
            bytes: identity.span.bytes(),
            counted: false,
        }
    }

    /// Asked while the pusher still holds its slots, so the heap is alive.
    fn purges(&mut self, total: usize) -> bool {
        if self.counted {
            self.heap.uncount_completed(self.bytes);
        }
        self.counted = total == self.capacity && self.heap.count_completed(self.bytes);
        total == self.capacity && !self.counted
    }
}
