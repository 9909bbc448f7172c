//! The bytes of a free slot. No other file reads or writes them.
//!
//! ```text
//! in a free list       | link to the next free slot | next magazine (first slot of one in the depot) | ...
//! in a remote list     | next carrier | piece | piece | piece ...                                     (16 bits each)
//! ```
//!
//! A slot on its way home is named by its [`Offset`] in the segment. A *carrier* is a freed slot that says, in its first
//! 64 bytes, which others were freed with it (`batch.rs`).
//!
//! Who may touch the bytes: the thread that owns the slot's free list, or, for a remote free, the freeing thread until
//! its compare-and-swap publishes the chain, and the segment's owner after taking it. Under loom every slot starts
//! with a watched cell and each access here goes through it, so a missing hand-over shows as a causality violation.

use core::num::NonZeroU16;
use core::ptr::NonNull;

/// A free slot, or the storage of a value, seen as memory.
#[derive(Debug)]
pub(crate) struct Slot(());

/// Pointer to a slot, with the provenance of its whole arena.
pub(crate) type SlotPtr = NonNull<Slot>;

/// A slot's distance from its segment's start in the span's unit: never 0, for the header lies there. An `Option` of it
/// is 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Offset(NonZeroU16);

impl Offset {
    /// # Panics
    ///
    /// If `units` is 0: no slot starts where its segment does.
    #[inline]
    pub(crate) fn new(units: usize) -> Self {
        debug_assert!(units <= usize::from(u16::MAX));
        Self::from_raw(units as u16).expect("a segment starts with its header")
    }

    #[inline]
    pub(crate) fn units(self) -> usize {
        usize::from(self.0.get())
    }

    #[inline]
    pub(crate) fn from_raw(raw: u16) -> Option<Self> {
        NonZeroU16::new(raw).map(Self)
    }

    /// The 16 bits of an optional offset, zero for none.
    #[inline]
    pub(crate) fn to_raw(this: Option<Self>) -> u16 {
        this.map_or(0, |offset| offset.0.get())
    }
}

/// Slots that follow each other in their segment, up to eight: the first one's offset and how many, in 16 bits. In a
/// segment where offsets take all 16 there are no batches of several slots, and so no pieces.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Piece(NonZeroU16);

impl Piece {
    const OFFSET_BITS: u32 = 13;
    const LONGEST: usize = 1 << (16 - Self::OFFSET_BITS);

    /// One slot.
    #[inline]
    pub(crate) fn new(offset: Offset) -> Self {
        debug_assert!(offset.units() < 1 << Self::OFFSET_BITS);
        Self(offset.0)
    }

    #[inline]
    pub(crate) fn first(self) -> Offset {
        Offset::new(usize::from(self.0.get()) & ((1 << Self::OFFSET_BITS) - 1))
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        usize::from(self.0.get() >> Self::OFFSET_BITS) + 1
    }

    /// The piece with one slot more, if that is the next one in the segment; `step` units lie between two.
    #[inline]
    pub(crate) fn followed_by(self, offset: Offset, step: usize) -> Option<Self> {
        let follows = offset.units() == self.first().units() + self.len() * step;
        if !follows || self.len() == Self::LONGEST {
            return None;
        }
        self.0.checked_add(1 << Self::OFFSET_BITS).map(Self)
    }
}

/// Pieces that a carrier holds at most.
pub(crate) const MOST_PIECES: usize = 31;

/// Pieces that a carrier of this stride holds.
#[inline]
pub(crate) const fn carrier_pieces(stride: usize) -> usize {
    if cfg!(loom) {
        return 1;
    }
    (if stride < 64 { stride } else { 64 }) / size_of::<Option<Piece>>() - 1
}

/// Whether a slot of this stride has room for the link to the next magazine beside its own link.
#[inline]
pub(crate) const fn holds_magazine_link(stride: usize) -> bool {
    stride >= 2 * size_of::<Option<SlotPtr>>()
}

/// The link to the next slot of a free list.
///
/// # Safety
///
/// The caller owns the free slot, and [`set_link`] was the last to write it.
#[inline]
pub(crate) unsafe fn link(slot: SlotPtr) -> Option<SlotPtr> {
    // SAFETY: the caller owns the slot, whose first word `set_link` wrote.
    unsafe { watched::read(slot).cast::<Option<SlotPtr>>().read() }
}

/// # Safety
///
/// The caller owns the free slot.
#[inline]
pub(crate) unsafe fn set_link(slot: SlotPtr, link: Option<SlotPtr>) {
    // SAFETY: the caller owns the slot; every stride has room for one aligned word.
    unsafe { watched::write(slot).cast::<Option<SlotPtr>>().write(link) }
}

/// The next magazine of a depot, kept in the first slot of one.
///
/// # Safety
///
/// The caller owns the free slot, and [`set_next_magazine`] wrote it since it became free.
#[inline]
pub(crate) unsafe fn next_magazine(slot: SlotPtr) -> Option<SlotPtr> {
    let words = watched::read(slot).cast::<Option<SlotPtr>>();
    // SAFETY: `set_next_magazine` wrote the second word, which the stride has room for.
    unsafe { words.wrapping_add(1).read() }
}

/// # Safety
///
/// The caller owns the free slot, whose stride [`holds_magazine_link`].
#[inline]
pub(crate) unsafe fn set_next_magazine(slot: SlotPtr, next: Option<SlotPtr>) {
    let words = watched::write(slot).cast::<Option<SlotPtr>>();
    // SAFETY: the stride has room for a second word.
    unsafe { words.wrapping_add(1).write(next) }
}

/// Makes a slot a carrier.
///
/// # Safety
///
/// The caller owns the slot, whose stride has room for so many pieces.
pub(crate) unsafe fn write_carrier(slot: SlotPtr, next: Option<Offset>, pieces: &[Option<Piece>]) {
    let words = watched::write(slot).cast::<Option<Offset>>();
    // SAFETY: the first half-word of the slot.
    unsafe { words.write(next) };
    let words = words.cast::<Option<Piece>>();
    for (index, piece) in pieces.iter().enumerate() {
        // SAFETY: `1 + index` half-words lie within the stride.
        unsafe { words.wrapping_add(1 + index).write(*piece) };
    }
}

/// Says that a carrier has no more than so many pieces, when there would be room for more.
///
/// # Safety
///
/// The caller owns the slot, which is a carrier with room for one piece more.
pub(crate) unsafe fn end_pieces(slot: SlotPtr, pieces: usize) {
    let words = watched::write(slot).cast::<Option<Piece>>();
    // SAFETY: there is room.
    unsafe { words.wrapping_add(1 + pieces).write(None) };
}

/// The piece of this number, if there are as many.
///
/// # Safety
///
/// The caller owns the slot, which is a carrier.
#[inline]
pub(crate) unsafe fn piece(slot: SlotPtr, stride: usize, index: usize) -> Option<Piece> {
    if index == carrier_pieces(stride) {
        return None;
    }
    let words = watched::read(slot).cast::<Option<Piece>>();
    // SAFETY: the carrier has a piece there, or its end.
    unsafe { words.wrapping_add(1 + index).read() }
}

/// The carrier that follows.
///
/// # Safety
///
/// The caller owns the slot, which is a carrier.
#[inline]
pub(crate) unsafe fn carrier_next(slot: SlotPtr) -> Option<Offset> {
    // SAFETY: the first half-word of the slot.
    unsafe { watched::read(slot).cast::<Option<Offset>>().read() }
}

/// Changes the carrier that follows.
///
/// # Safety
///
/// The caller owns the slot, which is a carrier.
#[inline]
pub(crate) unsafe fn set_carrier_next(slot: SlotPtr, next: Option<Offset>) {
    // SAFETY: the first half-word of the slot.
    unsafe { watched::write(slot).cast::<Option<Offset>>().write(next) }
}

/// Notes that what the slot held is lost.
pub(crate) fn erase(slot: SlotPtr) {
    watched::write(slot);
}

pub(crate) use watched::prepare;

/// Outside the models a slot is plain memory; under `cfg(slots_touched)` every access is counted.
#[cfg(not(loom))]
mod watched {
    use super::SlotPtr;

    #[inline(always)]
    pub(super) fn read(slot: SlotPtr) -> *const u8 {
        #[cfg(slots_touched)]
        crate::sync::slots_touched::count();
        slot.as_ptr().cast()
    }

    #[inline(always)]
    pub(super) fn write(slot: SlotPtr) -> *mut u8 {
        #[cfg(slots_touched)]
        crate::sync::slots_touched::count();
        slot.as_ptr().cast()
    }

    /// # Safety
    ///
    /// The caller owns the slot, which was never in use since its segment was claimed.
    #[inline(always)]
    pub(crate) unsafe fn prepare(_slot: SlotPtr) {}
}

/// In the models a slot begins with a cell that loom watches, and its payload follows.
#[cfg(loom)]
mod watched {
    use super::SlotPtr;
    use crate::sync::UnsafeCell;

    type Watch = UnsafeCell<u64>;

    fn watch<'a>(slot: SlotPtr) -> &'a Watch {
        // SAFETY: `prepare` wrote a cell there, and nothing but `prepare` overwrites it.
        unsafe { slot.cast::<Watch>().as_ref() }
    }

    fn payload(slot: SlotPtr) -> *mut u8 {
        slot.as_ptr().cast::<Watch>().wrapping_add(1).cast()
    }

    pub(super) fn read(slot: SlotPtr) -> *const u8 {
        watch(slot).with(|_| ());
        payload(slot)
    }

    pub(super) fn write(slot: SlotPtr) -> *mut u8 {
        watch(slot).with_mut(|_| ());
        payload(slot)
    }

    /// # Safety
    ///
    /// The caller owns the slot, which was never in use since its segment was claimed.
    pub(crate) unsafe fn prepare(slot: SlotPtr) {
        // SAFETY: the caller owns the slot; the models use strides that hold the cell and the payload.
        unsafe { slot.cast::<Watch>().write(UnsafeCell::new(0)) }
    }
}
