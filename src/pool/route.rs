//! The one place where a layout's way is chosen: no memory, a slot, or a dedicated mapping.
//!
//! [`take`] and [`dealloc`] are the entry points between values and storage. Neither unwinds, whatever a subscriber does: a value
//! may wait, where no destructor would find it, while they are called. What may unwind is what a caller makes of a failed allocation.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use crate::ground::checker;
use crate::ground::error::AllocErrorKind;
use crate::ground::layout::{CANARY_BYTES, Route, pool_stride, route};
use crate::pool::large;
use crate::slot::SlotPtr;
use crate::thread;

/// Storage for a `T` from the default pool; `None` when the system has no memory.
#[inline(always)]
pub(crate) fn alloc_storage<T>() -> Option<NonNull<T>> {
    match const { route(Layout::new::<T>()) } {
        Route::Zero => Some(NonNull::dangling()),
        Route::Class(class, _) => thread::alloc_default(class).map(storage_for::<T>),
        Route::Own => large::map(Layout::new::<T>(), None).map(NonNull::cast),
    }
}

#[inline(always)]
pub(crate) fn storage_for<T>(slot: SlotPtr) -> NonNull<T> {
    checker::handed_out(slot.cast(), Layout::new::<T>()).cast()
}

/// As [`take`], with the reason of a refusal.
#[inline(always)]
pub(crate) fn try_alloc_storage<T>() -> Result<NonNull<T>, AllocErrorKind> {
    alloc_storage().ok_or(AllocErrorKind::OutOfMemory)
}

/// Storage for a value whose layout is known only now; `None` when the system has no memory.
pub(crate) fn alloc_layout(layout: Layout) -> Option<NonNull<u8>> {
    match route(layout) {
        Route::Zero => NonNull::new(ptr::without_provenance_mut(layout.align())),
        Route::Class(class, _) => {
            let slot = thread::alloc_default(class)?;
            Some(checker::handed_out(slot.cast(), layout))
        }
        Route::Own => large::map(layout, None),
    }
}

/// Whether storage of the default pool for layout `old` may be used, and given back, as storage for layout `new`.
pub(crate) const fn same_slot(old: Layout, new: Layout) -> bool {
    match (route(old), route(new)) {
        (Route::Class(old_class, _), Route::Class(new_class, _)) => old_class == new_class,
        (Route::Own, Route::Own) => old.size() == new.size() && old.align() == new.align(),
        _ => false,
    }
}

/// The same for storage of any pool: `new` must be no larger and no more aligned than a pool of one type, which packs
/// tighter than a class, makes a slot for a value of layout `old`.
pub(crate) const fn interchangeable(old: Layout, new: Layout) -> bool {
    same_slot(old, new)
        && new.size() + CANARY_BYTES <= pool_stride(old)
        && (new.align() <= old.align() || new.align() <= 8)
}

/// Notes that storage for layout `old` is used as storage for layout `new`, which it may be.
pub(crate) fn refit(storage: NonNull<u8>, old: Layout, new: Layout) {
    if let Route::Class(..) = route(old) {
        checker::refitted(storage, old, new);
    }
}

/// Gives storage back, on whatever thread and from whatever pool.
///
/// # Safety
///
/// `storage` came from [`take`], [`alloc_layout`] or a `SegmentPool`'s `take` for this layout or one
/// [`interchangeable`] with it, with its provenance, and the caller gives it up.
#[inline(always)]
pub(crate) unsafe fn dealloc(storage: NonNull<u8>, layout: Layout) {
    match route(layout) {
        Route::Zero => {}
        Route::Class(class, span) => {
            checker::taken_back(storage, layout);
            // SAFETY: the class and span of the layout; guaranteed by the caller.
            unsafe { thread::free(storage.cast(), span, class) }
        }
        // SAFETY: mapped for this layout.
        Route::Own => unsafe { large::unmap(storage, layout) },
    }
}
