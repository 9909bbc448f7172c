//! Features `allocator-api2`, `allocator-api2-03`, `allocator-api2-04`: the default pool as an allocator, for each
//! version of this crate.
//!
//! An allocator gets back pointers that collections derived from its own. In safe functions (`into_vec`, `write`,
//! `downcast`), allocator-api2's `Box` makes a `&mut T` of its pointer, and later frees a pointer whose provenance
//! covers only the bytes of the value. But the pool needs the segment's header. So this file, and no other, exposes the
//! provenance of the pointers that it returns, and recovers it when a block is freed. Neither costs an instruction.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use crate::pool::route;

/// The default pool as an allocator for collections. It is fastest for collections that allocate node by node.
///
/// `Segments` is zero-sized, and all its values are equal: each can free what any other allocated, on any thread.
/// Layouts up to 128 KiB use segments, and larger ones get a dedicated mapping. Growing and shrinking within a size
/// class happens in place.
///
/// It implements the trait `Allocator` of the crate allocator-api2. Each version has its own feature:
///
/// | feature | version | used by |
/// |---|---|---|
/// | `allocator-api2` | 0.2 | hashbrown, and most others |
/// | `allocator-api2-03` | 0.3 | |
/// | `allocator-api2-04` | 0.4 | the version that `cargo add allocator-api2` adds |
///
/// Version 0.2 has a feature `nightly`, which replaces its trait with the unstable one of the standard library. If any
/// crate of the program enables it, this crate's feature `allocator-api2` does not compile (error E0658).
///
/// `allocator_api2::boxed::Box<T, Segments>` is as large as a [`PoolBox`](crate::PoolBox). According to its
/// documentation it is unique, as a `&mut T` is: a pointer to its value is no longer valid after the box has moved. A
/// pointer to the value of a `PoolBox` stays valid.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "allocator-api2")] {
/// use allocator_api2::vec::Vec;
/// use segment_pool::Segments;
///
/// let mut squares = Vec::new_in(Segments);
/// squares.extend((1..=4).map(|i| i * i));
/// assert_eq!(squares, [1, 4, 9, 16]);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Segments;

/// Implements the trait of one version.
macro_rules! serve {
    ($version:ident) => {
        // SAFETY: a slot or mapping stays valid until it is freed, independently of any `Segments` value, which are all
        // equivalent. It is freed with its layout, or with a layout that uses the same slot.
        unsafe impl $version::alloc::Allocator for Segments {
            #[inline]
            fn allocate(
                &self,
                layout: Layout,
            ) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                alloc(layout).ok_or($version::alloc::AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, storage: NonNull<u8>, layout: Layout) {
                // SAFETY: guaranteed by the caller.
                unsafe { dealloc(storage, layout) }
            }

            unsafe fn grow(
                &self,
                storage: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                // SAFETY: guaranteed by the caller.
                unsafe { resize(storage, old, new) }.ok_or($version::alloc::AllocError)
            }

            unsafe fn grow_zeroed(
                &self,
                storage: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                // SAFETY: guaranteed by the caller.
                unsafe { grow_zeroed(storage, old, new) }.ok_or($version::alloc::AllocError)
            }

            unsafe fn shrink(
                &self,
                storage: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                // SAFETY: guaranteed by the caller.
                unsafe { resize(storage, old, new) }.ok_or($version::alloc::AllocError)
            }
        }
    };
}

#[cfg(feature = "allocator-api2")]
serve!(allocator_api2);
#[cfg(feature = "allocator-api2-03")]
serve!(allocator_api2_03);
#[cfg(feature = "allocator-api2-04")]
serve!(allocator_api2_04);

/// Allocates a block; `None` if the system has no memory.
#[inline]
fn alloc(layout: Layout) -> Option<NonNull<[u8]>> {
    let storage = route::alloc_layout(layout)?;
    storage.as_ptr().expose_provenance();
    Some(NonNull::slice_from_raw_parts(storage, layout.size()))
}

/// Frees a block.
///
/// # Safety
///
/// [`alloc`] or [`resize`] returned the block for this layout, and the caller does not use it afterwards.
#[inline]
unsafe fn dealloc(storage: NonNull<u8>, layout: Layout) {
    // SAFETY: guaranteed by the caller.
    unsafe { route::dealloc(as_taken(storage), layout) }
}

/// Returns the pointer as [`alloc`] made it, with its original provenance, whatever the caller derived from it.
#[inline]
fn as_taken(storage: NonNull<u8>) -> NonNull<u8> {
    let exposed = ptr::with_exposed_provenance_mut(storage.addr().get());
    // SAFETY: the address is that of a `NonNull`, so it is not null.
    unsafe { NonNull::new_unchecked(exposed) }
}

/// Moves the contents, up to the smaller of the two sizes, to storage for `new`, unless the old storage can be used.
///
/// # Safety
///
/// As for [`dealloc`] with the layout `old`, if this succeeds.
unsafe fn resize(storage: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<[u8]>> {
    if route::same_slot(old, new) {
        let storage = as_taken(storage);
        route::refit(storage, old, new);
        return Some(NonNull::slice_from_raw_parts(storage, new.size()));
    }
    let moved = alloc(new)?;
    let kept = old.size().min(new.size());
    // SAFETY: both blocks have at least this size, and the new one does not overlap the old one.
    unsafe { moved.cast::<u8>().copy_from_nonoverlapping(storage, kept) };
    // SAFETY: guaranteed by the caller.
    unsafe { dealloc(storage, old) };
    Some(moved)
}

/// As [`resize`], to a size that is not smaller, and fills the added bytes with zeros.
///
/// # Safety
///
/// As for [`resize`].
unsafe fn grow_zeroed(storage: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<[u8]>> {
    // SAFETY: guaranteed by the caller.
    let grown = unsafe { resize(storage, old, new) }?;
    // SAFETY: the new size is not smaller than the old one, so this is within the block or at its end.
    let added = unsafe { grown.cast::<u8>().add(old.size()) };
    // SAFETY: this many bytes were added.
    unsafe { added.write_bytes(0, new.size() - old.size()) };
    Some(grown)
}
