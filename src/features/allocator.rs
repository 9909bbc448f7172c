//! Features `allocator-api2`, `allocator-api2-03`, `allocator-api2-04`: the default pool as an allocator, for each version of that
//! crate.
//!
//! An allocator gets back what collections make of its pointers. allocator-api2's own `Box` makes `&mut T` of one in safe
//! functions (`into_vec`, `write`, `downcast`), and gives back a pointer that may reach the value's bytes alone. The pool needs
//! the segment's header. So this file, and no other, exposes the provenance of what it hands out, and takes it up again when a
//! block comes back. Neither is an instruction.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use crate::pool::route;

/// The default pool as an allocator, for collections that take one: node by node, it is where their memory comes from
/// fastest.
///
/// It is a value of no size; all are equal, and any frees what any other allocated, on any thread. Layouts up to 128 KiB
/// come from segments, larger ones get a dedicated mapping. Growing and shrinking within a size class happens in
/// place.
///
/// It implements the trait `Allocator` of the crate allocator-api2, each version by a feature of its own:
///
/// | feature | version | used by |
/// |---|---|---|
/// | `allocator-api2` | 0.2 | hashbrown, and most others |
/// | `allocator-api2-03` | 0.3 | |
/// | `allocator-api2-04` | 0.4 | what `cargo add allocator-api2` adds |
///
/// Version 0.2 has a feature `nightly`, by which its trait is the unstable one of the standard library. If any crate of the
/// program enables it, this crate's feature `allocator-api2` does not compile (error E0658).
///
/// `allocator_api2::boxed::Box<T, Segments>` is as large as a [`PoolBox`](crate::PoolBox). By its documentation it is unique as
/// `&mut T` is: a pointer to its value is not valid any more when the box has moved. One to a `PoolBox`'s value is.
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
        // SAFETY: a slot or mapping stays until it is given back, whatever happens to the `Segments` it came from, which
        // are all the same; it goes back by its layout, or one that shares its slot.
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

/// A block; `None` when the system has no memory.
#[inline]
fn alloc(layout: Layout) -> Option<NonNull<[u8]>> {
    let storage = route::alloc_layout(layout)?;
    storage.as_ptr().expose_provenance();
    Some(NonNull::slice_from_raw_parts(storage, layout.size()))
}

/// Gives a block back.
///
/// # Safety
///
/// It is from [`take`] or [`resize`] for this layout, and the caller gives it up.
#[inline]
unsafe fn dealloc(storage: NonNull<u8>, layout: Layout) {
    // SAFETY: guaranteed by the caller.
    unsafe { route::dealloc(as_taken(storage), layout) }
}

/// A block as [`take`] gave it, whatever its pointer was used for since.
#[inline]
fn as_taken(storage: NonNull<u8>) -> NonNull<u8> {
    let exposed = ptr::with_exposed_provenance_mut(storage.addr().get());
    // SAFETY: the address is that of a `NonNull`.
    unsafe { NonNull::new_unchecked(exposed) }
}

/// Moves the smaller of both sizes of bytes to storage for `new`, unless that is where they are.
///
/// # Safety
///
/// As for [`give`] with the layout `old`, if this succeeds.
unsafe fn resize(storage: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<[u8]>> {
    if route::same_slot(old, new) {
        let storage = as_taken(storage);
        route::refit(storage, old, new);
        return Some(NonNull::slice_from_raw_parts(storage, new.size()));
    }
    let moved = alloc(new)?;
    let kept = old.size().min(new.size());
    // SAFETY: both are that large, and do not overlap.
    unsafe { moved.cast::<u8>().copy_from_nonoverlapping(storage, kept) };
    // SAFETY: guaranteed by the caller.
    unsafe { dealloc(storage, old) };
    Some(moved)
}

/// As [`resize`], to a size that is no less, with zeros in what is added.
///
/// # Safety
///
/// As for [`resize`].
unsafe fn grow_zeroed(storage: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<[u8]>> {
    // SAFETY: guaranteed by the caller.
    let grown = unsafe { resize(storage, old, new) }?;
    // SAFETY: the new size is no less than the old one.
    let added = unsafe { grown.cast::<u8>().add(old.size()) };
    // SAFETY: so many bytes were added.
    unsafe { added.write_bytes(0, new.size() - old.size()) };
    Some(grown)
}
