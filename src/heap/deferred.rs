//! A remote list on its way into a free list: its slots marked in a bitmap, and linked some at a time, in the order of
//! addresses.
//!
//! ```text
//! remote list  --mark-->  1 1 0 1 1 1 0 1 1 1 1 1 0 1 ...        a bit for each place in the segment
//!                         ^ taken: linked so far    ^ ahead: lines that were asked for
//! ```
//!
//! The lines of what another thread freed lie in that thread's caches. To link a long list at once is to wait for all of
//! them before the first is used. Linked as they are needed, the slots would be waited for one by one. So a few are linked, and the
//! lines of those that follow are asked for, for writing, which takes no time of the program. And what was freed in
//! scattered runs, by several threads maybe, comes out in order, instead of ever more at random with a cache line for
//! each object though four would fit.
//!
//! Where more than two slots share a line and were freed in order, linking at once is faster, and is what the bin does.
//!
//! One thread's, the heap's owner. All zero bytes are marks that were never used. Always holds: every marked slot that was
//! not taken is of `segment`, free, and in no other list. So the segment is in use until the last is taken.

use core::iter;
use core::ptr::NonNull;

use crate::ground::layout::{batch_slots, magazine_slots};
use crate::ground::sync::{Cell, Counter, const_fn};
use crate::heap::batch;
use crate::memory::remote::Listed;
use crate::memory::segment::SegmentRef;
use crate::slot::{self, Offset, Run, SlotPtr};

/// Slots of a list from which on it is worth while to mark them. Few where lists are short: in the crate's own tests, the
/// fuzzer and the models.
pub(crate) const MANY: usize = if cfg!(segment_pool_loom) {
    2
} else if cfg!(any(test, fuzzing)) {
    8
} else {
    64
};
/// Stride from which on a slot has a cache line, or half of one, of its own.
const HALF_LINE: usize = 32;
/// Slots whose lines are asked for before they are linked. As many as a core can wait for at once, about (Intel's since
/// Skylake-X: 48 at the second-level cache).
const AHEAD: usize = 32;

/// See the module.
#[derive(Debug)]
pub(crate) struct DeferredList {
    /// None before [`prepare`](Self::prepare).
    places: Cell<Option<NonNull<Places>>>,
    segment: Cell<Option<SegmentRef>>,
    /// Slots that were marked and not taken.
    left: Counter,
    taken: Cell<Scan>,
    ahead: Cell<Scan>,
}

/// The places of a segment that batches of several slots can name, a bit each.
#[derive(Debug)]
pub(crate) struct Places([core::cell::Cell<u64>; Self::WORDS]);

impl Places {
    const WORDS: usize = (1 << Run::OFFSET_BITS) / 64;

    #[cfg(all(test, not(segment_pool_loom)))]
    pub(crate) fn new() -> Self {
        Self([const { core::cell::Cell::new(0) }; Self::WORDS])
    }

    fn clear(&self) {
        self.0.iter().for_each(|word| word.set(0));
    }

    #[inline]
    fn add(&self, offset: Offset) {
        let place = offset.units();
        let word = &self.0[place / 64];
        word.set(word.get() | 1 << (place % 64));
    }
}

/// A walk over places in their order.
#[derive(Debug, Clone, Copy)]
struct Scan {
    /// The word to look at next.
    word: usize,
    /// What is left of the one before.
    rest: u64,
}

impl Scan {
    const START: Self = Self { word: 0, rest: 0 };

    #[inline(always)]
    fn next(&mut self, places: &Places) -> Option<Offset> {
        while self.rest == 0 {
            self.rest = places.0.get(self.word)?.get();
            self.word += 1;
        }
        let place = (self.word - 1) * 64 + self.rest.trailing_zeros() as usize;
        self.rest &= self.rest - 1;
        Some(Offset::new(place))
    }
}

impl DeferredList {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                places: Cell::new(None),
                segment: Cell::new(None),
                left: Counter::new(0),
                taken: Cell::new(Scan::START),
                ahead: Cell::new(Scan::START),
            }
        }
    }

    /// Says where the bits are to be. Once, before anything is marked.
    ///
    /// # Safety
    ///
    /// The memory lives as long as this, and is this one's alone. Any contents will do.
    pub(crate) unsafe fn prepare(&self, places: NonNull<Places>) {
        self.places.set(Some(places));
    }

    /// Whether a list should be marked here.
    ///
    /// # Safety
    ///
    /// As for [`batch::each`].
    pub(crate) unsafe fn suit(&self, segment: SegmentRef, list: Listed) -> bool {
        let stride = segment.identity().stride;
        self.segment.get().is_none()
            && list.count >= MANY
            && batch_slots(stride) > 1
            // SAFETY: guaranteed by the caller.
            && (stride >= HALF_LINE || unsafe { batch::is_scattered(segment, list) })
    }

    /// Marks the slots of a list.
    ///
    /// # Safety
    ///
    /// As for [`batch::each`]; the list [suits](Self::suit), and its slots are given up.
    pub(crate) unsafe fn defer(&self, segment: SegmentRef, list: Listed) {
        let places = self.places();
        places.clear();
        // SAFETY: guaranteed by the caller.
        unsafe { batch::each_place(segment, list, |place| places.add(place)) };
        self.segment.set(Some(segment));
        self.left.set(list.count as u64);
        self.taken.set(Scan::START);
        self.ahead.set(Scan::START);
        self.ask_for(segment, AHEAD);
    }

    /// The next slot.
    pub(crate) fn pop(&self) -> Option<(SegmentRef, SlotPtr)> {
        self.next().inspect(|_| self.left.sub(1))
    }

    /// The same, not counted yet.
    fn next(&self) -> Option<(SegmentRef, SlotPtr)> {
        let segment = self.segment.get()?;
        let mut taken = self.taken.get();
        let next = taken.next(self.places());
        self.taken.set(taken);
        if next.is_none() {
            self.segment.set(None);
        }
        next.map(|offset| (segment, segment.slot_at(offset)))
    }

    /// The next slots, linked, and how many they are.
    pub(crate) fn pop_chain(&self) -> Option<(SlotPtr, usize)> {
        let (segment, first) = self.next()?;
        let chunk = chunk_slots(segment.identity().stride);
        let (mut last, mut len) = (first, 1);
        let (slot_at, places, mut taken) = (segment.slots(), self.places(), self.taken.get());
        for offset in iter::from_fn(|| taken.next(places)).take(chunk - 1) {
            let slot = slot_at(offset);
            // SAFETY: the slot was marked, and is on its way to the caller.
            unsafe { link(last, Some(slot)) };
            last = slot;
            len += 1;
        }
        self.taken.set(taken);
        self.left.sub(len as u64);
        // SAFETY: as above.
        unsafe { link(last, None) };
        self.ask_for(segment, len);
        Some((first, len))
    }

    /// Asks for the lines of some more slots.
    fn ask_for(&self, segment: SegmentRef, slots: usize) {
        let (slot_at, places, mut ahead) = (segment.slots(), self.places(), self.ahead.get());
        let more = iter::from_fn(|| ahead.next(places)).take(slots);
        more.for_each(|offset| slot::ask_for(slot_at(offset)));
        self.ahead.set(ahead);
    }

    /// How many were not taken. Any thread may ask; the answer may lag.
    pub(crate) fn left(&self) -> usize {
        self.left.get() as usize
    }

    /// The slots that were not taken.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotPtr> {
        let mut rest = self.taken.get();
        let segment = self.segment.get().into_iter();
        segment.flat_map(move |segment| {
            iter::from_fn(move || {
                rest.next(self.places())
                    .map(|offset| segment.slot_at(offset))
            })
        })
    }

    fn places(&self) -> &Places {
        let places = self.places.get().expect("prepared with the bin");
        // SAFETY: they live as long as this, and anything is bits.
        unsafe { places.as_ref() }
    }
}

/// Slots that are linked at a time: 512 bytes, and eight at least, but no more than a free list may have.
fn chunk_slots(stride: usize) -> usize {
    if cfg!(segment_pool_loom) {
        return 1;
    }
    (512 / stride).max(8).min(magazine_slots(stride))
}

/// # Safety
///
/// The caller owns the slot, which was in no list since it was freed but for the remote one.
unsafe fn link(slot: SlotPtr, next: Option<SlotPtr>) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot::expect_untouched(slot) };
    // SAFETY: as above.
    unsafe { slot::set_link(slot, next) };
}
