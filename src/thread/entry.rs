//! The entry points of a thread: a slot is taken, a slot is given back, and what programs call by name.
//!
//! The fast paths touch the thread's own lists and nothing else. Whatever needs more is a call out of line, to `slow` or `heaps`.
//!
//! No user code runs in here, so nothing is ever seen half changed. With the feature `tracing`, a subscriber does: as the last thing
//! before an entry point returns ([`emit_events`]), and not in `leave`, `put_back`, `collect` and `trim_pool`, whose callers are at work, nor in
//! what sends a batch. Its panics do not get out of there, so no entry point unwinds.

use core::cell::Cell;
use core::ops::{Bound, RangeBounds};

use crate::ground::error::AllocErrorKind;
use crate::ground::events::{self, Happened};
use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::handover::{self};
use crate::heap::registry::{self, RegistryRef};
use crate::memory::segment::SegmentRef;
use crate::slot::{self, SlotPtr};
use crate::thread::heaps::{CLOSINGS, of_pool};
use crate::thread::local::{LOCAL, Local};
use crate::thread::slow::refill;

/// A slot of the default pool; `None` when the system has no memory.
#[inline(always)]
pub(crate) fn alloc_default(class: usize) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let slot = local.heap.get().bin(class).pop();
        if slot.is_some() {
            slot
        } else {
            local.refill_default(class)
        }
    })
}

/// A slot of another pool.
#[inline(always)]
pub(crate) fn alloc_from_pool(pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        if local.recent_pool.get() != Some(pool) {
            return look_up_and_alloc(pool);
        }
        pop_or_refill(local.recent.get())
    })
}

/// A slot of another pool than the one this thread used last.
#[inline(never)]
fn look_up_and_alloc(pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| match local.held.find(pool) {
        Some(heap) => {
            local.look_first_in(pool, heap);
            pop_or_refill(heap)
        }
        None => local.refill_pool(pool),
    })
}

/// A slot of this thread's heap of a pool of one type.
#[inline(always)]
fn pop_or_refill(heap: HeapRef) -> Option<SlotPtr> {
    let slot = heap.bin(0).pop();
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
pub(crate) unsafe fn free(slot: SlotPtr, span: Span, class: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot::make_free(slot, span, class) };
    // SAFETY: guaranteed by the caller.
    let segment = unsafe { SegmentRef::of(slot, span) };
    LOCAL.with(|local| {
        // SAFETY: the caller gives the slot up, and it is of this class if it is the default pool's; any other has one bin.
        if unsafe { local.first[class].get().try_cache(segment, slot) } {
            return;
        }
        // SAFETY: guaranteed by the caller.
        unsafe { free_uncached(segment, slot, span, class) };
    });
}

/// Frees a slot that the bin looked at first does not keep. Out of line, so that the common path stays small.
///
/// # Safety
///
/// As for [`give`], and the slot is of this segment.
#[inline(never)]
unsafe fn free_uncached(segment: SegmentRef, slot: SlotPtr, span: Span, class: usize) {
    LOCAL.with(|local| {
        let offset = SegmentRef::offset_of(slot, span);
        // SAFETY: guaranteed by the caller.
        if unsafe { !local.remote_buffer.join(segment, offset) } {
            // SAFETY: guaranteed by the caller; nobody took the slot.
            unsafe { local.free_unbatched(segment, slot, offset, class) };
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
/// At most 32 batches are open, of at most 56 slots and 8 KiB each. Cost: one or two compare-and-swaps per open batch; and where
/// no thread has the heap that the slots belong to, what was freed there is brought home.
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
    emit_events();
}

/// Calls `visit` with every heap that this thread holds. It runs no foreign code, which might change the list.
pub(crate) fn for_each_held(mut visit: impl FnMut(HeapRef)) {
    LOCAL.with(|local| local.held.iter().for_each(&mut visit));
}

/// Calls `visit` with every slot in this thread's open batches, and its stride. It runs no foreign code, which might send them.
pub(crate) fn for_each_open(mut visit: impl FnMut(SlotPtr, usize)) {
    LOCAL.with(|local| {
        let slots = local.remote_buffer.slots();
        slots.for_each(|(segment, slot)| visit(slot, segment.identity().stride));
    });
}

/// Calls `visit` with the segment of each of this thread's open batches, and how many slots it has. As above.
pub(crate) fn for_each_open_batch(mut visit: impl FnMut(SegmentRef, usize)) {
    LOCAL.with(|local| {
        let batches = local.remote_buffer.batches();
        batches.for_each(|(segment, slots)| visit(segment, slots));
    });
}

/// Whether this thread holds the heap.
pub(crate) fn holds(heap: HeapRef) -> bool {
    LOCAL.with(|local| heap.is_owned_by(local.token.get()))
}

/// Other threads that have used pools and have not ended, and so may have open batches. May lag.
pub(crate) fn other_threads() -> usize {
    LOCAL.with(Local::other_threads)
}

/// Lets other threads have what this thread does not need while it waits: pushes the open batches of remote frees and
/// hands the thread's heaps to whoever needs them.
///
/// For threads that may sleep for long: call it before parking, in a worker's wait loop, or in tokio's
/// `on_thread_park`. What other threads free of this thread's segments is then brought home by them, and their
/// allocations may use its free slots. The next allocation takes the same heap back if nobody else did.
///
/// Cost: as of [`flush`], and a compare-and-swap or two per pool that the thread used since the last call; a few loads when
/// nothing happened. Of more than eight pools, it brings the free slots of those beyond home.
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
    emit_events();
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
    emit_events();
}

/// Bounds the pages that free segments keep for the next need, in bytes, for all pools of the process.
///
/// A free segment is one that no pool uses. Left alone, free segments of each of the three segment sizes keep 512 KiB of pages, and
/// more if the program claims again what was returned to the system, as programs do that work in bursts: then as much as they claim,
/// but not more than was in use at the peak of the recent past. What is not claimed for a while goes back, half of it every 200 ms,
/// whenever a thread takes a slow path. [`trim`] returns all of it at once.
///
/// With a lower bound the process has no page faults until so many bytes are free. With an upper bound of 0 no page is kept, and
/// empty arenas are unmapped but for one. Where the bounds contradict each other the upper one counts. What is beyond the upper bound
/// goes back at once. [`Memory`](crate::Memory) shows what is kept, and the bound.
///
/// # Examples
///
/// ```
/// segment_pool::retain(64 << 20..); // never returns the first 64 MiB
/// segment_pool::retain(..=0); // returns everything at once
/// segment_pool::retain(..); // as at the start
/// assert!(segment_pool::memory().dirty_bytes <= segment_pool::memory().limit_bytes);
/// ```
pub fn retain(bytes: impl RangeBounds<usize>) {
    let at_least = match bytes.start_bound() {
        Bound::Included(bytes) => *bytes,
        Bound::Excluded(bytes) => bytes.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let at_most = match bytes.end_bound() {
        Bound::Included(bytes) => *bytes,
        Bound::Excluded(bytes) => bytes.saturating_sub(1),
        Bound::Unbounded => usize::MAX,
    };
    registry::retain(at_least, at_most);
    emit_events();
}

/// As [`trim`], for one pool, and for those of its heaps that no thread holds. Tells nothing yet.
pub(crate) fn trim_pool(pool: RegistryRef) {
    LOCAL.with(|local| {
        local.flush();
        // First those that nobody holds: what they kept may be this thread's, and what it kept of theirs is served at once.
        handover::trim_abandoned(pool, &local.reclaims);
        for_each_held(|heap| {
            if of_pool(heap, pool) {
                handover::trim(heap, &local.reclaims);
            }
        });
        // Of handles no more than what came in.
        for heap in pool.heaps().filter(|heap| holds(*heap)) {
            handover::collect(heap, &local.reclaims);
        }
        local.reclaims.visit_all();
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
        unsafe { handover::leave(heap, &local.reclaims) };
        local.reclaims.visit_all();
    });
}

/// A slot for a handle that has a heap of its own, and gets it now if it has none.
#[cold]
pub(crate) fn alloc_for_handle(heap: &Cell<HeapRef>, pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let slot = local.alloc_for_handle(heap, pool);
        local.emit_after(pool, slot)
    })
}

/// Ends a handle's holding of a heap.
///
/// # Safety
///
/// The heap is from [`alloc_for_handle`], on this thread, and the handle does not use it any more.
pub(crate) unsafe fn leave_for_handle(heap: HeapRef) {
    LOCAL.with(Local::forget_pools);
    // SAFETY: guaranteed by the caller.
    unsafe { leave(heap) };
    emit_events();
}

/// As [`leave`], with the heap's lists as they are.
///
/// # Safety
///
/// As for [`handover::leave`].
pub(crate) unsafe fn put_back(heap: HeapRef) {
    LOCAL.with(|local| {
        // SAFETY: guaranteed by the caller.
        unsafe { handover::park(heap, &local.reclaims) };
        // SAFETY: the reference of the heap.
        unsafe { registry::registry_of(heap).release_refs(1) };
        local.reclaims.visit_all();
    });
}

/// Serves everything that waits for a heap that this thread owns.
pub(crate) fn collect(heap: HeapRef) {
    LOCAL.with(|local| handover::collect(heap, &local.reclaims));
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
        unsafe { handover::close(pool, &local.reclaims) };
        local.reclaims.visit_all();
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
            events::note(Happened::AllocFailed, pool.core().name, 0);
        }
        local.emit_events();
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
pub(crate) fn emit_events() {
    LOCAL.with(Local::emit_events);
}

/// Tells that a pool refused, and what was noted before.
pub(crate) fn emit_failure(pool: &'static str) {
    events::note(Happened::AllocFailed, pool, 0);
    emit_events();
}
