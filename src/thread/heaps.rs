//! The heaps of a thread: how it acquires, finds, parks and leaves them, and what it does when it idles, ends, or runs
//! out of memory.
//!
//! A thread that idles parks its heaps: it remembers them, with a reference to their pools. The next allocation from a
//! pool takes the parked heap back, unless another thread holds it then. When a pool is dropped, threads that hold its
//! heaps leave them in one of their next slow paths, each of which checks a few heaps of the thread, or when they idle
//! or trim.
//!
//! After the end of a thread, destructors of other thread-local values may still use pools. Then an allocation acquires
//! a heap for one slot, and a free sends a batch of one slot.
//!
//! If the system has no memory, the thread collects all slots that it can reach, releases everything that is empty, and
//! retries once.

use crate::ground::error::AllocErrorKind;
use crate::ground::events::{self};
use crate::heap::HeapRef;
use crate::heap::bounded;
use crate::heap::handover::{self};
use crate::heap::registry::{self, Closings, RegistryRef};
use crate::thread::local::Local;

use crate::slot::SlotPtr;

/// The number of heaps that one slow path checks after pools were closed.
pub(super) const SWEPT_HEAPS: usize = 16;

/// The number of pools that were ever closed.
pub(super) static CLOSINGS: Closings = Closings::new();

pub(super) fn of_pool(heap: HeapRef, pool: RegistryRef) -> bool {
    registry::registry_of(heap) == pool
}

impl Local {
    /// Returns the thread's heap of a pool other than the default one.
    pub(super) fn heap_of(&self, pool: RegistryRef) -> Option<HeapRef> {
        self.held.find(pool).or_else(|| self.hold_one(pool))
    }

    /// Acquires a heap of a pool of which the thread holds none, and keeps it until the thread ends. Returns `None` if
    /// the system has no memory.
    pub(super) fn hold_one(&self, pool: RegistryRef) -> Option<HeapRef> {
        self.with_room(|| self.held.reserve().then_some(()))?;
        let heap = self
            .unpark(pool)
            .or_else(|| self.with_room(|| pool.acquire(self.token())))?;
        self.held.add(heap);
        Some(heap)
    }

    /// Takes back the heap of a pool that the thread parked, unless another thread holds it now.
    pub(super) fn unpark(&self, pool: RegistryRef) -> Option<HeapRef> {
        let parked = self
            .parked
            .iter()
            .find(|parked| parked.get().is_some_and(|heap| of_pool(heap, pool)))?;
        let heap = parked.take()?;
        if !pool.adopt_one(heap) {
            // SAFETY: the reference that the thread kept with the parked heap.
            unsafe { pool.release_refs(1) };
            return None;
        }
        heap.set_owner(self.token());
        Some(heap)
    }

    /// Runs `work` with the thread's own heap of a pool, or with a heap that is acquired for this call only.
    pub(super) fn with_some_heap(
        &self,
        pool: RegistryRef,
        work: impl Fn(HeapRef) -> Result<(), AllocErrorKind>,
    ) -> Result<(), AllocErrorKind> {
        let done = if pool.core().is_bounded() {
            bounded::with_heap(pool, &self.reclaims, work)
        } else if self.has_ended() {
            self.with_temporary_heap(pool, |heap| Some(work(heap)))
        } else {
            self.heap_of(pool).map(work)
        };
        done.unwrap_or(Err(AllocErrorKind::OutOfMemory))
    }

    /// Allocates a slot for a thread that has ended.
    pub(super) fn alloc_past_end(&self, pool: RegistryRef, bin: usize) -> Option<SlotPtr> {
        self.with_temporary_heap(pool, |heap| self.refill(heap, bin))
    }

    /// Runs `work` with a heap that is acquired for this call only. For a thread that has ended.
    pub(super) fn with_temporary_heap<R>(
        &self,
        pool: RegistryRef,
        work: impl FnOnce(HeapRef) -> Option<R>,
    ) -> Option<R> {
        let heap = self.with_room(|| pool.acquire(self.token()))?;
        let done = work(heap);
        // SAFETY: acquired above, and not used afterwards.
        unsafe { handover::park(heap, &self.reclaims) };
        // SAFETY: the reference that came with the heap.
        unsafe { pool.release_refs(1) };
        done
    }

    /// Retries `attempt` after [`make_room`](Self::make_room) if the system has no memory.
    pub(super) fn with_room<R>(&self, attempt: impl Fn() -> Option<R>) -> Option<R> {
        attempt().or_else(|| {
            self.make_room();
            attempt()
        })
    }

    /// Releases all memory of this thread that contains no live slot, to the system or to its pools.
    #[cold]
    pub(super) fn make_room(&self) {
        self.leave_closed_pools(usize::MAX);
        self.flush();
        self.held
            .iter()
            .for_each(|heap| handover::trim(heap, &self.reclaims));
        self.reclaims.visit_all();
        registry::trim_arenas();
    }

    /// Parks a heap, or leaves it if the thread has already parked the maximum number.
    ///
    /// # Safety
    ///
    /// As for [`handover::leave`].
    pub(super) unsafe fn park(&self, heap: HeapRef) {
        let closed = registry::registry_of(heap).is_closed();
        match self.parked.iter().find(|parked| parked.get().is_none()) {
            Some(vacant) if !closed => {
                vacant.set(Some(heap));
                // SAFETY: guaranteed by the caller.
                unsafe { handover::park(heap, &self.reclaims) };
            }
            // SAFETY: guaranteed by the caller.
            _ => unsafe { handover::leave(heap, &self.reclaims) },
        }
    }

    /// Leaves the parked heaps of the pools that `leaves` selects.
    pub(super) fn leave_parked(&self, leaves: impl Fn(RegistryRef) -> bool) {
        for parked in &self.parked {
            let Some(heap) = parked
                .get()
                .filter(|heap| leaves(registry::registry_of(*heap)))
            else {
                continue;
            };
            parked.set(None);
            let pool = registry::registry_of(heap);
            if pool.adopt_one(heap) {
                // SAFETY: adopted here, with the reference that the thread kept.
                unsafe { handover::leave(heap, &self.reclaims) };
            } else {
                // SAFETY: the reference that the thread kept with the parked heap.
                unsafe { pool.release_refs(1) };
            }
        }
    }

    /// Leaves the heaps of pools that were dropped, if any was dropped since the last call. It checks at most `most`
    /// heaps; the next calls check the others.
    pub(super) fn leave_closed_pools(&self, most: usize) {
        let closings = CLOSINGS.count();
        if self.closings.replace(closings) != closings {
            self.leave_parked(RegistryRef::is_closed);
            self.held.begin_sweep();
        }
        for heap in core::iter::from_fn(|| self.held.sweep()).take(most) {
            if registry::registry_of(heap).is_closed() {
                self.held.remove(heap);
                self.forget_pools();
                // SAFETY: this thread acquired the heap, and no variable of the thread refers to it any more.
                unsafe { handover::leave(heap, &self.reclaims) };
            }
        }
    }

    pub(super) fn idle(&self) {
        self.leave_closed_pools(SWEPT_HEAPS);
        self.flush();
        // SAFETY: this thread acquired each of these heaps, and no variable of the thread refers to it as its own any
        // more.
        self.hand_over(|heap| unsafe { self.park(heap) });
        registry::return_excess(usize::MAX);
    }

    /// Pushes the open batches and leaves the heaps.
    pub(super) fn end(&self) {
        self.note_end();
        self.flush();
        // SAFETY: as in `idle`.
        self.hand_over(|heap| unsafe { handover::leave(heap, &self.reclaims) });
        self.leave_parked(|_| true);
        self.reclaims.visit_all();
        events::forget();
    }

    /// Clears every variable that refers to a heap of the thread, and calls `leave` with each heap.
    pub(super) fn hand_over(&self, leave: impl Fn(HeapRef)) {
        self.heap.set(HeapRef::EMPTY);
        self.forget_pools();
        while let Some(heap) = self.held.pop() {
            leave(heap);
        }
        self.reclaims.visit_all();
    }
}
