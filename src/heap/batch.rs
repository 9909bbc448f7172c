//! A batch of freed slots: how it is collected, written into some of these slots, and read back.
//!
//! A batch is a list of places in one segment, in the order in which they were freed. What is freed in the order of
//! addresses, as what was made in that order often is, makes one *run*: the first place, and how many follow. When the
//! batch is sent the runs go into a *batch node*: the slot freed last, or, when it cannot hold all of them, one more for
//! each that overflows, whose first slot it is. So most of a batch is never touched by the thread that frees it.
//!
//! ```text
//! freed:     a a+1 a+2 | c c+1 | d     if a batch node had room for one run:
//! batch nodes:  [c] holds (a, 3)
//!            [d] holds (c+1, 1)        the newest is the head of the list: [d] -> [c] -> older batches
//! ```
//!
//! Who may touch a batch node: the freeing thread until its compare-and-swap publishes the chain, the segment's owner after
//! taking it.

use core::cell::Cell;

use crate::ground::layout::{BATCH_SLOTS, batch_slots};
use crate::memory::remote::Listed;
use crate::memory::segment::{Identity, SegmentRef};
use crate::slot::{self, MOST_RUNS, Offset, Run, SlotPtr};

/// Slots of one segment that are collected to be sent home. One thread's.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    /// The slot freed last, which is in no run: it will be the newest batch node.
    last: Cell<Option<Offset>>,
    /// The run that may still get longer.
    tail: Cell<Option<Run>>,
    /// Where the slot would be that makes it longer; 0, where none is, before there is one.
    next: Cell<u16>,
    /// Units from one slot to the next.
    step: Cell<u16>,
    /// Slots that fit before the batch must be sent.
    room: Cell<u8>,
    /// Runs before the tail.
    len: Cell<u8>,
    /// The slots freed before those.
    runs: [Cell<Option<Run>>; BATCH_SLOTS - 1],
}

impl OpenBatch {
    /// One that is to be opened.
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

    /// Begins an empty batch for slots of this segment.
    pub(crate) fn open(&self, segment: SegmentRef) {
        let Identity { span, stride, .. } = *segment.identity();
        self.last.set(None);
        self.tail.set(None);
        self.next.set(0);
        self.step.set((stride >> span.offset_shift()) as u16);
        self.room.set(batch_slots(stride) as u8);
        self.len.set(0);
    }

    /// Slots that fit before the batch must be sent.
    #[inline(always)]
    pub(crate) fn room(&self) -> usize {
        usize::from(self.room.get())
    }

    /// Adds a slot. There must be room.
    #[inline(always)]
    pub(crate) fn push(&self, offset: Offset) {
        self.room.set(self.room.get() - 1);
        if let Some(before) = self.last.replace(Some(offset)) {
            self.add(before);
        }
    }

    /// Makes the tail longer by a slot, or begins another.
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

    /// How many slots there are, all of this segment.
    pub(crate) fn slots(&self, segment: SegmentRef) -> usize {
        batch_slots(segment.identity().stride) - self.room()
    }

    /// The slots' places, in no particular order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = Offset> {
        let step = usize::from(self.step.get());
        let runs = self.runs().iter().filter_map(Cell::get);
        let behind = runs
            .chain(self.tail.get())
            .flat_map(move |run| run.offsets(step));
        self.last.get().into_iter().chain(behind)
    }

    /// Those before the tail.
    fn runs(&self) -> &[Cell<Option<Run>>] {
        &self.runs[..usize::from(self.len.get())]
    }

    /// Writes the batch into its slots, and must be opened anew after; `None` if it has none.
    ///
    /// # Safety
    ///
    /// The caller owns the slots, all of them of this segment.
    pub(crate) unsafe fn write(&self, segment: SegmentRef) -> Option<Written> {
        let most = slot::runs_per_node(segment.identity().stride);
        self.end_tail();
        let (last, mut runs) = (self.last.get()?, self.runs());
        let mut written = None;
        while let Some(overflow) = runs.get(most).and_then(Cell::get) {
            // SAFETY: the slots are the caller's, and so many runs fit.
            written = Some(unsafe { carry(segment, overflow.first(), &runs[..most], written) });
            let rest = overflow.behind_first(self.step.get());
            runs[most].set(rest);
            runs = &runs[most + usize::from(rest.is_none())..];
        }
        // SAFETY: as above.
        Some(unsafe { carry(segment, last, runs, written) })
    }
}

/// A batch as its slots say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// The batch node written last: the head of the chain.
    pub(crate) newest: Offset,
    /// The batch node written first, which is to point to what was freed before.
    pub(crate) oldest: SlotPtr,
}

/// Makes a slot the batch node of these runs, in front of those that were written before.
///
/// # Safety
///
/// The caller owns the slot, which is of this segment, and the runs fit.
unsafe fn carry(
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

/// Slots in a run, on average, below which a list is scattered.
const SCATTERED: usize = 6;

/// Whether the newest batch node's runs are short ones.
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
    // SAFETY: the slot is a batch node on the list.
    let len = unsafe { slot::read_runs(node, stride, &mut runs) };
    // SAFETY: it was read.
    unsafe { slot::close_node(node, stride) };
    let slots: usize = runs[..len].iter().flatten().map(|run| run.len()).sum();
    slots < len * SCATTERED
}

/// Calls `receive` with every slot of a list, the one freed first last: pushed on a free list, they come out in the order
/// in which they were freed.
///
/// # Safety
///
/// The caller took the list of this segment, and may do with the slots what `receive` does.
#[inline]
pub(crate) unsafe fn each(segment: SegmentRef, list: Listed, mut receive: impl FnMut(SlotPtr)) {
    let slot_at = segment.slots();
    // SAFETY: guaranteed by the caller.
    unsafe { each_place(segment, list, |offset| receive(slot_at(offset))) }
}

/// As [`each`], with the slots' places.
///
/// # Safety
///
/// As for [`each`].
#[inline]
pub(crate) unsafe fn each_place(segment: SegmentRef, list: Listed, receive: impl FnMut(Offset)) {
    // SAFETY: a batch node is the caller's, and was read.
    let end = |node, stride| unsafe { slot::end_node(node, stride) };
    // SAFETY: guaranteed by the caller.
    unsafe { walk(segment, list, end, receive) }
}

/// As [`each_place`], of a list that stays.
///
/// # Safety
///
/// The caller keeps the segment's owner from taking the list, and does not write to its slots.
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) unsafe fn peek(segment: SegmentRef, list: Listed, receive: impl FnMut(Offset)) {
    // SAFETY: a batch node was read, and nobody else does.
    let close = |node, stride| unsafe { slot::close_node(node, stride) };
    // SAFETY: guaranteed by the caller.
    unsafe { walk(segment, list, close, receive) }
}

/// As [`each_place`], but for what `leave` does with each batch node that was read.
///
/// # Safety
///
/// As for [`each`], or for `peek`.
#[inline(always)]
unsafe fn walk(
    segment: SegmentRef,
    list: Listed,
    leave: impl Fn(SlotPtr, usize),
    mut receive: impl FnMut(Offset),
) {
    let Identity { span, stride, .. } = *segment.identity();
    let step = stride >> span.offset_shift();
    let slot_at = segment.slots();
    let mut next = list.head;
    while let Some(offset) = next {
        let node = slot_at(offset);
        let mut runs = [None; MOST_RUNS];
        // SAFETY: the slot is a batch node on the list; `receive` gets it after this.
        let len = unsafe { slot::read_runs(node, stride, &mut runs) };
        // SAFETY: as above.
        next = unsafe { slot::node_next(node) };
        leave(node, stride);
        receive(offset);
        for run in runs[..len].iter().rev().flatten() {
            for offset in run.offsets(step).rev() {
                // SAFETY: the slot came with the list.
                unsafe { slot::expect_untouched(slot_at(offset)) };
                receive(offset);
            }
        }
    }
}
