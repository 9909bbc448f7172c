//! `PoolArc<T>` and `PoolWeak<T>`: values with several owners, in the slots that boxes live in.
//!
//! ```text
//! PoolArc --> | RefCount | value |      one slot; the value's offset is the count's size rounded up to its alignment
//! ```
//!
//! A handle is a pointer to the whole, with the provenance of the slot. How many handles there are, and who drops and
//! frees what, is decided in `refcount` and nowhere else. What follows from it is a [`Rest`]: a guard that is made
//! before user code runs, so that a panicking destructor frees the slot all the same.

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

/// A pointer to a value in a pool that has several owners, on any threads: used like `Arc`.
///
/// # Guarantees
///
/// * As large as a pointer to `T`, and so is `Option<PoolArc<T>>`. In its slot a value takes 8 bytes more (an `Arc` takes
///   two words), rounded up to its alignment.
/// * The value does not move until the last handle is dropped, or the value is taken out.
/// * `Send` and `Sync` if `T` is both; covariant in `T`. Handles may be cloned and dropped on any thread.
/// * The value is dropped with the last [`PoolArc`], by the thread that drops it; the slot is freed with the last handle of
///   either kind, and goes home as that of a [`PoolBox`](crate::PoolBox) does. Also if the value's `Drop` panics.
/// * Valid until then: after the thread that made it has ended, after its pool was dropped, inside destructors of
///   thread-local values.
/// * The process aborts when a value has 2^31 handles of a kind and gets another. (To those of weak handles counts one of all
///   strong ones.) So many can only have been forgotten.
/// * Cloning and dropping a handle takes one atomic read-modify-write; dropping the last [`PoolArc`] of a value that has a
///   [`PoolWeak`] takes two. No operation waits for another thread.
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

/// What is in the slot of a [`PoolArc`]: a value and its count. The type of a pool for them.
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
// * whoever has a handle may send it, and then two threads have `&T`: so `T: Sync`;
// * the last handle, wherever it is, drops the value: so `T: Send`;
// * the count is atomic, and the slot may be freed on any thread.
unsafe impl<T: ?Sized + Send + Sync> Send for PoolArc<T> {}

// SAFETY: as for `Send`: a shared handle can be cloned.
unsafe impl<T: ?Sized + Send + Sync> Sync for PoolArc<T> {}

impl<T: ?Sized> Unpin for PoolArc<T> {}

/// As for an `Arc`.
impl<T: ?Sized + RefUnwindSafe> UnwindSafe for PoolArc<T> {}

impl<T: ?Sized> PoolArc<T> {
    /// # Safety
    ///
    /// The caller owns a strong handle's share of what it points to, and gives it up.
    #[inline(always)]
    pub(crate) unsafe fn from_counted(counted: NonNull<Counted<T>>) -> Self {
        Self {
            counted,
            owns: PhantomData,
        }
    }

    #[inline(always)]
    fn count(&self) -> &RefCount {
        // SAFETY: the handle keeps the slot, and the count is never borrowed mutably.
        unsafe { &(*self.counted.as_ptr()).count }
    }

    /// A pointer to the value, with the provenance of the slot.
    #[inline(always)]
    fn value(&self) -> *mut T {
        // SAFETY: the handle keeps the slot. No reference is made.
        unsafe { &raw mut (*self.counted.as_ptr()).value }
    }

    /// Drops the value, and gives up what is left after it.
    ///
    /// # Safety
    ///
    /// This handle was given up, with `left` left, and is not used again.
    #[inline(never)]
    unsafe fn drop_value(&self, left: Left) {
        // SAFETY: guaranteed by the caller.
        let _rest = unsafe { Rest::of(self.counted, left) };
        // SAFETY: the last strong handle owned the value. If the destructor panics, the rest is given up.
        unsafe { self.value().drop_in_place() };
    }
}

/// What is given up after the value: the slot, or the strong handles' weak.
#[expect(dead_code, reason = "what counts is how they drop")]
enum Rest<T: ?Sized> {
    Slot(Vacant),
    Weak(PoolWeak<T>),
}

impl<T: ?Sized> Rest<T> {
    /// # Safety
    ///
    /// A strong handle to `counted` was given up, with `left` left, which is not `Left::Strong`; the caller stands for
    /// all the strong ones. It makes one `Rest`, and uses the memory no longer than that lives.
    unsafe fn of(counted: NonNull<Counted<T>>, left: Left) -> Self {
        match left {
            // SAFETY: nobody else has a handle.
            Left::Nobody => Self::Slot(unsafe { Counted::vacate(counted) }),
            Left::Weak | Left::Strong => Self::Weak(PoolWeak::from_counted(counted)),
        }
    }
}

impl<T: ?Sized> Counted<T> {
    /// The slot without what is in it.
    ///
    /// # Safety
    ///
    /// Nobody has a handle, and nobody but the caller will use the memory. The value may have been dropped.
    unsafe fn vacate(counted: NonNull<Self>) -> Vacant {
        // SAFETY: the caller has the memory, which held a value and still holds a count.
        let layout = unsafe { layout_of(counted.as_ptr()) };
        Vacant(counted.cast(), layout)
    }
}

impl<T: ?Sized> Drop for PoolArc<T> {
    #[inline]
    fn drop(&mut self) {
        let left = self.count().drop_strong();
        if left != Left::Strong {
            // SAFETY: given up, and not used again.
            unsafe { self.drop_value(left) }
        }
    }
}

impl<T: ?Sized> Clone for PoolArc<T> {
    /// One more handle to the same value.
    #[inline]
    fn clone(&self) -> Self {
        self.count().add_strong();
        // SAFETY: counted just now.
        unsafe { Self::from_counted(self.counted) }
    }
}

impl<T: ?Sized> Deref for PoolArc<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a strong handle keeps the value, and only the only handle parks it mutably.
        unsafe { &*self.value() }
    }
}

static_assertions::assert_eq_size!(PoolArc<u8>, Option<PoolArc<u8>>, usize);
static_assertions::assert_eq_size!(PoolWeak<u8>, Option<PoolWeak<u8>>, usize);
static_assertions::assert_eq_size!(Counted<u64>, [u64; 2]);
