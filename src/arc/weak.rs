//! Handles that do not keep the value.

use core::fmt;
use core::mem::ManuallyDrop;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::{self, NonNull};

use super::raw::counted_of;
use super::{Counted, PoolArc};
use crate::ground::refcount::RefCount;

/// A handle to a value of [`PoolArc`]s that does not keep it: used like `sync::Weak`.
///
/// It keeps the slot, 8 bytes and the value's size, until it is dropped. As large as a [`PoolArc`], and `Send` and
/// `Sync` exactly if that is.
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
    /// To nothing, if the address is the last there is.
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
    /// A handle to nothing, which takes no memory.
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
            // SAFETY: not null.
            counted: unsafe { NonNull::new_unchecked(ptr::without_provenance_mut(usize::MAX)) },
        }
    }
}

impl<T: ?Sized> PoolWeak<T> {
    /// A weak handle was counted for it.
    #[inline(always)]
    pub(crate) fn from_counted(counted: NonNull<Counted<T>>) -> Self {
        Self { counted }
    }

    #[inline(always)]
    pub(crate) fn into_counted(self) -> NonNull<Counted<T>> {
        ManuallyDrop::new(self).counted
    }

    /// `None` of a handle to nothing.
    #[inline]
    pub(super) fn count(&self) -> Option<&RefCount> {
        if is_nowhere(self.counted.as_ptr()) {
            return None;
        }
        // SAFETY: the handle keeps the slot, and the count is never borrowed mutably. The value is not touched.
        Some(unsafe { &(*self.counted.as_ptr()).count })
    }

    /// A handle that keeps the value, if it is still there.
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
            // SAFETY: counted just now.
            Some(unsafe { PoolArc::from_counted(self.counted) })
        } else {
            None
        }
    }

    /// How many strong handles there are. Other threads may change it at any time.
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

    /// How many weak handles there are, or 0 if the value is gone. Other threads may change it at any time.
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

    /// Whether both are handles to the same slot, or both to nothing.
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

    /// The value's address. It points to a value only while there is a strong handle.
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
        // SAFETY: the handle keeps the slot. No reference is made.
        unsafe { &raw const (*counted).value }
    }

    /// Gives the pointer away. The handle counts until one is made of the pointer again.
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

    /// Makes a handle of a pointer that [`into_raw`](Self::into_raw) gave.
    ///
    /// # Safety
    ///
    /// * The pointer came from `into_raw` of a handle of this type, or of one that it was cast or coerced from and whose
    ///   value has the same size and alignment.
    /// * It is that very pointer, or a copy of it.
    /// * No other handle is made of it.
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
            // SAFETY: not null.
            let counted = unsafe { NonNull::new_unchecked(pointer as *mut Counted<T>) };
            return Self::from_counted(counted);
        }
        // SAFETY: guaranteed by the caller.
        Self::from_counted(unsafe { counted_of(pointer) })
    }
}

/// Whether a pointer is that of `PoolWeak::new`.
fn is_nowhere<T: ?Sized>(pointer: *const T) -> bool {
    pointer.cast::<()>().addr() == usize::MAX
}

impl<T: ?Sized> Drop for PoolWeak<T> {
    fn drop(&mut self) {
        if self.count().is_some_and(RefCount::drop_weak) {
            // SAFETY: the last handle of all was given up just now.
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
    /// A handle to nothing.
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> fmt::Debug for PoolWeak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(PoolWeak)")
    }
}
