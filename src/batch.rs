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
//! The owner reads a list once from the newest carrier to the oldest, which it turns round meanwhile, and then hands
//! the slots out of it one by one, the one freed first first: a [`Run`]. The slots that wait in a run are not touched.
//! Slots that were never handed out make a run too.
//!
//! Who may touch a carrier: the freeing thread until its compare-and-swap publishes the chain, the segment's owner after
//! taking it. A run is the owner's.

use core::cell::Cell;

use crate::remote::Listed;
use crate::segment::SegmentRef;
use crate::slot::{self, Offset, Piece, SlotPtr};

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
    let stride = segment.identity().stride;
    let most = slot::carrier_pieces(stride);
    let mut pieces = [None; slot::MOST_PIECES];
    let mut len = 0;
    let mut written: Option<Written> = None;
    for (index, offset) in offsets.iter().enumerate() {
        let offset = offset.get()?;
        if index + 1 < offsets.len() {
            let last: Option<Piece> = if len > 0 { pieces[len - 1] } else { None };
            let step = stride >> segment.identity().span.offset_shift();
            if let Some(longer) = last.and_then(|last| last.followed_by(offset, step)) {
                pieces[len - 1] = Some(longer);
                continue;
            }
            if len < most {
                pieces[len] = Some(Piece::new(offset));
                len += 1;
                continue;
            }
        }
        let carrier = segment.slot_at(offset);
        let before = written.map(|written| written.newest);
        // SAFETY: the slot is the caller's, and the pieces fit.
        unsafe { slot::write_carrier(carrier, before, &pieces[..len]) };
        if len < most {
            // SAFETY: as above.
            unsafe { slot::end_pieces(carrier, len) };
        }
        len = 0;
        written = Some(Written {
            newest: offset,
            oldest: written.map_or(carrier, |written| written.oldest),
        });
    }
    written
}

/// Calls `receive` with every slot of a list.
///
/// # Safety
///
/// The caller took the list of this segment, or keeps its owner from doing so, and may do with the slots what `receive`
/// does.
pub(crate) unsafe fn each(segment: SegmentRef, list: Listed, mut receive: impl FnMut(SlotPtr)) {
    let stride = segment.identity().stride;
    let mut next = list.head;
    while let Some(offset) = next {
        let carrier = segment.slot_at(offset);
        let mut index = 0;
        // SAFETY: the slot is a carrier on the list that the caller took; `receive` gets it after this.
        while let Some(piece) = unsafe { slot::piece(carrier, stride, index) } {
            let first = segment.slot_at(piece.first());
            (0..piece.len()).for_each(|n| receive(nth(first, n, stride)));
            index += 1;
        }
        // SAFETY: as above.
        next = unsafe { slot::carrier_next(carrier) };
        receive(carrier);
    }
}

/// The n-th slot after one, in the same segment.
#[inline(always)]
fn nth(slot: SlotPtr, n: usize, stride: usize) -> SlotPtr {
    // SAFETY: the callers stay within a segment, which the slot's pointer may reach as a whole.
    unsafe { slot.byte_add(n * stride) }
}

/// Slots that are handed out in the order of addresses, piece by piece. Owner only. All zero bytes are an empty run.
#[derive(Debug)]
pub(crate) struct Run {
    /// The next slot, if any is left of the piece.
    next: Cell<Option<SlotPtr>>,
    left: Cell<usize>,
    /// Where the next piece is: the carrier and its number there.
    carrier: Cell<Option<SlotPtr>>,
    index: Cell<usize>,
}

impl Run {
    pub(crate) const fn new() -> Self {
        Self {
            next: Cell::new(None),
            left: Cell::new(0),
            carrier: Cell::new(None),
            index: Cell::new(0),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.get() == 0 && self.carrier.get().is_none()
    }

    /// Makes `len` slots, this one and those that follow in its segment, the contents of this empty run.
    pub(crate) fn open(&self, first: SlotPtr, len: usize) {
        debug_assert!(self.is_empty());
        self.next.set(Some(first));
        self.left.set(len);
    }

    /// Makes a list the contents of this empty run.
    ///
    /// # Safety
    ///
    /// The caller took the list of this segment, of which it owns the heap.
    pub(crate) unsafe fn open_list(&self, segment: SegmentRef, list: Listed) {
        debug_assert!(self.is_empty());
        let mut newer = None;
        let mut oldest = None;
        let mut next = list.head;
        while let Some(offset) = next {
            let carrier = segment.slot_at(offset);
            // SAFETY: a carrier on the list that was taken.
            next = unsafe { slot::carrier_next(carrier) };
            // SAFETY: as above.
            unsafe { slot::set_carrier_next(carrier, newer) };
            newer = Some(offset);
            oldest = Some(carrier);
        }
        self.carrier.set(oldest);
        self.index.set(0);
    }

    /// The next slot.
    #[inline]
    pub(crate) fn take(&self, stride: usize) -> Option<SlotPtr> {
        if self.left.get() == 0 {
            self.next_piece(stride)?;
        }
        let slot = self.next.get()?;
        self.next.set(Some(nth(slot, 1, stride)));
        self.left.set(self.left.get() - 1);
        Some(slot)
    }

    fn next_piece(&self, stride: usize) -> Option<()> {
        let carrier = self.carrier.get()?;
        // SAFETY: the segment of a slot in this run is the owner's, and in use.
        let segment = unsafe { SegmentRef::of(carrier, crate::layout::Span::of(stride)) };
        // SAFETY: `open_list` was given the carrier, and it was not handed out yet.
        if let Some(piece) = unsafe { slot::piece(carrier, stride, self.index.get()) } {
            self.index.set(self.index.get() + 1);
            self.next.set(Some(segment.slot_at(piece.first())));
            self.left.set(piece.len());
        } else {
            // SAFETY: as above.
            let newer = unsafe { slot::carrier_next(carrier) };
            self.carrier
                .set(newer.map(|offset| segment.slot_at(offset)));
            self.index.set(0);
            self.next.set(Some(carrier));
            self.left.set(1);
        }
        Some(())
    }

    /// The slots, first to be handed out first.
    pub(crate) fn iter(&self, stride: usize) -> impl Iterator<Item = SlotPtr> {
        let copy = Self {
            next: self.next.clone(),
            left: self.left.clone(),
            carrier: self.carrier.clone(),
            index: self.index.clone(),
        };
        core::iter::from_fn(move || copy.take(stride))
    }
}
