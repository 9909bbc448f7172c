//! Bins and inbox and who owns them: refill, collect, settle, serve, leave.
//!
//! ```text
//! shared   owner token, pool, next heap of the pool            written rarely, read by every thread
//! mail     segments with remote frees | ABANDONED, completed   written by any thread
//! own      pending, stray and spare segments, bins in use      owner only, but for the counters
//! bins     one per class, or the only one of a SegmentPool     owner only, but for the counters
//! ```
//!
//! A heap has at most one owner: the thread that made or adopted it, or, for a moment, a pusher that met ABANDONED.
//! The inbox word says whether there is one; the owner's token only lets a thread recognise its own heap, and is
//! cleared before the heap is abandoned, so that no thread ever sees its own token in a heap it does not own.
//!
//! A segment may leave a heap for another (`part_with`) while a push is under way, and then arrives in the inbox of a
//! heap that it no longer belongs to: a *stray*. Its `heap` says so exactly, for only the heap's owner can change it.
//! Strays keep QUEUED and are put aside for whoever called to be forwarded when this heap is left or done with.
//!
//! A segment is *completed* when every slot was handed out and freed remotely. Pushers count, per heap, the bytes of
//! such segments that nobody took yet; the count is a hint and starts anew whenever the owner finds its inbox empty.
//!
//! Heaps lie in mappings of their own, whose untouched pages cost nothing, and live as long as their pool.

use core::ops::Deref;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::arena::Arenas;
use crate::bin::{Bin, Leftovers};
use crate::error::AllocErrorKind;
use crate::events::{self, Happened};
use crate::layout::{CLASSES, Span, stride_of};
use crate::lists::{Loose, Outgoing, Queued};
use crate::marks::Places;
use crate::os;
use crate::remote::Inbox;
use crate::segment::{Claimed, OwnerId, Segment, SegmentRef};
use crate::sync::{Alive, AtomicPtr, AtomicU64, AtomicUsize, Cell, Counter, Ordering, const_fn};

/// Completed segments, in bytes, beyond which those who free the last slots of another give its pages back.
const COMPLETED_BYTES: usize = if cfg!(segment_pool_loom) { 1 } else { 1 << 20 };
/// Empty segments that a heap keeps as spares, in bytes.
const SPARE_BYTES: usize = if cfg!(segment_pool_loom) {
    0
} else {
    256 << 10
};
/// Slots that one refill or stash takes out of remote lists, but for the last list, which is taken whole.
const COLLECT_SLOTS: usize = 1024;

/// What the heaps of one pool have in common.
#[derive(Debug)]
pub(crate) struct PoolCore {
    /// Where the segments come from.
    pub(crate) arenas: NonNull<Arenas>,
    /// The stride of a pool of one type; 0 in the default pool, where each bin has that of its class.
    pub(crate) stride: usize,
    /// Segments in use, plus heaps held by threads, plus one for the pool's handle.
    pub(crate) refs: AtomicUsize,
    /// Segments, or values with a mapping of their own, that the pool may have.
    pub(crate) limit: usize,
    /// Those it has; may be one too many for each thread that is just being refused.
    pub(crate) in_use: AtomicUsize,
    /// Whether the system ever refused memory for the pool; if not, its limit did.
    pub(crate) starved: AtomicUsize,
    /// Frees of a bounded pool whose segment may not have reached the inbox yet.
    pub(crate) frees_under_way: AtomicUsize,
    /// What reports call the pool: the name it was given, or its type's.
    pub(crate) name: &'static str,
    pub(crate) large: Large,
}

/// Values with a mapping of their own, for the statistics.
#[derive(Debug)]
pub(crate) struct Large {
    values: AtomicUsize,
    bytes: AtomicUsize,
}

impl Large {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                values: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
            }
        }
    }

    /// Counts a value and its mapping.
    pub(crate) fn add(&self, bytes: usize) {
        // Relaxed (twice): numbers.
        self.values.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes a value that is gone off the count.
    pub(crate) fn remove(&self, bytes: usize) {
        // Relaxed (twice): numbers.
        self.values.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Values there are now.
    pub(crate) fn values(&self) -> usize {
        self.values.load(Ordering::Relaxed) // Relaxed: a number
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) // Relaxed: a number
    }
}

impl PoolCore {
    const fn bins(&self) -> usize {
        if self.stride == 0 { CLASSES } else { 1 }
    }

    pub(crate) fn stride(&self, bin: usize) -> usize {
        if self.stride == 0 {
            stride_of(bin)
        } else {
            self.stride
        }
    }

    /// Counts so many segments and the references for them, unless that exceeds the limit. By a holder of a reference.
    pub(crate) fn admit(&self, segments: usize) -> bool {
        let more = |in_use: usize| {
            in_use
                .checked_add(segments)
                .filter(|sum| *sum <= self.limit)
        };
        // Release: the heap that the segments are for, which was listed before. Acquire: from that of other threads, so that who
        // finds no room finds their heaps.
        let counted = self
            .in_use
            .fetch_update(Ordering::Release, Ordering::Acquire, more);
        if counted.is_ok() {
            // Relaxed: the caller holds a reference, so the count cannot reach zero meanwhile.
            self.refs.fetch_add(segments, Ordering::Relaxed);
        }
        counted.is_ok()
    }

    /// Takes segments off the count; the references for them are given up later, by whoever released them.
    pub(crate) fn dismiss(&self, segments: usize) {
        // Relaxed: a number.
        self.in_use.fetch_sub(segments, Ordering::Relaxed);
    }

    /// Notes that the system refused memory.
    pub(crate) fn note_starved(&self) {
        self.starved.store(1, Ordering::Relaxed); // Relaxed: read where it was stored, or a hint
    }

    /// Whether an allocation that was just refused met the limit. There may be room below it again by now.
    pub(crate) fn refused_by_limit(&self) -> bool {
        // Relaxed: as in `note_starved`.
        self.is_full() || (self.limit != usize::MAX && self.starved.load(Ordering::Relaxed) == 0)
    }

    /// Whether there is a limit.
    pub(crate) fn is_bounded(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Counts a remote free, before its push.
    pub(crate) fn begin_free(&self) {
        // Relaxed: the push that follows releases it to other frees to the segment, and these to the requests after them.
        self.frees_under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a remote free off the count, when its segment is in the inbox.
    pub(crate) fn end_free(&self) {
        // Release: the push, to `has_frees_under_way`.
        self.frees_under_way.fetch_sub(1, Ordering::Release);
    }

    /// Whether slots that were freed may be out of reach still.
    pub(crate) fn has_frees_under_way(&self) -> bool {
        // Acquire: from `end_free`. What it does not see has not returned, or is in the inbox.
        self.frees_under_way.load(Ordering::Acquire) != 0
    }

    /// Whether there is a limit, and no room below it.
    pub(crate) fn is_full(&self) -> bool {
        // Relaxed: a number.
        self.in_use.load(Ordering::Relaxed) >= self.limit
    }

    pub(crate) fn arenas(&self) -> &Arenas {
        // SAFETY: arena tables outlive the pools.
        unsafe { self.arenas.as_ref() }
    }
}

/// See the module. Its bins follow it in memory, as aligned as it is, whatever a cache line is on the target.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Heap {
    shared: CachePadded<Shared>,
    mail: CachePadded<Mail>,
    own: CachePadded<Own>,
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
struct Mail {
    inbox: Inbox<Segment>,
    /// Bytes of completed segments that nobody took yet.
    completed: AtomicUsize,
}

/// Owner only, but for the counters.
#[derive(Debug)]
struct Own {
    /// Out of the inbox, not yet served, the one that waited longest first.
    pending: Queued,
    /// Segments and slots of other heaps that were found here.
    outgoing: Outgoing,
    /// Empty segments, by span.
    spares: [Loose; 3],
    spare_bytes: Counter,
    /// Times that a thread took the heap over from nobody, to keep it.
    adoptions: Counter,
    /// Times that a thread left it to nobody.
    abandonments: Counter,
    /// One bit per bin that was ever used.
    used: Cell<u128>,
    /// Whether the heap must be settled before it is abandoned, because its pool was closed.
    closing: Cell<bool>,
    /// The heaps before and after this one in the list of those that the same thread holds.
    previous_held: Cell<Option<HeapRef>>,
    next_held: Cell<Option<HeapRef>>,
    /// The heap of the pool to look at first for segments to merge.
    donor: Cell<Option<HeapRef>>,
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
                mail: CachePadded::new(Mail {
                    inbox: Inbox::new(),
                    completed: AtomicUsize::new(0),
                }),
                own: CachePadded::new(Own {
                    pending: Queued::new(),
                    outgoing: Outgoing::new(),
                    spares: [Loose::new(), Loose::new(), Loose::new()],
                    spare_bytes: Counter::new(0),
                    adoptions: Counter::new(0),
                    abandonments: Counter::new(0),
                    used: Cell::new(0),
                    closing: Cell::new(false),
                    previous_held: Cell::new(None),
                    next_held: Cell::new(None),
                    donor: Cell::new(None),
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

    /// Whether no thread keeps the heap: see `bounded`.
    pub(crate) fn is_of_bounded_pool(&self) -> bool {
        self.pool().is_bounded()
    }

    /// How segments name the pool.
    pub(crate) fn pool_id(&self) -> *mut OwnerId {
        self.pool_ptr().as_ptr().cast()
    }

    pub(crate) fn inbox(&self) -> &Inbox<Segment> {
        &self.mail.inbox
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

    /// The heap of the pool to look at first for segments to merge. Owner only.
    pub(crate) fn donor(&self) -> &Cell<Option<HeapRef>> {
        &self.own.donor
    }

    /// What is to be passed on to other heaps. Owner only.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.own.outgoing
    }

    /// Counts a segment that the caller is about to complete; false if it should purge the segment instead.
    pub(crate) fn count_completed(&self, bytes: usize) -> bool {
        // Relaxed (twice): a hint.
        let before = self.mail.completed.fetch_add(bytes, Ordering::Relaxed);
        let counted = before < COMPLETED_BYTES;
        if !counted {
            self.mail.completed.fetch_sub(bytes, Ordering::Relaxed);
        }
        counted
    }

    /// Takes back `count_completed`, when the segment was not completed after all or was taken.
    pub(crate) fn uncount_completed(&self, bytes: usize) {
        // Relaxed (twice): a hint. The owner may have started anew, or the segment may have been counted in another
        // heap, so it is never taken below zero but by a race, after which the owner starts anew.
        if self.mail.completed.load(Ordering::Relaxed) >= bytes {
            self.mail.completed.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether the thread with this token owns the heap.
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, token: u64) -> bool {
        // Relaxed: a thread finds its own token only where it stored it itself and has not cleared it since.
        self.shared.owner.load(Ordering::Relaxed) == token
    }

    /// Owner only. No token is 0: that says that the heap is being left.
    pub(crate) fn set_owner(&self, token: u64) {
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
    /// A new heap, owned by the caller. `None` when memory is refused.
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
    fn places(self, index: usize) -> NonNull<Places> {
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

    /// Fills the empty free list of a bin with what the heap has. Owner only.
    pub(crate) fn refill(self, index: usize) -> bool {
        let bin = self.bin(index);
        bin.refill_from_marks()
            || bin.refill_from_depot()
            || self.collect_for(bin)
            || bin.refill_from_segments()
    }

    /// Fills the empty free list of a bin from a new segment; false when memory is refused or the pool's limit is
    /// reached. Owner only.
    pub(crate) fn refill_from_new(self, index: usize) -> bool {
        self.add_segments(index, 1, false).is_ok() && self.bin(index).refill_from_segments()
    }

    /// Adds so many segments to a bin, with their pages if `touch`: all of them, or none. Owner only.
    pub(crate) fn add_segments(
        self,
        index: usize,
        segments: usize,
        touch: bool,
    ) -> Result<(), AllocErrorKind> {
        let stride = self.stride(index);
        let (span, new) = (Span::of(stride), Leftovers::new());
        let make = |claimed| {
            // SAFETY: claimed for this span.
            let segment =
                unsafe { SegmentRef::init(claimed, self.id(), self.pool_id(), index, stride) };
            new.empty.push(segment);
        };
        let spares = self.own.spares[span.index()].iter().count().min(segments);
        let claimed = self.claim(span, segments - spares, make);
        if claimed.is_err() {
            self.release_down_to(&new, 0);
            return claimed;
        }
        let spares = core::iter::from_fn(|| self.take_spare(span)).take(spares);
        spares.for_each(make);
        while let Some(segment) = new.empty.pop() {
            if touch {
                // SAFETY: no slot was handed out yet.
                unsafe { segment.touch(os::page_bytes(), os::touch) };
            }
            self.take_over(segment);
        }
        Ok(())
    }

    /// Takes a segment with room into its bin. Owner only, also of the segment, which names this heap.
    pub(crate) fn take_over(self, segment: SegmentRef) {
        let index = segment.identity().bin;
        let bin = self.bin(index);
        // SAFETY: they lie behind the bins, and no other bin has this index.
        unsafe { bin.prepare(self.stride(index), self.id(), self.places(index)) };
        self.own.used.set(self.own.used.get() | 1 << index);
        bin.add(segment);
    }

    fn take_spare(self, span: Span) -> Option<Claimed> {
        let spare = self.own.spares[span.index()].pop()?;
        self.own.spare_bytes.sub(span.bytes() as u64);
        Some(spare.end())
    }

    /// Claims so many segments, which the limit must allow as a whole, until the system refuses one.
    fn claim(
        self,
        span: Span,
        segments: usize,
        mut claimed: impl FnMut(Claimed),
    ) -> Result<(), AllocErrorKind> {
        let pool = self.pool();
        if !pool.admit(segments) {
            return Err(AllocErrorKind::LimitReached);
        }
        let count = pool.arenas().claim_many(span, segments, |memory| {
            events::note(Happened::SegmentAdded, pool.name, span.bytes());
            claimed(memory);
        });
        if count == segments {
            return Ok(());
        }
        pool.note_starved();
        pool.dismiss(segments - count);
        // Relaxed: as in `release_down_to`.
        pool.refs.fetch_sub(segments - count, Ordering::Relaxed);
        Err(AllocErrorKind::OutOfMemory)
    }

    /// Stashes a full free list, and looks at the inbox on the occasion. Owner only.
    pub(crate) fn stash(self, index: usize) {
        let left = Leftovers::new();
        self.bin(index).stash(&left);
        self.release_some(&left);
        if !self.inbox().is_empty() {
            self.collect(COLLECT_SLOTS, || false);
        }
    }

    fn collect_for(self, bin: &Bin) -> bool {
        self.collect(COLLECT_SLOTS, || bin.has_free());
        bin.has_free()
    }

    /// Serves everything that waits. Owner only.
    pub(crate) fn collect_all(self) {
        self.collect(usize::MAX, || false);
    }

    /// Serves waiting segments, oldest first, until `enough` or so many slots were taken. Owner only.
    fn collect(self, most: usize, enough: impl Fn() -> bool) {
        let left = Leftovers::new();
        let mut slots = 0;
        while slots < most && !enough() {
            let Some(segment) = self.next_waiting() else {
                break;
            };
            // SAFETY: the segment came out of the inbox.
            let received = unsafe { self.bin(segment.identity().bin).receive(segment, &left) };
            self.count_received(segment, received);
            slots += received;
        }
        self.release_some(&left);
    }

    fn count_received(self, segment: SegmentRef, slots: usize) {
        let identity = segment.identity();
        if slots == identity.capacity {
            self.uncount_completed(identity.span.bytes());
        }
    }

    /// The segment of this heap that waited longest.
    fn next_waiting(self) -> Option<SegmentRef> {
        loop {
            if self.own.pending.is_empty() {
                let mail = self.inbox().take();
                self.own
                    .closing
                    .set(self.own.closing.get() | mail.signalled);
                // SAFETY: the caller owns the heap; the list was just taken.
                unsafe { self.own.pending.push_all(mail.first) };
            }
            match self.own.pending.pop() {
                Some(segment) if segment.heap() == self.id() => return Some(segment),
                // SAFETY: out of the inbox, and not done with.
                Some(stray) => unsafe { self.own.outgoing.strays.push(stray) },
                None => {
                    // Relaxed: a hint. Nothing waits, so there is nothing completed.
                    self.mail.completed.store(0, Ordering::Relaxed);
                    return None;
                }
            }
        }
    }

    /// For an owner with a reference of its own: the pool cannot end here.
    fn release_some(self, left: &Leftovers) {
        self.release_down_to(left, SPARE_BYTES);
    }

    /// The same with so many bytes of spares.
    fn release_down_to(self, left: &Leftovers, spare_bytes: usize) {
        let released = self.release(left, spare_bytes);
        if released > 0 {
            // Relaxed: the pool ends after this thread has given up its own reference, and that releases all of this.
            self.pool().refs.fetch_sub(released, Ordering::Relaxed);
        }
    }

    /// Keeps empty segments as spares up to a number of bytes and gives the others to the arena. Returns how many
    /// references to the pool are to be given up for them. Owner only.
    fn release(self, left: &Leftovers, spare_bytes: usize) -> usize {
        while let Some((segment, slot)) = left.foreign.pop() {
            let foreign = &self.own.outgoing.foreign;
            // SAFETY: out of a bin's lists.
            unsafe { foreign.push(slot, segment.identity().span) };
        }
        let mut released = 0;
        while let Some(segment) = left.empty.pop() {
            let span = segment.identity().span;
            debug_assert!(segment.is_empty() && segment.remote_word().is_idle());
            let kept = self.own.spare_bytes.get() as usize + span.bytes();
            if kept <= spare_bytes {
                self.own.spares[span.index()].push(segment);
                self.own.spare_bytes.add(span.bytes() as u64);
            } else {
                // SAFETY: no slot of the segment is anywhere but at home.
                unsafe { self.pool().arenas().release(span, segment.end()) };
                events::note(Happened::SegmentReleased, self.pool().name, span.bytes());
                released += 1;
            }
        }
        self.pool().dismiss(released);
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
        let left = Leftovers::new();
        self.used_bins().for_each(|bin| bin.distribute_all(&left));
        served + self.release(&left, 0) + self.release_spares()
    }

    /// Gives the spare segments back. Returns the references to give up. Owner only.
    pub(crate) fn release_spares(self) -> usize {
        let left = Leftovers::new();
        for spares in &self.own.spares {
            while let Some(spare) = spares.pop() {
                left.empty.push(spare);
            }
        }
        self.own.spare_bytes.sub(self.own.spare_bytes.get());
        self.release(&left, 0)
    }

    /// Brings what waits in the inbox straight home and releases what is empty. Returns the references to give up.
    /// Owner only.
    pub(crate) fn serve(self) -> usize {
        self.serve_some(usize::MAX).0
    }

    /// As [`serve`](Self::serve), until so many slots were brought home; also whether nothing waits any more.
    fn serve_some(self, most: usize) -> (usize, bool) {
        let left = Leftovers::new();
        let mut slots = 0;
        let mut served = false;
        while slots < most {
            let Some(segment) = self.next_waiting() else {
                served = true;
                break;
            };
            // SAFETY: the segment came out of the inbox.
            let received = unsafe {
                self.bin(segment.identity().bin)
                    .receive_home(segment, &left)
            };
            self.count_received(segment, received);
            slots += received.max(1);
        }
        (self.release(&left, 0), served)
    }

    /// Abandons the heap, its lists as they are unless its pool was closed, and hands `outgoing` over to the caller,
    /// who passes it on now. Returns the references to give up. Owner only, and not any more.
    ///
    /// An owner leaves only an empty inbox, for nobody else need come who would empty it. It comes to an end, since
    /// each push that keeps it here frees a slot and none are handed out.
    pub(crate) fn abandon(self, outgoing: &Outgoing) -> usize {
        self.set_owner(0);
        let mut released = 0;
        loop {
            released += self.serve() + self.settle_if_closing();
            outgoing.take_from(&self.own.outgoing);
            if self.inbox().try_abandon() {
                return released;
            }
        }
    }

    /// Abandons a heap that no thread keeps, with its lists as they are, if nothing waits and nothing is to be passed on. Owner
    /// only, and not any more if the answer is true.
    pub(crate) fn try_abandon(self) -> bool {
        let own = &self.own;
        let nothing_to_do = own.pending.is_empty() && own.outgoing.is_empty() && !own.closing.get();
        nothing_to_do && self.inbox().try_abandon()
    }

    /// As [`abandon`](Self::abandon), but serves no more than about so many slots. Also whether nothing waits any more;
    /// if something does, the caller owes the heap another visit.
    pub(crate) fn abandon_soon(self, most: usize, outgoing: &Outgoing) -> (usize, bool) {
        self.set_owner(0);
        let (mut released, served) = self.serve_some(most);
        released += self.settle_if_closing();
        outgoing.take_from(&self.own.outgoing);
        if served && self.inbox().try_abandon() {
            return (released, true);
        }
        if self.inbox().try_abandon_with_list() {
            return (released, false);
        }
        (released + self.abandon(outgoing), true)
    }

    fn settle_if_closing(self) -> usize {
        if self.own.closing.get() {
            self.settle()
        } else {
            0
        }
    }

    /// Parts with at most `most` segments of a bin that have room, in favour of another heap. They must reach it
    /// after this one was abandoned. Owner only.
    ///
    /// The bin's own lists are emptied first, a few magazines at a time; until that is done nothing is given.
    pub(crate) fn part_with(self, index: usize, most: usize, to: Self, parted: &Loose) -> usize {
        let bin = self.bin(index);
        let left = Leftovers::new();
        if bin.stride() != 0 && bin.distribute_some(most, &left) {
            for segment in core::iter::from_fn(|| bin.part_with()).take(most) {
                segment.set_heap(to.id());
                parted.push(segment);
            }
        }
        self.release(&left, 0)
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

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
