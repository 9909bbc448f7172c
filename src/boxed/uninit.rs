//! Boxes of `MaybeUninit`: slots without a value, freed like any box if no value is written.

use core::mem::{ManuallyDrop, MaybeUninit};

use super::PoolBox;

impl<T> PoolBox<MaybeUninit<T>> {
    /// Converts the box to a box of an initialized value.
    ///
    /// # Safety
    ///
    /// The slot holds a valid `T`.
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
        // SAFETY: the pointer is that of a box of the same layout, which was given up. The caller guarantees a valid
        // value.
        unsafe { PoolBox::from_non_null(value) }
    }

    /// Writes a value into the slot and returns the box of the value.
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

    /// Calls `make` while the box owns the slot, so that a panic frees the slot.
    #[inline(always)]
    pub(super) fn fill_with(self, make: impl FnOnce() -> T) -> PoolBox<T> {
        let place = self.value.cast::<T>();
        let value = make();
        // SAFETY: the slot has the layout of a `T`, and only this box uses it.
        unsafe { place.write(value) };
        // SAFETY: written above.
        unsafe { self.assume_init() }
    }

    /// Fills the slot with zeros.
    pub(super) fn zeroed(self) -> Self {
        // SAFETY: the box owns storage for one `T`, and any bytes are valid in it.
        unsafe { self.value.write_bytes(0, 1) };
        self
    }
}

impl<T> PoolBox<[MaybeUninit<T>]> {
    /// Converts the box to a box of initialized values.
    ///
    /// # Safety
    ///
    /// Every element holds a valid `T`.
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
        // SAFETY: the pointer is that of a box of the same layout, which was given up. The caller guarantees valid
        // values.
        unsafe { PoolBox::from_raw(values) }
    }

    /// Fills the storage with zeros.
    pub(super) fn zeroed(self) -> Self {
        let first = self.value.cast::<MaybeUninit<T>>();
        // SAFETY: the box owns storage for this many values, and any bytes are valid in it.
        unsafe { first.write_bytes(0, self.len()) };
        self
    }
}

impl<T> PoolBox<T> {
    /// Converts the box to a box without a value. The value is not dropped.
    #[inline(always)]
    pub(super) fn into_uninit(this: Self) -> PoolBox<MaybeUninit<T>> {
        let value = Self::into_non_null(this).cast();
        // SAFETY: the pointer is that of a box of the same layout, which was given up. `MaybeUninit` needs no valid
        // contents.
        unsafe { PoolBox::from_non_null(value) }
    }
}
