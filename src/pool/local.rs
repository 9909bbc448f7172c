//! `LocalPool`: a handle of one thread to a `SegmentPool`, with a heap of its own.
//!
//! Only the handle refers to the heap. No thread-local variable lists it as a heap to park, trim or leave, so the
//! handle may pop its free list without looking up the current thread. This holds until the handle is dropped, on the
//! thread that made it. Only `Local::other` and `Local::first` may refer to the heap, for frees; the drop of the handle
//! clears them.

use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

use crate::ground::error::{AllocErrorKind, Failure};
use crate::heap::HeapRef;
use crate::pool::route::storage_for;
use crate::pool::segment_pool::SegmentPool;
use crate::thread;

/// A handle of one thread to a [`SegmentPool`], which allocates without looking up the current thread.
/// [`SegmentPool::local`] makes it.
///
/// The handle has its own free slots, separate from those that [`SegmentPool::alloc`] uses on the same thread. So it
/// suits loops and workers that allocate much, not an occasional box. The boxes are ordinary ones: they may move to
/// other threads, and they outlive the handle. When the handle is dropped, the other threads of the pool can use its
/// free slots. Values without slots (zero-sized, or with a dedicated mapping) come from the pool itself.
///
/// [`trim`](crate::trim), [`idle`](crate::idle) and [`validate`](SegmentPool::validate) do not touch the slots of a
/// handle. A leaked handle keeps its free slots for ever, and memory of its pool beyond the pool's end.
///
/// A handle of a pool with a limit has no slots of its own. It allocates as the pool does.
///
/// # Examples
///
/// ```
/// use segment_pool::SegmentPool;
///
/// static POINTS: SegmentPool<(f64, f64)> = SegmentPool::new();
///
/// let points = POINTS.local();
/// let line: Vec<_> = (0..100).map(|n| points.alloc((f64::from(n), 0.5))).collect();
/// drop(points);
/// assert_eq!(line[99].0, 99.0);
/// ```
pub struct LocalPool<'a, T> {
    pool: &'a SegmentPool<T>,
    /// The handle's heap, or the placeholder before the first allocation.
    heap: OwnThread<Cell<HeapRef>>,
}

/// A field that makes the handle `!Send` and `!Sync`, because the heap belongs to this thread.
///
/// The `NonNull` inside of `HeapRef` has the same effect. But then the compiler reports that `NonNull<Heap>` is not
/// `Send`, and `Heap` means nothing to a user.
struct OwnThread<T>(T);

// SAFETY: no type implements `AnyThread`, so no `OwnThread` is `Send`.
unsafe impl<T: AnyThread> Send for OwnThread<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: AnyThread> Sync for OwnThread<T> {}

/// No type implements this trait. It carries the message for a handle on another thread.
#[diagnostic::on_unimplemented(
    message = "a `LocalPool` belongs to the thread that made it, and another thread cannot use it",
    label = "this uses the `LocalPool` on another thread",
    note = "call `SegmentPool::local` on each thread that allocates; the boxes may be sent to any thread"
)]
#[allow(
    dead_code,
    reason = "Rust 1.85 does not count the bounds above as a use"
)]
trait AnyThread {}

impl<T> SegmentPool<T> {
    /// Makes a handle of the pool for this thread, with its own free slots. It takes no memory before its first
    /// allocation.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// let local = pool.local();
    /// assert_eq!(*local.alloc(7), 7);
    /// ```
    #[must_use]
    pub fn local(&self) -> LocalPool<'_, T> {
        LocalPool {
            pool: self,
            heap: OwnThread(Cell::new(HeapRef::EMPTY)),
        }
    }
}

impl<T> LocalPool<'_, T> {
    /// Allocates storage for a value.
    #[inline(always)]
    pub(crate) fn alloc_storage(&self) -> Result<NonNull<T>, Failure> {
        if !SegmentPool::<T>::HAS_SLOTS {
            return self.pool.alloc_storage();
        }
        match self.heap.0.get().bin(0).pop() {
            Some(slot) => Ok(storage_for(slot)),
            None => self.refill_handle(),
        }
    }

    #[cold]
    #[inline(never)]
    fn refill_handle(&self) -> Result<NonNull<T>, Failure> {
        if self.pool.is_counted() {
            return self.pool.alloc_storage();
        }
        let pool = self.pool.registry_or_create();
        let slot = pool.and_then(|pool| thread::alloc_for_handle(&self.heap.0, pool));
        slot.map(storage_for)
            .ok_or_else(|| AllocErrorKind::OutOfMemory.into())
    }
}

impl<T> Drop for LocalPool<'_, T> {
    fn drop(&mut self) {
        let heap = self.heap.0.get();
        if heap != HeapRef::EMPTY {
            // SAFETY: the handle acquired the heap on this thread, and is being dropped.
            unsafe { thread::leave_for_handle(heap) };
        }
    }
}

impl<T> fmt::Debug for LocalPool<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool")
            .field("pool", self.pool)
            .finish_non_exhaustive()
    }
}
