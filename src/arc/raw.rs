//! Conversions between shared handles and pointers; operations that both kinds of handle have.

use core::mem::{ManuallyDrop, offset_of};
use core::ptr::NonNull;

use super::{Counted, PoolArc, PoolWeak};
use crate::ground::pointer::layout_of;

impl<T: ?Sized> PoolArc<T> {
    /// Converts the handle into a raw pointer to the value. The handle still counts until the pointer is converted
    /// back.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let pointer = PoolArc::into_raw(PoolArc::new(7));
    /// // SAFETY: the pointer came from `into_raw` and is used once.
    /// assert_eq!(*unsafe { PoolArc::from_raw(pointer) }, 7);
    /// ```
    #[must_use = "the value is leaked unless a handle is made of the pointer"]
    pub fn into_raw(this: Self) -> *const T {
        ManuallyDrop::new(this).value()
    }

    /// Makes a handle from a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// * The pointer came from `into_raw` of a handle of this type, or of a handle from which it was cast or coerced.
    ///   In the latter case both value types have the same size and alignment.
    /// * It is that pointer or a copy of it. A pointer made from a reference to the value has no provenance for the
    ///   count.
    /// * No other handle is made from it.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let pointer: *const [u8; 2] = PoolArc::into_raw(PoolArc::new([1, 2]));
    /// // SAFETY: the pointer came from `into_raw`, was coerced to a slice of the same size, and is used once.
    /// let slice: PoolArc<[u8]> = unsafe { PoolArc::from_raw(pointer) };
    /// assert_eq!(*slice, [1, 2]);
    /// ```
    #[must_use = "the handle is given up at once"]
    pub unsafe fn from_raw(value: *const T) -> Self {
        // SAFETY: guaranteed by the caller.
        let counted = unsafe { counted_of(value) };
        // SAFETY: the handle that was converted into the pointer still counts, and this is it.
        unsafe { Self::from_counted(counted) }
    }

    /// Increments the strong count, given a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// As for [`from_raw`](Self::from_raw). Afterwards, two handles may be made from the pointer.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let pointer = PoolArc::into_raw(PoolArc::new(7));
    /// // SAFETY: the pointer came from `into_raw`, and the incremented count is released.
    /// unsafe {
    ///     PoolArc::increment_strong_count(pointer);
    ///     PoolArc::decrement_strong_count(pointer);
    ///     PoolArc::decrement_strong_count(pointer);
    /// }
    /// ```
    pub unsafe fn increment_strong_count(value: *const T) {
        // SAFETY: guaranteed by the caller.
        let handle = ManuallyDrop::new(unsafe { Self::from_raw(value) });
        handle.count().add_strong();
    }

    /// Decrements the strong count, given a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// As for [`from_raw`](Self::from_raw).
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let pointer = PoolArc::into_raw(PoolArc::clone(&seven));
    /// assert_eq!(PoolArc::strong_count(&seven), 2);
    /// // SAFETY: the pointer came from `into_raw`, and its handle is released.
    /// unsafe { PoolArc::decrement_strong_count(pointer) };
    /// assert_eq!(PoolArc::strong_count(&seven), 1);
    /// ```
    pub unsafe fn decrement_strong_count(value: *const T) {
        // SAFETY: guaranteed by the caller.
        drop(unsafe { Self::from_raw(value) });
    }

    /// Returns the value's address as a pointer for reading, valid while a handle lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// assert_eq!(PoolArc::as_ptr(&seven), PoolArc::as_ptr(&seven.clone()));
    /// ```
    #[inline]
    #[must_use]
    pub fn as_ptr(this: &Self) -> *const T {
        this.value()
    }

    /// Whether both are handles to the same value.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// assert!(PoolArc::ptr_eq(&seven, &seven.clone()));
    /// assert!(!PoolArc::ptr_eq(&seven, &PoolArc::new(7)));
    /// ```
    #[inline]
    #[must_use]
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.counted.addr() == other.counted.addr()
    }

    /// Makes a weak handle, which does not keep the value alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let weak = PoolArc::downgrade(&seven);
    /// assert_eq!(weak.upgrade().as_deref(), Some(&7));
    /// drop(seven);
    /// assert!(weak.upgrade().is_none());
    /// ```
    #[inline]
    #[must_use = "a handle that is dropped at once does nothing"]
    pub fn downgrade(this: &Self) -> PoolWeak<T> {
        this.count().add_weak();
        PoolWeak::from_counted(this.counted)
    }

    /// Returns the number of strong handles. Other threads may change it at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let _other = PoolArc::clone(&seven);
    /// assert_eq!(PoolArc::strong_count(&seven), 2);
    /// ```
    #[must_use]
    pub fn strong_count(this: &Self) -> usize {
        this.count().strong()
    }

    /// Returns the number of weak handles. Other threads may change it at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let _weak = PoolArc::downgrade(&seven);
    /// assert_eq!(PoolArc::weak_count(&seven), 1);
    /// ```
    #[must_use]
    pub fn weak_count(this: &Self) -> usize {
        this.count().weak()
    }
}

/// Returns the slot that contains a value.
///
/// # Safety
///
/// A handle to the value exists, and the pointer has the provenance of its slot. The value may already be dropped.
pub(super) unsafe fn counted_of<T: ?Sized>(value: *const T) -> NonNull<Counted<T>> {
    // SAFETY: the handle keeps the memory alive. It holds the value, or the bytes of the dropped value with the same
    // metadata.
    let align = unsafe { layout_of(value) }.align();
    let offset = offset_of!(Counted<()>, value).next_multiple_of(align);
    // SAFETY: the count is at this distance before the value, in the same slot.
    let counted = unsafe { value.byte_sub(offset) } as *mut Counted<T>;
    // SAFETY: the pointer is into a slot, so it is not null.
    unsafe { NonNull::new_unchecked(counted) }
}
