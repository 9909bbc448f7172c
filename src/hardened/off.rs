//! Replacements without the feature: nothing is recorded and nothing is checked.

use core::ptr::NonNull;

use crate::ground::layout::Span;

#[inline(always)]
pub(crate) fn arena_mapped(_base: NonNull<u8>, _span: Span) -> bool {
    true
}

#[inline(always)]
pub(crate) fn arena_unmapped(_base: NonNull<u8>) {}

/// A shield without bytes.
#[derive(Debug)]
pub(crate) struct Shield;

impl Shield {
    pub(crate) const fn states_bytes(_room: usize, _stride: usize) -> usize {
        0
    }

    /// Does nothing.
    ///
    /// # Safety
    ///
    /// No conditions apply.
    #[inline(always)]
    pub(crate) unsafe fn new(
        _memory: NonNull<u8>,
        _states: usize,
        _first: usize,
        _stride: usize,
        _capacity: usize,
        _bin: usize,
    ) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn end(&self) {}
}

/// A place without contents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place;

/// A cookie that is always valid.
#[derive(Debug)]
pub(crate) struct Cookie;

impl Cookie {
    #[inline(always)]
    pub(crate) fn new(_addr: usize) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn check(&self, _addr: usize) {}
}

/// The plain link.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Sealed<T>(Option<NonNull<T>>);

impl<T> Sealed<T> {
    #[inline(always)]
    pub(crate) fn new<P>(link: Option<NonNull<T>>, _place: *const P) -> Self {
        Self(link)
    }

    #[inline(always)]
    pub(crate) fn open<P>(self, _place: *const P) -> Option<NonNull<T>> {
        self.0
    }

    #[inline(always)]
    pub(crate) fn open_to_use<P>(self, _place: *const P) -> Option<NonNull<T>> {
        self.0
    }
}

/// The order of addresses.
#[derive(Debug)]
pub(crate) struct Order;

impl Order {
    #[inline(always)]
    pub(crate) fn new(_len: usize) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn at(&self, place: usize) -> usize {
        place
    }
}
