//! How slots, segments and heaps change hands: send, serve, leave, lend, close, merge, pass on.
//!
//! ```text
//! send      a batch of slots goes to its segment, and that, if it was not queued, to its heap
//! leave     a thread ends: every slot home, what is empty released, the heap abandoned
//! lend      a thread idles: the heap abandoned with its lists as they are
//! serve     a push met ABANDONED: the pusher brings what was pushed home, and abandons the heap again
//! merge     a thread's bin ran dry: it takes a few segments with room out of abandoned heaps
//! pass on   a segment arrived in the inbox of a heap that it no longer belongs to, or a slot of another heap was found
//!           in a list that is brought home: it is pushed to where it belongs
//! ```
//!
//! Two rules keep this safe. Whoever has a heap only for a moment abandons it *before* it passes anything on or gives
//! up references, and touches nothing of it after: with the last reference the heap is gone. And a segment changes heaps
//! while its old heap is still owned by whoever moves it: a push that read the old heap makes it a stray there, which
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
const DONORS: usize = 8;
/// Slots that a pusher brings home before it leaves the rest for later.
pub(crate) const TENURE_SLOTS: usize = if cfg!(segment_pool_loom) { 1 } else { 1024 };
/// Segments that one refill takes out of a heap, and magazines that it brings home there first.
const MERGED_SEGMENTS: usize = 4;

/// A slot from a bin whose free list is empty, of a heap that the caller holds; `None` when memory is refused or the
/// pool's limit is reached.
pub(crate) fn refill(heap: HeapRef, bin: usize, debts: &Debts) -> Option<SlotPtr> {
    let filled = heap.refill(bin)
        || (merge(heap, bin, debts) && heap.refill(bin))
        || heap.refill_from_new(bin);
    pass_on(heap.outgoing(), debts);
    if filled { heap.bin(bin).take() } else { None }
}

/// Stashes the full free list of a bin, of a heap that the caller holds.
pub(crate) fn stash(heap: HeapRef, bin: usize, debts: &Debts) {
    heap.stash(bin);
    pass_on(heap.outgoing(), debts);
}

/// Serves everything that waits for a heap that the caller holds.
pub(crate) fn collect(heap: HeapRef, debts: &Debts) {
    heap.collect_all();
    pass_on(heap.outgoing(), debts);
}

/// Brings everything home, of a heap that the caller holds, and releases what is empty.
pub(crate) fn trim(heap: HeapRef, debts: &Debts) {
    let released = heap.settle();
    pass_on(heap.outgoing(), debts);
    // SAFETY: the released segments' references; the holder's own is left.
    unsafe { registry_of(heap).give_up(released) };
}

/// Brings everything home in the heaps of a pool that nobody holds.
pub(crate) fn trim_abandoned(registry: RegistryRef, debts: &Debts) {
    for heap in registry.heaps() {
        if registry.adopt_one(heap) {
            registry.count_held();
            // SAFETY: adopted and counted above.
            unsafe { leave(heap, debts) };
        }
    }
}

/// A slot from a bin of a heap that the caller holds, without a new segment: the heap's own, or else out of any
/// abandoned heap of the pool, however many have to be looked into.
pub(crate) fn refill_from_others(heap: HeapRef, bin: usize, debts: &Debts) -> Option<SlotPtr> {
    let registry = registry_of(heap);
    let mut filled = heap.refill(bin);
    // Twice: kept slots go home from one heap's lists to another, which was looked into before.
    for donor in registry.heaps().chain(registry.heaps()) {
        if !filled && donor != heap && registry.borrow_one(donor) {
            merge_from(donor, heap, bin, usize::MAX, debts);
            filled = heap.refill(bin);
        }
    }
    pass_on(heap.outgoing(), debts);
    if filled { heap.bin(bin).take() } else { None }
}

/// Ends a thread's holding of a heap.
///
/// # Safety
///
/// The calling thread got the heap from [`RegistryRef::acquire`] and does not use it any more.
pub(crate) unsafe fn leave(heap: HeapRef, debts: &Debts) {
    let registry = registry_of(heap);
    let settled = heap.settle();
    let outgoing = Outgoing::new();
    registry.count_abandoned();
    let released = settled + heap.abandon(&outgoing);
    pass_on(&outgoing, debts);
    // SAFETY: the released segments' references and the thread's own.
    unsafe { registry.give_up(released + 1) };
}

/// Ends a thread's holding of a heap for now: its lists stay as they are, for whoever takes it next, but its spare
/// segments go. The thread keeps its reference to the pool.
///
/// # Safety
///
/// As for [`leave`].
pub(crate) unsafe fn lend(heap: HeapRef, debts: &Debts) {
    let registry = registry_of(heap);
    let outgoing = Outgoing::new();
    let spares = heap.release_spares();
    registry.count_abandoned();
    let released = spares + heap.abandon(&outgoing);
    pass_on(&outgoing, debts);
    // SAFETY: the released segments' references.
    unsafe { registry.give_up(released) };
}

/// Ends a thread's use of a heap that it adopted for one operation. `released` references to its pool are given up after.
///
/// The lists stay as they are, and so do spare segments.
pub(crate) fn park(heap: HeapRef, released: usize, debts: &Debts) {
    if released == 0 && heap.try_abandon() {
        return;
    }
    let registry = registry_of(heap);
    let outgoing = Outgoing::new();
    let released = released + heap.abandon(&outgoing);
    pass_on(&outgoing, debts);
    // SAFETY: the references of released segments, and those that the caller counted.
    unsafe { registry.give_up(released) };
}

/// Drops a pool's handle: its heaps that nobody holds are emptied, and threads are asked to let go of the others.
///
/// # Safety
///
/// The handle's reference was the caller's.
pub(crate) unsafe fn close(registry: RegistryRef, debts: &Debts) {
    registry.close();
    for heap in registry.heaps() {
        if registry.adopt_or_signal(heap) {
            registry.count_held();
            // SAFETY: adopted and counted above.
            unsafe { leave(heap, debts) };
        }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { registry.give_up(1) };
}

/// Pushes a batch of slots onto their segment's remote list, and what follows from that.
///
/// # Safety
///
/// The caller gives up the slots, one at least, all of this segment, with which no work of the caller on a heap is under
/// way. Mostly the heap is another's; the caller's own finds them in its inbox.
pub(crate) unsafe fn send_batch(segment: SegmentRef, batch: &OpenBatch, debts: &Debts) {
    let outgoing = Outgoing::new();
    // SAFETY: guaranteed by the caller.
    unsafe { push_batch(segment, batch, &outgoing) };
    pass_on(&outgoing, debts);
}

/// Puts strays in the inboxes of their heaps and foreign slots on the remote lists of their segments, and serves heaps
/// that are acquired thereby.
fn pass_on(outgoing: &Outgoing, debts: &Debts) {
    loop {
        while let Some(segment) = outgoing.strays.pop() {
            deliver(segment, outgoing, debts);
        }
        let Some((segment, batch)) = outgoing.foreign.pop_batch() else {
            return;
        };
        // SAFETY: the list held the slots.
        unsafe { push_batch(segment, &batch, outgoing) };
    }
}

/// Puts a segment, whose QUEUED is on and which is in no inbox, in that of its heap.
fn deliver(segment: SegmentRef, outgoing: &Outgoing, debts: &Debts) {
    // SAFETY: QUEUED keeps the segment in use, and so its heap alive.
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    // SAFETY: the segment is queued and in no inbox; if the heap is not its own any more, it will be forwarded.
    if unsafe { heap.inbox().push(segment.into()) } == Delivered::Acquired {
        // SAFETY: as `Acquired` says.
        unsafe { serve(heap, outgoing, debts) };
    }
}

/// Serves an abandoned heap that the caller acquired by a push, and abandons it again.
///
/// # Safety
///
/// The push returned `Delivered::Acquired`.
unsafe fn serve(heap: HeapRef, outgoing: &Outgoing, debts: &Debts) {
    let registry = registry_of(heap);
    // Noted before the heap is left, for then the pool may end; the queued segment keeps it alive until then.
    let owed = debts.owe(heap);
    let released = owed.abandon(heap, outgoing);
    // SAFETY: the released segments' references and that of the debt; if there are none, nothing is touched.
    unsafe { registry.give_up(released) };
}

/// Heaps that a thread left before it had served all that came in while it had them. It comes back to each: a little in
/// every slow path, and to the end when it flushes, idles or ends. Each is held by a reference to its pool. A thread past its
/// end notes none, for no later step need come: it serves each heap to the end at once.
#[derive(Debug)]
pub(crate) struct Debts {
    heaps: [Cell<Option<HeapRef>>; 4],
    /// Whether the thread is past its end.
    closed: Cell<bool>,
}

impl Debts {
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
    fn owe(&self, heap: HeapRef) -> Owed<'_> {
        if self.heaps.iter().any(|debt| debt.get() == Some(heap)) {
            return Owed::Before;
        }
        let vacant = self.heaps.iter().find(|debt| debt.get().is_none());
        let Some(vacant) = vacant.filter(|_| !self.closed.get()) else {
            return Owed::Never;
        };
        registry_of(heap).count_held();
        vacant.set(Some(heap));
        Owed::Now(vacant)
    }

    #[inline]
    pub(crate) fn are_paid(&self) -> bool {
        self.heaps.iter().all(|debt| debt.get().is_none())
    }

    /// Visits each heap once, for so many slots.
    pub(crate) fn pay(&self, most: usize) {
        for debt in &self.heaps {
            if let Some(heap) = debt.take() {
                let outgoing = Outgoing::new();
                if !visit(heap, most, &outgoing) {
                    debt.set(Some(heap));
                }
                pass_on(&outgoing, self);
            }
        }
    }

    /// Visits the heaps until nothing is owed.
    pub(crate) fn pay_all(&self) {
        while !self.are_paid() {
            self.pay(usize::MAX);
        }
    }
}

/// Whether a heap is among the debts.
enum Owed<'a> {
    /// It was.
    Before,
    /// It is from now on.
    Now(&'a Cell<Option<HeapRef>>),
    /// There was no room, or the thread is past its end: it must be served to the end.
    Never,
}

impl Owed<'_> {
    /// Serves and abandons the heap: a little of it if it is owed a visit, else to the end. Returns the references to
    /// give up, also that of a debt that was not needed after all.
    fn abandon(self, heap: HeapRef, outgoing: &Outgoing) -> usize {
        let (released, served) = match self {
            Self::Never => (heap.abandon(outgoing), true),
            Self::Before | Self::Now(_) => heap.abandon_soon(TENURE_SLOTS, outgoing),
        };
        match self {
            Self::Now(debt) if served => {
                debt.set(None);
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
    let (released, paid) = if registry.borrow_one(heap) {
        heap.abandon_soon(most, outgoing)
    } else {
        (0, true)
    };
    // SAFETY: the released segments' references, and that of the debt.
    unsafe { registry.give_up(released + usize::from(paid)) };
    paid
}

/// Pushes a batch; a segment that is to be put in an inbox goes to `outgoing`.
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
    let mut completion = Completion::new(segment, heap);
    let purges = |total| completion.purges(total);
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
        unsafe { outgoing.strays.push(segment) };
    }
}

/// Moves a few segments with room into a bin of a heap that the caller holds, out of abandoned heaps of the pool;
/// true if there were any.
fn merge(heap: HeapRef, bin: usize, debts: &Debts) -> bool {
    let registry = registry_of(heap);
    if !registry.has_abandoned() {
        return false;
    }
    let mut donor = heap.donor().get();
    for _ in 0..DONORS {
        let Some(candidate) = donor.or_else(|| registry.heaps().next()) else {
            break;
        };
        if candidate != heap
            && registry.borrow_one(candidate)
            && merge_from(candidate, heap, bin, MERGED_SEGMENTS, debts)
        {
            heap.donor().set(Some(candidate));
            return true;
        }
        donor = registry.after(candidate);
    }
    heap.donor().set(donor);
    false
}

/// Moves at most `most` segments of an abandoned heap, which the caller has for a moment and leaves again; first brings as many
/// magazines home there.
fn merge_from(donor: HeapRef, heap: HeapRef, bin: usize, most: usize, debts: &Debts) -> bool {
    let registry = registry_of(heap);
    let (parted, outgoing) = (Loose::new(), Outgoing::new());
    let released = donor.part_with(bin, most, heap, &parted);
    let owed = debts.owe(donor);
    let released = released + owed.abandon(donor, &outgoing);
    let merged = !parted.is_empty();
    while let Some(segment) = parted.pop() {
        heap.take_over(segment);
    }
    pass_on(&outgoing, debts);
    // SAFETY: the released segments' references; the caller's own keeps the pool alive.
    unsafe { registry.give_up(released) };
    merged
}

/// Decides, attempt by attempt, whether a push that completes a segment purges it.
struct Completion {
    heap: HeapRef,
    capacity: usize,
    bytes: usize,
    counted: bool,
}

impl Completion {
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
            self.heap.uncount_completed(self.bytes);
        }
        self.counted = total == self.capacity && self.heap.count_completed(self.bytes);
        total == self.capacity && !self.counted
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
