//! Shared values from values and closures: in the default pool, or in a given one.

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
    /// Puts a value in the default pool, with one owner.
    ///
    /// Aborts the process, as `Arc::new` does, when the operating system refuses memory.
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

    /// Puts a value in the default pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Puts a value in the default pool and pins it there.
    ///
    /// A handle there is cannot be pinned: others, cloned of it before, could move the value when it is gone.
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
        // SAFETY: all handles there will be are pinned, as they are clones of this one.
        unsafe { Pin::new_unchecked(Self::new(value)) }
    }

    /// Puts a value in the given pool, which is one for values with a count.
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

    /// Puts a value in the given pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
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

    /// Makes a value that has a weak handle to itself.
    ///
    /// `make` gets the handle, which it may clone and keep; it can be upgraded only when the value is there.
    ///
    /// # Panics
    ///
    /// If `make` does; the slot is freed with the last clone of the handle then.
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
        // SAFETY: the slot is this function's. No reference to the value is made.
        let count = unsafe { &raw mut (*counted).count };
        // SAFETY: as above.
        unsafe { count.write(RefCount::one_weak()) };
        let weak = PoolWeak::from_counted(slot);
        let value = make(&weak);
        // SAFETY: the handle keeps the slot. Nobody has a strong one, so nobody looks at the value.
        let place = unsafe { &raw mut (*counted).value };
        // SAFETY: as above.
        unsafe { place.write(value) };
        weak.count().expect("made above").publish();
        mem::forget(weak);
        // SAFETY: published with one strong handle, which is this one.
        unsafe { Self::from_counted(slot) }
    }

    #[inline(always)]
    pub(super) fn of(counted: PoolBox<Counted<T>>) -> Self {
        // SAFETY: the count says one strong handle, which is this one.
        unsafe { Self::from_counted(PoolBox::into_non_null(counted)) }
    }

    #[cold]
    fn uncounted(error: AllocError<Counted<T>>) -> AllocError<T> {
        AllocError::new(error.kind(), error.into_inner().value)
    }
}
