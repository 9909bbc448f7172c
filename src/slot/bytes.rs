//! The bytes of a free slot. No other file reads or writes them.
//!
//! ```text
//! in a free list       | link to the next free slot | next magazine (first slot of one in the full magazines) | ...
//! in a remote list     | next batch node | run | run | run ...                                     (16 bits each)
//! ```
//!
//! A slot on its way home is named by its [`Offset`] in the segment. A *batch node* is a freed slot that says, in its first
//! 64 bytes, which others were freed with it (`heap/batch.rs`).
//!
//! Who may touch the bytes: the thread that owns the slot's free list, or, for a remote free, the freeing thread until
//! its compare-and-swap publishes the chain, and the segment's owner after taking it. Under loom every slot starts
//! with a watched cell and each access here goes through it, so a missing hand-over shows as a causality violation.
//! Memory checkers are told that nobody may touch a free slot, and each access here opens a window for itself.

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

#[cfg(not(segment_pool_loom))] // by `thread`, which the models do without
pub(crate) use self::checks::make_free;
use crate::hardened::Sealed;

/// Bytes of a link.
const LINK: usize = size_of::<Option<SlotPtr>>();
/// Bytes of one of the half-words of a batch node.
const HALF: usize = size_of::<Option<Offset>>();

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
/// segment where offsets take all 16 there are no batches of several slots, and so no runs.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Run(NonZeroU16);

impl Run {
    /// Bits of the first slot's offset.
    pub(crate) const OFFSET_BITS: u32 = 13;

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

    /// The run with one slot more, if it is not full.
    #[inline]
    pub(crate) fn longer(self) -> Option<Self> {
        self.0.checked_add(1 << Self::OFFSET_BITS).map(Self)
    }

    /// The run without its first slot, if there are more; slots are so many units apart.
    #[inline]
    pub(crate) fn behind_first(self, step: u16) -> Option<Self> {
        let shorter = self.0.get().checked_sub(1 << Self::OFFSET_BITS)?;
        NonZeroU16::new(shorter + step).map(Self)
    }

    /// The slots, which are so many units apart.
    #[inline]
    pub(crate) fn offsets(self, step: usize) -> impl DoubleEndedIterator<Item = Offset> {
        let first = self.first().units();
        (0..self.len()).map(move |n| Offset::new(first + n * step))
    }
}

/// Runs that a batch node holds at most.
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

/// Whether a slot of this stride has room for the link to the next magazine beside its own link.
#[inline]
pub(crate) const fn holds_magazine_link(stride: usize) -> bool {
    stride >= 2 * LINK
}

/// The link to the next slot of a free list.
///
/// # Safety
///
/// The caller owns the free slot, and [`set_link`] was the last to write it.
#[inline]
pub(crate) unsafe fn link(slot: SlotPtr) -> Option<SlotPtr> {
    // SAFETY: the caller owns the slot, whose first word `set_link` wrote.
    let sealed = unsafe { watched::read(slot, LINK).cast::<Sealed<Slot>>().read() };
    sealed.open_to_use(slot.as_ptr())
}

/// The link to the next slot of a free list that this slot leaves, to be used.
///
/// # Safety
///
/// As for [`link`].
#[inline(always)]
pub(crate) unsafe fn make_live(slot: SlotPtr) -> Option<SlotPtr> {
    // SAFETY: guaranteed by the caller.
    let place = unsafe { checks::place_in_list(slot) };
    // SAFETY: the caller owns the slot, whose first word `set_link` wrote.
    let sealed = unsafe { watched::read(slot, LINK).cast::<Sealed<Slot>>().read() };
    // SAFETY: the link was read, and the slot leaves the list.
    unsafe { checks::make_live(slot, place) };
    sealed.open(slot.as_ptr())
}

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

/// The next magazine of a full magazines, kept in the first slot of one.
///
/// # Safety
///
/// The caller owns the free slot, and [`set_next_magazine`] wrote it since it became free.
#[inline]
pub(crate) unsafe fn next_magazine(slot: SlotPtr) -> Option<SlotPtr> {
    let window = watched::read(slot, 2 * LINK);
    let second = window.cast::<Sealed<Slot>>().wrapping_add(1);
    // SAFETY: `set_next_magazine` wrote the second word, which the stride has room for.
    let sealed = unsafe { second.read() };
    sealed.open_to_use(second)
}

/// # Safety
///
/// The caller owns the free slot, whose stride [`holds_magazine_link`].
#[inline]
pub(crate) unsafe fn set_next_magazine(slot: SlotPtr, next: Option<SlotPtr>) {
    let window = watched::write(slot, 2 * LINK);
    let second = window.cast::<Sealed<Slot>>().wrapping_add(1);
    let sealed = Sealed::new(next, second);
    // SAFETY: guaranteed by the caller.
    unsafe { checks::expect_word(slot, 1) };
    // SAFETY: the stride has room for a second word.
    unsafe { second.write(sealed) }
}

/// Says that the link to the next magazine is not needed any more.
///
/// # Safety
///
/// As for [`set_next_magazine`].
#[inline]
pub(crate) unsafe fn clear_next_magazine(slot: SlotPtr) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::poison_word(slot, 1) }
}

/// Says that a slot has left a list for good, and is as it was when it was freed.
///
/// # Safety
///
/// The caller owns the free slot.
#[inline]
pub(crate) unsafe fn clear_link(slot: SlotPtr) {
    // SAFETY: every slot has a first word.
    unsafe { checks::poison_word(slot, 0) }
}

/// Sees to it that nobody wrote to a slot that was in no list since it was freed.
///
/// # Safety
///
/// The caller owns the free slot.
#[inline]
pub(crate) unsafe fn expect_untouched(slot: SlotPtr) {
    // SAFETY: every slot has a first word. The others are looked at when it is handed out.
    unsafe { checks::expect_word(slot, 0) }
}

/// Makes a slot a batch node.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long and in no list since it was freed or [`clear_link`] was
/// called, and `runs` are not more than [`runs_per_node`].
pub(crate) unsafe fn write_node(
    slot: SlotPtr,
    stride: usize,
    next: Option<Offset>,
    runs: &[Cell<Option<Run>>],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::expect_node(slot, stride) };
    let window = watched::write(slot, node_bytes(stride));
    // SAFETY: the first half-word of the slot.
    unsafe { window.cast::<Option<Offset>>().write(next) };
    let words = window.cast::<Option<Run>>().wrapping_add(1);
    for (index, run) in runs.iter().enumerate() {
        // SAFETY: so many half-words follow within the stride.
        unsafe { words.wrapping_add(index).write(run.get()) };
    }
    if runs.len() < runs_per_node(stride) {
        // SAFETY: there is room for one more.
        unsafe { words.wrapping_add(runs.len()).write(None) };
    }
    // SAFETY: a batch node was just written.
    unsafe { checks::seal_node(slot, stride) };
}

/// Copies the runs of a batch node to the front of `runs` and returns how many these are. The batch node is open then.
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
        // SAFETY: the batch node has a run there, or its end.
        *run = unsafe { words.wrapping_add(index).read() };
        if run.is_none() {
            return index;
        }
    }
    runs_per_node(stride)
}

/// The batch node that follows.
///
/// # Safety
///
/// The caller owns the slot, which is a batch node that [`read_runs`] opened.
#[inline]
pub(crate) unsafe fn node_next(slot: SlotPtr) -> Option<Offset> {
    // SAFETY: the first half-word of the slot.
    unsafe { watched::read(slot, HALF).cast::<Option<Offset>>().read() }
}

/// Says that a batch node, which is open, is none any more.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long.
#[inline]
pub(crate) unsafe fn end_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::poison_node(slot, stride) };
}

/// Says that a batch node, which is open, stays one.
///
/// # Safety
///
/// As for [`end_node`].
pub(crate) unsafe fn close_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::seal_node(slot, stride) };
}

/// Changes the batch node that follows.
///
/// # Safety
///
/// The caller owns the slot, which is `stride` bytes long, and [`write_node`] wrote it.
#[inline]
pub(crate) unsafe fn set_node_next(slot: SlotPtr, stride: usize, next: Option<Offset>) {
    // SAFETY: guaranteed by the caller.
    unsafe { checks::open_node(slot, stride) };
    // SAFETY: the first half-word of the slot.
    unsafe {
        watched::write(slot, HALF)
            .cast::<Option<Offset>>()
            .write(next);
    }
    // SAFETY: opened above.
    unsafe { checks::seal_node(slot, stride) };
}

/// Asks for a slot's first cache line, to be written soon; does nothing to it, and nothing at all on other processors.
#[inline(always)]
pub(crate) fn prefetch(slot: SlotPtr) {
    // Not `_mm_prefetch`: below x86-64-v3 LLVM makes a prefetch for *reading* of it, and a line that comes to be read must be
    // asked for once more. Processors without PREFETCHW take it as no operation (Intel SDM, volume 2).
    #[cfg(all(target_arch = "x86_64", not(any(segment_pool_loom, miri))))]
    // SAFETY: a hint, which faults nowhere and changes no register.
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

/// Notes that what the slot held is lost.
pub(crate) fn erase(slot: SlotPtr) {
    watched::write(slot, 0);
}

/// Makes memory a slot.
///
/// # Safety
///
/// The caller owns the memory of `stride` bytes, which was never a slot since its segment was claimed or purged.
#[inline(always)]
pub(crate) unsafe fn prepare(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { watched::prepare(slot) };
    // SAFETY: as above.
    unsafe { checks::poison(slot, stride) };
}

/// Outside the models a slot is plain memory; under `cfg(slots_touched)` every access is counted.
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

    /// # Safety
    ///
    /// The caller owns the slot, which was never in use since its segment was claimed.
    #[inline(always)]
    pub(super) unsafe fn prepare(_slot: SlotPtr) {}
}

/// In the models a slot begins with a cell that loom watches, and its payload follows.
#[cfg(segment_pool_loom)]
mod watched {
    use super::SlotPtr;
    use crate::ground::checker::Window;
    use crate::ground::sync::UnsafeCell;

    type Watch = UnsafeCell<u64>;

    fn watch<'a>(slot: SlotPtr) -> &'a Watch {
        // SAFETY: `prepare` wrote a cell there, and nothing but `prepare` overwrites it.
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

    /// # Safety
    ///
    /// The caller owns the slot, which was never in use since its segment was claimed.
    pub(super) unsafe fn prepare(slot: SlotPtr) {
        // SAFETY: the caller owns the slot; the models use strides that hold the cell and the payload.
        unsafe { slot.cast::<Watch>().write(UnsafeCell::new(0)) }
    }
}
