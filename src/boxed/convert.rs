//! Clones of boxes, and conversions to other owning pointers.

use std::rc::Rc;
use std::sync::Arc;

use super::PoolBox;
use crate::ground::error::AllocErrorKind;

impl<T: Clone> PoolBox<T> {
    /// Clones a borrowed value into the default pool. The compiler may construct the clone in its slot.
    ///
    /// To clone slices and strings, use `PoolBox::from`.
    ///
    /// # Panics
    ///
    /// Panics if `clone` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let name = String::from("Ada");
    /// let boxed: PoolBox<String> = PoolBox::clone_from_ref(&name);
    /// assert_eq!(*boxed, name);
    /// ```
    #[inline]
    #[must_use]
    pub fn clone_from_ref(value: &T) -> Self {
        Self::new_with(|| value.clone())
    }

    /// Clones a borrowed value into the default pool, or returns an error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory. In that case nothing was cloned.
    ///
    /// # Panics
    ///
    /// Panics if `clone` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(*PoolBox::try_clone_from_ref(&7)?, 7);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    #[inline]
    pub fn try_clone_from_ref(value: &T) -> Result<Self, AllocErrorKind> {
        Ok(Self::try_new_with(|| value.clone())?)
    }
}

impl<T: Clone> Clone for PoolBox<T> {
    /// Clones the value into the default pool, whichever pool the original is in.
    #[inline]
    fn clone(&self) -> Self {
        Self::clone_from_ref(self)
    }

    /// Clones into the existing slot.
    #[inline]
    fn clone_from(&mut self, source: &Self) {
        (**self).clone_from(source);
    }
}

impl<T, const N: usize> TryFrom<PoolBox<[T]>> for PoolBox<[T; N]> {
    type Error = PoolBox<[T]>;

    fn try_from(slice: PoolBox<[T]>) -> Result<Self, PoolBox<[T]>> {
        slice.into_array()
    }
}

impl<T, const N: usize> TryFrom<Vec<T>> for PoolBox<[T; N]> {
    type Error = Vec<T>;

    fn try_from(elements: Vec<T>) -> Result<Self, Vec<T>> {
        if elements.len() != N {
            return Err(elements);
        }
        PoolBox::<[T]>::from(elements)
            .into_array()
            .map_err(PoolBox::<[T]>::into_vec)
    }
}

impl<T> From<PoolBox<[T]>> for Vec<T> {
    fn from(slice: PoolBox<[T]>) -> Self {
        slice.into_vec()
    }
}

macro_rules! into_shared {
    ($($Shared:ident),*) => {$(
        /// Moves the value to the memory of a standard library pointer.
        impl<T> From<PoolBox<T>> for $Shared<T> {
            fn from(boxed: PoolBox<T>) -> Self {
                Self::new(PoolBox::into_inner(boxed))
            }
        }

        /// Moves the elements to the memory of a standard library pointer.
        impl<T> From<PoolBox<[T]>> for $Shared<[T]> {
            fn from(slice: PoolBox<[T]>) -> Self {
                Self::from(slice.into_vec())
            }
        }

        /// Copies the text to the memory of a standard library pointer.
        impl From<PoolBox<str>> for $Shared<str> {
            fn from(text: PoolBox<str>) -> Self {
                Self::from(&*text)
            }
        }
    )*};
}
into_shared!(Rc, Arc);
