//! Boxed strings of all kinds: cloning, collecting, and conversion to owned strings and bytes. (`crate::forward` has
//! the conversions from borrowed and owned strings.)

use core::ffi::CStr;
use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::path::{Path, PathBuf};

use super::PoolBox;

macro_rules! clone_by_bytes {
    ($($Str:ty),*) => {$(
        impl Clone for PoolBox<$Str> {
            fn clone(&self) -> Self {
                Self::from(&**self)
            }
        }
    )*};
}
clone_by_bytes!(CStr, OsStr, Path);

impl Clone for PoolBox<str> {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }

    /// Reuses the memory if the lengths are equal.
    fn clone_from(&mut self, source: &Self) {
        if self.len() == source.len() {
            // SAFETY: all bytes are replaced by the bytes of a valid string of the same length.
            let bytes = unsafe { self.as_bytes_mut() };
            bytes.copy_from_slice(source.as_bytes());
        } else {
            *self = source.clone();
        }
    }
}

macro_rules! into_owned {
    ($($Str:ty => $String:ty),*) => {$(
        impl From<PoolBox<$Str>> for $String {
            fn from(text: PoolBox<$Str>) -> Self {
                Self::from(&*text)
            }
        }
    )*};
}
into_owned!(str => String, CStr => CString, OsStr => OsString, Path => PathBuf);

impl From<PoolBox<str>> for PoolBox<[u8]> {
    fn from(text: PoolBox<str>) -> Self {
        let bytes = PoolBox::into_raw(text) as *mut [u8];
        // SAFETY: a `str` has the layout of its bytes, and every string is a valid `[u8]`.
        unsafe { Self::from_raw(bytes) }
    }
}

macro_rules! collect_strings {
    ($($Item:ty),*) => {$(
        impl<'a> FromIterator<$Item> for PoolBox<str> {
            fn from_iter<I: IntoIterator<Item = $Item>>(parts: I) -> Self {
                parts.into_iter().collect::<String>().into()
            }
        }
    )*};
}
collect_strings!(&'a char, &'a str, Cow<'a, str>);

macro_rules! collect_owned_strings {
    ($($Item:ty),*) => {$(
        impl FromIterator<$Item> for PoolBox<str> {
            fn from_iter<I: IntoIterator<Item = $Item>>(parts: I) -> Self {
                parts.into_iter().collect::<String>().into()
            }
        }
    )*};
}
collect_owned_strings!(char, String, PoolBox<str>);

impl FromIterator<PoolBox<str>> for String {
    fn from_iter<I: IntoIterator<Item = PoolBox<str>>>(parts: I) -> Self {
        let mut text = Self::new();
        text.extend(parts);
        text
    }
}

impl Extend<PoolBox<str>> for String {
    fn extend<I: IntoIterator<Item = PoolBox<str>>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push_str(&part));
    }
}
