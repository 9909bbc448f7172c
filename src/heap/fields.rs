//! The parts of a heap, and which thread may touch which part.
//!
//! ```text
//! shared   owner token, pool, next heap of the pool                        rarely written, read by any thread
//! remote   pending list, bytes of fully freed segments                     written by any thread
//! own      segments being collected, outgoing, spares, bins in use         owner only; counters are read by any thread
//! bins     one per class, or the only one of a SegmentPool                 owner only; counters are read by any thread
//! ```
//!
//! A heap has at most one owner. It is the thread that *holds* the heap, which created or adopted it and
//! keeps it, or a temporary owner: a thread that adopted it for one operation, or whose push found ABANDONED.
//! The word of the pending list says whether there is an owner. The owner token only lets a thread recognise
//! a heap that it holds. The token is cleared before the heap is abandoned, so no thread finds its own token
//! in a heap that it does not own.
//!
//! `detach_segments` may move a segment to another heap while a push to the segment is under way. The push
//! then puts the segment in the pending list of its former heap: it is a *misrouted segment*. The segment's
//! `heap` word identifies it reliably, because only the owner of that heap changes the word. Misrouted
//! segments keep QUEUED. The caller reroutes them after its work on this heap, or after it abandoned the
//! heap.
//!
//! A segment is *fully freed* when every slot was handed out and freed remotely. Pushing threads count, per
//! heap, the bytes of such segments that no owner took yet. The count is a hint; the owner resets it whenever
//! it finds the pending list empty.
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

/// See the module documentation. The bins follow it in memory. Its alignment is that of a bin, on every
/// target.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Heap {
    shared: CachePadded<Shared>,
    pub(super) remote: CachePadded<RemotePart>,
    pub(super) own: CachePadded<Own>,
}

/// The part that any thread reads.
#[derive(Debug)]
struct Shared {
    alive: Alive,
    /// The token of the thread that holds the heap, or 0.
    owner: AtomicU64,
    pool: NonNull<PoolCore>,
    /// The next heap of the pool.
    next: AtomicPtr<Heap>,
}

/// The part that any thread writes.
#[derive(Debug)]
pub(super) struct RemotePart {
    pub(super) pending: PendingList<Segment>,
    /// Bytes of fully freed segments that nobody took yet.
    pub(super) fully_freed: FullyFreed,
}

/// The part that only the owner touches. Any thread reads the counters.
#[derive(Debug)]
pub(super) struct Own {
    /// Segments out of the pending list that were not served yet, the oldest first.
    pub(super) collecting: Queued,
    /// Misrouted segments and cached remote slots that were found here.
    pub(super) outgoing: Outgoing,
    /// Empty segments, by span.
    pub(super) spares: [Loose; 3],
    pub(super) spare_bytes: Counter,
    /// Times that a thread adopted the heap to hold it.
    pub(super) adoptions: Counter,
    /// Times that a thread that held the heap abandoned it.
    pub(super) abandonments: Counter,
    /// The token of the thread that has the heap, or had it last.
    pub(super) last_owner: Counter,
    /// When a thread took the heap to keep it, or one that keeps it took what others had freed, in milliseconds since 1970.
    pub(super) served: Counter,
    /// One bit per bin that was ever used.
    pub(super) used: Cell<u128>,
    /// Whether the owner must collect and release before it abandons the heap, because the pool was closed.
    pub(super) closing: Cell<bool>,
    /// The heaps before and after this one in the list of those that the same thread holds.
    pub(super) previous_held: Cell<Option<HeapRef>>,
    pub(super) next_held: Cell<Option<HeapRef>>,
    /// The heap of the pool at which the next steal starts.
    pub(super) victim: Cell<Option<HeapRef>>,
}

/// A heap that is alive. The code that creates one guarantees that the pool lives while the copy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct HeapRef(NonNull<Heap>);

impl Deref for HeapRef {
    type Target = Heap;

    #[inline(always)]
    fn deref(&self) -> &Heap {
        // SAFETY: `HeapRef` guarantees that the heap is alive; every field that changes is a cell or an
        // atomic, so a shared reference is sound.
        let heap = unsafe { self.0.as_ref() };
        heap.shared.alive.used();
        heap
    }
}

/// A bin of a heap that is alive. The code that stores one guarantees it.
#[cfg(not(segment_pool_loom))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct BinRef(NonNull<Bin>);

#[cfg(not(segment_pool_loom))]
impl BinRef {
    /// A bin of the [placeholder](HeapRef::EMPTY).
    pub(crate) const EMPTY: Self = Self(HeapRef::EMPTY.bin_ptr(0));
}

#[cfg(not(segment_pool_loom))]
impl Deref for BinRef {
    type Target = Bin;

    #[inline(always)]
    fn deref(&self) -> &Bin {
        // SAFETY: `BinRef` guarantees that the heap is alive; every field that changes is a cell or an
        // atomic, so a shared reference is sound.
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

    /// Whether no thread holds the heap for longer than one operation. See `bounded`.
    pub(crate) fn is_of_bounded_pool(&self) -> bool {
        self.pool().is_bounded()
    }

    /// Whether the pool counts its values.
    pub(crate) fn is_of_counting_pool(&self) -> bool {
        self.pool().counts_values()
    }

    /// The pool as the header of a segment names it.
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

    /// The heap after this one in that list. Owner only.
    pub(crate) fn next_held(&self) -> &Cell<Option<HeapRef>> {
        &self.own.next_held
    }

    /// The heap of the pool at which the next steal starts. Owner only.
    pub(crate) fn victim(&self) -> &Cell<Option<HeapRef>> {
        &self.own.victim
    }

    /// The segments and slots to send to other heaps. Owner only.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.own.outgoing
    }

    /// Counts a segment that the caller is about to free fully. Returns false if the caller should purge the
    /// segment instead. Always true in a bounded pool: a purge would hide slots whose frees have returned,
    /// and no thread owns the heap for long.
    pub(crate) fn count_fully_freed(&self, bytes: usize) -> bool {
        self.is_of_bounded_pool() || self.remote.fully_freed.count(bytes, os::milliseconds)
    }

    /// Reverts `count_fully_freed`, because the segment was not fully freed after all or was taken.
    pub(crate) fn uncount_fully_freed(&self, bytes: usize) {
        self.remote.fully_freed.uncount(bytes);
    }

    /// Whether the thread with this token holds the heap.
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, token: u64) -> bool {
        // Relaxed: a thread finds its own token only where it stored it and has not cleared it since.
        self.shared.owner.load(Ordering::Relaxed) == token
    }

    /// Sets the token of the thread that holds the heap. 0 means that the owner abandons it or never held it.
    /// Owner only.
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
        // Relaxed: for display, or the owner reads its own store.
        self.shared.owner.load(Ordering::Relaxed) != 0
    }

    /// How often a thread adopted the heap to hold it, and how often a thread that held it abandoned it. Any
    /// thread may call this; the answer may lag.
    pub(crate) fn changes_of_owner(&self) -> (u64, u64) {
        (self.own.adoptions.get(), self.own.abandonments.get())
    }

    /// Bytes of the spare segments. Any thread may call this; the answer may lag.
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.own.spare_bytes.get()
    }
}

impl HeapRef {
    /// Creates a heap that the caller owns. `None` if the system has no memory.
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
        // SAFETY: mapped above, large enough and aligned.
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

    /// Frees the heap.
    ///
    /// # Safety
    ///
    /// The heap has no segment, and no thread uses it again.
    pub(crate) unsafe fn free(self) {
        let bytes = bytes(self.pool().bins());
        self.shared.alive.ended();
        #[cfg(segment_pool_loom)]
        self.pool().arenas().uncount_user();
        // SAFETY: mapped by `create`; the caller gives it up.
        unsafe { os::unmap(self.0.cast(), bytes, align_of::<Heap>()) };
    }

    /// A heap from its address.
    ///
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

    /// The heap as the header of a segment names it.
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
        // SAFETY: the header of a segment in use names a heap, so `id` is not null.
        Self(unsafe { NonNull::new_unchecked(id.cast()) })
    }

    #[inline(always)]
    const fn bin_ptr(self, index: usize) -> NonNull<Bin> {
        // SAFETY: the bins follow the heap in the same mapping.
        let bins = unsafe { self.0.add(1) }.cast::<Bin>();
        // SAFETY: the callers pass the index of a bin, or the number of bins for the end of the array.
        unsafe { bins.add(index) }
    }

    /// The memory of a bin's deferred-list bitmap.
    pub(super) fn places(self, index: usize) -> NonNull<Places> {
        let first = self.bin_ptr(self.pool().bins()).cast::<Places>();
        // SAFETY: the bitmaps, one for each bin, follow the bins in the same mapping.
        unsafe { first.add(index) }
    }

    /// One of the bins. The caller passes the index of a bin.
    #[inline(always)]
    pub(crate) fn bin<'a>(self, index: usize) -> &'a Bin {
        // SAFETY: initialised by `create`, and alive as long as the heap; all its fields are cells or
        // atomics.
        unsafe { self.bin_ptr(index).as_ref() }
    }

    /// The same bin as a reference that can be stored.
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

/// The placeholder heap of threads that hold none. It has all the bins of the default pool and no slots.
/// Every allocation finds it empty, and no segment names it, so no thread ever writes to it.
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
    /// The placeholder heap of a thread that holds none.
    pub(crate) const EMPTY: Self =
        Self(NonNull::new((&raw const EMPTY).cast::<Heap>().cast_mut()).unwrap());
}
