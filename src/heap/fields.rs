//! What a heap is made of, and who may touch which part.
//!
//! ```text
//! shared   owner token, pool, next heap of the pool            written rarely, read by every thread
//! mail     segments with remote frees | ABANDONED, completed   written by any thread
//! own      pending, misrouted segment and spare segments, bins in use      owner only, but for the counters
//! bins     one per class, or the only one of a SegmentPool     owner only, but for the counters
//! ```
//!
//! A heap has at most one owner: the thread that made or adopted it, or, for a moment, a pusher that met ABANDONED.
//! The pending word says whether there is one; the owner's token only lets a thread recognise its own heap, and is
//! cleared before the heap is abandoned, so that no thread ever sees its own token in a heap it does not own.
//!
//! A segment may leave a heap for another (`detach_segments`) while a push is under way, and then arrives in the pending list of a
//! heap that it no longer belongs to: a *misrouted segment*. Its `heap` says so exactly, for only the heap's owner can change it.
//! Misrouted segments keep QUEUED and are put aside for whoever called to be forwarded when this heap is left or done with.
//!
//! A segment is *completed* when every slot was handed out and freed remotely. Pushers count, per heap, the bytes of
//! such segments that nobody took yet; the count is a hint and starts anew whenever the owner finds its pending list empty.
//!
//! Heaps lie in dedicated mappings, whose untouched pages cost nothing, and live as long as their pool.

use core::ops::Deref;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::ground::events::{self, Happened};
#[cfg(not(segment_pool_loom))]
use crate::ground::layout::CLASSES;
use crate::ground::os;
use crate::ground::sync::{Alive, AtomicPtr, AtomicU64, Cell, Counter, Ordering, const_fn};
use crate::heap::bin::Bin;
use crate::heap::deferred::Places;
use crate::heap::fully_freed::FullyFreed;
use crate::heap::lists::{Loose, Outgoing, Queued};
use crate::heap::pool_core::PoolCore;
use crate::memory::remote::PendingList;
use crate::memory::segment::{OwnerId, Segment};

/// Low bits of a thread's token, which are the system's id of the thread. Those above are a number that no other thread gets.
#[cfg(not(segment_pool_loom))]
pub(crate) const OS_ID_BITS: u32 = 22;

/// See the module. Its bins follow it in memory, as aligned as it is, whatever a cache line is on the target.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Heap {
    shared: CachePadded<Shared>,
    pub(super) remote: CachePadded<RemotePart>,
    pub(super) own: CachePadded<Own>,
}

/// Any thread reads.
#[derive(Debug)]
struct Shared {
    alive: Alive,
    /// The token of the thread that owns the heap, or 0.
    owner: AtomicU64,
    pool: NonNull<PoolCore>,
    /// The next heap of the pool.
    next: AtomicPtr<Heap>,
}

/// Any thread writes.
#[derive(Debug)]
pub(super) struct RemotePart {
    pub(super) pending: PendingList<Segment>,
    /// Bytes of fully freed segments that nobody took yet.
    pub(super) fully_freed: FullyFreed,
}

/// Owner only, but for the counters.
#[derive(Debug)]
pub(super) struct Own {
    /// Out of the pending list, not yet served, the one that waited longest first.
    pub(super) collecting: Queued,
    /// Segments and slots of other heaps that were found here.
    pub(super) outgoing: Outgoing,
    /// Empty segments, by span.
    pub(super) spares: [Loose; 3],
    pub(super) spare_bytes: Counter,
    /// Times that a thread took the heap over from nobody, to keep it.
    pub(super) adoptions: Counter,
    /// Times that a thread left it to nobody.
    pub(super) abandonments: Counter,
    /// The token of the thread that has the heap, or had it last.
    pub(super) last_owner: Counter,
    /// When a thread took the heap to keep it, or one that keeps it took what others had freed, in milliseconds since 1970.
    pub(super) served: Counter,
    /// One bit per bin that was ever used.
    pub(super) used: Cell<u128>,
    /// Whether the heap must be collected and released before it is abandoned, because its pool was closed.
    pub(super) closing: Cell<bool>,
    /// The heaps before and after this one in the list of those that the same thread holds.
    pub(super) previous_held: Cell<Option<HeapRef>>,
    pub(super) next_held: Cell<Option<HeapRef>>,
    /// The heap of the pool to look at first for segments to steal.
    pub(super) victim: Cell<Option<HeapRef>>,
}

/// A heap that is alive. Whoever makes one promises that the pool lives while the copy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct HeapRef(NonNull<Heap>);

impl Deref for HeapRef {
    type Target = Heap;

    #[inline(always)]
    fn deref(&self) -> &Heap {
        // SAFETY: the maker promised that the heap is alive; every field that changes is a cell or an atomic.
        let heap = unsafe { self.0.as_ref() };
        heap.shared.alive.used();
        heap
    }
}

/// A bin of a heap that is alive, as promised by whoever keeps it.
#[cfg(not(segment_pool_loom))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct BinRef(NonNull<Bin>);

#[cfg(not(segment_pool_loom))]
impl BinRef {
    /// One of the [placeholder's](HeapRef::EMPTY).
    pub(crate) const EMPTY: Self = Self(HeapRef::EMPTY.bin_ptr(0));
}

#[cfg(not(segment_pool_loom))]
impl Deref for BinRef {
    type Target = Bin;

    #[inline(always)]
    fn deref(&self) -> &Bin {
        // SAFETY: the keeper promised that the heap is alive; every field that changes is a cell or an atomic.
        unsafe { self.0.as_ref() }
    }
}

impl Heap {
    const_fn! {
        fn new(pool: NonNull<PoolCore>, owner: u64) -> Self {
            Self {
                shared: CachePadded::new(Shared {
                    alive: Alive::new(),
                    owner: AtomicU64::new(owner),
                    pool,
                    next: AtomicPtr::new(core::ptr::null_mut()),
                }),
                remote: CachePadded::new(RemotePart {
                    pending: PendingList::new(),
                    fully_freed: FullyFreed::new(),
                }),
                own: CachePadded::new(Own {
                    collecting: Queued::new(),
                    outgoing: Outgoing::new(),
                    spares: [Loose::new(), Loose::new(), Loose::new()],
                    spare_bytes: Counter::new(0),
                    adoptions: Counter::new(0),
                    abandonments: Counter::new(0),
                    last_owner: Counter::new(owner),
                    served: Counter::new(0),
                    used: Cell::new(0),
                    closing: Cell::new(false),
                    previous_held: Cell::new(None),
                    next_held: Cell::new(None),
                    victim: Cell::new(None),
                }),
            }
        }
    }

    pub(super) fn pool(&self) -> &PoolCore {
        // SAFETY: a heap's pool lives as long as the heap.
        unsafe { self.shared.pool.as_ref() }
    }

    pub(crate) fn pool_ptr(&self) -> NonNull<PoolCore> {
        self.shared.pool
    }

    /// Whether no thread keeps the heap: see `bounded`.
    pub(crate) fn is_of_bounded_pool(&self) -> bool {
        self.pool().is_bounded()
    }

    /// How segments name the pool.
    pub(crate) fn pool_id(&self) -> *mut OwnerId {
        self.pool_ptr().as_ptr().cast()
    }

    pub(crate) fn pending(&self) -> &PendingList<Segment> {
        &self.remote.pending
    }

    pub(crate) fn next(&self) -> &AtomicPtr<Heap> {
        &self.shared.next
    }

    /// The heap before this one in the list of those that the owner holds. Owner only.
    pub(crate) fn previous_held(&self) -> &Cell<Option<HeapRef>> {
        &self.own.previous_held
    }

    /// The heap after this one in the same list. Owner only.
    pub(crate) fn next_held(&self) -> &Cell<Option<HeapRef>> {
        &self.own.next_held
    }

    /// The heap of the pool to look at first for segments to steal. Owner only.
    pub(crate) fn victim(&self) -> &Cell<Option<HeapRef>> {
        &self.own.victim
    }

    /// What is to be passed on to other heaps. Owner only.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.own.outgoing
    }

    /// Counts a segment that the caller is about to complete; false if it should purge the segment instead. In a bounded pool it
    /// should not: a purge hides slots whose frees have returned, and no thread has the heap for long.
    pub(crate) fn count_fully_freed(&self, bytes: usize) -> bool {
        self.is_of_bounded_pool() || self.remote.fully_freed.count(bytes, os::milliseconds)
    }

    /// Takes back `count_fully_freed`, when the segment was not completed after all or was taken.
    pub(crate) fn uncount_fully_freed(&self, bytes: usize) {
        self.remote.fully_freed.uncount(bytes);
    }

    /// Whether the thread with this token owns the heap.
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, token: u64) -> bool {
        // Relaxed: a thread finds its own token only where it stored it itself and has not cleared it since.
        self.shared.owner.load(Ordering::Relaxed) == token
    }

    /// Owner only. No token is 0: that says that the heap is being left.
    pub(crate) fn set_owner(&self, token: u64) {
        if token != 0 {
            self.own.last_owner.set(token);
            self.note_served();
        }
        match (self.is_held(), token) {
            (false, 1..) => {
                self.own.adoptions.add(1);
                events::note(Happened::HeapAdopted, self.pool().name, 0);
            }
            (true, 0) => {
                self.own.abandonments.add(1);
                events::note(Happened::HeapAbandoned, self.pool().name, 0);
            }
            _ => {}
        }
        // Relaxed: as in `is_owned_by`; nothing is published through the token.
        self.shared.owner.store(token, Ordering::Relaxed);
    }

    /// Notes that what other threads freed is being taken. Owner only.
    pub(super) fn note_served(&self) {
        self.own.served.set(os::milliseconds());
    }

    /// The token of the thread that has the heap, or had it last, or 0; and when it was served last, in milliseconds since 1970, or
    /// 0. Any thread may ask; the answer may lag.
    pub(crate) fn last_owner(&self) -> (u64, u64) {
        (self.own.last_owner.get(), self.own.served.get())
    }

    /// Whether a thread has the heap to keep. Any thread may ask; the answer may lag.
    pub(crate) fn is_held(&self) -> bool {
        // Relaxed: only shown, and the owner's own store to the owner.
        self.shared.owner.load(Ordering::Relaxed) != 0
    }

    /// How often a thread took the heap over from nobody, and how often one left it to nobody. Any thread may ask; the
    /// answer may lag.
    pub(crate) fn changes_of_owner(&self) -> (u64, u64) {
        (self.own.adoptions.get(), self.own.abandonments.get())
    }

    /// Bytes of the spare segments. Any thread may ask; the answer may lag.
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.own.spare_bytes.get()
    }
}

impl HeapRef {
    /// A new heap, owned by the caller. `None` when the system has no memory.
    ///
    /// # Safety
    ///
    /// The pool outlives the heap, which is freed by [`free`](Self::free).
    pub(crate) unsafe fn create(pool: NonNull<PoolCore>, owner: u64) -> Option<Self> {
        // SAFETY: guaranteed by the caller.
        let core = unsafe { pool.as_ref() };
        let bins = core.bins();
        let Some(memory) = os::map(bytes(bins), align_of::<Heap>()) else {
            core.note_starved();
            return None;
        };
        let heap = Self(memory.cast());
        // SAFETY: mapped above, large enough.
        unsafe { heap.0.write(Heap::new(pool, owner)) };
        heap.note_served();
        #[cfg(segment_pool_loom)]
        for index in 0..bins {
            // SAFETY: as above. (Outside the models, zero bytes are an unused bin.)
            unsafe { heap.bin_ptr(index).write(Bin::new()) };
        }
        #[cfg(segment_pool_loom)]
        heap.pool().arenas().count_user();
        Some(heap)
    }

    /// # Safety
    ///
    /// The heap has no segment and nobody uses it again.
    pub(crate) unsafe fn free(self) {
        let bytes = bytes(self.pool().bins());
        self.shared.alive.ended();
        #[cfg(segment_pool_loom)]
        self.pool().arenas().uncount_user();
        // SAFETY: mapped by `create`; the caller gives it up.
        unsafe { os::unmap(self.0.cast(), bytes, align_of::<Heap>()) };
    }

    /// # Safety
    ///
    /// `heap` points to a heap that is alive, with the provenance of its bins.
    #[inline(always)]
    pub(crate) const unsafe fn from_ptr(heap: NonNull<Heap>) -> Self {
        Self(heap)
    }

    pub(crate) fn as_ptr(self) -> NonNull<Heap> {
        self.0
    }

    /// How segments name the heap.
    #[inline(always)]
    pub(crate) fn id(self) -> *mut OwnerId {
        self.0.as_ptr().cast()
    }

    /// The heap of a segment in use.
    ///
    /// # Safety
    ///
    /// `id` was read from a segment of which the caller holds a slot.
    #[inline(always)]
    pub(crate) unsafe fn from_id(id: *mut OwnerId) -> Self {
        // SAFETY: segments in use have a heap.
        Self(unsafe { NonNull::new_unchecked(id.cast()) })
    }

    #[inline(always)]
    const fn bin_ptr(self, index: usize) -> NonNull<Bin> {
        // SAFETY: a heap is followed by its bins.
        let bins = unsafe { self.0.add(1) }.cast::<Bin>();
        // SAFETY: the callers' indices are those of bins.
        unsafe { bins.add(index) }
    }

    /// Where one of the bins may mark slots.
    pub(super) fn places(self, index: usize) -> NonNull<Places> {
        let first = self.bin_ptr(self.pool().bins()).cast::<Places>();
        // SAFETY: the bins are followed by places for each.
        unsafe { first.add(index) }
    }

    /// One of the bins; the caller passes the index of one.
    #[inline(always)]
    pub(crate) fn bin<'a>(self, index: usize) -> &'a Bin {
        // SAFETY: initialised by `create`, and alive as long as the heap.
        unsafe { self.bin_ptr(index).as_ref() }
    }

    /// The same, to be remembered.
    #[cfg(not(segment_pool_loom))]
    pub(crate) fn bin_ref(self, index: usize) -> BinRef {
        BinRef(self.bin_ptr(index))
    }

    /// The bins, for the statistics of any thread.
    pub(crate) fn bins<'a>(self) -> impl Iterator<Item = &'a Bin> {
        (0..self.pool().bins()).map(move |index| self.bin(index))
    }

    /// Bytes from one slot of a bin to the next.
    pub(crate) fn stride(self, bin: usize) -> usize {
        self.pool().stride(bin)
    }
}

fn bytes(bins: usize) -> usize {
    size_of::<Heap>() + bins * (size_of::<Bin>() + size_of::<Places>())
}

/// A heap with all the bins of the default pool and no slots, for threads that have none: every allocation finds it
/// empty, no segment names it, and so nobody ever writes to it.
#[cfg(not(segment_pool_loom))]
#[derive(Debug)]
#[repr(C)]
pub(crate) struct EmptyHeap {
    heap: Heap,
    bins: [Bin; CLASSES],
}

// SAFETY: it is never written, so its cells are constants.
#[cfg(not(segment_pool_loom))]
unsafe impl Sync for EmptyHeap {}

#[cfg(not(segment_pool_loom))]
const _: () = assert!(core::mem::offset_of!(EmptyHeap, bins) == size_of::<Heap>());
const _: () = assert!(size_of::<Heap>() % align_of::<Bin>() == 0);

#[cfg(not(segment_pool_loom))]
static EMPTY: EmptyHeap = EmptyHeap {
    heap: Heap::new(NonNull::dangling(), 0),
    bins: [const { Bin::new() }; CLASSES],
};

#[cfg(not(segment_pool_loom))]
impl HeapRef {
    /// The heap of a thread without one.
    pub(crate) const EMPTY: Self =
        Self(NonNull::new((&raw const EMPTY).cast::<Heap>().cast_mut()).unwrap());
}
