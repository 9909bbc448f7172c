//! Conversions of other values into shared handles, and downcasts of `dyn Any`.

use core::alloc::Layout;
use core::any::Any;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::{Counted, PoolArc};
use crate::boxed::forward::{forward_to_value, from_slices_and_strings};
use crate::boxed::{PoolBox, Vacant};
use crate::ground::error::refused;
use crate::ground::pointer::with_metadata_of;
use crate::ground::refcount::RefCount;

forward_to_value!(PoolArc);
from_slices_and_strings!(PoolArc);

impl<T: Clone> From<&[T]> for PoolArc<[T]> {
    fn from(elements: &[T]) -> Self {
        PoolBox::<[T]>::from(elements).into()
    }
}

impl<T: ?Sized> From<PoolBox<T>> for PoolArc<T> {
    /// Moves the value, of any size, to a slot with room for a count.
    fn from(boxed: PoolBox<T>) -> Self {
        // SAFETY: the next line makes the box forget its value.
        let moved = unsafe { Self::copied(&boxed) };
        let emptied = PoolBox::into_raw(boxed) as *mut ManuallyDrop<T>;
        // SAFETY: the pointer is that of a box of the same layout. This box frees the slot but does not drop the value.
        drop(unsafe { PoolBox::from_raw(emptied) });
        moved
    }
}

impl From<PoolArc<str>> for PoolArc<[u8]> {
    fn from(text: PoolArc<str>) -> Self {
        let bytes = PoolArc::into_raw(text) as *const [u8];
        // SAFETY: a `str` has the layout of its bytes, and every string is a valid `[u8]`.
        unsafe { Self::from_raw(bytes) }
    }
}

impl<T, const N: usize> TryFrom<PoolArc<[T]>> for PoolArc<[T; N]> {
    type Error = PoolArc<[T]>;

    fn try_from(slice: PoolArc<[T]>) -> Result<Self, PoolArc<[T]>> {
        if slice.len() != N {
            return Err(slice);
        }
        let array = PoolArc::into_raw(slice).cast();
        // SAFETY: an array of this length has the layout of the slice, and the pointer is that of the handle.
        Ok(unsafe { Self::from_raw(array) })
    }
}

impl PoolArc<dyn Any + Send + Sync> {
    /// Downcasts the handle to a handle of a `T`, if the value is a `T`.
    ///
    /// # Errors
    ///
    /// Returns the unchanged handle if the value has another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolArc, coerce};
    /// use std::any::Any;
    ///
    /// let any = coerce!(PoolArc::new(7) => dyn Any + Send + Sync);
    /// let any = any.downcast::<String>().unwrap_err();
    /// assert_eq!(*any.downcast::<i32>().unwrap(), 7);
    /// ```
    pub fn downcast<T: Any + Send + Sync>(self) -> Result<PoolArc<T>, Self> {
        if !self.is::<T>() {
            return Err(self);
        }
        let value = PoolArc::into_raw(self).cast();
        // SAFETY: the check above confirmed that the value is a `T`. The pointer is that of the handle.
        Ok(unsafe { PoolArc::from_raw(value) })
    }
}

impl<T: ?Sized> PoolArc<T> {
    pub(crate) fn into_counted(self) -> NonNull<Counted<T>> {
        ManuallyDrop::new(self).counted
    }

    /// Copies the bytes of a value of any size into a slot, as `PoolBox::copied` does.
    ///
    /// # Safety
    ///
    /// The caller forgets the value right after this call, unless its type allows a copy of its bytes.
    pub(crate) unsafe fn copied(value: &T) -> Self {
        let value_layout = Layout::for_value(value);
        let counted_layout = Layout::new::<RefCount>().extend(value_layout);
        let (layout, offset) = counted_layout.expect("the value leaves no room for a count");
        let layout = layout.pad_to_align();
        let storage = Vacant::alloc(layout)
            .unwrap_or_else(|| refused(layout))
            .into_storage();
        // SAFETY: the storage was just allocated for this layout, which begins with the count.
        unsafe { storage.cast().write(RefCount::one_strong()) };
        // SAFETY: the layout has the value at this offset.
        let place = unsafe { storage.add(offset) };
        // SAFETY: the storage has room for the value there, and does not overlap the original.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(value).cast(), value_layout.size()) };
        let counted = with_metadata_of(storage, value).as_ptr() as *mut Counted<T>;
        // SAFETY: the pointer is into the storage, so it is not null.
        let counted = unsafe { NonNull::new_unchecked(counted) };
        // SAFETY: the count is one strong handle, and this is it.
        unsafe { Self::from_counted(counted) }
    }
}
