//! Bins and inbox and who owns them: refill, collect, abandon, adopt, serve.
//!
//! ```text
//! shared   owner token, pool, next heap of the pool            written rarely, read by every thread
//! inbox    segments with remote frees | ABANDONED              written by any thread
//! own      pending segments, spare segments, bins in use       owner only
//! bins     one per class, or the only one of a SegmentPool     owner only, but for the counters
//! ```
//!
//! A heap has at most one owner: the thread that made or adopted it, or, for a moment, a pusher that met ABANDONED.
//! The inbox word says whether there is one; the owner's token only lets a thread recognise its own heap, and is
//! cleared before the heap is abandoned, so that no thread ever sees its own token in a heap it does not own.
//!
//! Heaps lie in mappings of their own, whose untouched pages cost nothing, and live as long as their pool.

use core::ops::Deref;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::arena::Arenas;
use crate::bin::Bin;
use crate::layout::{CLASSES, Span, stride_of};
use crate::os;
use crate::remote::Inbox;
use crate::segment::{HeapId, Loose, Pending, Segment, SegmentRef};
use crate::slot::SlotPtr;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Cell, Ordering, const_fn};

/// Empty segments that a heap keeps as spares, in bytes.
const SPARE_BYTES: usize = if cfg!(loom) { 0 } else { 256 << 10 };
/// Slots that one refill takes out of remote lists, but for the last list, which is taken whole.
const COLLECT_SLOTS: usize = 4096;

/// What the heaps of one pool have in common.
#[derive(Debug)]
pub(crate) struct PoolCore {
    /// Where the segments come from.
    pub(crate) arenas: NonNull<Arenas>,
    /// The stride of a pool of one type; 0 in the default pool, where each bin has that of its class.
    pub(crate) stride: usize,
    /// Segments in use, plus heaps held by threads, plus one for the pool's handle.
    pub(crate) refs: AtomicUsize,
}

impl PoolCore {
    const fn bins(&self) -> usize {
        if self.stride == 0 { CLASSES } else { 1 }
    }

    fn stride(&self, bin: usize) -> usize {
        if self.stride == 0 {
            stride_of(bin)
        } else {
            self.stride
        }
    }

    fn arenas(&self) -> &Arenas {
        // SAFETY: arena tables outlive the pools.
        unsafe { self.arenas.as_ref() }
    }
}

/// See the module. Its bins follow it in memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Heap {
    shared: CachePadded<Shared>,
    inbox: CachePadded<Inbox<Segment>>,
    own: CachePadded<Own>,
}

/// Any thread reads.
#[derive(Debug)]
struct Shared {
    /// The token of the thread that owns the heap, or 0.
    owner: AtomicU64,
    pool: NonNull<PoolCore>,
    /// The next heap of the pool.
    next: AtomicPtr<Heap>,
}

/// Owner only.
#[derive(Debug)]
struct Own {
    /// Out of the inbox, not yet served.
    pending: Pending,
    /// Empty segments, by span.
    spares: [Loose; 3],
    spare_bytes: Cell<usize>,
    /// One bit per bin that was ever used.
    used: Cell<u128>,
    /// The next heap held by the same thread.
    next_held: Cell<Option<HeapRef>>,
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
        unsafe { self.0.as_ref() }
    }
}

impl Heap {
    const_fn! {
        fn new(pool: NonNull<PoolCore>, owner: u64) -> Self {
            Self {
                shared: CachePadded::new(Shared {
                    owner: AtomicU64::new(owner),
                    pool,
                    next: AtomicPtr::new(core::ptr::null_mut()),
                }),
                inbox: CachePadded::new(Inbox::new()),
                own: CachePadded::new(Own {
                    pending: Pending::new(),
                    spares: [Loose::new(), Loose::new(), Loose::new()],
                    spare_bytes: Cell::new(0),
                    used: Cell::new(0),
                    next_held: Cell::new(None),
                }),
            }
        }
    }

    fn pool(&self) -> &PoolCore {
        // SAFETY: a heap's pool lives as long as the heap.
        unsafe { self.shared.pool.as_ref() }
    }

    pub(crate) fn pool_ptr(&self) -> NonNull<PoolCore> {
        self.shared.pool
    }

    pub(crate) fn inbox(&self) -> &Inbox<Segment> {
        &self.inbox
    }

    pub(crate) fn next(&self) -> &AtomicPtr<Heap> {
        &self.shared.next
    }

    /// The next heap in the list of those that the owner holds. Owner only.
    pub(crate) fn next_held(&self) -> &Cell<Option<HeapRef>> {
        &self.own.next_held
    }

    /// Whether the thread with this token owns the heap.
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, token: u64) -> bool {
        // Relaxed: a thread finds its own token only where it stored it itself and has not cleared it since.
        self.shared.owner.load(Ordering::Relaxed) == token
    }

    /// Owner only.
    pub(crate) fn set_owner(&self, token: u64) {
        // Relaxed: as in `is_owned_by`; nothing is published through the token.
        self.shared.owner.store(token, Ordering::Relaxed);
    }
}

impl HeapRef {
    /// A new heap, owned by the caller. `None` when memory is refused.
    ///
    /// # Safety
    ///
    /// The pool outlives the heap, which is freed by [`free`](Self::free).
    pub(crate) unsafe fn create(pool: NonNull<PoolCore>, owner: u64) -> Option<Self> {
        // SAFETY: guaranteed by the caller.
        let bins = unsafe { pool.as_ref() }.bins();
        let heap = Self(os::map(bytes(bins), align_of::<Heap>())?.cast());
        // SAFETY: mapped above, large enough.
        unsafe { heap.0.write(Heap::new(pool, owner)) };
        #[cfg(loom)]
        for index in 0..bins {
            // SAFETY: as above. (Outside the models, zero bytes are an unused bin.)
            unsafe { heap.bin_ptr(index).write(Bin::new()) };
        }
        Some(heap)
    }

    /// # Safety
    ///
    /// The heap has no segment and nobody uses it again.
    pub(crate) unsafe fn free(self) {
        let bytes = bytes(self.pool().bins());
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
    pub(crate) fn id(self) -> *mut HeapId {
        self.0.as_ptr().cast()
    }

    /// The heap of a segment in use.
    ///
    /// # Safety
    ///
    /// `id` was read from a segment of which the caller holds a slot.
    #[inline(always)]
    pub(crate) unsafe fn from_id(id: *mut HeapId) -> Self {
        // SAFETY: segments in use have a heap.
        Self(unsafe { NonNull::new_unchecked(id.cast()) })
    }

    #[inline(always)]
    fn bin_ptr(self, index: usize) -> NonNull<Bin> {
        // SAFETY: a heap is followed by its bins.
        let bins = unsafe { self.0.add(1) }.cast::<Bin>();
        // SAFETY: the callers' indices are those of bins.
        unsafe { bins.add(index) }
    }

    /// One of the bins; the caller passes the index of one.
    #[inline(always)]
    pub(crate) fn bin<'a>(self, index: usize) -> &'a Bin {
        // SAFETY: initialised by `create`, and alive as long as the heap.
        unsafe { self.bin_ptr(index).as_ref() }
    }

    /// The bins, for the statistics of any thread.
    pub(crate) fn bins<'a>(self) -> impl Iterator<Item = &'a Bin> {
        (0..self.pool().bins()).map(move |index| self.bin(index))
    }

    /// Bytes from one slot of a bin to the next.
    pub(crate) fn stride(self, bin: usize) -> usize {
        self.pool().stride(bin)
    }

    /// A slot from a bin whose free list is empty; `None` when memory is refused. Owner only.
    pub(crate) fn refill(self, index: usize) -> Option<SlotPtr> {
        let bin = self.bin(index);
        let filled = bin.refill_from_depot()
            || self.collect_for(bin)
            || bin.refill_from_segments()
            || (self.add_segment(index) && bin.refill_from_segments());
        if filled { bin.take() } else { None }
    }

    fn add_segment(self, index: usize) -> bool {
        let bin = self.bin(index);
        let stride = self.pool().stride(index);
        let span = Span::of(stride);
        let claimed = match self.own.spares[span.index()].pop() {
            Some(spare) => {
                self.own
                    .spare_bytes
                    .set(self.own.spare_bytes.get() - span.bytes());
                spare.claimed()
            }
            None => match self.pool().arenas().claim(span) {
                Some(claimed) => {
                    // Relaxed: the caller holds a reference, so the count cannot reach zero meanwhile.
                    self.pool().refs.fetch_add(1, Ordering::Relaxed);
                    claimed
                }
                None => return false,
            },
        };
        bin.prepare(stride);
        self.own.used.set(self.own.used.get() | 1 << index);
        // SAFETY: claimed above for this span.
        bin.add(unsafe { SegmentRef::init(claimed, self.id(), index, stride) });
        true
    }

    /// Stashes a full free list, and looks at the inbox on the occasion. Owner only.
    pub(crate) fn stash(self, index: usize) {
        let empty = Loose::new();
        self.bin(index).stash(&empty);
        self.release_and_count(&empty);
        if !self.inbox.is_empty() {
            self.collect(|| false);
        }
    }

    fn collect_for(self, bin: &Bin) -> bool {
        self.collect(|| bin.has_free());
        bin.has_free()
    }

    /// Serves waiting segments, oldest first, until enough was done. Owner only.
    fn collect(self, enough: impl Fn() -> bool) {
        let empty = Loose::new();
        let mut slots = 0;
        while slots < COLLECT_SLOTS && !enough() {
            let Some(segment) = self.next_waiting() else {
                break;
            };
            // SAFETY: the segment came out of the inbox.
            slots += unsafe { self.bin(segment.identity().bin).receive(segment, &empty) };
        }
        self.release_and_count(&empty);
    }

    fn next_waiting(self) -> Option<SegmentRef> {
        if self.own.pending.is_empty() {
            // SAFETY: the caller owns the heap; the list was just taken.
            unsafe { self.own.pending.refill(self.inbox.take()) };
        }
        self.own.pending.pop()
    }

    /// For an owner that holds a reference of its own.
    fn release_and_count(self, empty: &Loose) {
        if !empty.is_empty() {
            let released = self.release(empty, SPARE_BYTES);
            // Release: the segments' end is ordered before the pool's, whose last reference is another. The count
            // cannot reach zero here.
            self.pool().refs.fetch_sub(released, Ordering::Release);
        }
    }

    /// Keeps empty segments as spares up to a number of bytes and gives the others to the arena. Returns how many
    /// references to the pool are to be given up for them. Owner only.
    fn release(self, empty: &Loose, spare_bytes: usize) -> usize {
        let mut released = 0;
        while let Some(segment) = empty.pop() {
            let span = segment.identity().span;
            debug_assert!(segment.is_empty() && segment.remote_word().is_idle());
            if self.own.spare_bytes.get() + span.bytes() <= spare_bytes {
                self.own.spares[span.index()].push(segment);
                self.own
                    .spare_bytes
                    .set(self.own.spare_bytes.get() + span.bytes());
            } else {
                // SAFETY: no slot of the segment is anywhere but at home.
                unsafe { self.pool().arenas().release(span, segment.claimed()) };
                released += 1;
            }
        }
        released
    }

    /// The bins that were ever used. Owner only.
    pub(crate) fn used_bins<'a>(self) -> impl Iterator<Item = &'a Bin> {
        let used = self.own.used.get();
        (0..self.pool().bins())
            .filter(move |index| used & 1 << index != 0)
            .map(move |index| self.bin(index))
    }

    /// Makes the segments self-contained: serves the inbox, brings every slot home and releases what is empty, the
    /// spares too. Returns the references to give up. Owner only.
    pub(crate) fn settle(self) -> usize {
        let served = self.serve();
        let empty = Loose::new();
        self.used_bins().for_each(|bin| bin.distribute_all(&empty));
        for spare in self
            .own
            .spares
            .iter()
            .flat_map(|spares| core::iter::from_fn(|| spares.pop()))
        {
            empty.push(spare);
        }
        self.own.spare_bytes.set(0);
        served + self.release(&empty, 0)
    }

    /// Leaves the heap to whoever needs it. Returns the references to give up, which must wait until now: the
    /// thread's own is not among them. Owner only, and not any more.
    ///
    /// An owner leaves only an empty inbox, for nobody else need come who would empty it. It comes to an end, since
    /// each push that keeps it here frees a slot and none are handed out.
    pub(crate) fn leave(self) -> usize {
        self.set_owner(0);
        let mut released = self.settle();
        while !self.inbox.try_abandon() {
            released += self.serve();
        }
        released
    }

    /// Serves an abandoned heap that the caller's push acquired, and abandons it again: the work is that of what was
    /// pushed. Returns the references to give up.
    pub(crate) fn serve_and_leave(self) -> usize {
        let mut released = self.serve();
        while !self.inbox.try_abandon() {
            released += self.serve();
        }
        released
    }

    /// Brings what waits in the inbox of a settled heap straight home and releases what is empty.
    fn serve(self) -> usize {
        let empty = Loose::new();
        while let Some(segment) = self.next_waiting() {
            // SAFETY: the segment came out of the inbox.
            unsafe {
                self.bin(segment.identity().bin)
                    .receive_home(segment, &empty)
            };
        }
        self.release(&empty, 0)
    }
}

fn bytes(bins: usize) -> usize {
    size_of::<Heap>() + bins * size_of::<Bin>()
}

/// A heap with all the bins of the default pool and no slots, for threads that have none: every allocation finds it
/// empty, no segment names it, and so nobody ever writes to it.
#[cfg(not(loom))]
#[derive(Debug)]
#[repr(C)]
pub(crate) struct EmptyHeap {
    heap: Heap,
    bins: [Bin; CLASSES],
}

// SAFETY: it is never written, so its cells are constants.
#[cfg(not(loom))]
unsafe impl Sync for EmptyHeap {}

#[cfg(not(loom))]
static EMPTY: EmptyHeap = EmptyHeap {
    heap: Heap::new(NonNull::dangling(), 0),
    bins: [const { Bin::new() }; CLASSES],
};

#[cfg(not(loom))]
impl HeapRef {
    /// The heap of a thread without one.
    pub(crate) const EMPTY: Self =
        Self(NonNull::new((&raw const EMPTY).cast::<Heap>().cast_mut()).unwrap());
}
