//! Conversions between boxes and pointers.
//!
//! The pointers are those of the boxes, never made from a reference, so their provenance includes the segment's header.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;

use super::PoolBox;

impl<T: ?Sized> PoolBox<T> {
    /// Converts the box into a raw pointer. The value lives until the pointer is converted back into a box.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let pointer = PoolBox::into_raw(PoolBox::new(7));
    /// // SAFETY: the pointer came from `into_raw` and is used once.
    /// let boxed = unsafe { PoolBox::from_raw(pointer) };
    /// assert_eq!(*boxed, 7);
    /// ```
    #[inline]
    #[must_use = "the value is leaked unless a box is made of the pointer"]
    pub fn into_raw(this: Self) -> *mut T {
        Self::into_non_null(this).as_ptr()
    }

    /// Makes a box from a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// * The pointer came from `into_raw` of a box of this type, or of a box from which it was cast or coerced. In the
    ///   latter case both value types have the same size and alignment.
    /// * It is that pointer or a copy of it. A pointer made from a reference to the value, such as the one from
    ///   [`leak`](Self::leak), has no provenance for the segment's header.
    /// * No other box is made from it.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let pointer: *mut [u8; 2] = PoolBox::into_raw(PoolBox::new([1, 2]));
    /// // SAFETY: an array is a slice of the same size, and the pointer is used once.
    /// let slice: PoolBox<[u8]> = unsafe { PoolBox::from_raw(pointer) };
    /// assert_eq!(*slice, [1, 2]);
    /// ```
    #[inline]
    #[must_use = "the value is dropped at once"]
    pub unsafe fn from_raw(pointer: *mut T) -> Self {
        // SAFETY: `into_raw` returned the pointer, as the caller guarantees, and it never returns null.
        let pointer = unsafe { NonNull::new_unchecked(pointer) };
        // SAFETY: guaranteed by the caller.
        unsafe { Self::from_non_null(pointer) }
    }

    /// Converts the box into a non-null pointer, as [`into_raw`](Self::into_raw) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let pointer = PoolBox::into_non_null(PoolBox::new(7));
    /// // SAFETY: the pointer came from `into_non_null` and is used once.
    /// assert_eq!(*unsafe { PoolBox::from_non_null(pointer) }, 7);
    /// ```
    #[inline]
    #[must_use = "the value is leaked unless a box is made of the pointer"]
    pub fn into_non_null(this: Self) -> NonNull<T> {
        ManuallyDrop::new(this).value
    }

    /// Makes a box from a pointer that [`into_non_null`](Self::into_non_null) returned.
    ///
    /// # Safety
    ///
    /// As for [`from_raw`](Self::from_raw).
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    /// use std::ptr::NonNull;
    ///
    /// let pointer: NonNull<str> = PoolBox::into_non_null(PoolBox::from("pool"));
    /// // SAFETY: the pointer came from `into_non_null` and is used once.
    /// let text: PoolBox<str> = unsafe { PoolBox::from_non_null(pointer) };
    /// assert_eq!(&*text, "pool");
    /// ```
    #[inline]
    #[must_use = "the value is dropped at once"]
    pub unsafe fn from_non_null(pointer: NonNull<T>) -> Self {
        Self {
            value: pointer,
            owns: PhantomData,
        }
    }

    /// Returns the value's address as a pointer for reading, valid while the box lives.
    ///
    /// No reference to the value is made, so pointers obtained earlier stay usable.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let boxed = PoolBox::new(7);
    /// let moved = PoolBox::as_ptr(&boxed);
    /// let boxed = Some(boxed);
    /// assert_eq!(PoolBox::as_ptr(boxed.as_ref().unwrap()), moved);
    /// ```
    #[inline]
    #[must_use]
    pub fn as_ptr(this: &Self) -> *const T {
        this.value.as_ptr()
    }

    /// Returns the value's address as a pointer for reading and writing, valid while the box lives.
    ///
    /// No reference to the value is made, so pointers obtained earlier stay usable, even if the box has moved since.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let mut boxed = PoolBox::new(7);
    /// let pointer = PoolBox::as_mut_ptr(&mut boxed);
    /// // SAFETY: the box lives, and no other code uses the value.
    /// unsafe { *pointer += 1 };
    /// assert_eq!(*boxed, 8);
    /// ```
    #[inline]
    #[must_use]
    pub fn as_mut_ptr(this: &mut Self) -> *mut T {
        this.value.as_ptr()
    }

    /// Leaks the value and returns a reference to it. The value is never dropped, and its slot stays in use for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let seven: &'static mut i32 = PoolBox::leak(PoolBox::new(7));
    /// *seven += 1;
    /// assert_eq!(*seven, 8);
    /// ```
    #[inline]
    #[must_use = "the value is leaked; a reference that is not used makes it useless too"]
    pub fn leak<'a>(this: Self) -> &'a mut T
    where
        T: 'a,
    {
        // SAFETY: the value is valid, and nothing else can reach it: the box was given up.
        unsafe { Self::into_non_null(this).as_mut() }
    }

    /// Pins the value in place. From now on it cannot be moved out of its slot.
    ///
    /// `Pin::from` and `into` are equivalent.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    /// use std::pin::Pin;
    ///
    /// let pinned: Pin<PoolBox<i32>> = PoolBox::into_pin(PoolBox::new(7));
    /// assert_eq!(*pinned, 7);
    /// ```
    #[inline]
    #[must_use = "the value is dropped at once"]
    pub fn into_pin(this: Self) -> Pin<Self> {
        // SAFETY: the value stays in its slot until it is dropped, and the slot of a leaked box is never reused.
        unsafe { Pin::new_unchecked(this) }
    }
}

impl<T: ?Sized> From<PoolBox<T>> for Pin<PoolBox<T>> {
    fn from(boxed: PoolBox<T>) -> Self {
        PoolBox::into_pin(boxed)
    }
}
