//! A thread's open batches of remote frees, and how a batch is sent.
//!
//! An entry collects the places of freed slots of one segment. The slots themselves are not touched until the batch
//! is full, displaced by another segment, or flushed; then it is written into its own slots (`heap/batch.rs`) and goes to
//! the segment with one compare-and-swap. Most frees only join an open batch: a handful of instructions.
//!
//! Held back at most: [`ENTRIES`] batches of at most 56 slots and 8 KiB each.

use core::cell::Cell;

use crate::ground::layout::batch_slots;
use crate::heap::batch::OpenBatch;
use crate::heap::handover::{self, DeferredReclaims};
use crate::memory::segment::SegmentRef;
use crate::slot::{Offset, SlotPtr};

/// Open batches of a thread.
const ENTRIES: usize = if cfg!(segment_pool_loom) { 1 } else { 32 };

/// Slots of a stride that the open batches of one thread hold at most.
pub(crate) const fn most_slots(stride: usize) -> usize {
    ENTRIES * batch_slots(stride)
}

/// See the module. Used by one thread.
#[derive(Debug)]
pub(crate) struct RemoteBuffer {
    entries: [Entry; ENTRIES],
}

/// A batch that is open, if there is a segment.
#[derive(Debug)]
#[repr(align(128))]
struct Entry {
    segment: Cell<Option<SegmentRef>>,
    batch: OpenBatch,
}

const _: () = assert!(size_of::<Entry>() == 128);

impl RemoteBuffer {
    pub(crate) const fn new() -> Self {
        Self {
            entries: [const { Entry::new() }; ENTRIES],
        }
    }

    /// Adds a slot to the open batch of its segment; false if there is none, or it is about to be full. A thread that came to
    /// own the segment meanwhile sends the batch to itself.
    ///
    /// # Safety
    ///
    /// As for [`add`](Self::add), if the answer is true.
    #[inline(always)]
    pub(crate) unsafe fn join(&self, segment: SegmentRef, offset: Offset) -> bool {
        let entry = &self.entries[entry_index(segment)];
        let joins = entry.segment.get() == Some(segment) && entry.batch.room() > 1;
        if joins {
            entry.batch.push(offset);
        }
        joins
    }

    /// Frees a slot of another thread's segment. `note` hears of each batch before it is sent, of how many slots.
    ///
    /// # Safety
    ///
    /// The caller gives up the slot at this offset of the segment, whose heap it may have come to own since the segment's
    /// batch was opened.
    pub(crate) unsafe fn add(
        &self,
        segment: SegmentRef,
        offset: Offset,
        reclaims: &DeferredReclaims,
        note: impl Fn(SegmentRef, usize),
    ) {
        let entry = &self.entries[entry_index(segment)];
        if entry.segment.get() != Some(segment) {
            entry.send_noted(reclaims, &note);
            entry.segment.set(Some(segment));
            entry.batch.open(segment);
        }
        entry.batch.push(offset);
        if entry.batch.room() == 0 {
            entry.send_noted(reclaims, &note);
        }
    }

    /// The slots of the open batches.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (SegmentRef, SlotPtr)> {
        self.entries.iter().flat_map(Entry::slots)
    }

    /// The open batches: the segment of each, and how many slots.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (SegmentRef, usize)> {
        let open = |entry: &Entry| {
            let segment = entry.segment.get()?;
            Some((segment, entry.batch.slots(segment)))
        };
        self.entries.iter().filter_map(open)
    }

    /// Sends every open batch.
    pub(crate) fn flush(&self, reclaims: &DeferredReclaims) {
        self.entries.iter().for_each(|entry| entry.send(reclaims));
    }
}

/// Spreads segments of every span over the entries.
#[inline(always)]
fn entry_index(segment: SegmentRef) -> usize {
    let addr = segment.addr();
    ((addr >> 16) ^ (addr >> 21)) % ENTRIES
}

impl Entry {
    const fn new() -> Self {
        Self {
            segment: Cell::new(None),
            batch: OpenBatch::new(),
        }
    }

    fn slots(&self) -> impl Iterator<Item = (SegmentRef, SlotPtr)> {
        let segment = self.segment.get().into_iter();
        let slots = |segment: SegmentRef| {
            let offsets = self.batch.offsets();
            offsets.map(move |offset| (segment, segment.slot_at(offset)))
        };
        segment.flat_map(slots)
    }

    fn send_noted(&self, reclaims: &DeferredReclaims, note: impl Fn(SegmentRef, usize)) {
        if let Some(segment) = self.segment.get() {
            note(segment, self.batch.slots(segment));
        }
        self.send(reclaims);
    }

    /// Sends the batch, if there is one, and closes the entry.
    fn send(&self, reclaims: &DeferredReclaims) {
        if let Some(segment) = self.segment.take() {
            // SAFETY: the slots were given to the remote-free buffer.
            unsafe { handover::send_batch(segment, &self.batch, reclaims) };
        }
    }
}
