//! `LocalPool`: one thread's handle of a `SegmentPool`, with a heap of its own.
//!
//! The heap is the handle's alone: no thread-local variable knows it as one to park, trim or leave, so the handle may pop its
//! free list without asking which thread this is. It stays so until the handle is dropped, on the thread that made it. Only
//! `Local::other` and `Local::first` may remember it for frees, and are made to forget it then.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::ground::error::AllocErrorKind;
use crate::heap::HeapRef;
use crate::pool::route::storage_for;
use crate::pool::segment_pool::SegmentPool;
use crate::slot::SlotPtr;
use crate::thread;

/// A handle of a [`SegmentPool`] for one thread, made by [`SegmentPool::local`]: an allocation that finds a free slot does not
/// look up which thread asks.
///
/// It has slots of its own, apart from those that [`SegmentPool::alloc`] uses on the same thread, so it is for loops and
/// workers that allocate much, and not for one box here and there. What it made are boxes as any other: they may go to other
/// threads, and outlive the handle. With the handle its free slots go to the other threads of the pool. Values that have no
/// slots (of no size, or with a dedicated mapping) come from the pool itself.
///
/// [`trim`](crate::trim), [`idle`](crate::idle) and [`validate`](SegmentPool::validate) leave the handle's slots alone. A
/// handle that is leaked keeps its free slots for ever, and memory of its pool beyond the pool's end.
///
/// A handle of a pool with a limit has no slots of its own: it allocates as the pool does.
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
    /// The placeholder until the first allocation.
    heap: Cell<HeapRef>,
    /// The heap is this thread's.
    of_this_thread: PhantomData<*mut ()>,
}

impl<T> SegmentPool<T> {
    /// A handle of the pool for this thread, with slots of its own. It takes no memory before its first allocation.
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
            heap: Cell::new(HeapRef::EMPTY),
            of_this_thread: PhantomData,
        }
    }
}

impl<T> LocalPool<'_, T> {
    /// Storage for a value; `None` when the system has no memory.
    #[inline(always)]
    pub(crate) fn alloc_storage(&self) -> Option<NonNull<T>> {
        if !SegmentPool::<T>::HAS_SLOTS {
            return self.pool.alloc_storage();
        }
        let slot = self.heap.get().bin(0).pop();
        let slot = match slot {
            Some(_) => slot,
            None => self.refill_handle(),
        };
        slot.map(storage_for)
    }

    #[cold]
    #[inline(never)]
    fn refill_handle(&self) -> Option<SlotPtr> {
        thread::alloc_for_handle(&self.heap, self.pool.registry_or_create()?)
    }

    /// As [`take`](Self::take), with the reason of a refusal.
    #[inline(always)]
    pub(crate) fn try_alloc_storage(&self) -> Result<NonNull<T>, AllocErrorKind> {
        self.alloc_storage().ok_or_else(|| self.pool.refusal())
    }
}

impl<T> Drop for LocalPool<'_, T> {
    fn drop(&mut self) {
        let heap = self.heap.get();
        if heap != HeapRef::EMPTY {
            // SAFETY: the handle got the heap, and is gone.
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
