//! Feature `unsize`: `handle.unsize(Coercion!(to dyn Trait))`, as for any other pointer.
//!
//! The trait returns a pointer that went through its caller, in the case of `Pin` even through a reference. Only its
//! length or vtable is used. The address is that of the handle, with the handle's provenance.

use core::ptr::NonNull;

use unsize::CoerciblePtr;

use crate::arc::{Counted, PoolArc};
use crate::boxed::PoolBox;
use crate::ground::pointer::with_metadata_of;

// SAFETY: the returned box has the address and the provenance of the original box.
unsafe impl<T, U: ?Sized> CoerciblePtr<U> for PoolBox<T> {
    type Pointee = T;
    type Output = PoolBox<U>;

    fn as_sized_ptr(&mut self) -> *mut T {
        Self::as_mut_ptr(self)
    }

    unsafe fn replace_ptr(self, new: *mut U) -> PoolBox<U> {
        let value = with_metadata_of(Self::into_non_null(self).cast(), new);
        // SAFETY: this is the pointer of the box, with other metadata. The box was given up.
        unsafe { PoolBox::from_non_null(value) }
    }
}

// SAFETY: the returned handle has the address and the provenance of the original handle.
unsafe impl<T, U: ?Sized> CoerciblePtr<U> for PoolArc<T> {
    type Pointee = T;
    type Output = PoolArc<U>;

    fn as_sized_ptr(&mut self) -> *mut T {
        Self::as_ptr(self).cast_mut()
    }

    unsafe fn replace_ptr(self, new: *mut U) -> PoolArc<U> {
        let counted = with_metadata_of(self.into_counted().cast(), new);
        let counted = counted.as_ptr() as *mut Counted<U>;
        // SAFETY: the pointer is that of a handle, so it is not null.
        let counted = unsafe { NonNull::new_unchecked(counted) };
        // SAFETY: this is the pointer of the handle, with other metadata. The handle was given up.
        unsafe { PoolArc::from_counted(counted) }
    }
}
