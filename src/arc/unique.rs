//! Operations of a unique owner: moving the value out, or borrowing it mutably.

use core::mem::{self, ManuallyDrop};

use super::{Counted, PoolArc, Rest};
use crate::boxed::PoolBox;
use crate::ground::refcount::Left;

impl<T> PoolArc<T> {
    /// Moves the value out, if this is the only strong handle.
    ///
    /// If several threads call this at the same time with handles to the same value, possibly none succeeds; see
    /// [`into_inner`](Self::into_inner).
    ///
    /// # Errors
    ///
    /// Returns the handle if there are other strong handles.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let other = PoolArc::clone(&seven);
    /// let seven = PoolArc::try_unwrap(seven).unwrap_err();
    /// drop(other);
    /// assert_eq!(PoolArc::try_unwrap(seven), Ok(7));
    /// ```
    pub fn try_unwrap(this: Self) -> Result<T, Self> {
        match this.count().take_only_strong() {
            // SAFETY: the count was decremented for this handle, the only strong one.
            Some(left) => Ok(unsafe { Self::move_out(this, left) }),
            None => Err(this),
        }
    }

    /// Drops the handle, and moves the value out if it was the last strong handle.
    ///
    /// If several threads call this with all the handles to a value, exactly one of them gets the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let other = PoolArc::clone(&seven);
    /// assert_eq!(PoolArc::into_inner(seven), None);
    /// assert_eq!(PoolArc::into_inner(other), Some(7));
    /// ```
    #[expect(clippy::must_use_candidate, reason = "giving the handle up is a use")]
    pub fn into_inner(this: Self) -> Option<T> {
        match this.count().drop_strong() {
            Left::Strong => {
                mem::forget(this);
                None
            }
            // SAFETY: the count was decremented for this handle, the last strong one.
            left => Some(unsafe { Self::move_out(this, left) }),
        }
    }

    /// Moves the value out if this is the only strong handle, and clones it otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(String::from("seven"));
    /// let other = PoolArc::clone(&seven);
    /// assert_eq!(PoolArc::unwrap_or_clone(seven), "seven"); // a clone
    /// assert_eq!(PoolArc::unwrap_or_clone(other), "seven"); // the value
    /// ```
    #[must_use = "to drop the value, drop the handle"]
    pub fn unwrap_or_clone(this: Self) -> T
    where
        T: Clone,
    {
        Self::try_unwrap(this).unwrap_or_else(|shared| (*shared).clone())
    }

    /// # Safety
    ///
    /// The count was decremented for this handle as the last strong one, with the result `left`.
    unsafe fn move_out(this: Self, left: Left) -> T {
        let this = ManuallyDrop::new(this);
        // SAFETY: guaranteed by the caller.
        let _rest = unsafe { Rest::of(this.counted, left) };
        // SAFETY: the last strong handle owned the value. It is read once.
        unsafe { this.value().read() }
    }
}

impl<T: ?Sized> PoolArc<T> {
    /// Borrows the value mutably, if this is the only handle of either kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let mut seven = PoolArc::new(7);
    /// *PoolArc::get_mut(&mut seven).unwrap() += 1;
    /// let other = PoolArc::clone(&seven);
    /// assert!(PoolArc::get_mut(&mut seven).is_none());
    /// assert_eq!(*other, 8);
    /// ```
    #[inline]
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        if this.count().is_alone() {
            // SAFETY: this is the only handle, and no other can be made while it is borrowed mutably.
            Some(unsafe { &mut *this.value() })
        } else {
            None
        }
    }
}

impl<T: Clone> PoolArc<T> {
    /// Borrows the value mutably. If the value is shared, this handle first gets its own clone.
    ///
    /// If only weak handles exist besides this one, the value is moved to a new slot instead, and the weak handles lose
    /// it.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let mut names = PoolArc::new(vec!["Ada"]);
    /// let before = PoolArc::clone(&names);
    /// PoolArc::make_mut(&mut names).push("Grace");
    /// assert_eq!((before.len(), names.len()), (1, 2));
    /// ```
    pub fn make_mut(this: &mut Self) -> &mut T {
        if !this.count().is_alone() {
            Self::separate(this);
        }
        // SAFETY: this is the only handle, either the old one or a new one.
        unsafe { &mut *this.value() }
    }

    /// Makes this the only handle, to the moved value or to a clone.
    #[cold]
    fn separate(this: &mut Self) {
        if this.count().strong() > 1 {
            *this = Self::new((**this).clone());
            return;
        }
        // Allocated before the count is decremented, because a failed allocation may unwind.
        let slot = PoolBox::<Counted<T>>::new_uninit();
        let Some(left) = this.count().take_only_strong() else {
            *this = Self::new((**this).clone());
            return;
        };
        // SAFETY: this was the last strong handle, so it owns the value. It is read once: the handle is replaced before
        // anything can panic.
        let value = unsafe { this.value().read() };
        let own = Self::of(PoolBox::write(slot, Counted::new(value)));
        let given_up = ManuallyDrop::new(mem::replace(this, own));
        // SAFETY: the count was decremented for this handle, the only strong one.
        drop(unsafe { Rest::of(given_up.counted, left) });
    }
}
