//! Pools that count their values: a value takes a permit before it takes a slot, and returns it when the slot goes back.
//!
//! A thread keeps a heap of such a pool as of any other, unless the pool's memory is bounded, too. But neither `recent` nor `other` nor
//! `first` ever is one of these, nor does the remote buffer get a slot of theirs: so the fast paths find none of their slots, and those
//! of other pools need not ask. `counted` is the heap that was used last, and `counted_buffer` has the open batches.

use crate::ground::error::{AllocErrorKind, Failure};
use crate::ground::events::{self, Happened};
use crate::heap::HeapRef;
use crate::heap::bounded;
use crate::heap::queue::Woken;
use crate::heap::registry::{RegistryRef, registry_of};
use crate::memory::segment::SegmentRef;
use crate::slot::{Offset, SlotPtr};
use crate::thread::heaps::SWEPT_HEAPS;
use crate::thread::local::{LOCAL, Local, Phase};
use crate::thread::slow::{refill, spill};

/// Whoever asks for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A request that is refused at the bound.
    Passing,
    /// One that waits there.
    Waiting,
    /// One that waits, and has a permit reserved.
    Reserving,
}

/// Takes a permit of a pool.
#[inline(always)]
pub(crate) fn acquire_permit(pool: RegistryRef, asker: Asker) -> Result<(), Failure> {
    let reserved = asker == Asker::Reserving;
    let permit = pool.core().gate.permits.acquire(reserved);
    permit.map_err(|in_use| refused(pool, asker, in_use))
}

#[cold]
fn refused(pool: RegistryRef, asker: Asker, in_use: usize) -> Failure {
    if asker == Asker::Passing {
        note_refusal(pool);
    }
    let core = pool.core();
    Failure::at_bound(core.name, core.gate.permits.bound(), in_use)
}

/// Counts a request that is refused, and tells of it if it is the first since one was served.
#[cold]
fn note_refusal(pool: RegistryRef) {
    emit_episode(pool, pool.core().gate.count_refusal());
}

/// Counts a request that begins to wait, and tells likewise.
#[cold]
pub(crate) fn note_wait(pool: RegistryRef) {
    emit_episode(pool, pool.core().gate.count_wait());
}

fn emit_episode(pool: RegistryRef, is_first: bool) {
    if is_first {
        events::note(Happened::AllocFailed, pool.core().name, 0);
        LOCAL.with(Local::emit_events);
    }
}

/// Returns a permit that was not used, because the system refused memory.
#[cold]
pub(crate) fn release_permit(pool: RegistryRef) {
    pool.core().gate.release().wake();
}

/// A slot of a pool that counts its values, with a permit, if there is a permit, and a slot in the heap that the thread used last.
#[inline(always)]
pub(crate) fn alloc_at_hand(pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let heap = local.counted.get();
        let at_hand = heap.pool_ptr() == pool.core_ptr() && heap.bin(0).has_free();
        if at_hand && pool.core().gate.permits.acquire(false).is_ok() {
            heap.bin(0).pop()
        } else {
            None
        }
    })
}

/// A slot of a pool that counts its values, with a permit.
pub(crate) fn alloc_counted(pool: RegistryRef, asker: Asker) -> Result<SlotPtr, Failure> {
    acquire_permit(pool, asker)?;
    LOCAL.with(|local| local.alloc_counted_slow(pool))
}

impl Local {
    #[cold]
    #[inline(never)]
    fn alloc_counted_slow(&self, pool: RegistryRef) -> Result<SlotPtr, Failure> {
        let slot = if pool.core().is_bounded() {
            let slot = self.alloc_bounded(pool);
            self.emit_after(pool, slot)
        } else {
            self.alloc_counted_from_heap(pool)
        };
        slot.ok_or_else(|| self.fail_without_slot(pool))
    }

    /// Returns the permit of a request for which there is no slot: the system refused memory, or, where memory is bounded, what was
    /// freed stayed out of reach for too long.
    fn fail_without_slot(&self, pool: RegistryRef) -> Failure {
        let core = pool.core();
        let failure = if core.limit_was_reached() {
            Failure::at_bound(
                core.name,
                core.gate.permits.bound(),
                core.gate.permits.in_use(),
            )
        } else {
            Failure::from(AllocErrorKind::OutOfMemory)
        };
        release_permit(pool);
        failure
    }

    fn alloc_counted_from_heap(&self, pool: RegistryRef) -> Option<SlotPtr> {
        if let Some(heap) = self.held.find(pool) {
            self.counted.set(heap);
            let slot = heap.bin(0).pop();
            return slot.or_else(|| refill(heap, 0));
        }
        self.leave_closed_pools(SWEPT_HEAPS);
        let slot = if self.has_ended() {
            self.alloc_past_end(pool, 0)
        } else {
            self.hold_one(pool).and_then(|heap| {
                self.counted.set(heap);
                self.refill(heap, 0)
            })
        };
        self.emit_after(pool, slot)
    }

    /// Frees a slot of the heap of such a pool that the thread used last.
    ///
    /// # Safety
    ///
    /// The caller gives up the slot, which is of one of the heap's segments.
    #[inline(always)]
    pub(super) unsafe fn free_counted_local(heap: HeapRef, slot: SlotPtr) {
        if registry_of(heap).core().gate.permits.release() {
            // SAFETY: guaranteed by the caller.
            return unsafe { free_local_and_wake(heap, slot) };
        }
        // SAFETY: guaranteed by the caller.
        unsafe { free_local(heap, slot) };
    }

    /// Frees a slot of such a pool.
    ///
    /// # Safety
    ///
    /// As for [`free_unbatched`](Self::free_unbatched), and the segment is of this heap.
    pub(super) unsafe fn free_counted(
        &self,
        heap: HeapRef,
        segment: SegmentRef,
        slot: SlotPtr,
        offset: Offset,
    ) {
        if heap.is_of_bounded_pool() {
            // SAFETY: guaranteed by the caller.
            return unsafe { self.free_bounded(heap, segment, slot, offset) };
        }
        if heap.is_owned_by(self.token.get()) {
            self.counted.set(heap);
            // SAFETY: guaranteed by the caller.
            return unsafe { Self::free_counted_local(heap, slot) };
        }
        let woken = registry_of(heap).core().gate.release();
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.counted_buffer
                .add(segment, offset, &self.reclaims, |_, _| ());
        }
        self.after_remote_free();
        woken.wake();
    }

    /// Frees a slot of a pool whose memory is bounded.
    ///
    /// # Safety
    ///
    /// As for [`bounded::free`].
    unsafe fn free_bounded(
        &self,
        heap: HeapRef,
        segment: SegmentRef,
        slot: SlotPtr,
        offset: Offset,
    ) {
        self.has_ended(); // before, so that the end is noticed
        let mut woken = None;
        let returned = |pool: RegistryRef| {
            let gate = &pool.core().gate;
            if gate.permits.release() {
                woken = Some(gate.notify());
            }
        };
        // SAFETY: guaranteed by the caller.
        unsafe { bounded::free(heap, segment, slot, offset, &self.reclaims, returned) };
        self.do_chores();
        self.emit_events();
        woken.into_iter().for_each(Woken::wake);
    }

    /// What a remote free leaves to do.
    pub(super) fn after_remote_free(&self) {
        self.do_chores();
        if self.phase.get() != Phase::Guarded && self.has_ended() {
            self.flush();
        }
        self.emit_events();
    }
}

/// Frees a slot of this thread's heap, which has one bin.
///
/// # Safety
///
/// The caller gives up the slot, which is of one of the heap's segments.
#[inline(always)]
unsafe fn free_local(heap: HeapRef, slot: SlotPtr) {
    // SAFETY: guaranteed by the caller.
    if unsafe { heap.bin(0).push(slot) } {
        spill(heap, 0);
    }
}

/// Frees a slot whose permit was returned while somebody waits for one.
///
/// # Safety
///
/// As for [`free_local`].
#[cold]
#[inline(never)]
unsafe fn free_local_and_wake(heap: HeapRef, slot: SlotPtr) {
    let woken = registry_of(heap).core().gate.notify();
    // SAFETY: guaranteed by the caller.
    unsafe { free_local(heap, slot) };
    woken.wake();
}
