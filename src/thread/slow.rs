//! The slow paths of a thread: allocation when the free list is empty, and frees of slots that the first bin does not
//! cache.

use core::cell::Cell;

use crate::heap::bounded;
use crate::heap::handover::{self};
use crate::heap::registry::{self, RegistryRef};
use crate::heap::{BinRef, HeapRef};
use crate::memory::segment::SegmentRef;
use crate::slot::{Offset, SlotPtr};
use crate::thread::heaps::{CLOSINGS, SWEPT_HEAPS};
use crate::thread::local::{LOCAL, Local};

/// After this many slots were cached by bins other than the first one, the bin that cached the last slot becomes the
/// first one for its class. With a lower number, two pools of the same class whose values are freed alternately would
/// displace each other at every free.
const DETOURS: u32 = 32;

#[cold]
#[inline(never)]
pub(super) fn refill(heap: HeapRef, bin: usize) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let deferred = local.pop_deferred(heap, bin);
        if deferred.is_some() {
            return deferred;
        }
        local.leave_closed_pools(SWEPT_HEAPS);
        let slot = local.refill(heap, bin);
        local.emit_after(registry::registry_of(heap), slot)
    })
}

/// Frees a slot of a heap that this thread owns.
///
/// # Safety
///
/// The caller gives up the slot, which is in this segment, and the segment is of this heap.
unsafe fn free_local(heap: HeapRef, segment: SegmentRef, slot: SlotPtr) {
    let index = segment.identity().bin;
    // SAFETY: guaranteed by the caller.
    if unsafe { heap.bin(index).push(slot) } {
        spill(heap, index);
    }
}

#[cold]
#[inline(never)]
pub(super) fn spill(heap: HeapRef, bin: usize) {
    LOCAL.with(|local| {
        local.spill(heap, bin);
        local.emit_events();
    });
}

/// Bytes of pages that a slow path returns at most, of each span, of those that no thread needed lately.
const RETURNED_BYTES: usize = 1 << 20;

impl Local {
    /// What each slow path does for others: visits heaps that this thread left too soon, and returns pages that were not needed.
    pub(super) fn do_chores(&self) {
        self.reclaims.visit_each(handover::VISIT_SLOTS);
        registry::return_excess(RETURNED_BYTES);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn refill_default(&self, class: usize) -> Option<SlotPtr> {
        let deferred = self.pop_deferred(self.heap.get(), class);
        if deferred.is_some() {
            return deferred;
        }
        let slot = self.hold_default_and_refill(class);
        self.emit_after(registry::default(), slot)
    }

    pub(super) fn hold_default_and_refill(&self, class: usize) -> Option<SlotPtr> {
        self.leave_closed_pools(SWEPT_HEAPS);
        if self.heap.get() == HeapRef::EMPTY {
            let pool = registry::default();
            if self.has_ended() {
                return self.alloc_past_end(pool, class);
            }
            self.heap.set(self.hold_one(pool)?);
        }
        self.refill(self.heap.get(), class)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn refill_pool(&self, pool: RegistryRef) -> Option<SlotPtr> {
        let slot = self.hold_pool_and_refill(pool);
        self.emit_after(pool, slot)
    }

    pub(super) fn hold_pool_and_refill(&self, pool: RegistryRef) -> Option<SlotPtr> {
        self.leave_closed_pools(SWEPT_HEAPS);
        if self.has_ended() {
            return self.alloc_past_end(pool, 0);
        }
        let heap = self.heap_of(pool)?;
        self.look_first_in(pool, heap);
        self.refill(heap, 0)
    }

    /// Allocates a slot of a bounded pool, of which the thread holds no heap.
    pub(super) fn alloc_bounded(&self, pool: RegistryRef) -> Option<SlotPtr> {
        self.leave_closed_pools(SWEPT_HEAPS);
        self.do_chores();
        let slot = bounded::alloc(pool, &self.reclaims);
        if slot.is_some() || pool.core().is_full() {
            return slot;
        }
        self.make_room();
        bounded::alloc(pool, &self.reclaims)
    }

    pub(super) fn alloc_for_handle(
        &self,
        heap: &Cell<HeapRef>,
        pool: RegistryRef,
    ) -> Option<SlotPtr> {
        self.leave_closed_pools(SWEPT_HEAPS);
        let deferred = self.pop_deferred(heap.get(), 0);
        if deferred.is_some() {
            return deferred;
        }
        self.has_ended(); // so that the end is noticed, even if the thread has only the handle
        if heap.get() == HeapRef::EMPTY {
            heap.set(self.with_room(|| pool.acquire(self.token()))?);
        }
        self.refill(heap.get(), 0)
    }

    /// Allocates a slot from the deferred list of a bin whose free list is empty, unless the thread has other work to
    /// do on a slow path. This emits no events.
    #[inline(always)]
    pub(super) fn pop_deferred(&self, heap: HeapRef, bin: usize) -> Option<SlotPtr> {
        let free = self.closings.get() == CLOSINGS.count() && self.reclaims.is_empty();
        if free {
            heap.bin(bin).pop_deferred()
        } else {
            None
        }
    }

    /// Allocates a slot from a bin. Its free list may contain slots if its heap was just adopted.
    pub(super) fn refill(&self, heap: HeapRef, bin: usize) -> Option<SlotPtr> {
        self.do_chores();
        let slot = heap.bin(bin).pop();
        slot.or_else(|| handover::refill(heap, bin, &self.reclaims))
            .or_else(|| self.refill_at_last(heap, bin))
    }

    /// Makes a last attempt if the system has no memory: allocates a slot from everything that this thread can reach.
    #[cold]
    pub(super) fn refill_at_last(&self, heap: HeapRef, bin: usize) -> Option<SlotPtr> {
        self.flush();
        handover::collect(heap, &self.reclaims);
        let slot = heap.bin(bin).pop(); // the collected slots are in the list that is refilled first
        slot.or_else(|| handover::refill_from_others(heap, bin, &self.reclaims))
            .or_else(|| {
                self.make_room();
                handover::refill(heap, bin, &self.reclaims)
            })
    }

    /// Frees a slot that the first bin does not cache and that joins no open batch.
    ///
    /// # Safety
    ///
    /// The caller gives up the slot, which is at this offset of the segment. If it is of the default pool, it is of
    /// this class.
    #[inline(never)]
    pub(super) unsafe fn free_unbatched(
        &self,
        segment: SegmentRef,
        slot: SlotPtr,
        offset: Offset,
        class: usize,
    ) {
        for (heap, bin) in [(self.heap.get(), class), (self.other.get(), 0)] {
            // SAFETY: the caller gives up the slot, and a pool of one type has only one bin.
            if unsafe { heap.bin(bin).try_cache(segment, slot) } {
                return self.note_detour(class, heap.bin_ref(bin));
            }
            if heap.id() == segment.heap() {
                // SAFETY: the caller gives up the slot, and the segment is of this heap.
                return unsafe { free_local(heap, segment, slot) };
            }
        }
        let counted = self.counted.get();
        if counted.id() == segment.heap() {
            // SAFETY: the caller gives the slot up, and the segment is of this heap.
            return unsafe { Self::free_counted_local(counted, slot) };
        }
        // SAFETY: guaranteed by the caller.
        unsafe { self.free_remote(segment, slot, offset) };
    }

    /// Counts that a bin other than the first one cached a slot of the class. If that happens often, the bin becomes
    /// the first one.
    pub(super) fn note_detour(&self, class: usize, bin: BinRef) {
        let detours = self.detours.get() + 1;
        let first = &self.first[class];
        if detours == DETOURS || first.get() == BinRef::EMPTY {
            first.set(bin);
            self.detours.set(0);
        } else {
            self.detours.set(detours);
        }
    }

    /// Frees a slot of another thread's heap that starts or fills a batch, or a slot of a heap that this thread holds
    /// but did not use last.
    ///
    /// # Safety
    ///
    /// As for [`free_unbatched`](Self::free_unbatched).
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn free_remote(&self, segment: SegmentRef, slot: SlotPtr, offset: Offset) {
        // SAFETY: the caller owns a slot of the segment, which keeps the segment and its heap alive.
        let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
        if heap.is_of_counting_pool() {
            // SAFETY: guaranteed by the caller; the segment is of this heap.
            return unsafe { self.free_counted(heap, segment, slot, offset) };
        }
        if heap.is_owned_by(self.token.get()) {
            debug_assert!(registry::registry_of(heap) != registry::default());
            self.other.set(heap);
            // SAFETY: the caller gives up the slot, and the segment is of this heap.
            return unsafe { free_local(heap, segment, slot) };
        }
        let note = |segment, slots| self.note_sent(segment, slots);
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.remote_buffer
                .add(segment, offset, &self.reclaims, note)
        };
        self.after_remote_free();
    }

    /// Informs the thread's own bin for such slots that a batch of them is being sent to another heap.
    pub(super) fn note_sent(&self, segment: SegmentRef, slots: usize) {
        let (mine, pool) = ([self.heap.get(), self.other.get()], segment.pool());
        if let Some(heap) = mine.into_iter().find(|heap| heap.pool_id() == pool) {
            heap.bin(segment.identity().bin).note_sent(slots, pool);
        }
    }

    pub(super) fn spill(&self, heap: HeapRef, bin: usize) {
        self.do_chores();
        handover::spill(heap, bin, &self.reclaims);
        self.leave_closed_pools(SWEPT_HEAPS);
    }
}
