//! Bounded pools: a thread owns a heap of such a pool for one operation at a time.
//!
//! No other thread can reach free slots in the lists of a thread's own heap, even while that thread sleeps.
//! With a limit, an allocation would then fail although slots are free. So no thread holds a heap of a
//! bounded pool. Each operation adopts a heap, allocates or frees a slot, and abandons the heap again. Most
//! such pools have one heap. A pool gets another only if two threads are its first users at the same time, or
//! if all its heaps stay busy for [`BUSY_LOOKS`] searches. An allocation searches all of them.
//!
//! ```text
//! alloc    adopt, pop or refill, abandon     two read-modify-writes while no other thread uses the heap
//! free     adopt, push, abandon              likewise; if another thread uses the heap: a remote batch of one slot
//! ```
//!
//! An allocation fails only after a search that owned every heap of the pool at once and found neither a free
//! slot nor room for a segment. While it owned them, it must also have seen that no remote free was under
//! way. The segment of such a free may not be in the pending list yet. Other frees to the same segment may
//! have returned by then, and rely on it. Searching one heap after the other is not enough: a slot may be
//! freed in the first heap after the search of it, and another allocated from the second heap before the
//! search of that.
//!
//! So an allocation may wait for operations of other threads. The wait ends after [`PATIENCE`]: a thread that
//! was stopped in the middle of an operation, or that does not exist in a child of `fork`, does not block
//! another for ever. A free never waits.
//!
//! Any thread may call these functions; the owner of a heap is the thread of the current operation.

use core::time::Duration;

use crate::ground::sync;
use crate::heap::batch::OpenBatch;
use crate::heap::fields::HeapRef;
use crate::heap::handover::{self, DeferredReclaims};
use crate::heap::registry::{RegistryRef, registry_of};
use crate::memory::segment::SegmentRef;
use crate::slot::{Offset, SlotPtr};

/// Searches, with pauses between them, that find all heaps busy before the pool gets another heap.
const BUSY_LOOKS: usize = if cfg!(segment_pool_loom) { 2 } else { 64 };
/// How long an allocation searches before it fails although no search was conclusive.
const PATIENCE: Duration = Duration::from_secs(2);

/// The token of no thread: no thread holds the heap.
const NOBODY: u64 = 0;

/// The result of one search of all heaps of a pool.
pub(crate) enum Look {
    /// A slot, which the caller owns.
    Found(SlotPtr),
    /// No slot is free, and there is no memory for more.
    Exhausted,
    /// A heap was busy, a free was under way, or there is no heap yet.
    Unsure,
}

/// Allocates a slot. `None` if none is free and the limit is reached or the system has no memory. The caller
/// keeps the pool alive.
pub(crate) fn alloc(pool: RegistryRef, reclaims: &DeferredReclaims) -> Option<SlotPtr> {
    for look in sync::looks(PATIENCE) {
        match look_through(pool, reclaims) {
            Look::Found(slot) => return Some(slot),
            Look::Exhausted => return None,
            Look::Unsure if needs_another_heap(pool, look) => {
                let slot = use_and_abandon(create_heap(pool)?, reclaims, pop_or_refill);
                if slot.is_some() {
                    return slot;
                }
            }
            Look::Unsure => sync::pause(look),
        }
    }
    None
}

/// Runs `work` with a heap of the pool, which the caller keeps alive. `None` if the system has no memory for
/// a heap.
pub(crate) fn with_heap<R>(
    pool: RegistryRef,
    reclaims: &DeferredReclaims,
    work: impl FnOnce(HeapRef) -> R,
) -> Option<R> {
    let mut looks = (0..BUSY_LOOKS).take_while(|_| pool.heaps().next().is_some());
    let heap = looks.find_map(|look| {
        sync::pause(look);
        pool.heaps().find(|heap| pool.adopt_temporarily(*heap))
    });
    let heap = heap.or_else(|| create_heap(pool))?;
    Some(use_and_abandon(heap, reclaims, work))
}

/// Frees a slot. Calls `returned` when the slot is within reach of every request, and the pool still is there.
///
/// # Safety
///
/// The caller gives up the slot, which is at this offset of the segment. The segment belongs to this heap.
pub(crate) unsafe fn free(
    heap: HeapRef,
    segment: SegmentRef,
    slot: SlotPtr,
    offset: Offset,
    reclaims: &DeferredReclaims,
    returned: impl FnOnce(RegistryRef),
) {
    let pool = registry_of(heap);
    if pool.adopt_temporarily(heap) {
        // SAFETY: adopted just now; the rest is guaranteed by the caller.
        let released = unsafe { free_into(heap, pool, slot) };
        returned(pool);
        handover::abandon_adopted(heap, released, reclaims);
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { free_remotely(pool, segment, offset, reclaims, returned) };
    }
}

/// Searches all heaps at one moment. If there are several, first searches one after the other. That suffices
/// for an allocation that finds a slot, and leaves the other heaps to other threads.
fn look_through(pool: RegistryRef, reclaims: &DeferredReclaims) -> Look {
    if pool.heaps().nth(1).is_some() {
        let mut adopted = pool.heaps().filter(|heap| pool.adopt_temporarily(*heap));
        if let Some(slot) = adopted.find_map(|heap| use_and_abandon(heap, reclaims, pop_or_refill))
        {
            return Look::Found(slot);
        }
    }
    look_at_once(pool, reclaims)
}

/// Searches all heaps while this thread owns all of them. Meanwhile other threads may free slots, but none is
/// allocated. So if the search finds none, there was a moment at which no slot was free.
pub(crate) fn look_at_once(pool: RegistryRef, reclaims: &DeferredReclaims) -> Look {
    let adopted = pool
        .heaps()
        .take_while(|heap| pool.adopt_temporarily(*heap))
        .count();
    let sure = adopted > 0 && !pool.core().has_frees_under_way();
    let slot = pool.heaps().take(adopted).find_map(pop_or_refill);
    // After the search: if a segment of a new heap reached the limit, that heap is listed now.
    let all = pool.heaps().nth(adopted).is_none();
    let heaps = pool.heaps().take(adopted);
    heaps.for_each(|heap| handover::abandon_adopted(heap, 0, reclaims));
    match slot {
        Some(slot) => Look::Found(slot),
        None if sure && all => Look::Exhausted,
        None => Look::Unsure,
    }
}

/// Creates another heap, which the caller owns.
fn create_heap(pool: RegistryRef) -> Option<HeapRef> {
    let heap = pool.create_heap(NOBODY)?;
    pool.count_abandoned(); // counted before `use_and_abandon` abandons it
    Some(heap)
}

fn needs_another_heap(pool: RegistryRef, look: usize) -> bool {
    let busy = look == BUSY_LOOKS && !pool.core().is_full();
    busy || pool.heaps().next().is_none()
}

/// Allocates a slot from a heap that the caller adopted, from a new segment if necessary.
fn pop_or_refill(heap: HeapRef) -> Option<SlotPtr> {
    let bin = heap.bin(0);
    let slot = bin.pop();
    if slot.is_none() && (heap.refill(0) || heap.refill_from_new(0)) {
        return bin.pop();
    }
    slot
}

/// Runs `work` with a heap that the caller adopted, of a pool that it keeps alive, and abandons the heap.
fn use_and_abandon<R>(
    heap: HeapRef,
    reclaims: &DeferredReclaims,
    work: impl FnOnce(HeapRef) -> R,
) -> R {
    let done = work(heap);
    handover::abandon_adopted(heap, 0, reclaims);
    done
}

/// Frees a slot into the lists of a heap that the caller adopted. Returns the number of references to the
/// pool to release.
///
/// # Safety
///
/// The caller gives up the slot, which is in one of the heap's segments.
unsafe fn free_into(heap: HeapRef, pool: RegistryRef, slot: SlotPtr) -> usize {
    // SAFETY: guaranteed by the caller.
    let full = unsafe { heap.bin(0).push(slot) };
    if pool.is_closed() {
        return heap.collect_and_release(); // no later allocation would use the lists
    }
    if !full {
        return 0;
    }
    pool.add_ref(); // segments may be released, and their references with them
    heap.spill(0);
    1
}

/// Frees a slot while another thread uses the heap of its segment.
///
/// # Safety
///
/// The caller gives up the slot at this offset of the segment, which is of this pool.
unsafe fn free_remotely(
    pool: RegistryRef,
    segment: SegmentRef,
    offset: Offset,
    reclaims: &DeferredReclaims,
    returned: impl FnOnce(RegistryRef),
) {
    let batch = OpenBatch::new();
    batch.open(segment);
    batch.push(offset);
    pool.add_ref(); // the slot keeps the pool alive only until it is sent
    pool.core().begin_free();
    // SAFETY: guaranteed by the caller.
    unsafe { handover::send_batch(segment, &batch, reclaims) };
    pool.core().end_free();
    returned(pool);
    // SAFETY: counted above.
    unsafe { pool.release_refs(1) };
}
