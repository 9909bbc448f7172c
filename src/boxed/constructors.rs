//! Constructors: from values, from closures, and uninitialized, in the default pool or in a given one.
//!
//! `new` and `alloc` are the fast paths. A constructor that runs a closure owns its slot as a box of `MaybeUninit`
//! meanwhile, so that a panic frees the slot.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::ptr::{self, NonNull};

use super::PoolBox;
use crate::ground::error::{self, AllocError, AllocErrorKind, Failure};
use crate::pool::local::LocalPool;
use crate::pool::{SegmentPool, route};

/// Writes a value into storage that was just allocated for it, and makes the box.
///
/// This and `try_filled` are macros because of unoptimised builds. There, each function with a by-value argument copies
/// it, and five copies of a large value overflow a stack that has room for two.
macro_rules! filled {
    ($storage:ident, $value:ident) => {{
        // SAFETY: the storage was just allocated for such a value, and nothing else uses it.
        unsafe { ptr::write($storage.as_ptr(), $value) };
        // SAFETY: the storage is owned here and now holds a valid value.
        unsafe { PoolBox::from_non_null($storage) }
    }};
}

/// As `filled`, or returns the value in the error if there is no storage.
macro_rules! try_filled {
    ($storage:expr, $value:ident) => {
        match $storage {
            Ok(storage) => Ok(filled!(storage, $value)),
            Err(failure) => Err(AllocError {
                failure,
                value: $value,
            }),
        }
    };
}

pub(super) use {filled, try_filled};

impl<T> PoolBox<T> {
    /// Moves a value into the default pool.
    ///
    /// Aborts the process, as `Box::new` does, if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(*PoolBox::new(7), 7);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn new(value: T) -> Self {
        match route::alloc_storage() {
            Some(storage) => filled!(storage, value),
            None => refused::<T>(),
        }
    }

    /// Moves the result of `make` into the default pool.
    ///
    /// The slot is allocated first, so that the compiler can let `make` construct the value in place. Release builds do
    /// so for values that fit in registers and for values whose bytes are all equal. Stable Rust cannot guarantee it
    /// for all values. A value that is too large for the stack needs [`new_zeroed`](Self::new_zeroed), or
    /// [`new_uninit`](Self::new_uninit) and writes to its parts.
    ///
    /// # Panics
    ///
    /// Panics if `make` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let table = PoolBox::new_with(|| [1_u32; 256]);
    /// assert_eq!(table[255], 1);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn new_with(make: impl FnOnce() -> T) -> Self {
        Self::new_uninit().fill_with(make)
    }

    /// Allocates an uninitialized slot in the default pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let slot = PoolBox::<String>::new_uninit();
    /// let text = PoolBox::write(slot, String::from("late"));
    /// assert_eq!(*text, "late");
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn new_uninit() -> PoolBox<MaybeUninit<T>> {
        match route::alloc_storage() {
            // SAFETY: the storage was just allocated for a `T`, and a `MaybeUninit` needs no valid contents.
            Some(storage) => unsafe { PoolBox::from_non_null(storage) },
            None => refused::<T>(),
        }
    }

    /// Allocates a slot in the default pool and fills it with zeros.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let zeroed = PoolBox::<[u64; 1000]>::new_zeroed();
    /// // SAFETY: zero is a valid `u64`.
    /// assert_eq!(unsafe { zeroed.assume_init() }[999], 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn new_zeroed() -> PoolBox<MaybeUninit<T>> {
        Self::new_uninit().zeroed()
    }

    /// Moves a value into the default pool and pins it.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    /// use std::future::Future;
    /// use std::pin::Pin;
    ///
    /// let future: Pin<PoolBox<_>> = PoolBox::pin(async { 7 });
    /// # fn is_future(_: impl Future<Output = i32>) {}
    /// # is_future(future);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn pin(value: T) -> Pin<Self> {
        Self::into_pin(Self::new(value))
    }

    /// Moves a value into the default pool, or returns it in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(*PoolBox::try_new(7)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline(always)]
    pub fn try_new(value: T) -> Result<Self, AllocError<T>> {
        try_filled!(route::try_alloc_storage(), value)
    }

    /// Moves the result of `make` into the default pool, or returns `make`, uncalled, in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Panics
    ///
    /// Panics if `make` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// match PoolBox::try_new_with(|| [7; 64]) {
    ///     Ok(sevens) => assert_eq!(sevens[63], 7),
    ///     Err(error) => assert_eq!(error.into_inner()()[63], 7),
    /// }
    /// ```
    #[inline]
    pub fn try_new_with<F: FnOnce() -> T>(make: F) -> Result<Self, AllocError<F>> {
        Self::try_fill_with(route::try_alloc_storage(), make)
    }

    /// Allocates an uninitialized slot in the default pool.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let slot = PoolBox::<i32>::try_new_uninit()?;
    /// assert_eq!(*PoolBox::write(slot, 7), 7);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    #[inline]
    pub fn try_new_uninit() -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        Self::try_slot(route::try_alloc_storage())
    }

    /// Allocates a slot in the default pool and fills it with zeros.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let zeroed = PoolBox::<u64>::try_new_zeroed()?;
    /// // SAFETY: zero is a valid `u64`.
    /// assert_eq!(*unsafe { zeroed.assume_init() }, 0);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    #[inline]
    pub fn try_new_zeroed() -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        Self::try_new_uninit().map(PoolBox::<MaybeUninit<T>>::zeroed)
    }

    /// Moves a value into the given pool: the same as [`SegmentPool::alloc`].
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::new();
    /// assert_eq!(*PoolBox::new_in(7, &pool), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn new_in(value: T, pool: &SegmentPool<T>) -> Self {
        pool.alloc(value)
    }

    /// Moves a value into the given pool, or returns it in the error: the same as [`SegmentPool::try_alloc`].
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::new();
    /// assert_eq!(*PoolBox::try_new_in(7, &pool)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline]
    pub fn try_new_in(value: T, pool: &SegmentPool<T>) -> Result<Self, AllocError<T>> {
        pool.try_alloc(value)
    }

    /// Allocates an uninitialized slot in the given pool: the same as [`SegmentPool::alloc_uninit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::<i32>::new();
    /// assert_eq!(*PoolBox::write(PoolBox::new_uninit_in(&pool), 7), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn new_uninit_in(pool: &SegmentPool<T>) -> PoolBox<MaybeUninit<T>> {
        pool.alloc_uninit()
    }

    /// Allocates a slot in the given pool and fills it with zeros.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::<u64>::new();
    /// // SAFETY: zero is a valid `u64`.
    /// assert_eq!(*unsafe { PoolBox::new_zeroed_in(&pool).assume_init() }, 0);
    /// ```
    #[inline]
    #[must_use]
    pub fn new_zeroed_in(pool: &SegmentPool<T>) -> PoolBox<MaybeUninit<T>> {
        pool.alloc_uninit().zeroed()
    }

    /// Allocates an uninitialized slot in the given pool: the same as [`SegmentPool::try_alloc_uninit`].
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::<i32>::new();
    /// assert_eq!(*PoolBox::write(PoolBox::try_new_uninit_in(&pool)?, 7), 7);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    #[inline]
    pub fn try_new_uninit_in(
        pool: &SegmentPool<T>,
    ) -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        pool.try_alloc_uninit()
    }

    /// Allocates a slot in the given pool and fills it with zeros.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::<u64>::new();
    /// let zeroed = PoolBox::try_new_zeroed_in(&pool)?;
    /// // SAFETY: zero is a valid `u64`.
    /// assert_eq!(*unsafe { zeroed.assume_init() }, 0);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    #[inline]
    pub fn try_new_zeroed_in(
        pool: &SegmentPool<T>,
    ) -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        pool.try_alloc_uninit()
            .map(PoolBox::<MaybeUninit<T>>::zeroed)
    }

    /// Moves a value into the given pool and pins it.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::new();
    /// assert_eq!(*PoolBox::pin_in(7, &pool), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn pin_in(value: T, pool: &SegmentPool<T>) -> Pin<Self> {
        Self::into_pin(pool.alloc(value))
    }

    /// Makes a box of the result of `make`, in the given storage.
    #[inline(always)]
    fn try_fill_with<F>(
        storage: Result<NonNull<T>, Failure>,
        make: F,
    ) -> Result<Self, AllocError<F>>
    where
        F: FnOnce() -> T,
    {
        match storage {
            // SAFETY: as in `try_slot`.
            Ok(storage) => Ok(
                unsafe { PoolBox::from_non_null(storage.cast::<MaybeUninit<T>>()) }.fill_with(make),
            ),
            Err(failure) => Err(AllocError::new(failure, make)),
        }
    }

    /// Makes a box of storage that was just allocated.
    #[inline(always)]
    fn try_slot(
        storage: Result<NonNull<T>, Failure>,
    ) -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        let storage = storage?;
        // SAFETY: the storage was just allocated for a `T`, and a `MaybeUninit` needs no valid contents.
        Ok(unsafe { PoolBox::from_non_null(storage.cast()) })
    }
}

#[cold]
fn refused<T>() -> ! {
    error::refused(Layout::new::<T>())
}

/// The end of an allocation that has no error to return.
#[cold]
#[track_caller]
fn failed<T>(failure: Failure) -> ! {
    match failure.reached {
        Some(_) => error::refused_at_bound(failure),
        None => refused::<T>(),
    }
}

impl<T> SegmentPool<T> {
    /// Moves a value into the pool.
    ///
    /// Aborts the process, as `Box::new` does, if the operating system has no memory.
    ///
    /// # Panics
    ///
    /// Panics if the pool has reached its limit. For a pool with a limit, use [`try_alloc`](Self::try_alloc),
    /// [`alloc_blocking`](Self::alloc_blocking) or [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(*pool.alloc("seven"), "seven");
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn alloc(&self, value: T) -> PoolBox<T> {
        match self.alloc_storage() {
            Ok(storage) => filled!(storage, value),
            Err(failure) => failed::<T>(failure),
        }
    }

    /// Moves the result of `make` into the pool, constructed in its slot as by [`PoolBox::new_with`].
    ///
    /// `make` may use the pool itself.
    ///
    /// # Panics
    ///
    /// Panics if `make` panics, in which case the slot is freed, or if the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(pool.alloc_with(|| [7; 64])[63], 7);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn alloc_with(&self, make: impl FnOnce() -> T) -> PoolBox<T> {
        self.alloc_uninit().fill_with(make)
    }

    /// Allocates an uninitialized slot in the pool.
    ///
    /// # Panics
    ///
    /// If the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::<i32>::new();
    /// assert_eq!(*PoolBox::write(pool.alloc_uninit(), 7), 7);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn alloc_uninit(&self) -> PoolBox<MaybeUninit<T>> {
        match self.alloc_storage() {
            // SAFETY: the storage was just allocated for a `T`, and a `MaybeUninit` needs no valid contents.
            Ok(storage) => unsafe { PoolBox::from_non_null(storage.cast()) },
            Err(failure) => failed::<T>(failure),
        }
    }

    /// Moves a value into the pool, or returns it in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory, or if the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(*pool.try_alloc(7)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline(always)]
    pub fn try_alloc(&self, value: T) -> Result<PoolBox<T>, AllocError<T>> {
        try_filled!(self.alloc_storage(), value)
    }

    /// Moves the result of `make` into the pool, or returns `make`, uncalled, in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory, or if the pool has reached its limit.
    ///
    /// # Panics
    ///
    /// Panics if `make` panics. The slot is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert!(pool.try_alloc_with(|| [7; 64]).is_ok());
    /// ```
    #[inline]
    pub fn try_alloc_with<F: FnOnce() -> T>(&self, make: F) -> Result<PoolBox<T>, AllocError<F>> {
        PoolBox::try_fill_with(self.alloc_storage(), make)
    }

    /// Allocates an uninitialized slot in the pool.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory, or if the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::<i32>::new();
    /// assert_eq!(*PoolBox::write(pool.try_alloc_uninit()?, 7), 7);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    #[inline]
    pub fn try_alloc_uninit(&self) -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        PoolBox::try_slot(self.alloc_storage())
    }
}

impl<T> LocalPool<'_, T> {
    /// Moves a value into the pool. As [`SegmentPool::alloc`], without the look-up of the current thread.
    ///
    /// Aborts the process if the operating system has no memory.
    ///
    /// # Panics
    ///
    /// Panics if the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(*pool.local().alloc("seven"), "seven");
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn alloc(&self, value: T) -> PoolBox<T> {
        match self.alloc_storage() {
            Ok(storage) => filled!(storage, value),
            Err(failure) => failed::<T>(failure),
        }
    }

    /// Moves a value into the pool, or returns it in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory, or if the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(*pool.local().try_alloc(7)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline(always)]
    pub fn try_alloc(&self, value: T) -> Result<PoolBox<T>, AllocError<T>> {
        try_filled!(self.alloc_storage(), value)
    }
}
