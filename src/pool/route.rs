//! The only place that chooses the route of a layout: no memory, a slot, or a dedicated mapping.
//!
//! [`alloc_storage`] and [`dealloc`] are the entry points between values and storage. Neither unwinds, even if a
//! subscriber panics: during the call, a value may be in a place where unwinding would not drop it. Only the caller's
//! reaction to a failed allocation may unwind.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use crate::ground::checker;
use crate::ground::error::{AllocErrorKind, Failure};
use crate::ground::layout::{CANARY_BYTES, Route, pool_stride, route};
use crate::pool::{large, sizeless};
use crate::slot::SlotPtr;
use crate::thread;

/// Allocates storage for a `T` from the default pool; `None` if the system has no memory.
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

/// As [`alloc_storage`], with the reason in the error.
#[inline(always)]
pub(crate) fn try_alloc_storage<T>() -> Result<NonNull<T>, Failure> {
    alloc_storage().ok_or_else(|| Failure::from(AllocErrorKind::OutOfMemory))
}

/// Allocates storage for a layout that is known only at run time; `None` if the system has no memory.
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

/// Whether storage of the default pool for layout `old` may be used, and freed, as storage for layout `new`.
pub(crate) const fn same_slot(old: Layout, new: Layout) -> bool {
    match (route(old), route(new)) {
        (Route::Class(old_class, _), Route::Class(new_class, _)) => old_class == new_class,
        (Route::Own, Route::Own) => old.size() == new.size() && old.align() == new.align(),
        _ => false,
    }
}

/// Whether storage of any pool for layout `old` may be used, and freed, as storage for layout `new`. A pool of one type
/// packs tighter than a size class, so `new` must fit the slot that such a pool makes for `old`, in size and in
/// alignment.
pub(crate) const fn interchangeable(old: Layout, new: Layout) -> bool {
    same_slot(old, new)
        && new.size() + CANARY_BYTES <= pool_stride(old)
        && (new.align() <= old.align() || new.align() <= 8)
}

/// Informs the checker that storage for layout `old` is now used for layout `new`. The two are interchangeable.
pub(crate) fn refit(storage: NonNull<u8>, old: Layout, new: Layout) {
    if let Route::Class(..) = route(old) {
        checker::refitted(storage, old, new);
    }
}

/// Frees storage, on any thread and of any pool.
///
/// # Safety
///
/// `storage` came from [`alloc_storage`], [`alloc_layout`] or `SegmentPool::alloc_storage`, for this layout or for one
/// [`interchangeable`] with it. The pointer has the provenance of that storage, and the caller does not use it
/// afterwards.
#[inline(always)]
pub(crate) unsafe fn dealloc(storage: NonNull<u8>, layout: Layout) {
    match route(layout) {
        // SAFETY: guaranteed by the caller.
        Route::Zero => unsafe { sizeless::free(storage, layout) },
        Route::Class(class, span) => {
            checker::taken_back(storage, layout);
            // SAFETY: guaranteed by the caller; class and span are those of the layout.
            unsafe { thread::free(storage.cast(), span, class) }
        }
        // SAFETY: guaranteed by the caller: `map` returned it for this layout.
        Route::Own => unsafe { large::unmap(storage, layout) },
    }
}
