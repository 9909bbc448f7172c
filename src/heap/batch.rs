//! A batch of freed slots: it is collected, written into some of these slots, and read back by the segment's
//! owner.
//!
//! A batch is a list of offsets in one segment, in the order of the frees. Adjacent slots freed in the order
//! of addresses form one *run*: the first offset and a length. Objects are often freed in the order in which
//! they were allocated, so runs are common. When the batch is sent, its runs are written into a *batch node*:
//! the slot freed last. If that slot cannot hold all runs, the first slot of each run that overflows becomes
//! one more batch node. So the freeing thread never touches most slots of a batch.
//!
//! ```text
//! freed:        a a+1 a+2 | c c+1 | d     if a batch node had room for one run:
//! batch nodes:  [c] holds (a, 3)
//!               [d] holds (c+1, 1)        the newest is the head of the list: [d] -> [c] -> older batches
//! ```
//!
//! An [`OpenBatch`] belongs to one thread. A batch node belongs to the freeing thread until its
//! compare-and-swap publishes the chain. After that it belongs to the segment's owner, which reads it after
//! taking the list.
//!
//! Always holds: all slots of a batch are in one segment, no slot is in it twice, and `room` plus the number
//! of its slots is the batch size of the stride.

use core::cell::Cell;

use crate::ground::layout::{BATCH_SLOTS, batch_slots};
use crate::memory::remote::Listed;
use crate::memory::segment::{Identity, SegmentRef};
use crate::slot::{self, MOST_RUNS, Offset, Run, SlotPtr};

/// Freed slots of one segment that will be sent together. Used by one thread.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    /// The slot freed last. It is in no run: it becomes the newest batch node.
    last: Cell<Option<Offset>>,
    /// The run that may still grow.
    tail: Cell<Option<Run>>,
    /// The offset that would extend the tail. It is 0, which is no slot's offset, before there is a tail.
    next: Cell<u16>,
    /// Offset units from one slot to the next.
    step: Cell<u16>,
    /// Slots that still fit before the batch must be sent.
    room: Cell<u8>,
    /// Runs before the tail.
    len: Cell<u8>,
    /// The runs before the tail. They hold the slots freed earlier.
    runs: [Cell<Option<Run>>; BATCH_SLOTS - 1],
}

impl OpenBatch {
    /// An unopened batch.
    pub(crate) const fn new() -> Self {
        Self {
            last: Cell::new(None),
            tail: Cell::new(None),
            next: Cell::new(0),
            step: Cell::new(0),
            room: Cell::new(0),
            len: Cell::new(0),
            runs: [const { Cell::new(None) }; BATCH_SLOTS - 1],
        }
    }

    /// Starts an empty batch for slots of this segment.
    pub(crate) fn open(&self, segment: SegmentRef) {
        let Identity { span, stride, .. } = *segment.identity();
        self.last.set(None);
        self.tail.set(None);
        self.next.set(0);
        self.step.set((stride >> span.offset_shift()) as u16);
        self.room.set(batch_slots(stride) as u8);
        self.len.set(0);
    }

    /// Slots that still fit before the batch must be sent.
    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        usize::from(self.room.get())
    }

    /// Adds a slot. The batch must have room.
    #[inline(always)]
    pub(crate) fn push(&self, offset: Offset) {
        self.room.set(self.room.get() - 1);
        if let Some(before) = self.last.replace(Some(offset)) {
            self.add(before);
        }
    }

    /// Extends the tail by a slot, or starts a new tail.
    #[inline(always)]
    fn add(&self, offset: Offset) {
        let units = offset.units() as u16;
        let follows = units == self.next.get();
        let longer = self.tail.get().filter(|_| follows).and_then(Run::longer);
        if longer.is_none() {
            self.end_tail();
        }
        self.tail.set(longer.or(Some(Run::new(offset))));
        self.next.set(units + self.step.get());
    }

    #[inline(always)]
    fn end_tail(&self) {
        if let Some(run) = self.tail.take() {
            let len = self.len.get();
            self.runs[usize::from(len)].set(Some(run));
            self.len.set(len + 1);
        }
    }

    /// The number of slots. The segment is that of the batch.
    pub(crate) fn slots(&self, segment: SegmentRef) -> usize {
        batch_slots(segment.identity().stride) - self.room()
    }

    /// The offsets of the slots, in no particular order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = Offset> {
        let step = usize::from(self.step.get());
        let runs = self.runs().iter().filter_map(Cell::get);
        let behind = runs
            .chain(self.tail.get())
            .flat_map(move |run| run.offsets(step));
        self.last.get().into_iter().chain(behind)
    }

    /// The runs before the tail.
    fn runs(&self) -> &[Cell<Option<Run>>] {
        &self.runs[..usize::from(self.len.get())]
    }

    /// Writes the batch into its slots. `None` if it is empty. The batch must be opened again before the next
    /// use.
    ///
    /// # Safety
    ///
    /// The caller owns the slots, and all of them are in this segment.
    pub(crate) unsafe fn write(&self, segment: SegmentRef) -> Option<Written> {
        let most = slot::runs_per_node(segment.identity().stride);
        self.end_tail();
        let (last, mut runs) = (self.last.get()?, self.runs());
        let mut written = None;
        while let Some(overflow) = runs.get(most).and_then(Cell::get) {
            // SAFETY: the caller owns the slots, and `most` runs fit in a batch node.
            written = Some(unsafe { add_node(segment, overflow.first(), &runs[..most], written) });
            let rest = overflow.behind_first(self.step.get());
            runs[most].set(rest);
            runs = &runs[most + usize::from(rest.is_none())..];
        }
        // SAFETY: as above; at most `most` runs are left.
        Some(unsafe { add_node(segment, last, runs, written) })
    }
}

/// A batch that was written into its slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// The batch node written last: the head of the chain.
    pub(crate) newest: Offset,
    /// The batch node written first. The push links it to the older batches.
    pub(crate) oldest: SlotPtr,
}

/// Turns a slot into the batch node of these runs, in front of the nodes written before.
///
/// # Safety
///
/// The caller owns the slot, which is in this segment, and the runs fit.
unsafe fn add_node(
    segment: SegmentRef,
    node: Offset,
    runs: &[Cell<Option<Run>>],
    before: Option<Written>,
) -> Written {
    let slot = segment.slot_at(node);
    let next = before.map(|written| written.newest);
    // SAFETY: guaranteed by the caller.
    unsafe { slot::write_node(slot, segment.identity().stride, next, runs) };
    Written {
        newest: node,
        oldest: before.map_or(slot, |written| written.oldest),
    }
}

/// A list counts as scattered if its runs have fewer slots than this on average.
const SCATTERED: usize = 6;

/// Whether the runs of the newest batch node are short.
///
/// # Safety
///
/// As for [`each`].
pub(crate) unsafe fn is_scattered(segment: SegmentRef, list: Listed) -> bool {
    let Some(node) = list.head.map(|head| segment.slot_at(head)) else {
        return false;
    };
    let stride = segment.identity().stride;
    let mut runs = [None; MOST_RUNS];
    // SAFETY: the slot is a batch node on the list, which the caller took.
    let len = unsafe { slot::read_runs(node, stride, &mut runs) };
    // SAFETY: the batch node was read, so it is open.
    unsafe { slot::close_node(node, stride) };
    let slots: usize = runs[..len].iter().flatten().map(|run| run.len()).sum();
    slots < len * SCATTERED
}

/// Calls `receive` with every slot of a list. The slot freed first comes last, so slots pushed on a free list
/// are popped in the order of the frees.
///
/// # Safety
///
/// The caller took the list of this segment, so it owns the slots and may do with them what `receive` does.
#[inline]
pub(crate) unsafe fn each(segment: SegmentRef, list: Listed, mut receive: impl FnMut(SlotPtr)) {
    let slot_at = segment.slots();
    // SAFETY: guaranteed by the caller.
    unsafe { each_offset(segment, list, |offset| receive(slot_at(offset))) }
}

/// As [`each`], with the offsets of the slots.
///
/// # Safety
///
/// As for [`each`].
#[inline]
pub(crate) unsafe fn each_offset(segment: SegmentRef, list: Listed, receive: impl FnMut(Offset)) {
    // SAFETY: the caller owns the batch node, which was read.
    let end = |node, stride| unsafe { slot::end_node(node, stride) };
    // SAFETY: guaranteed by the caller.
    unsafe { walk(segment, list, end, receive) }
}

/// As [`each_offset`], of a list that stays where it is.
///
/// # Safety
///
/// The caller keeps the segment's owner from taking the list, and does not write to its slots.
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) unsafe fn peek(segment: SegmentRef, list: Listed, receive: impl FnMut(Offset)) {
    // SAFETY: the batch node was read, and no other thread reads it.
    let close = |node, stride| unsafe { slot::close_node(node, stride) };
    // SAFETY: guaranteed by the caller.
    unsafe { walk(segment, list, close, receive) }
}

/// As [`each_offset`]. Calls `finish` with each batch node that was read.
///
/// # Safety
///
/// As for [`each`], or for `peek`.
#[inline(always)]
unsafe fn walk(
    segment: SegmentRef,
    list: Listed,
    finish: impl Fn(SlotPtr, usize),
    mut receive: impl FnMut(Offset),
) {
    let Identity { span, stride, .. } = *segment.identity();
    let step = stride >> span.offset_shift();
    let slot_at = segment.slots();
    let mut next = list.head;
    while let Some(offset) = next {
        let node = slot_at(offset);
        let mut runs = [None; MOST_RUNS];
        // SAFETY: the slot is a batch node on the list; `receive` gets it only after this.
        let len = unsafe { slot::read_runs(node, stride, &mut runs) };
        // SAFETY: as above.
        next = unsafe { slot::node_next(node) };
        finish(node, stride);
        receive(offset);
        for run in runs[..len].iter().rev().flatten() {
            for offset in run.offsets(step).rev() {
                // SAFETY: the slot came with the list, so the caller owns it.
                unsafe { slot::expect_untouched(slot_at(offset)) };
                receive(offset);
            }
        }
    }
}
