//! General allocators, each called directly through `GlobalAlloc`: a little kinder to them than
//! `#[global_allocator]`, whose calls are not inlined across crates.

use crate::common::Pointer;
use std::{
    alloc::{GlobalAlloc, Layout, handle_alloc_error},
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A `GlobalAlloc` that is a unit struct, so a box needs no pointer to it.
pub(crate) trait Allocator: GlobalAlloc + 'static {
    const NAME: &'static str;
    const ALLOCATOR: Self;
}

macro_rules! allocators {
    ($($allocator:path: $name:literal,)*) => {$(
        impl Allocator for $allocator {
            const NAME: &'static str = $name;
            const ALLOCATOR: Self = $allocator;
        }
    )*};
}

allocators! {
    mimalloc::MiMalloc: "mimalloc",
    snmalloc_rs::SnMalloc: "snmalloc",
    tikv_jemallocator::Jemalloc: "jemalloc",
    rpmalloc::RpMalloc: "rpmalloc",
}

/// `Box` with an allocator.
pub(crate) struct AllocBox<A: Allocator, T> {
    value: NonNull<T>,
    allocator: PhantomData<A>,
    owns: PhantomData<T>,
}

// SAFETY: a box owns its value, and a `GlobalAlloc` may be called on any thread.
unsafe impl<A: Allocator, T: Send> Send for AllocBox<A, T> {}

impl<A: Allocator, T> AllocBox<A, T> {
    const LAYOUT: Layout = {
        assert!(
            size_of::<T>() != 0,
            "an allocator must not be asked for nothing"
        );
        Layout::new::<T>()
    };
}

impl<A: Allocator, const W: usize> Pointer<W> for AllocBox<A, [u64; W]> {
    const NAME: &'static str = A::NAME;

    #[inline(always)]
    fn new(value: [u64; W]) -> Self {
        // SAFETY: the layout is not empty.
        let memory = unsafe { A::ALLOCATOR.alloc(Self::LAYOUT) };
        let Some(memory) = NonNull::new(memory) else {
            handle_alloc_error(Self::LAYOUT)
        };
        let memory = memory.cast();
        // SAFETY: the memory is new, and of the layout of the value.
        unsafe { memory.write(value) };
        Self {
            value: memory,
            allocator: PhantomData,
            owns: PhantomData,
        }
    }
}

impl<A: Allocator, T> Drop for AllocBox<A, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the value is valid until here, by `new`, and is not used again.
        unsafe { self.value.drop_in_place() };
        // SAFETY: allocated by `new`, by the same allocator with the same layout.
        unsafe { A::ALLOCATOR.dealloc(self.value.as_ptr().cast(), Self::LAYOUT) };
    }
}

impl<A: Allocator, T> Deref for AllocBox<A, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: holds a valid T, and the borrow of `self` excludes a mutable one.
        unsafe { self.value.as_ref() }
    }
}

impl<A: Allocator, T> DerefMut for AllocBox<A, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: holds a valid T, and the borrow of `self` excludes any other.
        unsafe { self.value.as_mut() }
    }
}
