//! Shared handles made of other values, and of `dyn Any`.

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
    /// Moves the value, of whatever size, to a slot that has room for a count.
    fn from(boxed: PoolBox<T>) -> Self {
        // SAFETY: the next line makes the box forget its value.
        let moved = unsafe { Self::copied(&boxed) };
        let emptied = PoolBox::into_raw(boxed) as *mut ManuallyDrop<T>;
        // SAFETY: a box of the same layout, which frees the slot but does not drop the value.
        drop(unsafe { PoolBox::from_raw(emptied) });
        moved
    }
}

impl From<PoolArc<str>> for PoolArc<[u8]> {
    fn from(text: PoolArc<str>) -> Self {
        let bytes = PoolArc::into_raw(text) as *const [u8];
        // SAFETY: a string is a slice of bytes.
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
        // SAFETY: an array of that length has the slice's layout.
        Ok(unsafe { Self::from_raw(array) })
    }
}

impl PoolArc<dyn Any + Send + Sync> {
    /// Turns the handle into one to a `T`, if the value is one.
    ///
    /// # Errors
    ///
    /// The handle as it was, if the value is of another type.
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
        // SAFETY: the value is a `T`.
        Ok(unsafe { PoolArc::from_raw(value) })
    }
}

impl<T: ?Sized> PoolArc<T> {
    pub(crate) fn into_counted(self) -> NonNull<Counted<T>> {
        ManuallyDrop::new(self).counted
    }

    /// Copies a value of any size into a slot, as `PoolBox::copied` does.
    ///
    /// # Safety
    ///
    /// The next thing that the caller does is to forget the value, unless its type is one whose bytes may be copied.
    pub(crate) unsafe fn copied(value: &T) -> Self {
        let value_layout = Layout::for_value(value);
        let counted_layout = Layout::new::<RefCount>().extend(value_layout);
        let (layout, offset) = counted_layout.expect("the value leaves no room for a count");
        let layout = layout.pad_to_align();
        let storage = Vacant::alloc(layout)
            .unwrap_or_else(|| refused(layout))
            .into_storage();
        // SAFETY: fresh storage, which begins with the count.
        unsafe { storage.cast().write(RefCount::one_strong()) };
        // SAFETY: where the layout says.
        let place = unsafe { storage.add(offset) };
        // SAFETY: room for the value.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(value).cast(), value_layout.size()) };
        let counted = with_metadata_of(storage, value).as_ptr() as *mut Counted<T>;
        // SAFETY: in storage.
        let counted = unsafe { NonNull::new_unchecked(counted) };
        // SAFETY: the count says one strong handle, which is this one.
        unsafe { Self::from_counted(counted) }
    }
}
