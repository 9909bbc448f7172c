//! Constructors of shared values, from values and closures, in the default pool or in a given one.

use core::mem;
use core::pin::Pin;
use core::ptr::NonNull;

use super::{Counted, PoolArc, PoolWeak};
use crate::boxed::PoolBox;
use crate::ground::error::AllocError;
use crate::ground::refcount::RefCount;
use crate::pool::SegmentPool;

impl<T> Counted<T> {
    #[inline(always)]
    pub(super) fn new(value: T) -> Self {
        Self {
            count: RefCount::one_strong(),
            value,
        }
    }
}

impl<T> PoolArc<T> {
    /// Moves a value into the default pool and makes its first handle.
    ///
    /// Aborts the process, as `Arc::new` does, if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// assert_eq!(*PoolArc::new(7), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self::of(PoolBox::new(Counted::new(value)))
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
    /// use segment_pool::PoolArc;
    ///
    /// assert_eq!(*PoolArc::try_new(7)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline]
    pub fn try_new(value: T) -> Result<Self, AllocError<T>> {
        let counted = PoolBox::try_new(Counted::new(value));
        counted.map(Self::of).map_err(Self::uncounted)
    }

    /// Moves a value into the default pool and pins it.
    ///
    /// An existing handle cannot be pinned: earlier clones of it could move the value after the pinned handle is
    /// dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// assert_eq!(*PoolArc::pin(7), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn pin(value: T) -> Pin<Self> {
        // SAFETY: all handles of this value are clones of this one, so all are pinned.
        unsafe { Pin::new_unchecked(Self::new(value)) }
    }

    /// Moves a value into the given pool, whose type is [`Counted`].
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{Counted, PoolArc, SegmentPool};
    ///
    /// let pool = SegmentPool::<Counted<i32>>::new();
    /// assert_eq!(*PoolArc::new_in(7, &pool), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn new_in(value: T, pool: &SegmentPool<Counted<T>>) -> Self {
        Self::of(pool.alloc(Counted::new(value)))
    }

    /// Moves a value into the given pool, or returns it in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{Counted, PoolArc, SegmentPool};
    ///
    /// let pool = SegmentPool::<Counted<i32>>::new();
    /// assert_eq!(*PoolArc::try_new_in(7, &pool)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline]
    pub fn try_new_in(value: T, pool: &SegmentPool<Counted<T>>) -> Result<Self, AllocError<T>> {
        let counted = pool.try_alloc(Counted::new(value));
        counted.map(Self::of).map_err(Self::uncounted)
    }

    /// Makes a value that contains a weak handle to itself.
    ///
    /// `make` gets the weak handle, and may clone and keep it. The handle can be upgraded only after `make` has
    /// returned.
    ///
    /// # Panics
    ///
    /// Panics if `make` panics. The slot is freed with the last clone of the weak handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolArc, PoolWeak};
    ///
    /// struct Node {
    ///     myself: PoolWeak<Node>,
    /// }
    /// let node = PoolArc::new_cyclic(|myself| Node { myself: myself.clone() });
    /// assert!(PoolArc::ptr_eq(&node, &node.myself.upgrade().unwrap()));
    /// ```
    #[must_use]
    pub fn new_cyclic(make: impl FnOnce(&PoolWeak<T>) -> T) -> Self {
        let slot: NonNull<Counted<T>> =
            PoolBox::into_non_null(PoolBox::<Counted<T>>::new_uninit()).cast();
        let counted = slot.as_ptr();
        // SAFETY: the slot was just allocated, and only this function uses it. No reference to the value is made.
        let count = unsafe { &raw mut (*counted).count };
        // SAFETY: the place is in this slot, and nothing else uses it yet.
        unsafe { count.write(RefCount::one_weak()) };
        let weak = PoolWeak::from_counted(slot);
        let value = make(&weak);
        // SAFETY: the weak handle keeps the slot. No strong handle exists, so no other code accesses the value.
        let place = unsafe { &raw mut (*counted).value };
        // SAFETY: the place is in this slot and holds no value yet.
        unsafe { place.write(value) };
        weak.count().expect("made above").publish();
        mem::forget(weak);
        // SAFETY: `publish` set the count to one strong handle, and this is it.
        unsafe { Self::from_counted(slot) }
    }

    #[inline(always)]
    pub(super) fn of(counted: PoolBox<Counted<T>>) -> Self {
        // SAFETY: the count is one strong handle, and this is it.
        unsafe { Self::from_counted(PoolBox::into_non_null(counted)) }
    }

    #[cold]
    fn uncounted(error: AllocError<Counted<T>>) -> AllocError<T> {
        AllocError::new(error.failure, error.value.value)
    }
}
