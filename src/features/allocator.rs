//! Feature `allocator-api2`: the default pool as an allocator.

use core::alloc::Layout;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use crate::pool;

/// The default pool as an allocator, for collections that take one: node by node, it is where their memory comes from
/// fastest.
///
/// It is a value of no size; all are equal, and any frees what any other allocated, on any thread. Layouts up to 128 KiB
/// come from segments, larger ones get a mapping of their own. Growing and shrinking within a size class happens in
/// place.
///
/// Needs the feature `allocator-api2`, of which this is the trait. `allocator_api2::boxed::Box<T, Segments>` is as large
/// as a [`PoolBox`](crate::PoolBox), but its pointer is `noalias` and cannot be made one.
///
/// # Examples
///
/// ```
/// use allocator_api2::vec::Vec;
/// use segment_pool::Segments;
///
/// let mut squares = Vec::new_in(Segments);
/// squares.extend((1..=4).map(|i| i * i));
/// assert_eq!(squares, [1, 4, 9, 16]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Segments;

// SAFETY: a slot or mapping stays until it is given back, whatever happens to the `Segments` it came from, which are
// all the same; it goes back by its layout, or one that shares its slot.
unsafe impl Allocator for Segments {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let storage = pool::take_layout(layout).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(storage, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, storage: NonNull<u8>, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { pool::return_slot(storage, layout) }
    }

    unsafe fn grow(
        &self,
        storage: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: guaranteed by the caller.
        unsafe { resize(storage, old, new) }
    }

    unsafe fn grow_zeroed(
        &self,
        storage: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: guaranteed by the caller.
        let grown = unsafe { resize(storage, old, new) }?;
        // SAFETY: the new size is no less than the old one.
        let added = unsafe { grown.cast::<u8>().add(old.size()) };
        // SAFETY: so many bytes were added.
        unsafe { added.write_bytes(0, new.size() - old.size()) };
        Ok(grown)
    }

    unsafe fn shrink(
        &self,
        storage: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: guaranteed by the caller.
        unsafe { resize(storage, old, new) }
    }
}

/// Moves the smaller of both sizes of bytes to storage for `new`, unless that is where they are.
///
/// # Safety
///
/// `storage` is from `allocate` for `old`, and given up if this succeeds.
unsafe fn resize(
    storage: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    if pool::same_slot(old, new) {
        pool::refit(storage, old, new);
        return Ok(NonNull::slice_from_raw_parts(storage, new.size()));
    }
    let moved = Segments.allocate(new)?;
    let kept = old.size().min(new.size());
    // SAFETY: both are that large, and do not overlap.
    unsafe { moved.cast::<u8>().copy_from_nonoverlapping(storage, kept) };
    // SAFETY: guaranteed by the caller.
    unsafe { Segments.deallocate(storage, old) };
    Ok(moved)
}
