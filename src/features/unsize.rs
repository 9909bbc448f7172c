//! Feature `unsize`: `handle.unsize(Coercion!(to dyn Trait))`, as with any other pointer.
//!
//! The trait hands back a pointer that went through its caller, in the case of `Pin` even through a reference. Only its
//! length or vtable is taken; the address stays the handle's own, with its provenance.

use core::ptr::NonNull;

use unsize::CoerciblePtr;

use crate::arc::{Counted, PoolArc};
use crate::boxed::PoolBox;
use crate::ground::pointer::with_metadata_of;

// SAFETY: target and provenance are those of the box.
unsafe impl<T, U: ?Sized> CoerciblePtr<U> for PoolBox<T> {
    type Pointee = T;
    type Output = PoolBox<U>;

    fn as_sized_ptr(&mut self) -> *mut T {
        Self::as_mut_ptr(self)
    }

    unsafe fn replace_ptr(self, new: *mut U) -> PoolBox<U> {
        let value = with_metadata_of(Self::into_non_null(self).cast(), new);
        // SAFETY: the box's pointer, coerced.
        unsafe { PoolBox::from_non_null(value) }
    }
}

// SAFETY: target and provenance are those of the handle.
unsafe impl<T, U: ?Sized> CoerciblePtr<U> for PoolArc<T> {
    type Pointee = T;
    type Output = PoolArc<U>;

    fn as_sized_ptr(&mut self) -> *mut T {
        Self::as_ptr(self).cast_mut()
    }

    unsafe fn replace_ptr(self, new: *mut U) -> PoolArc<U> {
        let counted = with_metadata_of(self.into_counted().cast(), new);
        let counted = counted.as_ptr() as *mut Counted<U>;
        // SAFETY: not null.
        let counted = unsafe { NonNull::new_unchecked(counted) };
        // SAFETY: the handle's pointer, coerced.
        unsafe { PoolArc::from_counted(counted) }
    }
}
