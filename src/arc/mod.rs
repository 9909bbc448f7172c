//! `PoolArc<T>` and `PoolWeak<T>`: values with several owners, in the same slots as boxes.
//!
//! ```text
//! PoolArc --> | RefCount | value |      one slot; the value's offset is the count's size rounded up to its alignment
//! ```
//!
//! A handle is a pointer to the whole slot, with its provenance. `refcount` alone counts the handles, and decides which
//! handle drops the value and which frees the slot. The result is a [`Rest`]: a guard that exists before user code
//! runs, so that the slot is freed even if a destructor panics.

use core::marker::PhantomData;
use core::ops::Deref;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::NonNull;

use crate::boxed::Vacant;
use crate::ground::pointer::layout_of;
use crate::ground::refcount::{Left, RefCount};

mod constructors;
mod convert;
mod raw;
mod unique;
mod weak;

pub use self::weak::PoolWeak;

/// A pointer to a value in a pool that several owners share, on any threads. It is used like `Arc`.
///
/// # Guarantees
///
/// * A handle is as large as a pointer to `T`, and so is `Option<PoolArc<T>>`. In its slot a value takes 8 bytes more,
///   rounded up to its alignment. (An `Arc` takes two words more.)
/// * The value does not move until the last handle is dropped or the value is taken out.
/// * A handle is `Send` and `Sync` if `T` is both. It is covariant in `T`. Any thread may clone and drop handles.
/// * The thread that drops the last [`PoolArc`] drops the value. The slot is freed with the last handle of either kind,
///   as that of a [`PoolBox`](crate::PoolBox) is, even if the value's `Drop` panics.
/// * A handle is valid until it is dropped: after the thread that made it has ended, after its pool was dropped, and
///   inside destructors of thread-local values.
/// * If a value has 2^31 handles of one kind and gets another, the process aborts. (All strong handles together count
///   as one weak handle.) Only leaked handles can reach this number.
/// * Cloning or dropping a handle takes one atomic read-modify-write. Dropping the last [`PoolArc`] of a value that has
///   a [`PoolWeak`] takes two. No operation waits for another thread.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolArc;
///
/// let names = PoolArc::new(vec!["Ada", "Grace"]);
/// let worker = std::thread::spawn({
///     let names = PoolArc::clone(&names);
///     move || names.len()
/// });
/// assert_eq!(worker.join().unwrap(), names.len());
/// ```
pub struct PoolArc<T: ?Sized> {
    counted: NonNull<Counted<T>>,
    owns: PhantomData<Counted<T>>,
}

/// The contents of the slot of a [`PoolArc`]: a value and its count. A [`SegmentPool`](crate::SegmentPool) for such
/// values has this type.
///
/// # Examples
///
/// ```
/// use segment_pool::{Counted, PoolArc, SegmentPool};
///
/// static ORDERS: SegmentPool<Counted<String>> = SegmentPool::new();
///
/// let order = PoolArc::new_in(String::from("one of each"), &ORDERS);
/// assert_eq!(ORDERS.stats().allocations, 1);
/// # drop(order);
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct Counted<T: ?Sized> {
    count: RefCount,
    value: T,
}

// SAFETY:
// * any handle may be sent to another thread, and then two threads have `&T`: so `T: Sync`;
// * the last handle, on any thread, drops the value: so `T: Send`;
// * the count is atomic, and any thread may free the slot.
unsafe impl<T: ?Sized + Send + Sync> Send for PoolArc<T> {}

// SAFETY: as for `Send`, because a shared handle can be cloned.
unsafe impl<T: ?Sized + Send + Sync> Sync for PoolArc<T> {}

impl<T: ?Sized> Unpin for PoolArc<T> {}

/// As for an `Arc`.
impl<T: ?Sized + RefUnwindSafe> UnwindSafe for PoolArc<T> {}

impl<T: ?Sized> PoolArc<T> {
    /// # Safety
    ///
    /// The caller owns one strong handle's share of the count, and passes it on.
    #[inline(always)]
    pub(crate) unsafe fn from_counted(counted: NonNull<Counted<T>>) -> Self {
        Self {
            counted,
            owns: PhantomData,
        }
    }

    #[inline(always)]
    fn count(&self) -> &RefCount {
        // SAFETY: the handle keeps the slot alive, and the count is never borrowed mutably.
        unsafe { &(*self.counted.as_ptr()).count }
    }

    /// Returns a pointer to the value, with the provenance of the slot.
    #[inline(always)]
    fn value(&self) -> *mut T {
        // SAFETY: the handle keeps the slot alive. No reference is made.
        unsafe { &raw mut (*self.counted.as_ptr()).value }
    }

    /// Drops the value, and then releases the rest.
    ///
    /// # Safety
    ///
    /// The count was decremented for this handle, with the result `left`, and the handle is not used again.
    #[inline(never)]
    unsafe fn drop_value(&self, left: Left) {
        // SAFETY: guaranteed by the caller.
        let _rest = unsafe { Rest::of(self.counted, left) };
        // SAFETY: the last strong handle owned the value. If the destructor panics, the rest is still released.
        unsafe { self.value().drop_in_place() };
    }
}

/// The resource that is released after the value: the slot, or the weak handle that all strong handles share.
#[expect(dead_code, reason = "what counts is how they drop")]
enum Rest<T: ?Sized> {
    Slot(Vacant),
    Weak(PoolWeak<T>),
}

impl<T: ?Sized> Rest<T> {
    /// # Safety
    ///
    /// The count was decremented for a strong handle to `counted`, with the result `left`, which is not `Left::Strong`.
    /// The caller acts for all strong handles: it makes only one `Rest`, and does not use the memory after the `Rest`
    /// is dropped.
    unsafe fn of(counted: NonNull<Counted<T>>, left: Left) -> Self {
        match left {
            // SAFETY: no other handle exists.
            Left::Nobody => Self::Slot(unsafe { Counted::vacate(counted) }),
            Left::Weak | Left::Strong => Self::Weak(PoolWeak::from_counted(counted)),
        }
    }
}

impl<T: ?Sized> Counted<T> {
    /// Returns the slot as storage without a value.
    ///
    /// # Safety
    ///
    /// No handle exists, and only the caller will use the memory. The value may already be dropped.
    unsafe fn vacate(counted: NonNull<Self>) -> Vacant {
        // SAFETY: the caller owns the memory. It held a value, and still holds the count.
        let layout = unsafe { layout_of(counted.as_ptr()) };
        Vacant(counted.cast(), layout)
    }
}

impl<T: ?Sized> Drop for PoolArc<T> {
    #[inline]
    fn drop(&mut self) {
        let left = self.count().drop_strong();
        if left != Left::Strong {
            // SAFETY: the count was decremented for this handle, which is not used again.
            unsafe { self.drop_value(left) }
        }
    }
}

impl<T: ?Sized> Clone for PoolArc<T> {
    /// Makes another handle to the same value.
    #[inline]
    fn clone(&self) -> Self {
        self.count().add_strong();
        // SAFETY: the count was just incremented for this handle.
        unsafe { Self::from_counted(self.counted) }
    }
}

impl<T: ?Sized> Deref for PoolArc<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a strong handle keeps the value alive, and the value is borrowed mutably only while one handle
        // exists.
        unsafe { &*self.value() }
    }
}

static_assertions::assert_eq_size!(PoolArc<u8>, Option<PoolArc<u8>>, usize);
static_assertions::assert_eq_size!(PoolWeak<u8>, Option<PoolWeak<u8>>, usize);
static_assertions::assert_eq_size!(Counted<u64>, [u64; 2]);
