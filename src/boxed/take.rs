//! Moving values out of boxes, and other values into the same slot.

use core::alloc::Layout;
use core::mem::MaybeUninit;

use super::PoolBox;
use crate::pool::route;

impl<T> PoolBox<T> {
    /// Moves the value out and frees its slot.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let name: String = PoolBox::into_inner(PoolBox::new(String::from("Ada")));
    /// assert_eq!(name, "Ada");
    /// ```
    #[inline]
    #[must_use = "to drop the value, drop the box"]
    pub fn into_inner(this: Self) -> T {
        Self::take(this).0
    }

    /// Moves the value out and keeps its slot for another value.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let (seven, slot) = PoolBox::take(PoolBox::new(7));
    /// let eight = PoolBox::write(slot, seven + 1);
    /// assert_eq!(*eight, 8);
    /// ```
    #[inline]
    #[must_use = "to drop the value, drop the box"]
    pub fn take(this: Self) -> (T, PoolBox<MaybeUninit<T>>) {
        let slot = Self::into_uninit(this);
        // SAFETY: the box held a valid value. It is read once: the slot now counts as uninitialized.
        let value = unsafe { slot.assume_init_read() };
        (value, slot)
    }

    /// Replaces the value with the result of `f`, in the same slot if the result fits.
    ///
    /// The slot is reused if both types have the same size class, and always if they have the same size and alignment.
    ///
    /// # Panics
    ///
    /// Panics if `f` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let number = PoolBox::new(7_i64);
    /// let slot = PoolBox::as_ptr(&number).addr();
    /// let text: PoolBox<[u8; 8]> = PoolBox::map(number, i64::to_be_bytes);
    /// assert_eq!(PoolBox::as_ptr(&text).addr(), slot);
    /// ```
    pub fn map<U>(this: Self, f: impl FnOnce(T) -> U) -> PoolBox<U> {
        let (value, slot) = Self::take(this);
        slot.refill(f(value))
    }

    /// Replaces the value with the result of `f`. If `f` returns an error, the slot is freed.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`.
    ///
    /// # Panics
    ///
    /// Panics if `f` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let number = PoolBox::try_map(PoolBox::new("7"), |text| text.parse::<u64>())?;
    /// assert_eq!(*number, 7);
    /// # Ok::<(), std::num::ParseIntError>(())
    /// ```
    pub fn try_map<U, E>(this: Self, f: impl FnOnce(T) -> Result<U, E>) -> Result<PoolBox<U>, E> {
        let (value, slot) = Self::take(this);
        f(value).map(|mapped| slot.refill(mapped))
    }
}

impl<T> PoolBox<MaybeUninit<T>> {
    /// Writes a value of another type into the slot, or into a new slot if it does not fit.
    fn refill<U>(self, value: U) -> PoolBox<U> {
        if const { route::interchangeable(Layout::new::<T>(), Layout::new::<U>()) } {
            let slot = Self::into_non_null(self).cast::<MaybeUninit<U>>();
            route::refit(slot.cast(), Layout::new::<T>(), Layout::new::<U>());
            // SAFETY: the slots of both types are interchangeable, and `MaybeUninit` needs no valid contents.
            PoolBox::write(unsafe { PoolBox::from_non_null(slot) }, value)
        } else {
            drop(self);
            PoolBox::new(value)
        }
    }
}
