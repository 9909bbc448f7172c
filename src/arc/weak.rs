//! Handles that do not keep the value alive.

use core::fmt;
use core::mem::ManuallyDrop;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::{self, NonNull};

use super::raw::counted_of;
use super::{Counted, PoolArc};
use crate::ground::refcount::RefCount;

/// A handle to the value of a [`PoolArc`] that does not keep the value alive. It is used like `sync::Weak`.
///
/// It keeps the slot in use (8 bytes and the value's size) until it is dropped. It is as large as a [`PoolArc`], and
/// `Send` and `Sync` exactly if that is.
///
/// # Examples
///
/// ```
/// use segment_pool::{PoolArc, PoolWeak};
///
/// let seven = PoolArc::new(7);
/// let weak: PoolWeak<i32> = PoolArc::downgrade(&seven);
/// assert_eq!(weak.upgrade().as_deref(), Some(&7));
/// ```
pub struct PoolWeak<T: ?Sized> {
    /// The last address of the address space marks a handle without a value.
    counted: NonNull<Counted<T>>,
}

// SAFETY: as for `PoolArc`, which it can be upgraded to.
unsafe impl<T: ?Sized + Send + Sync> Send for PoolWeak<T> {}

// SAFETY: as for `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for PoolWeak<T> {}

impl<T: ?Sized> Unpin for PoolWeak<T> {}

/// As for a `sync::Weak`.
impl<T: ?Sized + RefUnwindSafe> UnwindSafe for PoolWeak<T> {}

impl<T> PoolWeak<T> {
    /// Makes a handle without a value, which takes no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolWeak;
    ///
    /// assert!(PoolWeak::<i32>::new().upgrade().is_none());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            // SAFETY: the address is not zero.
            counted: unsafe { NonNull::new_unchecked(ptr::without_provenance_mut(usize::MAX)) },
        }
    }
}

impl<T: ?Sized> PoolWeak<T> {
    /// The count includes a weak handle for the result.
    #[inline(always)]
    pub(crate) fn from_counted(counted: NonNull<Counted<T>>) -> Self {
        Self { counted }
    }

    #[inline(always)]
    pub(crate) fn into_counted(self) -> NonNull<Counted<T>> {
        ManuallyDrop::new(self).counted
    }

    /// Returns `None` for a handle without a value.
    #[inline]
    pub(super) fn count(&self) -> Option<&RefCount> {
        if is_nowhere(self.counted.as_ptr()) {
            return None;
        }
        // SAFETY: the handle keeps the slot alive, and the count is never borrowed mutably. The value is not accessed.
        Some(unsafe { &(*self.counted.as_ptr()).count })
    }

    /// Makes a strong handle, if the value is still alive.
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
    /// assert_eq!(weak.upgrade(), None);
    /// ```
    #[must_use = "a handle that is dropped at once does nothing"]
    pub fn upgrade(&self) -> Option<PoolArc<T>> {
        if self.count()?.upgrade() {
            // SAFETY: the count was just incremented for this handle.
            Some(unsafe { PoolArc::from_counted(self.counted) })
        } else {
            None
        }
    }

    /// Returns the number of strong handles. Other threads may change it at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolArc, PoolWeak};
    ///
    /// let seven = PoolArc::new(7);
    /// assert_eq!(PoolArc::downgrade(&seven).strong_count(), 1);
    /// assert_eq!(PoolWeak::<i32>::new().strong_count(), 0);
    /// ```
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.count().map_or(0, RefCount::strong)
    }

    /// Returns the number of weak handles, or 0 if the value was dropped. Other threads may change it at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// let weak = PoolArc::downgrade(&seven);
    /// assert_eq!(weak.weak_count(), 1);
    /// drop(seven);
    /// assert_eq!(weak.weak_count(), 0);
    /// ```
    #[must_use]
    pub fn weak_count(&self) -> usize {
        let counted = self.count().filter(|count| count.strong() > 0);
        counted.map_or(0, RefCount::weak)
    }

    /// Whether both are handles to the same slot, or both without a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolArc, PoolWeak};
    ///
    /// let weak = PoolArc::downgrade(&PoolArc::new(7));
    /// assert!(weak.ptr_eq(&weak.clone()));
    /// assert!(!weak.ptr_eq(&PoolWeak::new()));
    /// ```
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.counted.addr() == other.counted.addr()
    }

    /// Returns the value's address. The value there is valid only while a strong handle exists.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolArc;
    ///
    /// let seven = PoolArc::new(7);
    /// assert_eq!(PoolArc::downgrade(&seven).as_ptr(), PoolArc::as_ptr(&seven));
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *const T {
        let counted = self.counted.as_ptr();
        if is_nowhere(counted) {
            return counted as *const T;
        }
        // SAFETY: the handle keeps the slot alive. No reference is made.
        unsafe { &raw const (*counted).value }
    }

    /// Converts the handle into a raw pointer. The handle still counts until the pointer is converted back.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolArc, PoolWeak};
    ///
    /// let seven = PoolArc::new(7);
    /// let pointer = PoolArc::downgrade(&seven).into_raw();
    /// // SAFETY: the pointer came from `into_raw` and is used once.
    /// let weak = unsafe { PoolWeak::from_raw(pointer) };
    /// assert_eq!(weak.upgrade(), Some(seven));
    /// ```
    #[must_use = "the slot is leaked unless a handle is made of the pointer"]
    pub fn into_raw(self) -> *const T {
        ManuallyDrop::new(self).as_ptr()
    }

    /// Makes a handle from a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// * The pointer came from `into_raw` of a handle of this type, or of a handle from which it was cast or coerced.
    ///   In the latter case both value types have the same size and alignment.
    /// * It is that pointer or a copy of it.
    /// * No other handle is made from it.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolArc, PoolWeak};
    ///
    /// let seven = PoolArc::new(7);
    /// let pointer: *const i32 = PoolArc::downgrade(&seven).into_raw();
    /// // SAFETY: the pointer came from `into_raw` and is used once.
    /// let weak = unsafe { PoolWeak::from_raw(pointer) };
    /// drop(seven);
    /// assert_eq!(weak.upgrade(), None);
    /// ```
    #[must_use = "the handle is given up at once"]
    pub unsafe fn from_raw(pointer: *const T) -> Self {
        if is_nowhere(pointer) {
            // SAFETY: this is the pointer of a handle without a value, which is not null.
            let counted = unsafe { NonNull::new_unchecked(pointer as *mut Counted<T>) };
            return Self::from_counted(counted);
        }
        // SAFETY: guaranteed by the caller.
        Self::from_counted(unsafe { counted_of(pointer) })
    }
}

/// Whether a pointer is that of a handle without a value.
fn is_nowhere<T: ?Sized>(pointer: *const T) -> bool {
    pointer.cast::<()>().addr() == usize::MAX
}

impl<T: ?Sized> Drop for PoolWeak<T> {
    fn drop(&mut self) {
        if self.count().is_some_and(RefCount::drop_weak) {
            // SAFETY: this was the last handle of either kind, and its count was just decremented.
            drop(unsafe { Counted::vacate(self.counted) });
        }
    }
}

impl<T: ?Sized> Clone for PoolWeak<T> {
    fn clone(&self) -> Self {
        if let Some(count) = self.count() {
            count.add_weak();
        }
        Self::from_counted(self.counted)
    }
}

impl<T> Default for PoolWeak<T> {
    /// Makes a handle without a value.
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> fmt::Debug for PoolWeak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(PoolWeak)")
    }
}
