//! How slots, segments and heaps change hands: send, serve, leave, park, close, steal, pass on.
//!
//! ```text
//! send      a batch of slots goes to its segment, and that, if it was not queued, to its heap
//! leave     a thread ends: every slot home, what is empty released, the heap abandoned
//! park      a thread idles: the heap abandoned with its lists as they are
//! serve     a push met ABANDONED: the pusher brings what was pushed home, and abandons the heap again
//! steal     a thread's bin ran dry: it takes a few segments with room out of abandoned heaps
//! pass on   a segment arrived in the pending list of a heap that it no longer belongs to, or a slot of another heap was found
//!           in a list that is brought home: it is pushed to where it belongs
//! ```
//!
//! Two rules keep this safe. Whoever has a heap only for a moment abandons it *before* it passes anything on or gives
//! up references, and touches nothing of it after: with the last reference the heap is gone. And a segment changes heaps
//! while its old heap is still owned by whoever moves it: a push that read the old heap makes it a misrouted segment there, which
//! is noticed, never a member of two heaps.
//!
//! There is no recursion: what one step leaves to do is a list of things that nobody else holds.

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

/// Abandoned heaps that one refill looks into.
const VICTIMS: usize = 8;
/// Slots that a pusher brings home before it leaves the rest for later.
pub(crate) const VISIT_SLOTS: usize = if cfg!(segment_pool_loom) { 1 } else { 1024 };
/// Segments that one refill takes out of a heap, and magazines that it brings home there first.
const STOLEN_SEGMENTS: usize = 4;

/// A slot from a bin whose free list is empty, of a heap that the caller holds; `None` when the system has no memory or the
/// pool's limit is reached.
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

/// Serves everything that waits for a heap that the caller holds.
pub(crate) fn collect(heap: HeapRef, reclaims: &DeferredReclaims) {
    heap.collect_all();
    reroute(heap.outgoing(), reclaims);
}

/// Brings everything home, of a heap that the caller holds, and releases what is empty.
pub(crate) fn trim(heap: HeapRef, reclaims: &DeferredReclaims) {
    let released = heap.collect_and_release();
    reroute(heap.outgoing(), reclaims);
    // SAFETY: the released segments' references; the holder's own is left.
    unsafe { registry_of(heap).release_refs(released) };
}

/// Brings everything home in the heaps of a pool that nobody holds.
pub(crate) fn trim_abandoned(registry: RegistryRef, reclaims: &DeferredReclaims) {
    for heap in registry.heaps() {
        if registry.adopt_one(heap) {
            registry.add_ref();
            // SAFETY: adopted and counted above.
            unsafe { leave(heap, reclaims) };
        }
    }
}

/// A slot from a bin of a heap that the caller holds, without a new segment: the heap's own, or else out of any
/// abandoned heap of the pool, however many have to be looked into.
pub(crate) fn refill_from_others(
    heap: HeapRef,
    bin: usize,
    reclaims: &DeferredReclaims,
) -> Option<SlotPtr> {
    let registry = registry_of(heap);
    let mut filled = heap.refill(bin);
    // Twice: kept slots go home from one heap's lists to another, which was looked into before.
    for victim in registry.heaps().chain(registry.heaps()) {
        if !filled && victim != heap && registry.adopt_temporarily(victim) {
            steal_from(victim, heap, bin, usize::MAX, reclaims);
            filled = heap.refill(bin);
        }
    }
    reroute(heap.outgoing(), reclaims);
    if filled { heap.bin(bin).pop() } else { None }
}

/// Ends a thread's holding of a heap.
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

/// Ends a thread's holding of a heap for now: its lists stay as they are, for whoever takes it next, but its spare
/// segments go. The thread keeps its reference to the pool.
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

/// Ends a thread's use of a heap that it adopted for one operation. `released` references to its pool are given up after.
///
/// The lists stay as they are, and so do spare segments.
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

/// Drops a pool's handle: its heaps that nobody holds are emptied, and threads are asked to let go of the others.
///
/// # Safety
///
/// The handle's reference was the caller's.
pub(crate) unsafe fn close(registry: RegistryRef, reclaims: &DeferredReclaims) {
    registry.close();
    for heap in registry.heaps() {
        if registry.adopt_or_signal(heap) {
            registry.add_ref();
            // SAFETY: adopted and counted above.
            unsafe { leave(heap, reclaims) };
        }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { registry.release_refs(1) };
}

/// Pushes a batch of slots onto their segment's remote list, and what follows from that.
///
/// # Safety
///
/// The caller gives up the slots, one at least, all of this segment, with which no work of the caller on a heap is under
/// way. Mostly the heap is another's; the caller's own finds them in its pending list.
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

/// Puts misrouted segments in the pending lists of their heaps and cached remote slots on the remote lists of their segments, and serves heaps
/// that are acquired thereby.
fn reroute(outgoing: &Outgoing, reclaims: &DeferredReclaims) {
    loop {
        while let Some(segment) = outgoing.misrouted.pop() {
            deliver(segment, outgoing, reclaims);
        }
        let Some((segment, batch)) = outgoing.remote.pop_batch() else {
            return;
        };
        // SAFETY: the list held the slots.
        unsafe { push_batch(segment, &batch, outgoing) };
    }
}

/// Puts a segment, whose QUEUED is on and which is in no pending list, in that of its heap.
fn deliver(segment: SegmentRef, outgoing: &Outgoing, reclaims: &DeferredReclaims) {
    // SAFETY: QUEUED keeps the segment in use, and so its heap alive.
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    // SAFETY: the segment is queued and in no pending list; if the heap is not its own any more, it will be forwarded.
    if unsafe { heap.pending().push(segment.into()) } == Delivered::Acquired {
        // SAFETY: as `Acquired` says.
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
    // Noted before the heap is left, for then the pool may end; the queued segment keeps it alive until then.
    let deferral = reclaims.defer(heap);
    let released = deferral.abandon(heap, outgoing);
    // SAFETY: the released segments' references and that of the debt; if there are none, nothing is touched.
    unsafe { registry.release_refs(released) };
}

/// Heaps that a thread left before it had served all that came in while it had them. It comes back to each: a little in
/// every slow path, and to the end when it flushes, idles or ends. Each is held by a reference to its pool. A thread past its
/// end notes none, for no later step need come: it serves each heap to the end at once.
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

    /// Says that the thread is past its end.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Notes a heap that the caller has for a moment, with a reference to its pool.
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

    /// Visits each heap once, for so many slots.
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

    /// Visits the heaps until nothing is owed.
    pub(crate) fn visit_all(&self) {
        while !self.is_empty() {
            self.visit_each(usize::MAX);
        }
    }
}

/// Whether a heap is among the debts.
enum Deferral<'a> {
    /// It was.
    Before,
    /// It is from now on.
    Now(&'a Cell<Option<HeapRef>>),
    /// There was no room, or the thread is past its end: it must be served to the end.
    Never,
}

impl Deferral<'_> {
    /// Serves and abandons the heap: a little of it if it is owed a visit, else to the end. Returns the references to
    /// give up, also that of a debt that was not needed after all.
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

/// Serves a heap that is owed a visit, if nobody has it: who has it sees to it. Returns whether the debt is paid, and if
/// so gives its reference up.
fn visit(heap: HeapRef, most: usize, outgoing: &Outgoing) -> bool {
    let registry = registry_of(heap);
    let (released, paid) = if registry.adopt_temporarily(heap) {
        heap.abandon_soon(most, outgoing)
    } else {
        (0, true)
    };
    // SAFETY: the released segments' references, and that of the debt.
    unsafe { registry.release_refs(released + usize::from(paid)) };
    paid
}

/// Pushes a batch; a segment that is to be put in a pending list goes to `outgoing`.
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
    // SAFETY: the chain's slots are the caller's.
    let mut pushed = unsafe { segment.push_remote(newest, oldest, slots, purges) };
    if let Pushed::Purging(purge) = pushed {
        // SAFETY: every slot is free, and PURGING keeps the owner from them.
        unsafe { segment.purge(os::page_bytes(), os::purge) };
        events::note(
            Happened::Purged,
            registry_of(heap).core().name,
            segment.identity().span.bytes(),
        );
        // SAFETY: done just now.
        pushed = unsafe { segment.finish_purge(purge) };
    }
    if pushed == Pushed::Queued {
        // SAFETY: this push turned QUEUED on.
        unsafe { outgoing.misrouted.push(segment) };
    }
}

/// Moves a few segments with room into a bin of a heap that the caller holds, out of abandoned heaps of the pool;
/// true if there were any.
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

/// Moves at most `most` segments of an abandoned heap, which the caller has for a moment and leaves again; first brings as many
/// magazines home there.
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

/// Decides, attempt by attempt, whether a push that completes a segment purges it.
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

    /// Asked while the pusher still holds its slots, so the heap is alive.
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
