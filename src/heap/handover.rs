//! Transfers of slots, segments and heaps between threads: send, leave, park, serve, steal, reroute.
//!
//! ```text
//! send      pushes a batch of slots to its segment; a segment that was not queued goes to the pending list of its heap
//! leave     a thread ends: collects and releases, then abandons the heap
//! park      a thread idles: abandons the heap with its lists as they are
//! serve     a push found ABANDONED: the pushing thread returns pending slots to their segments and abandons the heap again
//! steal     a thread's bin is empty: takes a few segments with room from abandoned heaps
//! reroute   a segment is in the pending list of a heap that it left, or a cached remote slot was found while slots
//!           are returned to their segments: pushes it to where it belongs
//! ```
//!
//! Two rules make this safe. First, a temporary owner abandons the heap *before* it reroutes anything or
//! releases references, and touches nothing of the heap afterwards: the heap is gone with the last reference.
//! Second, the thread that moves a segment to another heap still owns the old heap at that time. A push that
//! read the old heap makes the segment misrouted there. The owner detects that, so a segment is never in two
//! heaps.
//!
//! There is no recursion. Each step leaves further work in lists that only this thread owns.
//!
//! Any thread may call these functions. [`DeferredReclaims`] belongs to one thread. Always holds: each heap
//! in it is kept alive by a reference to its pool.

use core::cell::Cell;

use crate::ground::events::{self, Happened};
use crate::ground::os;
use crate::heap::batch::{OpenBatch, Written};
use crate::heap::fields::HeapRef;
use crate::heap::lists::{Loose, Outgoing};
use crate::heap::registry::{RegistryRef, registry_of};
use crate::memory::remote::{Delivered, Pushed};
use crate::memory::segment::SegmentRef;
use crate::slot::SlotPtr;

/// Abandoned heaps that one refill searches.
const VICTIMS: usize = 8;
/// Slots that a pushing thread returns to their segments before it leaves the rest for a later visit.
pub(crate) const VISIT_SLOTS: usize = if cfg!(segment_pool_loom) { 1 } else { 1024 };
/// Segments that one refill steals from a heap, and magazines that it returns to segments there first.
const STOLEN_SEGMENTS: usize = 4;

/// Allocates a slot from a bin whose free list is empty, of a heap that the caller holds. `None` if the
/// system has no memory or the pool's limit is reached.
pub(crate) fn refill(heap: HeapRef, bin: usize, reclaims: &DeferredReclaims) -> Option<SlotPtr> {
    heap.release_excess();
    let filled = heap.refill(bin)
        || (steal(heap, bin, reclaims) && heap.refill(bin))
        || heap.refill_from_new(bin);
    reroute(heap.outgoing(), reclaims);
    if filled { heap.bin(bin).pop() } else { None }
}

/// Spills the full free list of a bin, of a heap that the caller holds.
pub(crate) fn spill(heap: HeapRef, bin: usize, reclaims: &DeferredReclaims) {
    heap.spill(bin);
    heap.release_excess();
    reroute(heap.outgoing(), reclaims);
}

/// Collects all pending segments of a heap that the caller holds.
pub(crate) fn collect(heap: HeapRef, reclaims: &DeferredReclaims) {
    heap.collect_all();
    reroute(heap.outgoing(), reclaims);
}

/// Collects and releases a heap that the caller holds.
pub(crate) fn trim(heap: HeapRef, reclaims: &DeferredReclaims) {
    let released = heap.collect_and_release();
    reroute(heap.outgoing(), reclaims);
    // SAFETY: the released segments' references; the caller's own is left.
    unsafe { registry_of(heap).release_refs(released) };
}

/// Collects and releases the abandoned heaps of a pool.
pub(crate) fn trim_abandoned(registry: RegistryRef, reclaims: &DeferredReclaims) {
    for heap in registry.heaps() {
        if registry.adopt_one(heap) {
            registry.add_ref();
            // SAFETY: the heap was adopted and its reference added above.
            unsafe { leave(heap, reclaims) };
        }
    }
}

/// Allocates a slot from a bin of a heap that the caller holds, without a new segment. The slot comes from
/// this heap, or else from any abandoned heap of the pool; all of them are searched.
pub(crate) fn refill_from_others(
    heap: HeapRef,
    bin: usize,
    reclaims: &DeferredReclaims,
) -> Option<SlotPtr> {
    let registry = registry_of(heap);
    let mut filled = heap.refill(bin);
    // Twice: cached remote slots may return from one heap's lists to a heap that was searched before.
    for victim in registry.heaps().chain(registry.heaps()) {
        if !filled && victim != heap && registry.adopt_temporarily(victim) {
            steal_from(victim, heap, bin, usize::MAX, reclaims);
            filled = heap.refill(bin);
        }
    }
    reroute(heap.outgoing(), reclaims);
    if filled { heap.bin(bin).pop() } else { None }
}

/// Ends a thread's use of a heap: collects and releases, then abandons it.
///
/// # Safety
///
/// The calling thread got the heap from [`RegistryRef::acquire`] and does not use it any more.
pub(crate) unsafe fn leave(heap: HeapRef, reclaims: &DeferredReclaims) {
    let registry = registry_of(heap);
    let emptied = heap.collect_and_release();
    let outgoing = Outgoing::new();
    registry.count_abandoned();
    let released = emptied + heap.abandon(&outgoing);
    reroute(&outgoing, reclaims);
    // SAFETY: the released segments' references and the thread's own.
    unsafe { registry.release_refs(released + 1) };
}

/// Suspends a thread's use of a heap: releases its spare segments and abandons it with its lists as they are,
/// for the next thread that adopts it. The calling thread keeps its reference to the pool.
///
/// # Safety
///
/// As for [`leave`].
pub(crate) unsafe fn park(heap: HeapRef, reclaims: &DeferredReclaims) {
    let registry = registry_of(heap);
    let outgoing = Outgoing::new();
    let spares = heap.release_spares();
    registry.count_abandoned();
    let released = spares + heap.abandon(&outgoing);
    reroute(&outgoing, reclaims);
    // SAFETY: the released segments' references.
    unsafe { registry.release_refs(released) };
}

/// Ends a thread's use of a heap that it adopted for one operation. Releases `released` references to its
/// pool afterwards.
///
/// The lists and the spare segments stay as they are.
pub(crate) fn abandon_adopted(heap: HeapRef, released: usize, reclaims: &DeferredReclaims) {
    if released == 0 && heap.try_abandon() {
        return;
    }
    let registry = registry_of(heap);
    let outgoing = Outgoing::new();
    let released = released + heap.abandon(&outgoing);
    reroute(&outgoing, reclaims);
    // SAFETY: the references of released segments, and those that the caller counted.
    unsafe { registry.release_refs(released) };
}

/// Drops a pool's handle. Collects and releases the abandoned heaps, and signals the threads that hold the
/// others.
///
/// # Safety
///
/// The caller owned the handle's reference.
pub(crate) unsafe fn close(registry: RegistryRef, reclaims: &DeferredReclaims) {
    registry.close();
    for heap in registry.heaps() {
        if registry.adopt_or_signal(heap) {
            registry.add_ref();
            // SAFETY: the heap was adopted and its reference added above.
            unsafe { leave(heap, reclaims) };
        }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { registry.release_refs(1) };
}

/// Pushes a batch of slots on their segment's remote list, and serves the heap if the push acquires it.
///
/// # Safety
///
/// The caller gives up the slots, at least one, all of this segment. No operation of the caller on a heap is
/// under way. The heap is usually another thread's. If it is the caller's own, it finds the slots in its
/// pending list.
pub(crate) unsafe fn send_batch(
    segment: SegmentRef,
    batch: &OpenBatch,
    reclaims: &DeferredReclaims,
) {
    let outgoing = Outgoing::new();
    // SAFETY: guaranteed by the caller.
    unsafe { push_batch(segment, batch, &outgoing) };
    reroute(&outgoing, reclaims);
}

/// Reroutes: pushes misrouted segments to the pending lists of their heaps, and cached remote slots to the
/// remote lists of their segments. Serves the heaps that these pushes acquire.
fn reroute(outgoing: &Outgoing, reclaims: &DeferredReclaims) {
    loop {
        while let Some(segment) = outgoing.misrouted.pop() {
            deliver(segment, outgoing, reclaims);
        }
        let Some((segment, batch)) = outgoing.remote.pop_batch() else {
            return;
        };
        // SAFETY: the list owned the slots.
        unsafe { push_batch(segment, &batch, outgoing) };
    }
}

/// Puts a segment in the pending list of its heap. QUEUED is on, and the segment is in no pending list.
fn deliver(segment: SegmentRef, outgoing: &Outgoing, reclaims: &DeferredReclaims) {
    // SAFETY: QUEUED keeps the segment in use, and so its heap alive.
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    // SAFETY: the segment is queued and in no pending list. If it has left the heap meanwhile, the heap's
    // owner reroutes it.
    if unsafe { heap.pending().push(segment.into()) } == Delivered::Acquired {
        // SAFETY: the push acquired the heap.
        unsafe { serve(heap, outgoing, reclaims) };
    }
}

/// Serves an abandoned heap that the caller acquired by a push, and abandons it again.
///
/// # Safety
///
/// The push returned `Delivered::Acquired`.
unsafe fn serve(heap: HeapRef, outgoing: &Outgoing, reclaims: &DeferredReclaims) {
    let registry = registry_of(heap);
    // Recorded before the heap is abandoned, because the pool may be freed after that. Until then the queued
    // segment keeps it alive.
    let deferral = reclaims.defer(heap);
    let released = deferral.abandon(heap, outgoing);
    // SAFETY: the references of the released segments and of an unneeded deferral. If there are none, nothing
    // is touched.
    unsafe { registry.release_refs(released) };
}

/// Heaps that a thread abandoned before it had served all that was pushed meanwhile. The thread visits each
/// again: for a few slots in every slow path, and to the end when it flushes, idles or ends. A reference to
/// the pool keeps each heap alive. A thread past its end records none, because it may have no later step. It
/// serves each heap to the end at once.
#[derive(Debug)]
pub(crate) struct DeferredReclaims {
    heaps: [Cell<Option<HeapRef>>; 4],
    /// Whether the thread is past its end.
    closed: Cell<bool>,
}

impl DeferredReclaims {
    pub(crate) const fn new() -> Self {
        Self {
            heaps: [const { Cell::new(None) }; 4],
            closed: Cell::new(false),
        }
    }

    /// Marks the thread as past its end.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Records a heap that the caller owns temporarily, with a reference to its pool.
    fn defer(&self, heap: HeapRef) -> Deferral<'_> {
        if self.heaps.iter().any(|reclaim| reclaim.get() == Some(heap)) {
            return Deferral::Before;
        }
        let vacant = self.heaps.iter().find(|reclaim| reclaim.get().is_none());
        let Some(vacant) = vacant.filter(|_| !self.closed.get()) else {
            return Deferral::Never;
        };
        registry_of(heap).add_ref();
        vacant.set(Some(heap));
        Deferral::Now(vacant)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.heaps.iter().all(|reclaim| reclaim.get().is_none())
    }

    /// Visits each heap once, for `most` slots.
    pub(crate) fn visit_each(&self, most: usize) {
        for reclaim in &self.heaps {
            if let Some(heap) = reclaim.take() {
                let outgoing = Outgoing::new();
                if !visit(heap, most, &outgoing) {
                    reclaim.set(Some(heap));
                }
                reroute(&outgoing, self);
            }
        }
    }

    /// Visits the heaps until none is recorded.
    pub(crate) fn visit_all(&self) {
        while !self.is_empty() {
            self.visit_each(usize::MAX);
        }
    }
}

/// Whether a heap is among the deferred reclaims.
enum Deferral<'a> {
    /// It was already.
    Before,
    /// It was recorded just now.
    Now(&'a Cell<Option<HeapRef>>),
    /// There was no room, or the thread is past its end. The heap must be served to the end.
    Never,
}

impl Deferral<'_> {
    /// Serves and abandons the heap: partly if another visit is recorded, else to the end. Returns the number
    /// of references to release, including that of a deferral that was not needed after all.
    fn abandon(self, heap: HeapRef, outgoing: &Outgoing) -> usize {
        let (released, served) = match self {
            Self::Never => (heap.abandon(outgoing), true),
            Self::Before | Self::Now(_) => heap.abandon_soon(VISIT_SLOTS, outgoing),
        };
        match self {
            Self::Now(reclaim) if served => {
                reclaim.set(None);
                released + 1
            }
            _ => released,
        }
    }
}

/// Visits a recorded heap: serves it if it has no owner. An owner serves it itself. Returns whether the heap
/// needs no further visit, and in that case releases its reference.
fn visit(heap: HeapRef, most: usize, outgoing: &Outgoing) -> bool {
    let registry = registry_of(heap);
    let (released, done) = if registry.adopt_temporarily(heap) {
        heap.abandon_soon(most, outgoing)
    } else {
        (0, true)
    };
    // SAFETY: the references of the released segments and of the deferral.
    unsafe { registry.release_refs(released + usize::from(done)) };
    done
}

/// Pushes a batch. A segment that must be put in a pending list goes to `outgoing`.
///
/// # Safety
///
/// As for [`send_batch`].
unsafe fn push_batch(segment: SegmentRef, batch: &OpenBatch, outgoing: &Outgoing) {
    let slots = batch.slots(segment);
    // SAFETY: guaranteed by the caller.
    let Some(written) = (unsafe { batch.write(segment) }) else {
        return;
    };
    // SAFETY: the caller's slots keep the segment in use, and so its heap alive.
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    let mut decision = PurgeDecision::new(segment, heap);
    let purges = |total| decision.purges(total);
    let Written { newest, oldest } = written;
    // SAFETY: the caller owns the slots of the chain and gives them up.
    let mut pushed = unsafe { segment.push_remote(newest, oldest, slots, purges) };
    if let Pushed::Purging(purge) = pushed {
        // SAFETY: every slot is free, and PURGING keeps the owner from them.
        unsafe { segment.purge(os::page_bytes(), os::purge) };
        events::note(
            Happened::Purged,
            registry_of(heap).core().name,
            segment.identity().span.bytes(),
        );
        // SAFETY: this push began the purge, and the pages were purged just now.
        pushed = unsafe { segment.finish_purge(purge) };
    }
    if pushed == Pushed::Queued {
        // SAFETY: this push turned QUEUED on, and the segment is in no pending list yet.
        unsafe { outgoing.misrouted.push(segment) };
    }
}

/// Steals a few segments with room from abandoned heaps of the pool, for a bin of a heap that the caller
/// holds. True if there were any.
fn steal(heap: HeapRef, bin: usize, reclaims: &DeferredReclaims) -> bool {
    let registry = registry_of(heap);
    if !registry.has_abandoned() {
        return false;
    }
    let mut victim = heap.victim().get();
    for _ in 0..VICTIMS {
        let Some(candidate) = victim.or_else(|| registry.heaps().next()) else {
            break;
        };
        if candidate != heap
            && registry.adopt_temporarily(candidate)
            && steal_from(candidate, heap, bin, STOLEN_SEGMENTS, reclaims)
        {
            heap.victim().set(Some(candidate));
            return true;
        }
        victim = registry.after(candidate);
    }
    heap.victim().set(victim);
    false
}

/// Steals at most `most` segments from an abandoned heap, which the caller owns temporarily and abandons
/// here. First returns at most `most` magazines to their segments there.
fn steal_from(
    victim: HeapRef,
    heap: HeapRef,
    bin: usize,
    most: usize,
    reclaims: &DeferredReclaims,
) -> bool {
    let registry = registry_of(heap);
    let (detached, outgoing) = (Loose::new(), Outgoing::new());
    let released = victim.detach_segments(bin, most, heap, &detached);
    let deferral = reclaims.defer(victim);
    let released = released + deferral.abandon(victim, &outgoing);
    let stolen = !detached.is_empty();
    while let Some(segment) = detached.pop() {
        heap.take_over(segment);
    }
    reroute(&outgoing, reclaims);
    // SAFETY: the released segments' references; the caller's own keeps the pool alive.
    unsafe { registry.release_refs(released) };
    stolen
}

/// Decides in each attempt whether a push that fully frees a segment purges it.
struct PurgeDecision {
    heap: HeapRef,
    capacity: usize,
    bytes: usize,
    counted: bool,
}

impl PurgeDecision {
    fn new(segment: SegmentRef, heap: HeapRef) -> Self {
        let identity = segment.identity();
        Self {
            heap,
            capacity: identity.capacity,
            bytes: identity.span.bytes(),
            counted: false,
        }
    }

    /// Called while the pushing thread still owns its slots, so the heap is alive.
    fn purges(&mut self, total: usize) -> bool {
        if self.counted {
            self.heap.uncount_fully_freed(self.bytes);
        }
        self.counted = total == self.capacity && self.heap.count_fully_freed(self.bytes);
        total == self.capacity && !self.counted
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
