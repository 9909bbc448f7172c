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
use crate::heap::handover::{self, Debts};
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
pub(crate) fn take(pool: RegistryRef, debts: &Debts) -> Option<SlotPtr> {
    for look in sync::looks(PATIENCE) {
        match look_through(pool, debts) {
            Look::Found(slot) => return Some(slot),
            Look::Exhausted => return None,
            Look::Unsure if needs_another_heap(pool, look) => {
                let slot = park_after(create_heap(pool)?, debts, take_from);
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
    debts: &Debts,
    work: impl FnOnce(HeapRef) -> R,
) -> Option<R> {
    let mut looks = (0..BUSY_LOOKS).take_while(|_| pool.heaps().next().is_some());
    let heap = looks.find_map(|look| {
        sync::pause(look);
        pool.heaps().find(|heap| pool.borrow_one(*heap))
    });
    let heap = heap.or_else(|| create_heap(pool))?;
    Some(park_after(heap, debts, work))
}

/// Frees a slot.
///
/// # Safety
///
/// The caller gives up the slot, which is at this offset of the segment, and that is of this heap.
pub(crate) unsafe fn give(
    heap: HeapRef,
    segment: SegmentRef,
    slot: SlotPtr,
    offset: Offset,
    debts: &Debts,
) {
    let pool = registry_of(heap);
    if pool.borrow_one(heap) {
        // SAFETY: adopted just now; guaranteed by the caller.
        let released = unsafe { give_to(heap, pool, slot) };
        handover::park(heap, released, debts);
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { give_remotely(pool, segment, offset, debts) };
    }
}

/// Looks into all heaps at one moment. If there are several, it looks into one after the other before, which is enough for a
/// request that finds a slot, and leaves the others to other threads.
fn look_through(pool: RegistryRef, debts: &Debts) -> Look {
    if pool.heaps().nth(1).is_some() {
        let mut adopted = pool.heaps().filter(|heap| pool.borrow_one(*heap));
        if let Some(slot) = adopted.find_map(|heap| park_after(heap, debts, take_from)) {
            return Look::Found(slot);
        }
    }
    look_at_once(pool, debts)
}

/// Looks into all heaps while this thread has all of them. Slots are freed meanwhile, and none is taken: so if none is found, there
/// was a moment at which none was free.
pub(crate) fn look_at_once(pool: RegistryRef, debts: &Debts) -> Look {
    let adopted = pool
        .heaps()
        .take_while(|heap| pool.borrow_one(*heap))
        .count();
    let sure = adopted > 0 && !pool.core().has_frees_under_way();
    let slot = pool.heaps().take(adopted).find_map(take_from);
    // After the look: if the limit was reached by a segment of a new heap, that is listed now.
    let all = pool.heaps().nth(adopted).is_none();
    let heaps = pool.heaps().take(adopted);
    heaps.for_each(|heap| handover::park(heap, 0, debts));
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
fn take_from(heap: HeapRef) -> Option<SlotPtr> {
    let bin = heap.bin(0);
    let slot = bin.take();
    if slot.is_none() && (heap.refill(0) || heap.refill_from_new(0)) {
        return bin.take();
    }
    slot
}

/// Uses a heap that the caller adopted, of a pool that it keeps alive, and abandons it.
fn park_after<R>(heap: HeapRef, debts: &Debts, work: impl FnOnce(HeapRef) -> R) -> R {
    let done = work(heap);
    handover::park(heap, 0, debts);
    done
}

/// Frees a slot into the lists of a heap that the caller adopted. Returns how many references to the pool are to be given up.
///
/// # Safety
///
/// The caller gives up the slot, which is of one of the heap's segments.
unsafe fn give_to(heap: HeapRef, pool: RegistryRef, slot: SlotPtr) -> usize {
    // SAFETY: guaranteed by the caller.
    let full = unsafe { heap.bin(0).give(slot) };
    if pool.is_closed() {
        return heap.settle(); // no allocation comes that would use the lists
    }
    if !full {
        return 0;
    }
    pool.count_held(); // segments may be released, and with the last of them their references
    heap.stash(0);
    1
}

/// Frees a slot while another thread uses the heap of its segment.
///
/// # Safety
///
/// The caller gives up the slot at this offset of the segment, which is of this pool.
unsafe fn give_remotely(pool: RegistryRef, segment: SegmentRef, offset: Offset, debts: &Debts) {
    let batch = OpenBatch::new();
    batch.open(segment);
    batch.push(offset);
    pool.count_held(); // the slot keeps the pool only until it is sent
    pool.core().begin_free();
    // SAFETY: guaranteed by the caller.
    unsafe { handover::send_batch(segment, &batch, debts) };
    pool.core().end_free();
    // SAFETY: counted above.
    unsafe { pool.give_up(1) };
}
