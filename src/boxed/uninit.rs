//! Boxes of `MaybeUninit`: slots whose value is yet to come, freed like any box if it never does.

use core::mem::{ManuallyDrop, MaybeUninit};

use super::PoolBox;

impl<T> PoolBox<MaybeUninit<T>> {
    /// Says that the value is there.
    ///
    /// # Safety
    ///
    /// It is: the slot holds a valid `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let mut slot = PoolBox::<i32>::new_uninit();
    /// slot.write(7);
    /// // SAFETY: written above.
    /// assert_eq!(*unsafe { slot.assume_init() }, 7);
    /// ```
    #[inline]
    #[must_use = "the value is dropped at once"]
    pub unsafe fn assume_init(self) -> PoolBox<T> {
        let value = ManuallyDrop::new(self).value.cast();
        // SAFETY: it comes from a box of the same layout; the value is there, as the caller guarantees.
        unsafe { PoolBox::from_non_null(value) }
    }

    /// Puts the value in its slot.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let slot = PoolBox::new_uninit();
    /// assert_eq!(*PoolBox::write(slot, 7), 7);
    /// ```
    #[inline]
    #[must_use = "the value is dropped at once"]
    pub fn write(mut this: Self, value: T) -> PoolBox<T> {
        (*this).write(value);
        // SAFETY: written above.
        unsafe { this.assume_init() }
    }

    /// Calls `make` with the slot held: if it panics, the slot is freed.
    #[inline(always)]
    pub(super) fn fill_with(self, make: impl FnOnce() -> T) -> PoolBox<T> {
        let place = self.value.cast::<T>();
        let value = make();
        // SAFETY: the slot is for one `T`, and this box's alone.
        unsafe { place.write(value) };
        // SAFETY: written above.
        unsafe { self.assume_init() }
    }

    /// Sets all bytes of the slot to zero.
    pub(super) fn zeroed(self) -> Self {
        // SAFETY: the box owns storage for one `T`, and any bytes are valid in it.
        unsafe { self.value.write_bytes(0, 1) };
        self
    }
}

impl<T> PoolBox<[MaybeUninit<T>]> {
    /// Says that all the values are there.
    ///
    /// # Safety
    ///
    /// They are: every element holds a valid `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let mut squares = PoolBox::<[usize]>::new_uninit_slice(4);
    /// for (i, element) in squares.iter_mut().enumerate() {
    ///     element.write(i * i);
    /// }
    /// // SAFETY: all four were written.
    /// assert_eq!(*unsafe { squares.assume_init() }, [0, 1, 4, 9]);
    /// ```
    #[inline]
    #[must_use = "the values are dropped at once"]
    pub unsafe fn assume_init(self) -> PoolBox<[T]> {
        let values = PoolBox::into_raw(self) as *mut [T];
        // SAFETY: it comes from a box of the same layout; the values are there, as the caller guarantees.
        unsafe { PoolBox::from_raw(values) }
    }

    /// Sets all bytes to zero.
    pub(super) fn zeroed(self) -> Self {
        let first = self.value.cast::<MaybeUninit<T>>();
        // SAFETY: the box owns storage for so many `T`, and any bytes are valid in it.
        unsafe { first.write_bytes(0, self.len()) };
        self
    }
}

impl<T> PoolBox<T> {
    /// Forgets that there is a value.
    #[inline(always)]
    pub(super) fn into_uninit(this: Self) -> PoolBox<MaybeUninit<T>> {
        let value = Self::into_non_null(this).cast();
        // SAFETY: it comes from a box of the same layout, and nothing need be valid in it.
        unsafe { PoolBox::from_non_null(value) }
    }
}
