//! The deferred list of a bin: a remote list whose slots are marked in a bitmap and linked bit by bit, in the
//! order of addresses.
//!
//! ```text
//! remote list  --defer-->  1 1 0 1 1 1 0 1 1 1 1 1 0 1 ...       one bit per slot offset in the segment
//!                          ^ taken: linked so far    ^ ahead: cache lines prefetched so far
//! ```
//!
//! The cache lines of slots that another thread freed are in that core's caches. Linking a long list at once
//! waits for all lines before the first slot can be used. Linking each slot on demand waits for each line in
//! turn. So `pop_chain` links a few slots and prefetches, for writing, the lines of the slots that follow.
//! The prefetches overlap with the program's own work. Slots freed in scattered runs, by several threads
//! perhaps, come out in the order of addresses. Without this, their order would get more random with every
//! round, until each object needs a cache line of its own where four would fit.
//!
//! If more than two slots share a line and were freed in order, linking at once is faster. The bin does that.
//!
//! Only the heap's owner touches a `DeferredList`. A list of all zero bytes was never used. Always holds:
//! every marked slot that was not taken is in `segment`, is free, and is in no other list. So the segment
//! stays in use until the last slot is taken.

use core::iter;
use core::ptr::NonNull;

use crate::ground::layout::{batch_slots, magazine_slots};
use crate::ground::sync::{Cell, Counter, const_fn};
use crate::heap::batch;
use crate::memory::remote::Listed;
use crate::memory::segment::SegmentRef;
use crate::slot::{self, Offset, Run, SlotPtr};

/// Length from which a list is deferred. Small in the crate's own tests, the fuzzer and the models, where
/// lists are short.
pub(crate) const MANY: usize = if cfg!(segment_pool_loom) {
    2
} else if cfg!(any(test, fuzzing)) {
    8
} else {
    64
};
/// Stride from which each slot takes at least half of a cache line.
const HALF_LINE: usize = 32;
/// Slots whose lines are prefetched before they are linked. About the number of misses a core can have in
/// flight (Intel since Skylake-X: 48 at the second-level cache).
const AHEAD: usize = 32;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct DeferredList {
    /// The bitmap. `None` before [`prepare`](Self::prepare).
    places: Cell<Option<NonNull<Places>>>,
    segment: Cell<Option<SegmentRef>>,
    /// Slots that were marked and not taken.
    left: Counter,
    taken: Cell<Scan>,
    ahead: Cell<Scan>,
}

/// One bit for each offset that a batch of several slots can name in a segment.
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

/// An iteration over set bits, in the order of offsets.
#[derive(Debug, Clone, Copy)]
struct Scan {
    /// Index of the next word to read.
    word: usize,
    /// The bits of the previous word that are still to visit.
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

    /// Sets the memory of the bitmap. Called once, before any list is deferred.
    ///
    /// # Safety
    ///
    /// The memory lives as long as this list, and only this list uses it. Its contents are arbitrary.
    pub(crate) unsafe fn prepare(&self, places: NonNull<Places>) {
        self.places.set(Some(places));
    }

    /// Whether a list should be deferred here.
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
    /// As for [`batch::each`]. [`suit`](Self::suit) returned true for the list, and the caller gives up its
    /// slots.
    pub(crate) unsafe fn defer(&self, segment: SegmentRef, list: Listed) {
        let places = self.places();
        places.clear();
        // SAFETY: guaranteed by the caller.
        unsafe { batch::each_offset(segment, list, |offset| places.add(offset)) };
        self.segment.set(Some(segment));
        self.left.set(list.count as u64);
        self.taken.set(Scan::START);
        self.ahead.set(Scan::START);
        self.prefetch(segment, AHEAD);
    }

    /// Takes the next slot.
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

    /// Takes the next slots, linked. Returns the first one and their number.
    pub(crate) fn pop_chain(&self) -> Option<(SlotPtr, usize)> {
        let (segment, first) = self.next()?;
        let chunk = chunk_slots(segment.identity().stride);
        let (mut last, mut len) = (first, 1);
        let (slot_at, places, mut taken) = (segment.slots(), self.places(), self.taken.get());
        for offset in iter::from_fn(|| taken.next(places)).take(chunk - 1) {
            let slot = slot_at(offset);
            // SAFETY: the slot was marked, so it is free and only this list named it; the caller gets it
            // next.
            unsafe { link(last, Some(slot)) };
            last = slot;
            len += 1;
        }
        self.taken.set(taken);
        self.left.sub(len as u64);
        // SAFETY: as above.
        unsafe { link(last, None) };
        self.prefetch(segment, len);
        Some((first, len))
    }

    /// Prefetches the lines of the next `slots` slots that were not prefetched yet.
    fn prefetch(&self, segment: SegmentRef, slots: usize) {
        let (slot_at, places, mut ahead) = (segment.slots(), self.places(), self.ahead.get());
        let more = iter::from_fn(|| ahead.next(places)).take(slots);
        more.for_each(|offset| slot::prefetch(slot_at(offset)));
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
        // SAFETY: the memory lives as long as this list and belongs to it alone; any bytes are valid bits.
        unsafe { places.as_ref() }
    }
}

/// Slots linked at a time: 512 bytes, at least eight slots, and at most one magazine.
fn chunk_slots(stride: usize) -> usize {
    if cfg!(segment_pool_loom) {
        return 1;
    }
    (512 / stride).max(8).min(magazine_slots(stride))
}

/// Links a marked slot.
///
/// # Safety
///
/// The caller owns the slot, which was in no list but the remote list since it was freed.
unsafe fn link(slot: SlotPtr, next: Option<SlotPtr>) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot::expect_untouched(slot) };
    // SAFETY: as above.
    unsafe { slot::set_link(slot, next) };
}
