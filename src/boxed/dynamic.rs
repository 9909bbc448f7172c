//! `PoolBox<dyn Any>` and `PoolBox<dyn Error>`: conversions from values, and downcasts.

use core::any::Any;
use core::error::Error;
use core::fmt;

use super::PoolBox;

impl<T: ?Sized> PoolBox<T> {
    /// Changes the type of the box to the type of its value.
    ///
    /// # Safety
    ///
    /// The value is a `U`.
    #[inline]
    unsafe fn cast<U>(self) -> PoolBox<U> {
        let value = Self::into_non_null(self).cast();
        // SAFETY: the value is a `U`, as the caller guarantees, so the box has the layout of a box of `U`. The box is
        // given up here.
        unsafe { PoolBox::from_non_null(value) }
    }
}

macro_rules! downcast_any {
    ($($Any:ty),*) => {$(
        impl PoolBox<$Any> {
            /// Downcasts the box to a box of a `T`, if its value is a `T`.
            ///
            /// # Errors
            ///
            /// Returns the unchanged box if the value has another type.
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
                    // SAFETY: `is` just confirmed that the value is a `T`.
                    Ok(unsafe { self.cast() })
                } else {
                    Err(self)
                }
            }

            /// Downcasts the box to a box of a `T` without a check.
            ///
            /// # Safety
            ///
            /// The value is a `T`.
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
            /// Downcasts the box to a box of a `T`, if its error is a `T`.
            ///
            /// # Errors
            ///
            /// Returns the unchanged box if the error has another type.
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
                    // SAFETY: `is` just confirmed that the error is a `T`.
                    Ok(unsafe { self.cast() })
                } else {
                    Err(self)
                }
            }

            /// Makes an error that consists only of its message.
            ///
            /// There is no `From<&str>`, because it would conflict with `From<E: Error>`: only the standard library can
            /// rule out that a string is an error.
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
        /// Lets `?` convert any error into a box.
        impl<'a, E: Error $(+ $bound)* + 'a> From<E> for PoolBox<dyn Error $(+ $bound)* + 'a> {
            fn from(error: E) -> Self {
                let error: *mut (dyn Error $(+ $bound)* + 'a) =
                    PoolBox::<E>::into_raw(PoolBox::new(error));
                // SAFETY: the pointer of a box, coerced to another type. The box was given up for it.
                unsafe { PoolBox::from_raw(error) }
            }
        }
    )*};
}
from_error!((), (Send), (Send Sync));

/// The error type of `from_message`.
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
