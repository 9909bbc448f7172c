//! Trait implementations that `PoolBox` and `PoolArc` share, because both are pointers to one value. Each operation on
//! the handle is forwarded to the value.
//!
//! Each macro is invoked once per handle type.

/// Borrowing, comparison, hashing and formatting; `Default` and `From<T>`.
macro_rules! forward_to_value {
    ($Handle:ident) => {
        impl<T: ?Sized> AsRef<T> for $Handle<T> {
            fn as_ref(&self) -> &T {
                self
            }
        }

        impl<T: ?Sized> core::borrow::Borrow<T> for $Handle<T> {
            fn borrow(&self) -> &T {
                self
            }
        }

        impl<T: ?Sized + core::fmt::Debug> core::fmt::Debug for $Handle<T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + core::fmt::Display> core::fmt::Display for $Handle<T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                (**self).fmt(f)
            }
        }

        /// Formats the value's address.
        impl<T: ?Sized> core::fmt::Pointer for $Handle<T> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Pointer::fmt(&$Handle::as_ptr(self), f)
            }
        }

        impl<T: ?Sized + PartialEq> PartialEq for $Handle<T> {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                **self == **other
            }

            #[inline]
            #[expect(clippy::partialeq_ne_impl, reason = "the value may have its own")]
            fn ne(&self, other: &Self) -> bool {
                **self != **other
            }
        }

        impl<T: ?Sized + Eq> Eq for $Handle<T> {}

        impl<T: ?Sized + PartialOrd> PartialOrd for $Handle<T> {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                (**self).partial_cmp(&**other)
            }

            #[inline]
            fn lt(&self, other: &Self) -> bool {
                **self < **other
            }

            #[inline]
            fn le(&self, other: &Self) -> bool {
                **self <= **other
            }

            #[inline]
            fn gt(&self, other: &Self) -> bool {
                **self > **other
            }

            #[inline]
            fn ge(&self, other: &Self) -> bool {
                **self >= **other
            }
        }

        impl<T: ?Sized + Ord> Ord for $Handle<T> {
            #[inline]
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                (**self).cmp(&**other)
            }
        }

        impl<T: ?Sized + core::hash::Hash> core::hash::Hash for $Handle<T> {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                (**self).hash(state);
            }
        }

        /// As for `Box`. Not implemented for `dyn Error`, because of a conflict with the conversion of any error to a
        #[doc = concat!("`", stringify!($Handle), "<dyn Error>`.")]
        impl<T: core::error::Error> core::error::Error for $Handle<T> {
            fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
                (**self).source()
            }

            #[expect(deprecated, reason = "the value may have its own")]
            fn description(&self) -> &str {
                (**self).description()
            }

            #[expect(deprecated, reason = "the value may have its own")]
            fn cause(&self) -> Option<&dyn core::error::Error> {
                (**self).cause()
            }
        }

        #[cfg(unix)]
        impl<T: ?Sized + std::os::fd::AsFd> std::os::fd::AsFd for $Handle<T> {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                (**self).as_fd()
            }
        }

        #[cfg(unix)]
        impl<T: ?Sized + std::os::fd::AsRawFd> std::os::fd::AsRawFd for $Handle<T> {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                (**self).as_raw_fd()
            }
        }

        #[cfg(windows)]
        impl<T: ?Sized + std::os::windows::io::AsHandle> std::os::windows::io::AsHandle
            for $Handle<T>
        {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                (**self).as_handle()
            }
        }

        #[cfg(windows)]
        impl<T: ?Sized + std::os::windows::io::AsSocket> std::os::windows::io::AsSocket
            for $Handle<T>
        {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                (**self).as_socket()
            }
        }

        impl<T: Default> Default for $Handle<T> {
            #[inline]
            fn default() -> Self {
                Self::new(T::default())
            }
        }

        impl<T> Default for $Handle<[T]> {
            fn default() -> Self {
                Self::from([])
            }
        }

        impl Default for $Handle<str> {
            fn default() -> Self {
                Self::from("")
            }
        }

        impl Default for $Handle<core::ffi::CStr> {
            fn default() -> Self {
                Self::from(<&core::ffi::CStr>::default())
            }
        }

        impl Default for $Handle<std::ffi::OsStr> {
            fn default() -> Self {
                Self::from(<&std::ffi::OsStr>::default())
            }
        }

        impl<T: ?Sized> Default for core::pin::Pin<$Handle<T>>
        where
            $Handle<T>: Default,
        {
            fn default() -> Self {
                // SAFETY: the handle was just made, so no other handle can move the value.
                unsafe { core::pin::Pin::new_unchecked(<$Handle<T>>::default()) }
            }
        }

        impl<T> From<T> for $Handle<T> {
            #[inline]
            fn from(value: T) -> Self {
                Self::new(value)
            }
        }
    };
}
pub(crate) use forward_to_value;

/// Slices and strings from their borrowed and owned forms.
///
/// The handle type has `copied(&T)`, which copies the bytes of a value of any size (the owner then forgets the value),
/// and `From<&[T]>`.
macro_rules! from_slices_and_strings {
    ($Handle:ident) => {
        impl<T, const N: usize> From<[T; N]> for $Handle<[T]> {
            fn from(array: [T; N]) -> Self {
                // SAFETY: the next line makes the array forget its elements.
                let moved = unsafe { Self::copied(&array[..]) };
                core::mem::forget(array);
                moved
            }
        }

        impl<T> From<Vec<T>> for $Handle<[T]> {
            fn from(mut elements: Vec<T>) -> Self {
                // SAFETY: the next line makes the vector forget its elements.
                let moved = unsafe { Self::copied(&elements[..]) };
                // SAFETY: a length of zero needs no valid elements.
                unsafe { elements.set_len(0) };
                moved
            }
        }

        impl<T: Clone> From<&mut [T]> for $Handle<[T]> {
            fn from(elements: &mut [T]) -> Self {
                Self::from(&*elements)
            }
        }

        impl<T: Clone> From<std::borrow::Cow<'_, [T]>> for $Handle<[T]> {
            fn from(elements: std::borrow::Cow<'_, [T]>) -> Self {
                match elements {
                    std::borrow::Cow::Borrowed(elements) => elements.into(),
                    std::borrow::Cow::Owned(elements) => elements.into(),
                }
            }
        }

        impl<T> FromIterator<T> for $Handle<[T]> {
            fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
                elements.into_iter().collect::<Vec<T>>().into()
            }
        }

        $crate::boxed::forward::from_strings!($Handle, str, String);
        $crate::boxed::forward::from_strings!($Handle, core::ffi::CStr, std::ffi::CString);
        $crate::boxed::forward::from_strings!($Handle, std::ffi::OsStr, std::ffi::OsString);
        $crate::boxed::forward::from_strings!($Handle, std::path::Path, std::path::PathBuf);
    };
}
pub(crate) use from_slices_and_strings;

/// Conversions from a borrowed and an owned string type.
macro_rules! from_strings {
    ($Handle:ident, $Str:ty, $String:ty) => {
        impl From<&$Str> for $Handle<$Str> {
            fn from(text: &$Str) -> Self {
                // SAFETY: a string consists of bytes, which may be copied.
                unsafe { Self::copied(text) }
            }
        }

        impl From<&mut $Str> for $Handle<$Str> {
            fn from(text: &mut $Str) -> Self {
                Self::from(&*text)
            }
        }

        impl From<$String> for $Handle<$Str> {
            fn from(text: $String) -> Self {
                let text: &$Str = &text;
                Self::from(text)
            }
        }

        impl From<std::borrow::Cow<'_, $Str>> for $Handle<$Str> {
            fn from(text: std::borrow::Cow<'_, $Str>) -> Self {
                let text: &$Str = &text;
                Self::from(text)
            }
        }
    };
}
pub(crate) use from_strings;
