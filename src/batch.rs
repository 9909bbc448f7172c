//! How a batch of freed slots is written into some of these slots, and read back.
//!
//! A batch is a list of places in one segment, in the order in which they were freed. What is freed in the order of
//! addresses, as what was made in that order often is, makes one *piece*: the first place, and how many follow. The
//! pieces go into a *carrier*: the slot freed last, or, when it cannot hold all of them, one more for each that
//! overflows. So most of a batch is never touched by the thread that frees it.
//!
//! ```text
//! freed:     a a+1 a+2 | c | d d+1     carriers are the slots in brackets
//! carriers:  [c] holds (a, 3)
//!            [d+1] holds (d, 1)        the newest is the head of the list: [d+1] -> [c] -> older batches
//! ```
//!
//! Who may touch a carrier: the freeing thread until its compare-and-swap publishes the chain, the segment's owner after
//! taking it.

use core::cell::Cell;

use crate::remote::Listed;
use crate::segment::{Identity, SegmentRef};
use crate::slot::{self, MOST_PIECES, Offset, Piece, SlotPtr};

/// A batch as its slots say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// The carrier written last: the head of the chain.
    pub(crate) newest: Offset,
    /// The carrier written first, which is to point to what was freed before.
    pub(crate) oldest: SlotPtr,
}

/// Writes a batch into its slots; `None` if it has none.
///
/// # Safety
///
/// The caller owns the slots, all of them some and of this segment.
pub(crate) unsafe fn write(
    segment: SegmentRef,
    offsets: &[Cell<Option<Offset>>],
) -> Option<Written> {
    let Identity { span, stride, .. } = *segment.identity();
    let step = stride >> span.offset_shift();
    let mut open = Pieces::new(slot::carrier_pieces(stride), step);
    let mut written: Option<Written> = None;
    let last = offsets.len().wrapping_sub(1);
    for (index, offset) in offsets.iter().enumerate() {
        let offset = offset.get()?;
        if index != last && open.add(offset) {
            continue;
        }
        let carrier = segment.slot_at(offset);
        let before = written.map(|written| written.newest);
        // SAFETY: the slot is the caller's, and the pieces fit.
        unsafe { slot::write_carrier(carrier, stride, before, open.as_slice()) };
        open.clear();
        written = Some(Written {
            newest: offset,
            oldest: written.map_or(carrier, |written| written.oldest),
        });
    }
    written
}

/// The pieces for the next carrier.
struct Pieces {
    pieces: [Option<Piece>; MOST_PIECES],
    len: usize,
    most: usize,
    /// Units from one slot to the next.
    step: usize,
    /// Where the slot would be that makes the last piece longer; 0, where none is, if it is full or there is none.
    next: usize,
}

impl Pieces {
    fn new(most: usize, step: usize) -> Self {
        Self {
            pieces: [None; MOST_PIECES],
            len: 0,
            most,
            step,
            next: 0,
        }
    }

    /// Adds a slot; false if there is no room.
    #[inline]
    fn add(&mut self, offset: Offset) -> bool {
        if offset.units() == self.next {
            let last = &mut self.pieces[self.len - 1];
            *last = last.and_then(Piece::longer);
            let full = last.is_none_or(Piece::is_full);
            self.next = if full { 0 } else { self.next + self.step };
        } else if self.len < self.most {
            self.pieces[self.len] = Some(Piece::new(offset));
            self.len += 1;
            self.next = offset.units() + self.step;
        } else {
            return false;
        }
        true
    }

    fn as_slice(&self) -> &[Option<Piece>] {
        &self.pieces[..self.len]
    }

    fn clear(&mut self) {
        (self.len, self.next) = (0, 0);
    }
}

/// Calls `receive` with every slot of a list, the one freed first last: pushed on a free list, they come out in the order
/// in which they were freed.
///
/// # Safety
///
/// The caller took the list of this segment, and may do with the slots what `receive` does.
#[inline]
pub(crate) unsafe fn each(segment: SegmentRef, list: Listed, receive: impl FnMut(SlotPtr)) {
    // SAFETY: a carrier is the caller's, and was read.
    let end = |carrier, stride| unsafe { slot::end_carrier(carrier, stride) };
    // SAFETY: guaranteed by the caller.
    unsafe { walk(segment, list, end, receive) }
}

/// As [`each`], of a list that stays.
///
/// # Safety
///
/// The caller keeps the segment's owner from taking the list, and does not write to its slots.
#[cfg(all(test, not(loom)))]
pub(crate) unsafe fn peek(segment: SegmentRef, list: Listed, receive: impl FnMut(SlotPtr)) {
    // SAFETY: a carrier was read, and nobody else does.
    let close = |carrier, stride| unsafe { slot::close_carrier(carrier, stride) };
    // SAFETY: guaranteed by the caller.
    unsafe { walk(segment, list, close, receive) }
}

/// As [`each`], but for what `leave` does with each carrier that was read.
///
/// # Safety
///
/// As for [`each`], or for `peek`.
#[inline(always)]
unsafe fn walk(
    segment: SegmentRef,
    list: Listed,
    leave: impl Fn(SlotPtr, usize),
    mut receive: impl FnMut(SlotPtr),
) {
    let Identity { span, stride, .. } = *segment.identity();
    let step = stride >> span.offset_shift();
    let mut next = list.head;
    while let Some(offset) = next {
        let carrier = segment.slot_at(offset);
        let mut pieces = [None; MOST_PIECES];
        // SAFETY: the slot is a carrier on the list; `receive` gets it after this.
        let len = unsafe { slot::read_pieces(carrier, stride, &mut pieces) };
        // SAFETY: as above.
        next = unsafe { slot::carrier_next(carrier) };
        leave(carrier, stride);
        receive(carrier);
        for piece in pieces[..len].iter().rev().flatten() {
            let first = piece.first().units();
            for n in (0..piece.len()).rev() {
                let slot = segment.slot_at(Offset::new(first + n * step));
                // SAFETY: the slot came with the list.
                unsafe { slot::expect_untouched(slot) };
                receive(slot);
            }
        }
    }
}
