//! How heaps and segments change hands: leave, lend, close, serve, forward, merge.
//!
//! ```text
//! leave     a thread ends: every slot home, what is empty released, the heap abandoned
//! lend      a thread idles: the heap abandoned with its lists as they are
//! serve     a push met ABANDONED: the pusher brings what was pushed home, and abandons the heap again
//! merge     a thread's bin ran dry: it takes a few segments with room out of abandoned heaps
//! forward   a segment arrived in the inbox of a heap that it no longer belongs to: it is pushed to the right one
//! ```
//!
//! Two rules keep this safe. Whoever has a heap only for a moment abandons it *before* it forwards strays or gives up
//! references, and touches nothing of it after: with the last reference the heap is gone. And a segment changes heaps
//! while its old heap is still owned by whoever moves it: a push that read the old heap makes it a stray there, which
//! is noticed, never a member of two heaps.
//!
//! There is no recursion: what one step leaves to do is a list of strays, each queued and held by nobody else.

use crate::heap::HeapRef;
use crate::registry::{RegistryRef, registry_of};
use crate::remote::Delivered;
use crate::segment::{Loose, Queued, SegmentRef};
use crate::slot::SlotPtr;

/// Abandoned heaps that one refill looks into.
const DONORS: usize = 8;
/// Segments that one refill takes out of a heap, and magazines that it brings home there first.
const MERGED_SEGMENTS: usize = 4;

/// A slot from a bin whose free list is empty, of a heap that the caller holds; `None` when memory is refused or the
/// pool's limit is reached.
pub(crate) fn refill(heap: HeapRef, bin: usize) -> Option<SlotPtr> {
    let filled =
        heap.refill(bin) || (merge(heap, bin) && heap.refill(bin)) || heap.refill_from_new(bin);
    forward(heap.strays());
    if filled { heap.bin(bin).take() } else { None }
}

/// Stashes the full free list of a bin, of a heap that the caller holds.
pub(crate) fn stash(heap: HeapRef, bin: usize) {
    heap.stash(bin);
    forward(heap.strays());
}

/// Brings everything home, of a heap that the caller holds, and releases what is empty.
pub(crate) fn trim(heap: HeapRef) {
    let released = heap.settle();
    forward(heap.strays());
    // SAFETY: the released segments' references; the holder's own is left.
    unsafe { registry_of(heap).give_up(released) };
}

/// Brings everything home in the heaps of a pool that nobody holds.
pub(crate) fn trim_abandoned(registry: RegistryRef, token: u64) {
    let adopted: Vec<_> = core::iter::from_fn(|| registry.acquire_abandoned(token)).collect();
    for heap in adopted {
        // SAFETY: acquired above.
        unsafe { leave(heap) };
    }
}

/// A slot from a bin of a heap that the caller holds, without a new segment: the heap's own, or else out of any
/// abandoned heap of the pool, however many have to be looked into.
pub(crate) fn refill_from_others(heap: HeapRef, bin: usize) -> Option<SlotPtr> {
    let heaps = registry_of(heap).heaps().count();
    let mut filled = heap.refill(bin);
    for _ in 0..heaps.div_ceil(DONORS) {
        filled = filled || (merge(heap, bin) && heap.refill(bin));
    }
    forward(heap.strays());
    if filled { heap.bin(bin).take() } else { None }
}

/// Ends a thread's holding of a heap.
///
/// # Safety
///
/// The calling thread got the heap from [`RegistryRef::acquire`] and does not use it any more.
pub(crate) unsafe fn leave(heap: HeapRef) {
    let registry = registry_of(heap);
    let settled = heap.settle();
    let strays = Queued::new();
    registry.count_abandoned();
    let released = settled + heap.abandon(&strays);
    forward(&strays);
    // SAFETY: the released segments' references and the thread's own.
    unsafe { registry.give_up(released + 1) };
}

/// Ends a thread's holding of a heap for now: its lists stay as they are, for whoever takes it next.
///
/// # Safety
///
/// As for [`leave`].
pub(crate) unsafe fn lend(heap: HeapRef) {
    let registry = registry_of(heap);
    let strays = Queued::new();
    registry.count_abandoned();
    let released = heap.abandon(&strays);
    forward(&strays);
    // SAFETY: the released segments' references and the thread's own.
    unsafe { registry.give_up(released + 1) };
}

/// Drops a pool's handle: its heaps that nobody holds are emptied, and threads are asked to let go of the others.
///
/// # Safety
///
/// The handle's reference was the caller's.
pub(crate) unsafe fn close(registry: RegistryRef) {
    registry.close();
    for heap in registry.heaps() {
        if registry.adopt_or_signal(heap) {
            registry.count_held();
            // SAFETY: adopted and counted above.
            unsafe { leave(heap) };
        }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { registry.give_up(1) };
}

/// Puts a segment in its heap's inbox.
///
/// # Safety
///
/// The caller's push turned the segment's QUEUED on.
pub(crate) unsafe fn deliver(segment: SegmentRef) {
    let strays = Queued::new();
    // SAFETY: guaranteed by the caller.
    unsafe { strays.push(segment) };
    forward(&strays);
}

/// Puts segments in the inboxes of their heaps, and serves heaps that are acquired thereby.
fn forward(strays: &Queued) {
    while let Some(segment) = strays.pop() {
        // SAFETY: QUEUED keeps the segment in use, and so its heap alive.
        let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
        // SAFETY: the segment is queued and in no inbox; if the heap is not its own any more, it will be forwarded.
        if unsafe { heap.inbox().push(segment.into()) } == Delivered::Acquired {
            // SAFETY: as `Acquired` says.
            unsafe { serve(heap, strays) };
        }
    }
}

/// Serves an abandoned heap that the caller acquired by a push, and abandons it again.
///
/// # Safety
///
/// The push returned `Delivered::Acquired`.
unsafe fn serve(heap: HeapRef, strays: &Queued) {
    let registry = registry_of(heap);
    let released = heap.abandon(strays);
    // SAFETY: the released segments' references; if there are none, nothing is touched.
    unsafe { registry.give_up(released) };
}

/// Moves a few segments with room into a bin of a heap that the caller holds, out of abandoned heaps of the pool;
/// true if there were any.
fn merge(heap: HeapRef, bin: usize) -> bool {
    let registry = registry_of(heap);
    if !registry.has_abandoned() {
        return false;
    }
    let mut donor = heap.donor().get();
    for _ in 0..DONORS {
        let Some(candidate) = donor.or_else(|| registry.heaps().next()) else {
            break;
        };
        if candidate != heap && registry.adopt_one(candidate) && merge_from(candidate, heap, bin) {
            heap.donor().set(Some(candidate));
            return true;
        }
        donor = registry.after(candidate);
    }
    heap.donor().set(donor);
    false
}

/// Moves a few segments of an abandoned heap, which the caller adopted and leaves again.
fn merge_from(donor: HeapRef, heap: HeapRef, bin: usize) -> bool {
    let registry = registry_of(heap);
    let (parted, strays) = (Loose::new(), Queued::new());
    let released = donor.part_with(bin, MERGED_SEGMENTS, heap, &parted);
    registry.count_abandoned();
    let released = released + donor.abandon(&strays);
    let merged = !parted.is_empty();
    while let Some(segment) = parted.pop() {
        heap.take_over(segment);
    }
    forward(&strays);
    // SAFETY: the released segments' references; the caller's own keeps the pool alive.
    unsafe { registry.give_up(released) };
    merged
}
