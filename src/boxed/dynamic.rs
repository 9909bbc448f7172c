//! `PoolBox<dyn Any>` and `PoolBox<dyn Error>`: made of values, and back.

use core::any::Any;
use core::error::Error;
use core::fmt;

use super::PoolBox;

impl<T: ?Sized> PoolBox<T> {
    /// Says what the value's type is.
    ///
    /// # Safety
    ///
    /// The value is a `U`.
    #[inline]
    unsafe fn cast<U>(self) -> PoolBox<U> {
        let value = Self::into_non_null(self).cast();
        // SAFETY: it comes from a box of a `U`, as the caller guarantees.
        unsafe { PoolBox::from_non_null(value) }
    }
}

macro_rules! downcast_any {
    ($($Any:ty),*) => {$(
        impl PoolBox<$Any> {
            /// Turns the box into one of a `T`, if the value is one.
            ///
            /// # Errors
            ///
            /// The box as it was, if the value is of another type.
            ///
            /// # Examples
            ///
            /// ```
            /// use segment_pool::{PoolBox, coerce};
            /// use std::any::Any;
            ///
            #[doc = concat!("let any = coerce!(PoolBox::new(7) => ", stringify!($Any), ");")]
            /// let any = any.downcast::<String>().unwrap_err();
            /// assert_eq!(*any.downcast::<i32>().unwrap(), 7);
            /// ```
            #[inline]
            pub fn downcast<T: Any>(self) -> Result<PoolBox<T>, Self> {
                if self.is::<T>() {
                    // SAFETY: just asked.
                    Ok(unsafe { self.cast() })
                } else {
                    Err(self)
                }
            }

            /// Turns the box into one of a `T`, without asking whether the value is one.
            ///
            /// # Safety
            ///
            /// It is.
            ///
            /// # Examples
            ///
            /// ```
            /// use segment_pool::{PoolBox, coerce};
            /// use std::any::Any;
            ///
            #[doc = concat!("let any = coerce!(PoolBox::new(7) => ", stringify!($Any), ");")]
            /// // SAFETY: an integer without a suffix is an `i32`.
            /// assert_eq!(*unsafe { any.downcast_unchecked::<i32>() }, 7);
            /// ```
            #[inline]
            #[must_use = "the value is dropped at once"]
            pub unsafe fn downcast_unchecked<T: Any>(self) -> PoolBox<T> {
                debug_assert!(self.is::<T>());
                // SAFETY: guaranteed by the caller.
                unsafe { self.cast() }
            }
        }
    )*};
}
downcast_any!(dyn Any, dyn Any + Send, dyn Any + Send + Sync);

macro_rules! dyn_error {
    ($($Error:ty),*) => {$(
        impl PoolBox<$Error> {
            /// Turns the box into one of a `T`, if the error is one.
            ///
            /// # Errors
            ///
            /// The box as it was, if the error is of another type.
            ///
            /// # Examples
            ///
            /// ```
            /// use segment_pool::PoolBox;
            /// use std::error::Error;
            /// use std::num::ParseIntError;
            ///
            #[doc = concat!("fn parse(text: &str) -> Result<i32, PoolBox<", stringify!($Error), ">> {")]
            ///     Ok(text.parse()?)
            /// }
            /// let error = parse("seven").unwrap_err();
            /// assert!(error.downcast::<ParseIntError>().is_ok());
            /// ```
            pub fn downcast<T: Error + 'static>(self) -> Result<PoolBox<T>, Self> {
                if self.is::<T>() {
                    // SAFETY: just asked.
                    Ok(unsafe { self.cast() })
                } else {
                    Err(self)
                }
            }

            /// An error that is nothing but its message.
            ///
            /// There is no `From<&str>`, as it would collide with `From<E: Error>`: only the standard library can
            /// know that a string is not an error.
            ///
            /// # Examples
            ///
            /// ```
            /// use segment_pool::PoolBox;
            /// use std::error::Error;
            ///
            #[doc = concat!("let error = PoolBox::<", stringify!($Error), ">::from_message(\"no such order\");")]
            /// assert_eq!(error.to_string(), "no such order");
            /// ```
            #[must_use]
            pub fn from_message(message: impl Into<String>) -> Self {
                Message(message.into()).into()
            }
        }
    )*};
}
dyn_error!(dyn Error, dyn Error + Send, dyn Error + Send + Sync);

macro_rules! from_error {
    ($(($($bound:ident)*)),*) => {$(
        /// So that `?` turns any error into a box.
        impl<'a, E: Error $(+ $bound)* + 'a> From<E> for PoolBox<dyn Error $(+ $bound)* + 'a> {
            fn from(error: E) -> Self {
                let error: *mut (dyn Error $(+ $bound)* + 'a) =
                    PoolBox::<E>::into_raw(PoolBox::new(error));
                // SAFETY: coerced from a box's pointer.
                unsafe { PoolBox::from_raw(error) }
            }
        }
    )*};
}
from_error!((), (Send), (Send Sync));

/// What `from_message` makes an error of.
struct Message(String);

impl Error for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
