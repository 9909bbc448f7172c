//! Boxes from values, closures, and nothing: in the default pool, or in a given one.
//!
//! `new` and `alloc` are the fast paths. A constructor that runs a closure holds its slot as a box of `MaybeUninit`
//! meanwhile, so that a panic frees the slot.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::ptr::{self, NonNull};

use super::PoolBox;
use crate::ground::error::{self, AllocError, AllocErrorKind};
use crate::pool::local::LocalPool;
use crate::pool::{SegmentPool, route};

/// A box of a value in storage, which was just taken for it.
///
/// This and `try_filled` are macros for the sake of unoptimised programs: each function that is handed a value by value copies it
/// there, and five copies of a large one overflow a stack that has room for two.
macro_rules! filled {
    ($storage:ident, $value:ident) => {{
        // SAFETY: the storage was just taken for such a value.
        unsafe { ptr::write($storage.as_ptr(), $value) };
        // SAFETY: the storage is the caller's, and holds a value now.
        unsafe { PoolBox::from_non_null($storage) }
    }};
}

/// The same, or the value in the error if there is no storage.
macro_rules! try_filled {
    ($storage:expr, $value:ident) => {
        match $storage {
            Ok(storage) => Ok(filled!(storage, $value)),
            Err(kind) => Err(AllocError {
                kind,
                value: $value,
            }),
        }
    };
}

impl<T> PoolBox<T> {
    /// Puts a value in the default pool.
    ///
    /// Aborts the process, as `Box::new` does, when the operating system refuses memory.
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

    /// Puts what `make` returns in the default pool.
    ///
    /// The slot is taken first, so that the compiler may let `make` construct the value in it. In release builds it does
    /// for values it can keep in registers and for those whose bytes are all the same. No stable Rust can make it do so
    /// for all: a value too large for the stack needs [`new_zeroed`](Self::new_zeroed), or
    /// [`new_uninit`](Self::new_uninit) and writing it part by part.
    ///
    /// # Panics
    ///
    /// If `make` does; the slot is free then.
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

    /// Takes a slot of the default pool for a value that is to come.
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
            // SAFETY: the storage was just taken for a `T`, and nothing need be valid in it.
            Some(storage) => unsafe { PoolBox::from_non_null(storage) },
            None => refused::<T>(),
        }
    }

    /// Takes a slot of the default pool and sets its bytes to zero.
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

    /// Puts a value in the default pool and pins it there.
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

    /// Puts a value in the default pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Puts what `make` returns in the default pool, or gives `make` back, not called, in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
    ///
    /// # Panics
    ///
    /// If `make` does; the slot is free then.
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

    /// Takes a slot of the default pool for a value that is to come.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Takes a slot of the default pool and sets its bytes to zero.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Puts a value in the given pool: the same as [`SegmentPool::alloc`].
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

    /// Puts a value in the given pool, or gives it back in the error: the same as [`SegmentPool::try_alloc`].
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Takes a slot of the given pool for a value that is to come: the same as [`SegmentPool::alloc_uninit`].
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

    /// Takes a slot of the given pool and sets its bytes to zero.
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

    /// Takes a slot of the given pool for a value that is to come: the same as [`SegmentPool::try_alloc_uninit`].
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Takes a slot of the given pool and sets its bytes to zero.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Puts a value in the given pool and pins it there.
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

    /// A box of what `make` returns, in storage fresh from a pool.
    #[inline(always)]
    fn try_fill_with<F>(
        storage: Result<NonNull<T>, AllocErrorKind>,
        make: F,
    ) -> Result<Self, AllocError<F>>
    where
        F: FnOnce() -> T,
    {
        match Self::try_slot(storage) {
            Ok(slot) => Ok(slot.fill_with(make)),
            Err(kind) => Err(AllocError::new(kind, make)),
        }
    }

    /// A box of storage fresh from a pool.
    #[inline(always)]
    fn try_slot(
        storage: Result<NonNull<T>, AllocErrorKind>,
    ) -> Result<PoolBox<MaybeUninit<T>>, AllocErrorKind> {
        let storage = storage?;
        // SAFETY: the storage was just taken for a `T`, and nothing need be valid in it.
        Ok(unsafe { PoolBox::from_non_null(storage.cast()) })
    }
}

#[cold]
fn refused<T>() -> ! {
    error::refused(Layout::new::<T>())
}

impl<T> SegmentPool<T> {
    /// Puts a value in the pool.
    ///
    /// Aborts the process, as `Box::new` does, when the operating system refuses memory; also when the pool has
    /// reached its limit, so a limited pool wants the form that starts with `try_`.
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
            Some(storage) => filled!(storage, value),
            None => refused::<T>(),
        }
    }

    /// Puts what `make` returns in the pool, constructed in its slot as [`PoolBox::new_with`] does.
    ///
    /// `make` may use the pool itself.
    ///
    /// # Panics
    ///
    /// If `make` does; the slot is free then.
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

    /// Takes a slot of the pool for a value that is to come.
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
            // SAFETY: the storage was just taken for a `T`, and nothing need be valid in it.
            Some(storage) => unsafe { PoolBox::from_non_null(storage.cast()) },
            None => refused::<T>(),
        }
    }

    /// Puts a value in the pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, or the pool has reached its limit.
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
        try_filled!(self.try_alloc_storage(), value)
    }

    /// Puts what `make` returns in the pool, or gives `make` back, not called, in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, or the pool has reached its limit.
    ///
    /// # Panics
    ///
    /// If `make` does; the slot is free then.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert!(pool.try_alloc_with(|| [7; 64]).is_ok());
    /// ```
    #[inline]
    pub fn try_alloc_with<F: FnOnce() -> T>(&self, make: F) -> Result<PoolBox<T>, AllocError<F>> {
        PoolBox::try_fill_with(self.try_alloc_storage(), make)
    }

    /// Takes a slot of the pool for a value that is to come.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, or the pool has reached its limit.
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
        PoolBox::try_slot(self.try_alloc_storage())
    }
}

impl<T> LocalPool<'_, T> {
    /// Puts a value in the pool: as [`SegmentPool::alloc`], without a look at the thread.
    ///
    /// Aborts the process when the system has no memory or the pool has reached its limit.
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
            Some(storage) => filled!(storage, value),
            None => refused::<T>(),
        }
    }

    /// Puts a value in the pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, or the pool has reached its limit.
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
        try_filled!(self.try_alloc_storage(), value)
    }
}
