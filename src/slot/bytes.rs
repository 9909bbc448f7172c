//! The bytes of a free slot. No other file reads or writes them.
//!
//! ```text
//! in a free list      | link to the next free slot | next magazine (in the first slot of a full magazine) | ...
//! in a remote list    | next batch node | run | run | run ...                                     (16 bits each)
//! ```
//!
//! A slot on a remote list is named by its [`Offset`] in the segment. A *batch node* is a freed slot whose
//! first 64 bytes name the other slots of its batch (`heap/batch.rs`).
//!
//! The thread that owns the slot's free list may touch the bytes. For a remote free it is the freeing thread
//! until its compare-and-swap publishes the chain, and the segment's owner after it took the list. Under loom
//! every slot starts with a watched cell, and each access here goes through the cell, so a missing
//! synchronisation shows as a causality violation. Outside of these accesses, memory checkers report every
//! access to a free slot. Each access here opens a window for itself.
//!
//! Always holds: a slot in a free list starts with a link written by `set_link`, and a batch node with the
//! words written by `write_node`.

use core::cell::Cell;
use core::num::NonZeroU16;
use core::ptr::NonNull;

#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
mod checked;
#[cfg(not(all(feature = "hardened", not(segment_pool_loom))))]
mod unchecked;

#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
use self::checked as checks;
#[cfg(not(all(feature = "hardened", not(segment_pool_loom))))]
use self::unchecked as checks;

#[cfg(not(segment_pool_loom))] // used by `thread`, which the models omit
pub(crate) use self::checks::make_free;
use crate::hardened::Sealed;

/// Bytes of a link.
const LINK: usize = size_of::<Option<SlotPtr>>();
/// Bytes of one half-word of a batch node.
const HALF: usize = size_of::<Option<Offset>>();

/// A free slot, or the storage of a value, as untyped memory.
#[derive(Debug)]
pub(crate) struct Slot(());

/// A pointer to a slot, with the provenance of the whole arena.
pub(crate) type SlotPtr = NonNull<Slot>;

/// A slot's distance from its segment's start, in the unit of the span. It is never 0, because the header
/// lies there. So an `Option` of it takes 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Offset(NonZeroU16);

impl Offset {
    /// The offset of `units` units.
    ///
    /// # Panics
    ///
    /// If `units` is 0: no slot starts at its segment's start.
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

    /// The 16 bits of an optional offset. Zero stands for none.
    #[inline]
    pub(crate) fn to_raw(this: Option<Self>) -> u16 {
        this.map_or(0, |offset| offset.0.get())
    }
}

/// Up to eight adjacent slots of a segment, in 16 bits: the first slot's offset and the number of slots. In a
/// segment whose offsets take all 16 bits, a batch has one slot, so there are no runs.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Run(NonZeroU16);

impl Run {
    /// Bits of the first slot's offset.
    pub(crate) const OFFSET_BITS: u32 = 13;

    /// A run of one slot.
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

    /// The run with one more slot, unless it is full.
    #[inline]
    pub(crate) fn longer(self) -> Option<Self> {
        self.0.checked_add(1 << Self::OFFSET_BITS).map(Self)
    }

    /// The run without its first slot, if there are more. `step` is the distance of two slots in units.
    #[inline]
    pub(crate) fn behind_first(self, step: u16) -> Option<Self> {
        let shorter = self.0.get().checked_sub(1 << Self::OFFSET_BITS)?;
        NonZeroU16::new(shorter + step).map(Self)
    }

    /// The offsets of the slots. `step` is the distance of two slots in units.
    #[inline]
    pub(crate) fn offsets(self, step: usize) -> impl DoubleEndedIterator<Item = Offset> {
        let first = self.first().units();
        (0..self.len()).map(move |n| Offset::new(first + n * step))
    }
}

/// The most runs that any batch node holds.
pub(crate) const MOST_RUNS: usize = 31;

/// Runs that a batch node of this stride holds.
#[inline]
pub(crate) const fn runs_per_node(stride: usize) -> usize {
    if cfg!(segment_pool_loom) {
        return 1;
    }
    (if stride < 64 { stride } else { 64 }) / size_of::<Option<Run>>() - 1 - checks::NODE_CHECK
}

const fn node_bytes(stride: usize) -> usize {
    (1 + runs_per_node(stride)) * HALF
}

/// Whether a slot of this stride has room for the link to the next magazine after its own link.
#[inline]
pub(crate) const fn holds_magazine_link(stride: usize) -> bool {
    stride >= 2 * LINK
}

/// The link to the next slot of a free list.
///
/// # Safety
///
/// The caller owns the free slot, and [`set_link`] wrote it last.
#[inline]
pub(crate) unsafe fn link(slot: SlotPtr) -> Option<SlotPtr> {
    // SAFETY: the caller owns the slot, and `set_link` wrote its first word.
    let sealed = unsafe { watched::read(slot, LINK).cast::<Sealed<Slot>>().read() };
    sealed.open_to_use(slot.as_ptr())
}

/// Makes a slot live that leaves its free list. Returns the link to the next slot.
///
/// # Safety
///
/// As for [`link`].
#[inline(always)]
pub(crate) unsafe fn make_live(slot: SlotPtr) -> Option<SlotPtr> {
    // SAFETY: guaranteed by the caller.
    let place = unsafe { checks::place_in_list(slot) };
    // SAFETY: the caller owns the slot, and `set_link` wrote its first word.
    let sealed = unsafe { watched::read(slot, LINK).cast::<Sealed<Slot>>().read() };
    // SAFETY: the link was read, and the slot leaves the list.
    unsafe { checks::make_live(slot, place) };
    sealed.open(slot.as_ptr())
}

/// Links a free slot to the next one.
///
/// # Safety
///
/// The caller owns the free slot.
#[inline(always)]
pub(crate) unsafe fn set_link(slot: SlotPtr, link: Option<SlotPtr>) {
    let sealed = Sealed::new(link, slot.as_ptr());
    // SAFETY: the caller owns the slot; every stride has room for one aligned word.
    unsafe {
        watched::write(slot, LINK)
            .cast::<Sealed<Slot>>()
            .write(sealed)
    }
}

/// The next of a bin's full magazines. The first slot of a magazine stores it.
///
/// # Safety
///
/// The caller owns the free slot, and [`set_next_magazine`] wrote it since it became free.
#[inline]
pub(crate) unsafe fn next_magazine(slot: SlotPtr) -> Option<SlotPtr> {
    let window = watched::read(slot, 2 * LINK);
    let second = window.cast::<Sealed<Slot>>().wrapping_add(1);
    // SAFETY: the caller owns the slot; the stride has room for a second word, and `set_next_magazine` wrote
    // it.
    let sealed = unsafe { second.read() };
    sealed.open_to_use(second)
}

/// Links a full magazine to the next one.
///
/// # Safety
///
/// The caller owns the free slot, and [`holds_magazine_link`] is true for its stride.
#[inline]
pub(crate) unsafe fn set_next_magazine(slot: SlotPtr, next: Option<SlotPtr>) {
    let window = watched::write(slot, 2 * LINK);
    let second = window.cast::<Sealed<Slot>>().wrapping_add(1);
    let sealed = Sealed::new(next, second);
    // SAFETY: guaranteed by the caller.
    unsafe { checks::expect_word(slot, 1) };
    // SAFETY: the caller owns the slot, and its stride has room for a second word.
    unsafe { second.write(sealed) }
}

/// Clears the link to the next magazine, which is not needed any more.
///
/// # Safety
///
/// As for [`set_next_magazine`].
#[inline]
pub(crate) unsafe fn clear_next_magazine(slot: SlotPtr) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::poison_word(slot, 1) }
}

/// Clears the link of a slot that left a list. Its bytes are as when it was freed.
///
/// # Safety
///
/// The caller owns the free slot.
#[inline]
pub(crate) unsafe fn clear_link(slot: SlotPtr) {
    // SAFETY: guaranteed by the caller; every slot has a first word.
    unsafe { checks::poison_word(slot, 0) }
}

/// Checks that a slot that was in no list since it was freed was not written to.
///
/// # Safety
///
/// The caller owns the free slot.
#[inline]
pub(crate) unsafe fn expect_untouched(slot: SlotPtr) {
    // SAFETY: guaranteed by the caller; every slot has a first word. The other words are checked when the
    // slot is handed out.
    unsafe { checks::expect_word(slot, 0) }
}

/// Writes a batch node into a slot.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long. It was in no list since it was freed or since
/// [`clear_link`]. There are at most [`runs_per_node`] `runs`.
pub(crate) unsafe fn write_node(
    slot: SlotPtr,
    stride: usize,
    next: Option<Offset>,
    runs: &[Cell<Option<Run>>],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::expect_node(slot, stride) };
    let window = watched::write(slot, node_bytes(stride));
    // SAFETY: the caller owns the slot, and this is its first half-word.
    unsafe { window.cast::<Option<Offset>>().write(next) };
    let words = window.cast::<Option<Run>>().wrapping_add(1);
    for (index, run) in runs.iter().enumerate() {
        // SAFETY: the caller owns the slot, and this many half-words follow within the stride.
        unsafe { words.wrapping_add(index).write(run.get()) };
    }
    if runs.len() < runs_per_node(stride) {
        // SAFETY: as above; there is room for one more.
        unsafe { words.wrapping_add(runs.len()).write(None) };
    }
    // SAFETY: a batch node was just written.
    unsafe { checks::seal_node(slot, stride) };
}

/// Copies the runs of a batch node to the front of `runs` and returns their number. The batch node is open
/// afterwards.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long, and [`write_node`] wrote it.
#[inline]
pub(crate) unsafe fn read_runs(
    slot: SlotPtr,
    stride: usize,
    runs: &mut [Option<Run>; MOST_RUNS],
) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::open_node(slot, stride) };
    let window = watched::read(slot, node_bytes(stride));
    let words = window.cast::<Option<Run>>().wrapping_add(1);
    for (index, run) in runs.iter_mut().enumerate().take(runs_per_node(stride)) {
        // SAFETY: the caller owns the slot, and `write_node` wrote a run or the end there.
        *run = unsafe { words.wrapping_add(index).read() };
        if run.is_none() {
            return index;
        }
    }
    runs_per_node(stride)
}

/// The next batch node.
///
/// # Safety
///
/// The caller owns the slot, which is a batch node that [`read_runs`] opened.
#[inline]
pub(crate) unsafe fn node_next(slot: SlotPtr) -> Option<Offset> {
    // SAFETY: the caller owns the slot, and this is its first half-word.
    unsafe { watched::read(slot, HALF).cast::<Option<Offset>>().read() }
}

/// Turns an open batch node back into a plain free slot.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long.
#[inline]
pub(crate) unsafe fn end_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::poison_node(slot, stride) };
}

/// Seals an open batch node again.
///
/// # Safety
///
/// As for [`end_node`].
pub(crate) unsafe fn close_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::seal_node(slot, stride) };
}

/// Changes the link to the next batch node.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long, and [`write_node`] wrote it.
#[inline]
pub(crate) unsafe fn set_node_next(slot: SlotPtr, stride: usize, next: Option<Offset>) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::open_node(slot, stride) };
    // SAFETY: the caller owns the slot, and this is its first half-word.
    unsafe {
        watched::write(slot, HALF)
            .cast::<Option<Offset>>()
            .write(next);
    }
    // SAFETY: opened above.
    unsafe { checks::seal_node(slot, stride) };
}

/// Prefetches a slot's first cache line for writing. It does not change the slot. On other processors it does
/// nothing.
#[inline(always)]
pub(crate) fn prefetch(slot: SlotPtr) {
    // Not `_mm_prefetch`: below x86-64-v3 LLVM compiles it to a prefetch for *reading*. A line fetched for
    // reading must be requested again before the write. Processors without PREFETCHW execute it as a no-op
    // (Intel SDM, volume 2).
    #[cfg(all(target_arch = "x86_64", not(any(segment_pool_loom, miri))))]
    // SAFETY: a hint, which never faults and changes no register.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) slot.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(any(segment_pool_loom, miri))))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) slot.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    let _ = slot;
}

/// Notes that the slot's contents are lost.
pub(crate) fn erase(slot: SlotPtr) {
    watched::write(slot, 0);
}

/// Turns memory into a slot.
///
/// # Safety
///
/// The caller owns the memory of `stride` bytes, which was not a slot since its segment was claimed or
/// purged.
#[inline(always)]
pub(crate) unsafe fn prepare(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { watched::prepare(slot) };
    // SAFETY: as above.
    unsafe { checks::poison(slot, stride) };
}

/// Outside the models a slot is plain memory. `cfg(slots_touched)` counts every access.
#[cfg(not(segment_pool_loom))]
mod watched {
    use super::SlotPtr;
    use crate::ground::checker::Window;

    #[inline(always)]
    pub(super) fn read(slot: SlotPtr, bytes: usize) -> Window {
        #[cfg(slots_touched)]
        crate::ground::sync::slots_touched::count();
        Window::new(slot.as_ptr().cast(), bytes)
    }

    #[inline(always)]
    pub(super) fn write(slot: SlotPtr, bytes: usize) -> Window {
        #[cfg(slots_touched)]
        crate::ground::sync::slots_touched::count();
        Window::new(slot.as_ptr().cast(), bytes)
    }

    /// Does nothing outside the models.
    ///
    /// # Safety
    ///
    /// The caller owns the slot, which was not in use since its segment was claimed.
    #[inline(always)]
    pub(super) unsafe fn prepare(_slot: SlotPtr) {}
}

/// In the models a slot begins with a cell that loom watches; its payload follows.
#[cfg(segment_pool_loom)]
mod watched {
    use super::SlotPtr;
    use crate::ground::checker::Window;
    use crate::ground::sync::UnsafeCell;

    type Watch = UnsafeCell<u64>;

    fn watch<'a>(slot: SlotPtr) -> &'a Watch {
        // SAFETY: `prepare` wrote a cell there, and only `prepare` overwrites it.
        unsafe { slot.cast::<Watch>().as_ref() }
    }

    fn payload(slot: SlotPtr) -> *mut u8 {
        slot.as_ptr().cast::<Watch>().wrapping_add(1).cast()
    }

    pub(super) fn read(slot: SlotPtr, bytes: usize) -> Window {
        watch(slot).with(|_| ());
        Window::new(payload(slot), bytes)
    }

    pub(super) fn write(slot: SlotPtr, bytes: usize) -> Window {
        watch(slot).with_mut(|_| ());
        Window::new(payload(slot), bytes)
    }

    /// Writes the watched cell.
    ///
    /// # Safety
    ///
    /// The caller owns the slot, which was not in use since its segment was claimed.
    pub(super) unsafe fn prepare(slot: SlotPtr) {
        // SAFETY: the caller owns the slot; the strides of the models hold the cell and the payload.
        unsafe { slot.cast::<Watch>().write(UnsafeCell::new(0)) }
    }
}
