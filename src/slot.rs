//! The bytes of a free slot. No other file reads or writes them.
//!
//! ```text
//! in a free list       | link to the next free slot | next magazine (first slot of one in the depot) | ...
//! in a remote list     | next carrier | offset | offset | offset ...                                  (16 bits each)
//! ```
//!
//! A slot on its way home is named by its [`Offset`] in the segment. A *carrier* is a freed slot that holds the
//! offsets of others freed with it, as many as fit its first 64 bytes, so that most of a batch is never touched by
//! the thread that frees it.
//!
//! Who may touch the bytes: the thread that owns the slot's free list, or, for a remote free, the freeing thread until
//! its compare-and-swap publishes the chain, and the segment's owner after taking it. Under loom every slot starts
//! with a watched cell and each access here goes through it, so a missing hand-over shows as a causality violation.

use core::cell::Cell;
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

/// Offsets that a carrier of this stride holds beside itself.
#[inline]
pub(crate) const fn carrier_offsets(stride: usize) -> usize {
    if cfg!(loom) {
        return 1;
    }
    (if stride < 64 { stride } else { 64 }) / size_of::<Offset>() - 1
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

/// Makes `slot` the carrier of `carried`.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long, and `carried` is not longer than
/// [`carrier_offsets`]`(stride)`.
pub(crate) unsafe fn write_carrier(
    slot: SlotPtr,
    stride: usize,
    next: Option<Offset>,
    carried: &[Cell<Option<Offset>>],
) {
    let words = watched::write(slot).cast::<Option<Offset>>();
    // SAFETY: the first half-word of the slot.
    unsafe { words.write(next) };
    for index in 0..carrier_offsets(stride) {
        let offset = carried.get(index).and_then(Cell::get);
        // SAFETY: `1 + index` half-words lie within the stride.
        unsafe { words.wrapping_add(1 + index).write(offset) };
    }
}

/// Changes the carrier that follows.
///
/// # Safety
///
/// The caller owns the slot, and [`write_carrier`] wrote it.
#[inline]
pub(crate) unsafe fn set_carrier_next(slot: SlotPtr, next: Option<Offset>) {
    // SAFETY: the first half-word of the slot.
    unsafe { watched::write(slot).cast::<Option<Offset>>().write(next) }
}

/// Calls `visit` with the offsets that a carrier carries, last freed first, and returns the carrier that follows.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long, and [`write_carrier`] wrote it. `visit` leaves it alone.
#[inline(always)]
pub(crate) unsafe fn read_carrier(
    slot: SlotPtr,
    stride: usize,
    visit: impl FnMut(Offset),
) -> Option<Offset> {
    let words = watched::read(slot).cast::<Option<Offset>>();
    // SAFETY: `write_carrier` wrote as many half-words as the stride holds.
    let word = |index| unsafe { words.wrapping_add(index).read() };
    (1..=carrier_offsets(stride))
        .rev()
        .filter_map(word)
        .for_each(visit);
    word(0)
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
