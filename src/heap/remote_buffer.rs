//! The remote-free buffer: a thread's open batches of remote frees.
//!
//! An entry collects the offsets of freed slots of one segment. The slots themselves are not touched until
//! the batch is full, displaced by another segment, or flushed. Then it is written into its own slots
//! (`heap/batch.rs`) and pushed to the segment with one compare-and-swap. Most frees only add to an open
//! batch, in a few instructions.
//!
//! One thread owns the buffer and is the only one that touches it. Always holds: an entry with a segment has
//! a non-empty batch outside of `add`, and the buffer owns its slots. It contains at most [`ENTRIES`] batches
//! of at most 56 slots and 8 KiB each.

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

/// An open batch, if `segment` is set.
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

    /// Adds a slot to the open batch of its segment. False if there is none, or if the slot would fill it. If
    /// the thread has become the owner of the segment meanwhile, it later sends the batch to itself.
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

    /// Frees a slot of another thread's segment. Calls `note` before each batch is sent, with its number of
    /// slots.
    ///
    /// # Safety
    ///
    /// The caller gives up the slot at this offset of the segment. The caller may have become the owner of
    /// the segment's heap since the batch was opened.
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

/// The entry of a segment. Spreads the segments of every span over the entries.
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
            // SAFETY: the slots were given to this buffer.
            unsafe { handover::send_batch(segment, &self.batch, reclaims) };
        }
    }
}
