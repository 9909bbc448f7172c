//! Pools with a bound: a thread has a heap of such a pool for one operation at a time.
//!
//! Free slots in the lists of a thread's own heap are out of reach for every other thread, also while that thread sleeps. A
//! bound would then refuse a value although slots are free. So no thread keeps a heap of a bounded pool: it adopts one, takes
//! or frees a slot, and abandons it again. Most such pools have one heap. They get another only if two threads are the first at the
//! same time, or all they have stay busy for [`BUSY_LOOKS`] looks; an allocation looks through all of them.
//!
//! ```text
//! take    adopt, pop or refill, abandon     two read-modify-writes while no other thread uses the heap
//! give    adopt, push, abandon              likewise; while another does: a batch of one slot to the remote list
//! ```
//!
//! An allocation fails only after a look for which it had every heap of the pool at once, found neither a free slot nor room for a
//! segment, and saw, when it had them, that no remote free was under way. That is one whose segment may be missing from the
//! pending list still: other frees to the same segment have returned by then, and rely on it. Heaps looked into one after the
//! other would not do: a slot may be freed in the first behind the look, and one taken from the second before it.
//!
//! So an allocation may wait for operations of other threads that are under way. The wait ends after [`PATIENCE`]: a thread that
//! was stopped in the middle of an operation, or that a child of `fork` lacks, stops no other for ever. A free never waits.

use core::time::Duration;

use crate::ground::sync;
use crate::heap::batch::OpenBatch;
use crate::heap::fields::HeapRef;
use crate::heap::handover::{self, DeferredReclaims};
use crate::heap::registry::{RegistryRef, registry_of};
use crate::memory::segment::SegmentRef;
use crate::slot::{Offset, SlotPtr};

/// Looks, with pauses between them, at heaps that are busy before the pool gets another one.
const BUSY_LOOKS: usize = if cfg!(segment_pool_loom) { 2 } else { 64 };
/// How long an allocation looks before it fails although no look saw everything.
const PATIENCE: Duration = Duration::from_secs(2);

/// The token of no thread: the heap has no owning thread, but for an operation.
const NOBODY: u64 = 0;

/// What one look at all heaps of a pool says.
pub(crate) enum Look {
    /// A slot, which is the caller's.
    Found(SlotPtr),
    /// No slot is free, and there is no memory for more.
    Exhausted,
    /// A heap was busy, a free was under way, or there is no heap yet.
    Unsure,
}

/// A free slot; `None` when there is none, and the bound or the system refuses memory for more. The caller keeps the pool alive.
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

/// Runs `work` with a heap of the pool, which the caller keeps alive. `None` when the system refuses memory for a heap.
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

/// Frees a slot.
///
/// # Safety
///
/// The caller gives up the slot, which is at this offset of the segment, and that is of this heap.
pub(crate) unsafe fn free(
    heap: HeapRef,
    segment: SegmentRef,
    slot: SlotPtr,
    offset: Offset,
    reclaims: &DeferredReclaims,
) {
    let pool = registry_of(heap);
    if pool.adopt_temporarily(heap) {
        // SAFETY: adopted just now; guaranteed by the caller.
        let released = unsafe { free_into(heap, pool, slot) };
        handover::abandon_adopted(heap, released, reclaims);
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { free_remotely(pool, segment, offset, reclaims) };
    }
}

/// Looks into all heaps at one moment. If there are several, it looks into one after the other before, which is enough for a
/// request that finds a slot, and leaves the others to other threads.
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

/// Looks into all heaps while this thread has all of them. Slots are freed meanwhile, and none is taken: so if none is found, there
/// was a moment at which none was free.
pub(crate) fn look_at_once(pool: RegistryRef, reclaims: &DeferredReclaims) -> Look {
    let adopted = pool
        .heaps()
        .take_while(|heap| pool.adopt_temporarily(*heap))
        .count();
    let sure = adopted > 0 && !pool.core().has_frees_under_way();
    let slot = pool.heaps().take(adopted).find_map(pop_or_refill);
    // After the look: if the limit was reached by a segment of a new heap, that is listed now.
    let all = pool.heaps().nth(adopted).is_none();
    let heaps = pool.heaps().take(adopted);
    heaps.for_each(|heap| handover::abandon_adopted(heap, 0, reclaims));
    match slot {
        Some(slot) => Look::Found(slot),
        None if sure && all => Look::Exhausted,
        None => Look::Unsure,
    }
}

/// One more heap, adopted by the caller.
fn create_heap(pool: RegistryRef) -> Option<HeapRef> {
    let heap = pool.create_heap(NOBODY)?;
    pool.count_abandoned(); // as it will be
    Some(heap)
}

fn needs_another_heap(pool: RegistryRef, look: usize) -> bool {
    let busy = look == BUSY_LOOKS && !pool.core().is_full();
    busy || pool.heaps().next().is_none()
}

/// A free slot of a heap that the caller adopted, out of a new segment if need be.
fn pop_or_refill(heap: HeapRef) -> Option<SlotPtr> {
    let bin = heap.bin(0);
    let slot = bin.pop();
    if slot.is_none() && (heap.refill(0) || heap.refill_from_new(0)) {
        return bin.pop();
    }
    slot
}

/// Uses a heap that the caller adopted, of a pool that it keeps alive, and abandons it.
fn use_and_abandon<R>(
    heap: HeapRef,
    reclaims: &DeferredReclaims,
    work: impl FnOnce(HeapRef) -> R,
) -> R {
    let done = work(heap);
    handover::abandon_adopted(heap, 0, reclaims);
    done
}

/// Frees a slot into the lists of a heap that the caller adopted. Returns how many references to the pool are to be given up.
///
/// # Safety
///
/// The caller gives up the slot, which is of one of the heap's segments.
unsafe fn free_into(heap: HeapRef, pool: RegistryRef, slot: SlotPtr) -> usize {
    // SAFETY: guaranteed by the caller.
    let full = unsafe { heap.bin(0).push(slot) };
    if pool.is_closed() {
        return heap.collect_and_release(); // no allocation comes that would use the lists
    }
    if !full {
        return 0;
    }
    pool.add_ref(); // segments may be released, and with the last of them their references
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
) {
    let batch = OpenBatch::new();
    batch.open(segment);
    batch.push(offset);
    pool.add_ref(); // the slot keeps the pool only until it is sent
    pool.core().begin_free();
    // SAFETY: guaranteed by the caller.
    unsafe { handover::send_batch(segment, &batch, reclaims) };
    pool.core().end_free();
    // SAFETY: counted above.
    unsafe { pool.release_refs(1) };
}
