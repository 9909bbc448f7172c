//! Which heap this thread uses for which pool, its outbox, and what happens when it ends.
//!
//! Two thread-local variables. `LOCAL` has no destructor, so reaching it is one instruction and works as long as the
//! thread runs, in any other destructor too. `GUARD` has nothing but the destructor; touching it once, with the first
//! heap or the first remote free, gets [`Local::end`] called when the thread ends.
//!
//! A thread that idles lends its heaps: it remembers them, with a reference to their pools, and takes one back by the next
//! allocation from its pool, unless another thread has it then. When a pool is dropped, threads that hold heaps of it
//! let go in one of their next slow paths, each of which looks at a few of the thread's heaps, or when they idle or trim.
//!
//! No thread holds a heap of a bounded pool (`bounded`): requests and frees go there out of line.
//!
//! When the system refuses memory, the thread uses whatever it can reach, gives back all that is empty, and tries once more.
//!
//! After the end (other thread-local values may be dropped later, and use the pool) an allocation borrows a heap for
//! one slot, and a free is a batch of one.
//!
//! No user code runs in here, so nothing is ever seen half changed. With the feature `tracing`, a subscriber does: as
//! the last thing before a door is left ([`tell`]), and not in `leave`, `put_back`, `collect` and `trim_pool`, whose callers are
//! at work, nor in what the outbox calls. Its panics do not get out of there, so no door unwinds.

use core::cell::Cell;

use crate::bounded;
use crate::error::AllocErrorKind;
use crate::events::{self, Happened};
use crate::handover::{self, Debts};
use crate::heap::{BinRef, HeapRef};
use crate::held::Held;
use crate::layout::{CLASSES, Span};
use crate::outbox::Outbox;
use crate::registry::{self, Closings, RegistryRef};
use crate::segment::SegmentRef;
use crate::slot::{self, Offset, SlotPtr};
use crate::sync::{AtomicU64, Ordering};

thread_local! {
    static LOCAL: Local = const { Local::new() };
    static GUARD: Guard = const { Guard };
}

/// What a thread that has no token yet is called: no heap's owner is ever that.
const NO_TOKEN: u64 = u64::MAX;
/// Heaps that one slow path looks at when pools were closed.
const SWEPT_HEAPS: usize = 16;

/// Slots that other bins of a thread's kept than those asked first, with the last of which its bin becomes one of these. Two
/// pools of values of one class, freed by turns, would otherwise change places at every free.
const DETOURS: u32 = 32;

/// Heaps that a thread may lend; it leaves the others for good when it idles.
const LENT_HEAPS: usize = 8;

struct Local {
    /// The default pool's heap, or the placeholder.
    heap: Cell<HeapRef>,
    token: Cell<u64>,
    phase: Cell<Phase>,
    /// All heaps of the thread.
    held: Held,
    /// The heap of another pool that an allocation used last, or the placeholder.
    recent: Cell<HeapRef>,
    /// The heap of another pool, a handle's too, that a free looked for last, or the placeholder.
    other: Cell<HeapRef>,
    /// For each class of value, the bin that a free offers its slot first: one of `heap` or `other`, now or before, or the
    /// placeholder's.
    first: [Cell<BinRef>; CLASSES],
    /// Slots that others of the thread's bins kept since one of these was last changed.
    detours: Cell<u32>,
    /// Heaps lent while the thread idles. The thread keeps its references to their pools.
    lent: [Cell<Option<HeapRef>>; LENT_HEAPS],
    /// `CLOSINGS` when the thread last looked.
    closings: Cell<usize>,
    outbox: Outbox,
    /// Heaps that the thread has to come back to.
    debts: Debts,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing to clean up yet.
    Fresh,
    /// The guard will clean up.
    Guarded,
    /// The guard has.
    Ended,
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        LOCAL.with(Local::end);
    }
}

/// A slot of the default pool; `None` when memory is refused.
#[inline(always)]
pub(crate) fn take(class: usize) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let slot = local.heap.get().bin(class).take();
        if slot.is_some() {
            slot
        } else {
            local.take_slow(class)
        }
    })
}

/// A slot of another pool.
#[inline(always)]
pub(crate) fn take_from(pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let heap = local.recent.get();
        if heap.pool_ptr() != pool.core_ptr() {
            return take_from_another(pool);
        }
        take_or_refill(heap)
    })
}

/// A slot of another pool than the one this thread used last.
#[inline(never)]
fn take_from_another(pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| match local.held.find(pool) {
        Some(heap) => {
            local.look_first_in(heap);
            take_or_refill(heap)
        }
        None => local.take_from_slow(pool),
    })
}

/// A slot of this thread's heap of a pool of one type.
#[inline(always)]
fn take_or_refill(heap: HeapRef) -> Option<SlotPtr> {
    let slot = heap.bin(0).take();
    if slot.is_some() {
        slot
    } else {
        refill(heap, 0)
    }
}

/// Gives a slot back, wherever it came from.
///
/// # Safety
///
/// The caller gives up a slot of a segment of this span, and if that is the default pool's, of this class.
#[inline(always)]
pub(crate) unsafe fn give(slot: SlotPtr, span: Span, class: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot::take_back(slot, span, class) };
    // SAFETY: guaranteed by the caller.
    let segment = unsafe { SegmentRef::of(slot, span) };
    LOCAL.with(|local| {
        // SAFETY: the caller gives the slot up, and it is of this class if it is the default pool's; any other has one bin.
        if unsafe { local.first[class].get().keep(segment, slot) } {
            return;
        }
        // SAFETY: guaranteed by the caller.
        unsafe { give_elsewhere(segment, slot, span, class) };
    });
}

/// Frees a slot that the bin looked at first does not keep. Out of line, so that the common path stays small.
///
/// # Safety
///
/// As for [`give`], and the slot is of this segment.
#[inline(never)]
unsafe fn give_elsewhere(segment: SegmentRef, slot: SlotPtr, span: Span, class: usize) {
    LOCAL.with(|local| {
        let offset = SegmentRef::offset_of(slot, span);
        // SAFETY: guaranteed by the caller.
        if unsafe { !local.outbox.join(segment, offset) } {
            // SAFETY: guaranteed by the caller; nobody took the slot.
            unsafe { local.give_unkept(segment, slot, offset, class) };
        }
    });
}

/// Pushes this thread's open batches of remote frees to the segments they belong to.
///
/// A box dropped on another thread than the one it was made on waits, with up to 55 others of its segment, in a batch
/// of the dropping thread until the batch is full or another segment needs its place. A thread that drops boxes and
/// then has nothing to do for long should call this. When a thread ends its batches are pushed anyway.
///
/// A thread that drops very many such boxes, and has made such itself, keeps some for its own use: of a size at most three
/// times 256 or 16 KiB, whichever is less, or six boxes. Those go home when it ends or calls [`trim`].
///
/// At most 32 batches are open, of at most 56 slots and 8 KiB each. Cost: a compare-and-swap per open batch.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// let boxes: Vec<_> = (0..10).map(PoolBox::new).collect();
/// std::thread::spawn(move || {
///     drop(boxes);
///     segment_pool::flush(); // the ten slots are back with the first thread from here on
///     // ... wait for more work
/// })
/// .join()
/// .unwrap();
/// ```
pub fn flush() {
    LOCAL.with(Local::flush);
    tell();
}

/// Calls `visit` with every heap that this thread holds. It runs no foreign code, which might change the list.
pub(crate) fn for_each_held(mut visit: impl FnMut(HeapRef)) {
    LOCAL.with(|local| local.held.iter().for_each(&mut visit));
}

/// Calls `visit` with every slot in this thread's open batches, and its stride. It runs no foreign code, which might send them.
pub(crate) fn for_each_open(mut visit: impl FnMut(SlotPtr, usize)) {
    LOCAL.with(|local| {
        let slots = local.outbox.slots();
        slots.for_each(|(segment, slot)| visit(slot, segment.identity().stride));
    });
}

/// Whether this thread holds the heap.
pub(crate) fn holds(heap: HeapRef) -> bool {
    LOCAL.with(|local| heap.is_owned_by(local.token.get()))
}

/// Heaps of a pool that other threads hold. May lag.
pub(crate) fn held_by_others(pool: RegistryRef) -> usize {
    let held = |heap: &HeapRef| heap.is_held() && !holds(*heap);
    pool.heaps().filter(held).count()
}

/// Lets other threads have what this thread does not need while it waits: pushes the open batches of remote frees and
/// hands the thread's heaps to whoever needs them.
///
/// For threads that may sleep for long: call it before parking, in a worker's wait loop, or in tokio's
/// `on_thread_park`. What other threads free of this thread's segments is then brought home by them, and their
/// allocations may use its free slots. The next allocation takes the same heap back if nobody else did.
///
/// Cost: a compare-and-swap or two per pool that the thread used since the last call, and per open batch; a few loads
/// when nothing happened.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// let boxed = PoolBox::new(7);
/// segment_pool::idle(); // before waiting for work
/// assert_eq!(*boxed, 7); // boxes stay valid, as ever
/// drop(boxed);
/// ```
pub fn idle() {
    LOCAL.with(Local::idle);
    tell();
}

/// Brings every free slot of this thread's heaps home and gives empty segments back: to the arenas, which give empty
/// ones of theirs to the operating system.
///
/// The memory of boxes that are dropped in the order in which they were made, or the reverse, mostly goes back by itself.
/// After dropping very many in random order it does not, for the few hundred free slots that a thread keeps at hand then lie
/// in as many segments: call this then. The end of the thread does the same.
///
/// Cost: it looks at every free slot in the thread's lists.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// drop((0..100_000).map(PoolBox::new).collect::<Vec<_>>());
/// segment_pool::trim();
/// assert_eq!(segment_pool::stats().segments, 0);
/// ```
pub fn trim() {
    LOCAL.with(Local::make_room);
    tell();
}

/// As [`trim`], for one pool, and for those of its heaps that no thread holds. Tells nothing yet.
pub(crate) fn trim_pool(pool: RegistryRef) {
    LOCAL.with(|local| {
        local.flush();
        // First those that nobody holds: what they kept may be this thread's, and what it kept of theirs is served at once.
        handover::trim_abandoned(pool, &local.debts);
        for_each_held(|heap| {
            if of_pool(heap, pool) {
                handover::trim(heap, &local.debts);
            }
        });
        // Of handles no more than what came in.
        for heap in pool.heaps().filter(|heap| holds(*heap)) {
            handover::collect(heap, &local.debts);
        }
        local.debts.pay_all();
    });
    registry::trim_arenas();
}

/// Ends the holding of a heap that was acquired outside of the fast paths.
///
/// # Safety
///
/// As for [`handover::leave`].
pub(crate) unsafe fn leave(heap: HeapRef) {
    LOCAL.with(|local| {
        // SAFETY: guaranteed by the caller.
        unsafe { handover::leave(heap, &local.debts) };
        local.debts.pay_all();
    });
}

/// A slot for a handle that has a heap of its own, and gets it now if it has none.
#[cold]
pub(crate) fn take_for_handle(heap: &Cell<HeapRef>, pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let slot = local.take_for_handle(heap, pool);
        local.told(pool, slot)
    })
}

/// Ends a handle's holding of a heap.
///
/// # Safety
///
/// The heap is from [`take_for_handle`], on this thread, and the handle does not use it any more.
pub(crate) unsafe fn leave_for_handle(heap: HeapRef) {
    LOCAL.with(Local::forget_pools);
    // SAFETY: guaranteed by the caller.
    unsafe { leave(heap) };
    tell();
}

/// As [`leave`], with the heap's lists as they are.
///
/// # Safety
///
/// As for [`handover::leave`].
pub(crate) unsafe fn put_back(heap: HeapRef) {
    LOCAL.with(|local| {
        // SAFETY: guaranteed by the caller.
        unsafe { handover::lend(heap, &local.debts) };
        // SAFETY: the reference of the heap.
        unsafe { registry::registry_of(heap).give_up(1) };
        local.debts.pay_all();
    });
}

/// Serves everything that waits for a heap that this thread owns.
pub(crate) fn collect(heap: HeapRef) {
    LOCAL.with(|local| handover::collect(heap, &local.debts));
}

/// Drops the handle of a pool. Tells nothing yet.
///
/// # Safety
///
/// As for [`handover::close`].
pub(crate) unsafe fn close(pool: RegistryRef) {
    events::note(Happened::Closed, pool.core().name, 0);
    LOCAL.with(|local| {
        // SAFETY: guaranteed by the caller.
        unsafe { handover::close(pool, &local.debts) };
        local.debts.pay_all();
    });
    CLOSINGS.add();
}

/// Adds so many segments to this thread's heap of a pool, with their pages if `touch`: all of them, or none.
pub(crate) fn map_ahead(
    pool: RegistryRef,
    segments: usize,
    touch: bool,
) -> Result<(), AllocErrorKind> {
    LOCAL.with(|local| {
        let add = |heap: HeapRef| heap.add_segments(0, segments, touch);
        let mut mapped = local.with_some_heap(pool, add);
        if mapped == Err(AllocErrorKind::OutOfMemory) {
            registry::trim_arenas(); // and not the heaps, which may have reserved before
            mapped = local.with_some_heap(pool, add);
        }
        if mapped.is_err() {
            events::note(Happened::Refused, pool.core().name, 0);
        }
        local.tell();
        mapped
    })
}

/// Tries once more when the system refused so many bytes, after this thread gave back all that it can; unless that cannot be
/// enough.
pub(crate) fn with_room_for<R>(bytes: usize, attempt: impl Fn() -> Option<R>) -> Option<R> {
    attempt().or_else(|| {
        if bytes > registry::arena_bytes() {
            return None;
        }
        LOCAL.with(Local::make_room);
        attempt()
    })
}

/// Tells what was noted on the slow paths. The caller is at work on no pool's state.
pub(crate) fn tell() {
    LOCAL.with(Local::tell);
}

/// Tells that a pool refused, and what was noted before.
pub(crate) fn tell_of_refusal(pool: &'static str) {
    events::note(Happened::Refused, pool, 0);
    tell();
}

static CLOSINGS: Closings = Closings::new();

fn of_pool(heap: HeapRef, pool: RegistryRef) -> bool {
    registry::registry_of(heap) == pool
}

#[cold]
#[inline(never)]
fn refill(heap: HeapRef, bin: usize) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let marked = local.take_marked(heap, bin);
        if marked.is_some() {
            return marked;
        }
        local.let_go_of_closed(SWEPT_HEAPS);
        let slot = local.refill(heap, bin);
        local.told(registry::registry_of(heap), slot)
    })
}

/// Frees a slot of this thread's heap.
///
/// # Safety
///
/// The caller gives up a slot of the segment, which is of this heap.
unsafe fn give_own(heap: HeapRef, segment: SegmentRef, slot: SlotPtr) {
    let index = segment.identity().bin;
    // SAFETY: guaranteed by the caller.
    if unsafe { heap.bin(index).give(slot) } {
        stash(heap, index);
    }
}

#[cold]
#[inline(never)]
fn stash(heap: HeapRef, bin: usize) {
    LOCAL.with(|local| {
        local.stash(heap, bin);
        local.tell();
    });
}

impl Local {
    const fn new() -> Self {
        Self {
            heap: Cell::new(HeapRef::EMPTY),
            token: Cell::new(NO_TOKEN),
            phase: Cell::new(Phase::Fresh),
            held: Held::new(),
            recent: Cell::new(HeapRef::EMPTY),
            other: Cell::new(HeapRef::EMPTY),
            first: [const { Cell::new(BinRef::EMPTY) }; CLASSES],
            detours: Cell::new(0),
            lent: [const { Cell::new(None) }; LENT_HEAPS],
            closings: Cell::new(0),
            outbox: Outbox::new(),
            debts: Debts::new(),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self, class: usize) -> Option<SlotPtr> {
        let marked = self.take_marked(self.heap.get(), class);
        if marked.is_some() {
            return marked;
        }
        let slot = self.take_slowly(class);
        self.told(registry::default(), slot)
    }

    fn take_slowly(&self, class: usize) -> Option<SlotPtr> {
        self.let_go_of_closed(SWEPT_HEAPS);
        if self.heap.get() == HeapRef::EMPTY {
            let pool = registry::default();
            if self.has_ended() {
                return self.borrow_one(pool, class);
            }
            self.heap.set(self.hold_one(pool)?);
        }
        self.refill(self.heap.get(), class)
    }

    #[cold]
    #[inline(never)]
    fn take_from_slow(&self, pool: RegistryRef) -> Option<SlotPtr> {
        let slot = self.take_from_slowly(pool);
        self.told(pool, slot)
    }

    /// Tells of what happened on the way to a slot of a pool, or to none.
    #[inline(always)]
    fn told(&self, pool: RegistryRef, slot: Option<SlotPtr>) -> Option<SlotPtr> {
        if slot.is_none() {
            events::note(Happened::Refused, pool.core().name, 0);
        }
        self.tell();
        slot
    }

    /// Tells what was noted, unless the thread has ended: the subscriber's thread-locals may be gone then.
    #[inline(always)]
    fn tell(&self) {
        if self.phase.get() == Phase::Ended {
            events::forget();
        } else {
            events::tell();
        }
    }

    fn take_from_slowly(&self, pool: RegistryRef) -> Option<SlotPtr> {
        if pool.core().is_bounded() {
            return self.take_bounded(pool);
        }
        self.let_go_of_closed(SWEPT_HEAPS);
        if self.has_ended() {
            return self.borrow_one(pool, 0);
        }
        let heap = self.heap_of(pool)?;
        self.look_first_in(heap);
        self.refill(heap, 0)
    }

    /// A slot of a bounded pool, of which the thread holds no heap.
    fn take_bounded(&self, pool: RegistryRef) -> Option<SlotPtr> {
        self.let_go_of_closed(SWEPT_HEAPS);
        self.debts.pay(handover::TENURE_SLOTS);
        let slot = bounded::take(pool, &self.debts);
        if slot.is_some() || pool.core().is_full() {
            return slot;
        }
        self.make_room();
        bounded::take(pool, &self.debts)
    }

    fn take_for_handle(&self, heap: &Cell<HeapRef>, pool: RegistryRef) -> Option<SlotPtr> {
        if pool.core().is_bounded() {
            return self.take_bounded(pool);
        }
        self.let_go_of_closed(SWEPT_HEAPS);
        let marked = self.take_marked(heap.get(), 0);
        if marked.is_some() {
            return marked;
        }
        let ended = self.has_ended();
        if heap.get() == HeapRef::EMPTY {
            heap.set(self.with_room(|| pool.acquire(self.token()))?);
        }
        let slot = self.refill(heap.get(), 0);
        if ended {
            self.debts.pay_all(); // no later end does
        }
        slot
    }

    /// The thread's heap of a pool other than the default one.
    fn heap_of(&self, pool: RegistryRef) -> Option<HeapRef> {
        self.held.find(pool).or_else(|| self.hold_one(pool))
    }

    /// A heap of a pool of which the thread holds none, to keep until the thread ends. `None` when memory is refused.
    fn hold_one(&self, pool: RegistryRef) -> Option<HeapRef> {
        self.with_room(|| self.held.reserve().then_some(()))?;
        let heap = self
            .take_back(pool)
            .or_else(|| self.with_room(|| pool.acquire(self.token())))?;
        self.held.add(heap);
        Some(heap)
    }

    /// Tries once more after [`make_room`](Self::make_room) when the system refused memory.
    fn with_room<R>(&self, attempt: impl Fn() -> Option<R>) -> Option<R> {
        attempt().or_else(|| {
            self.make_room();
            attempt()
        })
    }

    /// Gives to the system, or to its pools, all memory that nothing of this thread's is in.
    #[cold]
    fn make_room(&self) {
        self.let_go_of_closed(usize::MAX);
        self.flush();
        self.held
            .iter()
            .for_each(|heap| handover::trim(heap, &self.debts));
        self.debts.pay_all();
        registry::trim_arenas();
    }

    /// A slot of those that are marked in a bin whose free list is empty, unless the thread has other things to do on a slow
    /// path. There is nothing to tell of this one.
    #[inline(always)]
    fn take_marked(&self, heap: HeapRef, bin: usize) -> Option<SlotPtr> {
        let free = self.closings.get() == CLOSINGS.count() && self.debts.are_paid();
        if free {
            heap.bin(bin).take_marked()
        } else {
            None
        }
    }

    /// A slot from a bin, whose free list may have some after its heap was adopted.
    fn refill(&self, heap: HeapRef, bin: usize) -> Option<SlotPtr> {
        self.debts.pay(handover::TENURE_SLOTS);
        let slot = heap.bin(bin).take();
        slot.or_else(|| handover::refill(heap, bin, &self.debts))
            .or_else(|| self.refill_at_last(heap, bin))
    }

    /// Before an allocation fails because the system refuses memory: a slot from all that this thread can reach.
    #[cold]
    fn refill_at_last(&self, heap: HeapRef, bin: usize) -> Option<SlotPtr> {
        self.flush();
        handover::collect(heap, &self.debts);
        let slot = heap.bin(bin).take(); // what came in meanwhile lies in the list that is filled next
        slot.or_else(|| handover::refill_from_others(heap, bin, &self.debts))
            .or_else(|| {
                self.make_room();
                handover::refill(heap, bin, &self.debts)
            })
    }

    /// The heap of a pool that the thread lent, if nobody else has it now.
    fn take_back(&self, pool: RegistryRef) -> Option<HeapRef> {
        let lent = self
            .lent
            .iter()
            .find(|lent| lent.get().is_some_and(|heap| of_pool(heap, pool)))?;
        let heap = lent.take()?;
        if !pool.adopt_one(heap) {
            // SAFETY: the reference that the thread kept.
            unsafe { pool.give_up(1) };
            return None;
        }
        heap.set_owner(self.token());
        Some(heap)
    }

    /// Lends a heap, or leaves it if the thread has lent as many as it may.
    ///
    /// # Safety
    ///
    /// As for [`handover::leave`].
    unsafe fn lend(&self, heap: HeapRef) {
        let closed = registry::registry_of(heap).is_closed();
        match self.lent.iter().find(|lent| lent.get().is_none()) {
            Some(vacant) if !closed => {
                vacant.set(Some(heap));
                // SAFETY: guaranteed by the caller.
                unsafe { handover::lend(heap, &self.debts) };
            }
            // SAFETY: guaranteed by the caller.
            _ => unsafe { handover::leave(heap, &self.debts) },
        }
    }

    /// Leaves the lent heaps for good that `leaves` says.
    fn leave_lent(&self, leaves: impl Fn(RegistryRef) -> bool) {
        for lent in &self.lent {
            let Some(heap) = lent
                .get()
                .filter(|heap| leaves(registry::registry_of(*heap)))
            else {
                continue;
            };
            lent.set(None);
            let pool = registry::registry_of(heap);
            if pool.adopt_one(heap) {
                // SAFETY: adopted, with the reference that the thread kept.
                unsafe { handover::leave(heap, &self.debts) };
            } else {
                // SAFETY: the reference that the thread kept.
                unsafe { pool.give_up(1) };
            }
        }
    }

    /// A slot for a thread that has ended.
    fn borrow_one(&self, pool: RegistryRef, bin: usize) -> Option<SlotPtr> {
        self.borrow(pool, |heap| self.refill(heap, bin))
    }

    /// Works with a heap of a pool: the thread's own, or one for as long as this takes.
    fn with_some_heap(
        &self,
        pool: RegistryRef,
        work: impl Fn(HeapRef) -> Result<(), AllocErrorKind>,
    ) -> Result<(), AllocErrorKind> {
        let done = if pool.core().is_bounded() {
            bounded::with_heap(pool, &self.debts, work)
        } else if self.has_ended() {
            self.borrow(pool, |heap| Some(work(heap)))
        } else {
            self.heap_of(pool).map(work)
        };
        done.unwrap_or(Err(AllocErrorKind::OutOfMemory))
    }

    /// Has a heap for as long as this takes: for a thread that has ended.
    fn borrow<R>(&self, pool: RegistryRef, work: impl FnOnce(HeapRef) -> Option<R>) -> Option<R> {
        let heap = self.with_room(|| pool.acquire(self.token()))?;
        let done = work(heap);
        // SAFETY: acquired above.
        unsafe { handover::lend(heap, &self.debts) };
        // SAFETY: the reference of the heap.
        unsafe { pool.give_up(1) };
        self.debts.pay_all();
        done
    }

    /// Frees a slot that the bin looked at first does not keep, and that joins no open batch.
    ///
    /// # Safety
    ///
    /// The caller gives up the slot, which is at this offset of the segment and, if of the default pool, of this class.
    #[inline(never)]
    unsafe fn give_unkept(&self, segment: SegmentRef, slot: SlotPtr, offset: Offset, class: usize) {
        for (heap, bin) in [(self.heap.get(), class), (self.other.get(), 0)] {
            // SAFETY: the caller gives the slot up, and a pool of one type has one bin.
            if unsafe { heap.bin(bin).keep(segment, slot) } {
                return self.take_detour(class, heap.bin_ref(bin));
            }
            if heap.id() == segment.heap() {
                // SAFETY: the caller gives the slot up, and the segment is of this heap.
                return unsafe { give_own(heap, segment, slot) };
            }
        }
        // SAFETY: guaranteed by the caller.
        unsafe { self.give_to_stranger(segment, slot, offset) };
    }

    /// A bin of this thread's kept a slot of the class, but was not the first to be asked. It will be, if that happens often.
    fn take_detour(&self, class: usize, bin: BinRef) {
        let detours = self.detours.get() + 1;
        let first = &self.first[class];
        if detours == DETOURS || first.get() == BinRef::EMPTY {
            first.set(bin);
            self.detours.set(0);
        } else {
            self.detours.set(detours);
        }
    }

    /// Frees a slot of another thread's heap that opens a batch or fills one, or a slot of a heap of this thread's that
    /// it did not use last.
    ///
    /// # Safety
    ///
    /// As for [`give_unkept`](Self::give_unkept).
    #[cold]
    #[inline(never)]
    unsafe fn give_to_stranger(&self, segment: SegmentRef, slot: SlotPtr, offset: Offset) {
        // SAFETY: the caller holds a slot of the segment.
        let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
        if heap.is_owned_by(self.token.get()) {
            debug_assert!(registry::registry_of(heap) != registry::default());
            self.other.set(heap);
            // SAFETY: the caller gives the slot up, and the segment is of this heap.
            return unsafe { give_own(heap, segment, slot) };
        }
        if heap.is_of_bounded_pool() {
            // SAFETY: guaranteed by the caller; the segment is of this heap.
            return unsafe { self.give_bounded(heap, segment, slot, offset) };
        }
        let note = |segment, slots| self.note_sent(segment, slots);
        // SAFETY: guaranteed by the caller.
        unsafe { self.outbox.add(segment, offset, &self.debts, note) };
        self.debts.pay(handover::TENURE_SLOTS);
        if self.phase.get() != Phase::Guarded && self.has_ended() {
            self.flush();
        }
        self.tell();
    }

    /// Frees a slot of a bounded pool.
    ///
    /// # Safety
    ///
    /// As for [`bounded::give`].
    unsafe fn give_bounded(
        &self,
        heap: HeapRef,
        segment: SegmentRef,
        slot: SlotPtr,
        offset: Offset,
    ) {
        // SAFETY: guaranteed by the caller.
        unsafe { bounded::give(heap, segment, slot, offset, &self.debts) };
        if self.has_ended() {
            self.debts.pay_all(); // no later end does
        } else {
            self.debts.pay(handover::TENURE_SLOTS);
        }
        self.tell();
    }

    /// Tells the thread's own bin for such slots that a batch of them is sent home.
    fn note_sent(&self, segment: SegmentRef, slots: usize) {
        let (mine, pool) = ([self.heap.get(), self.other.get()], segment.pool());
        if let Some(heap) = mine.into_iter().find(|heap| heap.pool_id() == pool) {
            heap.bin(segment.identity().bin).note_sent(slots, pool);
        }
    }

    /// Sends the open batches and comes back to the heaps that were left too soon.
    fn flush(&self) {
        self.outbox.flush(&self.debts);
        self.debts.pay_all();
    }

    fn stash(&self, heap: HeapRef, bin: usize) {
        self.debts.pay(handover::TENURE_SLOTS);
        handover::stash(heap, bin, &self.debts);
        self.let_go_of_closed(SWEPT_HEAPS);
    }

    /// Whether the thread is past its end; if not, makes sure that the end will be noticed.
    fn has_ended(&self) -> bool {
        if self.phase.get() == Phase::Fresh {
            let guarded = GUARD.try_with(|_| ()).is_ok();
            self.phase.set(if guarded {
                Phase::Guarded
            } else {
                Phase::Ended
            });
        }
        self.phase.get() == Phase::Ended
    }

    fn token(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self.token.get() == NO_TOKEN {
            // Relaxed: only uniqueness matters.
            self.token.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        self.token.get()
    }

    fn idle(&self) {
        self.let_go_of_closed(SWEPT_HEAPS);
        self.flush();
        // SAFETY: called with heaps acquired by this thread, which no variable names as its own any more.
        self.hand_over(|heap| unsafe { self.lend(heap) });
    }

    /// Pushes the open batches and leaves the heaps to others.
    fn end(&self) {
        self.phase.set(Phase::Ended);
        self.flush();
        // SAFETY: as in `idle`.
        self.hand_over(|heap| unsafe { handover::leave(heap, &self.debts) });
        self.leave_lent(|_| true);
        self.debts.pay_all();
        events::forget();
    }

    /// Forgets every heap of the thread and calls `leave` with each.
    fn hand_over(&self, leave: impl Fn(HeapRef)) {
        self.heap.set(HeapRef::EMPTY);
        self.forget_pools();
        while let Some(heap) = self.held.pop() {
            leave(heap);
        }
        self.debts.pay_all();
    }

    /// Allocations from this heap's pool, and frees, look here first from now on.
    fn look_first_in(&self, heap: HeapRef) {
        self.recent.set(heap);
        self.other.set(heap);
    }

    fn forget_pools(&self) {
        self.look_first_in(HeapRef::EMPTY);
        self.first.iter().for_each(|first| first.set(BinRef::EMPTY));
    }

    /// Leaves the heaps of pools that were dropped, if any was since the last call. Looks at so many heaps at the most; the next
    /// calls look at the others.
    fn let_go_of_closed(&self, most: usize) {
        let closings = CLOSINGS.count();
        if self.closings.replace(closings) != closings {
            self.leave_lent(RegistryRef::is_closed);
            self.held.begin_sweep();
        }
        for heap in core::iter::from_fn(|| self.held.sweep()).take(most) {
            if registry::registry_of(heap).is_closed() {
                self.held.remove(heap);
                self.forget_pools();
                // SAFETY: acquired by this thread and taken out of its variables.
                unsafe { handover::leave(heap, &self.debts) };
            }
        }
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod tests;
