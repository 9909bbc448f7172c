//! The entry points of a thread: allocating a slot, freeing a slot, and the public functions.
//!
//! The fast paths touch only the thread's own lists. All other work is an out-of-line call to `slow` or `heaps`.
//!
//! No user code runs in this file, so no code observes an intermediate state. With the feature `tracing`, a subscriber
//! runs, but only as the last step before an entry point returns ([`emit_events`]). It does not run in `leave`,
//! `put_back`, `collect` and `trim_pool`, whose callers are in the middle of their work, nor while a batch is sent. The
//! panics of a subscriber are caught, so no entry point unwinds.

use core::cell::Cell;
use core::ops::{Bound, RangeBounds};

use crate::ground::error::AllocErrorKind;
use crate::ground::events::{self, Happened};
use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::handover::{self};
use crate::heap::registry::{self, RegistryRef};
use crate::heap::remote_buffer::RemoteBuffer;
use crate::memory::segment::SegmentRef;
use crate::slot::{self, SlotPtr};
use crate::thread::heaps::{CLOSINGS, of_pool};
use crate::thread::local::{LOCAL, Local};
use crate::thread::slow::refill;

/// Allocates a slot of the default pool; `None` if the system has no memory.
#[cfg_attr(not(debug_assertions), inline(always))]
#[cfg_attr(debug_assertions, inline(never))]
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

/// Allocates a slot of another pool; `None` if the system has no memory or the limit is reached.
#[cfg_attr(not(debug_assertions), inline(always))]
#[cfg_attr(debug_assertions, inline(never))]
pub(crate) fn alloc_from_pool(pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        if local.recent_pool.get() != Some(pool) {
            return look_up_and_alloc(pool);
        }
        pop_or_refill(local.recent.get())
    })
}

/// Allocates a slot of a pool other than the one this thread used last.
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

/// Allocates a slot of this thread's heap of a pool of one type.
#[inline(always)]
fn pop_or_refill(heap: HeapRef) -> Option<SlotPtr> {
    let slot = heap.bin(0).pop();
    if slot.is_some() {
        slot
    } else {
        refill(heap, 0)
    }
}

/// Frees a slot of any pool, allocated by any thread.
///
/// # Safety
///
/// The caller owns the slot and does not use it afterwards. The slot is in a segment of this span. If the segment
/// belongs to the default pool, the slot is of this class.
#[cfg_attr(not(debug_assertions), inline(always))]
#[cfg_attr(debug_assertions, inline(never))]
pub(crate) unsafe fn free(slot: SlotPtr, span: Span, class: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot::make_free(slot, span, class) };
    // SAFETY: guaranteed by the caller.
    let segment = unsafe { SegmentRef::of(slot, span) };
    LOCAL.with(|local| {
        // SAFETY: the caller gives up the slot. It is of this class if it is of the default pool, and every other pool
        // has only one bin.
        if unsafe { local.first[class].get().try_cache(segment, slot) } {
            return;
        }
        // SAFETY: guaranteed by the caller.
        unsafe { free_uncached(segment, slot, span, class) };
    });
}

/// Frees a slot that the first bin does not cache. Out of line, so that the fast path stays small.
///
/// # Safety
///
/// As for [`free`], and the slot is in this segment.
#[inline(never)]
unsafe fn free_uncached(segment: SegmentRef, slot: SlotPtr, span: Span, class: usize) {
    LOCAL.with(|local| {
        let offset = SegmentRef::offset_of(slot, span);
        // SAFETY: guaranteed by the caller.
        if unsafe { !local.remote_buffer.join(segment, offset) } {
            // SAFETY: guaranteed by the caller; neither the bin nor a batch accepted the slot.
            unsafe { local.free_unbatched(segment, slot, offset, class) };
        }
    });
}

/// Pushes this thread's open batches of remote frees to their segments.
///
/// When a thread drops a box that another thread allocated, the slot joins a batch of the dropping thread, with up to
/// 55 other slots of the same segment. The batch stays open until it is full or until a batch for another segment needs
/// its place. A thread should call this function if it has dropped boxes and is about to wait for a long time. When a
/// thread ends, it pushes its batches anyway.
///
/// A thread that drops very many boxes of other threads, and also allocates boxes of that size, caches some of the
/// freed slots for its own use. For each size these are at most three times 256 slots or 16 KiB, whichever is less, or
/// six slots if that is more. They are returned to their segments when the thread ends or calls [`trim`].
///
/// At most 32 batches are open, of at most 56 slots and 8 KiB each, and as many of pools with a limit of values. Cost: one
/// or two compare-and-swaps per open batch.
/// If the heap that receives a batch is abandoned, the call also returns the slots that were freed to that heap to
/// their segments.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// let boxes: Vec<_> = (0..10).map(PoolBox::new).collect();
/// std::thread::spawn(move || {
///     drop(boxes);
///     segment_pool::flush(); // from now on the first thread can collect the ten slots
///     // ... wait for more work
/// })
/// .join()
/// .unwrap();
/// ```
pub fn flush() {
    LOCAL.with(Local::flush);
    emit_events();
}

/// Calls `visit` with every heap that this thread holds. `visit` runs no foreign code, which might change the list.
pub(crate) fn for_each_held(mut visit: impl FnMut(HeapRef)) {
    LOCAL.with(|local| local.held.iter().for_each(&mut visit));
}

/// Calls `visit` with every slot in this thread's open batches, and its stride. `visit` runs no foreign code, which
/// might send the batches.
pub(crate) fn for_each_open(mut visit: impl FnMut(SlotPtr, usize)) {
    LOCAL.with(|local| {
        let slots = local
            .remote_buffer
            .slots()
            .chain(local.counted_buffer.slots());
        slots.for_each(|(segment, slot)| visit(slot, segment.identity().stride));
    });
}

/// Calls `visit` with the segment of each of this thread's open batches, and how many slots it has. As above.
pub(crate) fn for_each_open_batch(mut visit: impl FnMut(SegmentRef, usize)) {
    LOCAL.with(|local| {
        let buffers = [&local.remote_buffer, &local.counted_buffer];
        let batches = buffers.into_iter().flat_map(RemoteBuffer::batches);
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

/// Prepares the calling thread for a long wait: it pushes the open batches of remote frees, and makes the thread's
/// heaps available to other threads.
///
/// Call this before parking a thread, in the wait loop of a worker, or in tokio's `on_thread_park`. While the thread
/// waits, other threads may allocate from its free slots, and they return the slots that they free directly to its
/// segments. The next allocation takes the same heap back, unless another thread has it.
///
/// Cost: that of [`flush`], and one or two compare-and-swaps for each pool that the thread used since the last call;
/// only a few loads if there were none. If the thread used more than eight pools, the free slots of the further pools
/// are returned to their segments.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// let boxed = PoolBox::new(7);
/// segment_pool::idle(); // before waiting for work
/// assert_eq!(*boxed, 7); // boxes stay valid
/// drop(boxed);
/// ```
pub fn idle() {
    LOCAL.with(Local::idle);
    emit_events();
}

/// Returns every free slot of this thread's heaps to its segment, and releases the empty segments to their arenas.
/// Empty arenas are returned to the operating system.
///
/// If boxes are dropped in the order of their allocation, or in reverse, most of their memory is returned without this
/// call. If very many boxes are dropped in random order, it is not: the thread keeps a few hundred free slots for
/// reuse, and these may lie in as many segments. In that case call this function. The end of a thread does the same.
///
/// Cost: it visits every free slot in the thread's lists.
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
        // Abandoned heaps first: the remote slots that they cached may belong to this thread's heaps, which are
        // collected next. Remote slots that this thread cached for them are collected at once, by serving the heap.
        handover::trim_abandoned(pool, &local.reclaims);
        for_each_held(|heap| {
            if of_pool(heap, pool) {
                handover::trim(heap, &local.reclaims);
            }
        });
        // The heaps of handles are only collected.
        for heap in pool.heaps().filter(|heap| holds(*heap)) {
            handover::collect(heap, &local.reclaims);
        }
        local.reclaims.visit_all();
    });
    registry::trim_arenas();
}

/// Leaves a heap that was acquired outside of the fast paths.
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

/// Allocates a slot for a handle with its own heap. The handle acquires the heap now if it has none.
#[cold]
pub(crate) fn alloc_for_handle(heap: &Cell<HeapRef>, pool: RegistryRef) -> Option<SlotPtr> {
    LOCAL.with(|local| {
        let slot = local.alloc_for_handle(heap, pool);
        local.emit_after(pool, slot)
    })
}

/// Leaves the heap of a handle.
///
/// # Safety
///
/// [`alloc_for_handle`] acquired the heap, on this thread, and the handle does not use it afterwards.
pub(crate) unsafe fn leave_for_handle(heap: HeapRef) {
    LOCAL.with(Local::forget_pools);
    // SAFETY: guaranteed by the caller.
    unsafe { leave(heap) };
    emit_events();
}

/// As [`leave`], but keeps the heap's lists as they are.
///
/// # Safety
///
/// As for [`handover::leave`].
pub(crate) unsafe fn put_back(heap: HeapRef) {
    LOCAL.with(|local| {
        // SAFETY: guaranteed by the caller.
        unsafe { handover::park(heap, &local.reclaims) };
        // SAFETY: the reference that came with the heap.
        unsafe { registry::registry_of(heap).release_refs(1) };
        local.reclaims.visit_all();
    });
}

/// Collects the pending segments of a heap that this thread owns.
pub(crate) fn collect(heap: HeapRef) {
    LOCAL.with(|local| handover::collect(heap, &local.reclaims));
}

/// Drops the handle of a pool. Emits no events yet.
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

/// Adds `segments` segments to this thread's heap of a pool, and touches their pages if `touch` is set. It adds all of
/// them or none.
pub(crate) fn map_ahead(
    pool: RegistryRef,
    segments: usize,
    touch: bool,
) -> Result<(), AllocErrorKind> {
    LOCAL.with(|local| {
        let add = |heap: HeapRef| heap.add_segments(0, segments, touch);
        let mut mapped = local.with_some_heap(pool, add);
        if mapped == Err(AllocErrorKind::OutOfMemory) {
            registry::trim_arenas(); // but not the heaps, which may contain earlier reservations
            mapped = local.with_some_heap(pool, add);
        }
        if mapped.is_err() {
            events::note(Happened::AllocFailed, pool.core().name, 0);
        }
        local.emit_events();
        mapped
    })
}

/// Retries `attempt` if the system has no memory for `bytes` bytes, after this thread has released all that it can. It
/// does not retry if that cannot be enough.
pub(crate) fn with_room_for<R>(bytes: usize, attempt: impl Fn() -> Option<R>) -> Option<R> {
    attempt().or_else(|| {
        if bytes > registry::arena_bytes() {
            return None;
        }
        LOCAL.with(Local::make_room);
        attempt()
    })
}

/// Emits the events that the slow paths noted. The caller holds no pool state.
pub(crate) fn emit_events() {
    LOCAL.with(Local::emit_events);
}

/// Emits the failure of an allocation from a pool, and the events noted before.
pub(crate) fn emit_failure(pool: &'static str) {
    events::note(Happened::AllocFailed, pool, 0);
    emit_events();
}
