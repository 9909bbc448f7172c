//! The header of a segment: identity, owner part and remote part, each on cache lines of its own.
//!
//! ```text
//! line 0    identity   span, stride, bin, capacity, arena     written when claimed, then constant; read by any thread
//!           owners     the heap and the pool of the segment   written by an owner, read by any thread
//! line 1    owner      returned slots, bump position, links   owning thread only
//! line 2-3  remote     RemoteWord, pending link               any thread
//! then the slots; the first one is aligned for every layout of the stride
//!
//! The feature `hardened` adds the shield on a line before these, and a byte per slot before the first slot.
//! ```
//!
//! The size of a segment equals its alignment. So masking a slot's address yields its header. The masked
//! pointer has the provenance of the arena's mapping and never comes from a reference to a value. So it may
//! reach the header.
//!
//! A slot is *returned to its segment* when it is on the `returned` list of the segment. The owner part
//! always satisfies:
//!
//! * `returned_len <= bumped <= capacity`.
//! * A slot below the bump position that is not on the returned list is live, in a list of a bin (of this heap,
//!   or of another that caches it), in a remote-free buffer, or on the remote list.
//! * If `returned_len == bumped`, no such slot exists and the segment is empty.

use core::ops::Deref;
use core::ptr::{self, NonNull};

use crossbeam_utils::CachePadded;

use crate::ground::checker;
use crate::ground::layout::{Span, first_slot};
use crate::ground::sync::{Alive, AtomicPtr, Cell, Counter, Ordering, UnsafeCell};
use crate::hardened::{Order, Shield};
use crate::memory::remote::{PendingNode, Purge, Pushed, RemoteWord, Taken};
use crate::slot::free_list;
use crate::slot::{self, Offset, SlotPtr};

/// A heap or a pool as the header of a segment names it: an address.
#[derive(Debug)]
pub(crate) struct OwnerId(());

/// The segments whose slots a bin may cache: those of one heap or, if `pool_wide`, of all heaps of one pool.
/// With a null `owner` it contains no segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheScope {
    pub(crate) pool_wide: bool,
    pub(crate) owner: *mut OwnerId,
}

/// The arena of a segment as its header names it: an address.
#[derive(Debug)]
pub(crate) struct ArenaId(());

/// Memory claimed for a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimed {
    /// The memory. Its size and alignment are those of the span; its contents are arbitrary.
    pub(crate) memory: NonNull<u8>,
    /// The arena to release it to.
    pub(crate) arena: NonNull<ArenaId>,
    /// Whether pages of it may be in memory.
    pub(crate) has_pages: bool,
}

/// The header of a segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Segment {
    shield: Shield,
    /// The heap and the pool, in the order that [`Segment::is_in`] indexes.
    owners: [AtomicPtr<OwnerId>; 2],
    alive: Alive,
    identity: Identity,
    owner: OwnerPart,
    remote: CachePadded<RemotePart>,
}

/// The constants of a segment in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    /// The size and alignment of the segment.
    pub(crate) span: Span,
    /// Bytes from one slot to the next.
    pub(crate) stride: usize,
    /// Index of the bin that the segment serves in its heap.
    pub(crate) bin: usize,
    /// Slots in the segment.
    pub(crate) capacity: usize,
    /// Bytes from the header to the first slot.
    first: usize,
    arena: NonNull<ArenaId>,
}

/// The part that only the owning thread touches.
#[derive(Debug)]
#[repr(align(64))]
struct OwnerPart {
    links: Links,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Links {
    /// Neighbours in the bin's list; `next` also links loose segments on their way to the arena.
    prev: Cell<Option<SegmentRef>>,
    next: Cell<Option<SegmentRef>>,
    /// The slots returned to the segment.
    returned: Cell<Option<SlotPtr>>,
    /// Whether its pages were purged, and no slot was handed out since.
    purged: Cell<bool>,
}

/// Written by the owner, read by any thread.
#[derive(Debug)]
struct Counts {
    returned: Counter,
    /// Slots ever handed out: those beyond were never touched.
    bumped: Counter,
    /// The bin that the segment is in, or [`NO_BIN`].
    bin: Counter,
}

/// The segment is a spare.
const NO_BIN: u64 = u64::MAX;

impl Counts {
    #[inline(always)]
    fn returned(&self) -> usize {
        self.returned.get() as usize
    }

    #[inline(always)]
    fn bumped(&self) -> usize {
        self.bumped.get() as usize
    }
}

/// The part that any thread touches.
#[derive(Debug)]
struct RemotePart {
    word: RemoteWord,
    /// The next segment in the pending list. The thread that turned QUEUED on writes it; the owner reads it
    /// before it takes the remote list.
    pending_link: UnsafeCell<*mut Segment>,
}

/// Bytes of the header.
const HEADER_BYTES: usize = size_of::<Segment>();

/// A segment in use. The code that creates one guarantees that the segment stays in use while the copy is
/// used. All writes to the header go through cells and atomics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct SegmentRef(NonNull<Segment>);

impl Deref for SegmentRef {
    type Target = Segment;

    #[inline(always)]
    fn deref(&self) -> &Segment {
        // SAFETY: `SegmentRef` guarantees that the segment is in use, so the header is initialised; every
        // field that changes meanwhile is a cell or an atomic, so a shared reference is sound.
        let segment = unsafe { self.0.as_ref() };
        segment.alive.used();
        segment
    }
}

/// Bytes from a segment's start to its first slot: the header and the shield's bytes for each slot.
const fn head_bytes(stride: usize) -> usize {
    let room = Span::of(stride).bytes() - HEADER_BYTES;
    first_slot(HEADER_BYTES + Shield::states_bytes(room, stride), stride)
}

/// Slots in a segment of this stride.
pub(crate) const fn capacity(stride: usize) -> usize {
    if cfg!(segment_pool_loom) {
        return 2;
    }
    (Span::of(stride).bytes() - head_bytes(stride)) / stride
}

impl SegmentRef {
    /// The segment of a slot.
    ///
    /// # Safety
    ///
    /// `slot` is a slot of a segment in use of this span, and has the provenance of the arena.
    #[inline(always)]
    pub(crate) unsafe fn of(slot: SlotPtr, span: Span) -> Self {
        let header = slot.as_ptr().map_addr(|addr| addr & !(span.bytes() - 1));
        // SAFETY: no segment starts at address zero.
        Self(unsafe { NonNull::new_unchecked(header.cast()) })
    }

    /// Writes the header of a segment that was just claimed.
    ///
    /// # Safety
    ///
    /// The memory was claimed for `Span::of(stride)`, and only the caller uses it.
    pub(crate) unsafe fn init(
        claimed: Claimed,
        heap: *mut OwnerId,
        pool: *mut OwnerId,
        bin: usize,
        stride: usize,
    ) -> Self {
        let header = claimed.memory.cast::<Segment>();
        let identity = Identity {
            span: Span::of(stride),
            stride,
            bin,
            capacity: capacity(stride),
            first: head_bytes(stride),
            arena: claimed.arena,
        };
        let Identity {
            first, capacity, ..
        } = identity;
        let memory = claimed.memory;
        // SAFETY: the caller owns the memory; the shield's bytes lie between the header and the first slot.
        let shield = unsafe { Shield::new(memory, HEADER_BYTES, first, stride, capacity, bin) };
        // SAFETY: the caller owns the memory, which is larger than a header.
        unsafe { Segment::write(header.as_ptr(), identity, shield) };
        let segment = Self(header);
        segment.show([heap, pool], bin);
        // SAFETY: the slots begin behind the header.
        let slots = unsafe { claimed.memory.add(HEADER_BYTES) };
        checker::shut(slots, identity.span.bytes() - HEADER_BYTES);
        segment
    }

    /// Makes the segment one that looks see.
    fn show(self, owners: [*mut OwnerId; 2], bin: usize) {
        let counts = &self.owner.counts;
        counts.returned.set(0);
        counts.bumped.set(0);
        counts.bin.set(bin as u64);
        self.remote.word.clear();
        for (word, owner) in self.owners.iter().zip(owners) {
            // Relaxed: who gets a slot of the segment gets these with it; a look may see a part of them.
            word.store(owner, Ordering::Relaxed);
        }
    }

    /// Makes the segment, which becomes a spare, one that looks pass by.
    pub(crate) fn hide(self) {
        self.owner.counts.bin.set(NO_BIN);
    }

    /// Ends the segment. Returns its memory, to be released or reused for another segment.
    pub(crate) fn end(self) -> Claimed {
        // Relaxed: for looks, which find no pool's segment here from now on, or a little later.
        self.owners[1].store(ptr::null_mut(), Ordering::Relaxed);
        self.alive.ended();
        self.shield.end();
        Claimed {
            memory: self.0.cast(),
            arena: self.identity.arena,
            has_pages: !self.owner.links.purged.get(),
        }
    }

    #[inline(always)]
    pub(crate) fn addr(self) -> usize {
        self.0.addr().get()
    }

    #[inline(always)]
    fn at(self, bytes: usize) -> SlotPtr {
        // SAFETY: the callers stay within the segment, and the header pointer has the provenance of the whole
        // mapping.
        unsafe { self.0.byte_add(bytes).cast() }
    }

    /// The offset of a slot in its segment.
    #[inline(always)]
    pub(crate) fn offset_of(slot: SlotPtr, span: Span) -> Offset {
        Offset::new((slot.addr().get() & (span.bytes() - 1)) >> span.offset_shift())
    }

    /// The slot at an offset.
    #[inline]
    pub(crate) fn slot_at(self, offset: Offset) -> SlotPtr {
        self.slots()(offset)
    }

    /// Returns a function from offsets to slots, for many offsets.
    #[inline]
    pub(crate) fn slots(self) -> impl Fn(Offset) -> SlotPtr {
        let shift = self.identity.span.offset_shift();
        move |offset| self.at(offset.units() << shift)
    }

    /// The index of a slot, for checks. `None` if no slot starts there.
    pub(crate) fn index_of(self, slot: SlotPtr) -> Option<usize> {
        let bytes = (slot.addr().get() - self.0.addr().get()).checked_sub(self.identity.first)?;
        let exact = bytes % self.identity.stride == 0;
        exact.then_some(bytes / self.identity.stride)
    }

    /// Returns a slot to its segment. True if the segment is now empty.
    ///
    /// # Safety
    ///
    /// The caller owns the segment and gives up one of its slots.
    #[inline]
    pub(crate) unsafe fn return_slot(self, slot: SlotPtr) -> bool {
        let owner = &self.owner;
        // SAFETY: the caller gives the slot up.
        unsafe { slot::set_link(slot, owner.links.returned.get()) };
        owner.links.returned.set(Some(slot));
        owner.counts.returned.add(1);
        owner.counts.returned() == owner.counts.bumped()
    }

    /// Takes at most `most` linked slots: from the returned list or, if that is empty, from beyond the bump
    /// position. The latter are linked in the order of addresses. Owner only.
    pub(crate) fn pop_chain(self, most: usize) -> Option<(SlotPtr, usize)> {
        match self.owner.links.returned.get() {
            Some(head) => Some(self.pop_returned(head, most)),
            None if self.owner.counts.bumped() < self.identity.capacity => Some(self.bump(most)),
            None => None,
        }
    }

    fn pop_returned(self, head: SlotPtr, most: usize) -> (SlotPtr, usize) {
        let owner = &self.owner;
        let len = owner.counts.returned().min(most);
        let all = len == owner.counts.returned();
        let rest = if all {
            None
        } else {
            // SAFETY: the owner's list has more than `len` slots, and `len` is not 0 because the list has a
            // head.
            unsafe { free_list::cut(head, len) }
        };
        owner.links.returned.set(rest);
        owner.counts.returned.sub(len as u64);
        (head, len)
    }

    fn bump(self, most: usize) -> (SlotPtr, usize) {
        let Identity {
            stride,
            capacity,
            first,
            ..
        } = self.identity;
        self.owner.links.purged.set(false);
        let from = self.owner.counts.bumped();
        let page = if cfg!(segment_pool_loom) {
            1
        } else {
            (4096 / stride).max(1)
        };
        let len = most.min(page).min(capacity - from);
        let order = Order::new(len);
        let slot = |place: usize| self.at(first + (from + order.at(place)) * stride);
        let mut link = None;
        for place in (0..len).rev() {
            // SAFETY: the slot was never handed out and lies within the capacity.
            unsafe { slot::prepare(slot(place), stride) };
            // SAFETY: as above.
            unsafe { slot::set_link(slot(place), link) };
            link = Some(slot(place));
        }
        self.owner.counts.bumped.add(len as u64);
        (slot(0), len)
    }

    /// Pushes a chain of slots on the remote list. If these are the last live slots and `purges` returns
    /// true, begins a purge instead.
    ///
    /// # Safety
    ///
    /// The caller gives up `count` slots of this segment. The batch nodes of the chain name all of them, and
    /// `tail` is the oldest batch node.
    pub(crate) unsafe fn push_remote(
        self,
        head: Offset,
        tail: SlotPtr,
        count: usize,
        purges: impl FnMut(usize) -> bool,
    ) -> Pushed {
        self.remote.word.push(head, count, purges, |next| {
            // SAFETY: until the push succeeds, the caller owns the batch nodes.
            unsafe { slot::set_node_next(tail, self.identity.stride, next) }
        })
    }

    /// Marks the pages of the slots as purged.
    ///
    /// # Safety
    ///
    /// The caller's push began the purge, and the caller has purged the pages.
    pub(crate) unsafe fn finish_purge(self, purge: Purge) -> Pushed {
        self.remote.word.finish_purge(purge)
    }

    /// The whole pages, of `page` bytes each, that contain only slots. There may be none.
    fn slot_pages(self, page: usize) -> (NonNull<u8>, usize) {
        let before = self.identity.first.next_multiple_of(page);
        let before = before.min(self.identity.span.bytes());
        (self.at(before).cast(), self.identity.span.bytes() - before)
    }

    /// Resets a purged segment: it is as if no slot was ever handed out.
    ///
    /// # Safety
    ///
    /// The caller owns the segment and took PURGED, or a remote list of all its slots.
    pub(crate) unsafe fn reset(self, purged: bool) {
        let owner = &self.owner;
        debug_assert!(
            owner.links.returned.get().is_none() && owner.counts.bumped() == self.identity.capacity
        );
        owner.counts.bumped.set(0);
        owner.links.purged.set(purged);
        self.each_slot(slot::erase);
    }

    /// Purges the whole pages of the slots, of `page` bytes each. Their contents are lost.
    ///
    /// # Safety
    ///
    /// Every slot is free, and no other thread touches any of them.
    pub(crate) unsafe fn purge(self, page: usize, purge: unsafe fn(NonNull<u8>, usize)) {
        let (pages, bytes) = self.slot_pages(page);
        self.each_slot(slot::erase);
        // SAFETY: guaranteed by the caller; the range consists of whole pages of the segment.
        unsafe { purge(pages, bytes) };
    }

    /// Makes the whole pages of the slots, of `page` bytes each, resident now.
    ///
    /// # Safety
    ///
    /// No slot was handed out yet.
    pub(crate) unsafe fn touch(self, page: usize, touch: unsafe fn(NonNull<u8>, usize)) {
        let (pages, bytes) = self.slot_pages(page);
        checker::open(pages, bytes);
        // SAFETY: guaranteed by the caller; the range consists of whole pages of the segment.
        unsafe { touch(pages, bytes) };
        checker::shut(pages, bytes);
    }

    /// Visits each slot, in the models only, where slots are few and watched.
    fn each_slot(self, visit: impl Fn(SlotPtr)) {
        if cfg!(segment_pool_loom) {
            let Identity {
                first,
                stride,
                capacity,
                ..
            } = self.identity;
            (0..capacity).for_each(|index| visit(self.at(first + index * stride)));
        }
    }

    /// Takes the remote list.
    ///
    /// # Safety
    ///
    /// The caller owns the segment and took it out of the pending list.
    pub(crate) unsafe fn take_remote(self) -> Taken {
        self.remote.word.take()
    }
}

impl Segment {
    /// Writes what looks do not read.
    ///
    /// # Safety
    ///
    /// The header's memory is the caller's, but for what looks read.
    unsafe fn write(header: *mut Self, identity: Identity, shield: Shield) {
        // SAFETY: guaranteed by the caller.
        let at = unsafe { &raw mut (*header).shield };
        // SAFETY: as above.
        unsafe { at.write(shield) };
        // SAFETY: as above.
        let at = unsafe { &raw mut (*header).alive };
        // SAFETY: as above.
        unsafe { at.write(Alive::new()) };
        // SAFETY: as above.
        let at = unsafe { &raw mut (*header).identity };
        // SAFETY: as above.
        unsafe { at.write(identity) };
        // SAFETY: as above.
        let at = unsafe { &raw mut (*header).owner.links };
        // SAFETY: as above.
        unsafe { at.write(Links::default()) };
    }

    #[inline]
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the segment is in the cache scope, whose owner is the calling thread's heap, its pool, or
    /// null.
    #[inline(always)]
    pub(crate) fn is_in(&self, cache_scope: CacheScope) -> bool {
        // Relaxed: a thread finds its own heap here only if it, or an earlier owner of the heap, wrote that
        // value. Any other value only means "not this heap". The pool was written before any slot was handed
        // out.
        self.owners[usize::from(cache_scope.pool_wide)].load(Ordering::Relaxed) == cache_scope.owner
    }

    /// The heap, only for comparison with the caller's own.
    #[inline(always)]
    pub(crate) fn heap(&self) -> *mut OwnerId {
        self.owners[0].load(Ordering::Relaxed) // Relaxed: as in `is_in`
    }

    /// The pool.
    pub(crate) fn pool(&self) -> *mut OwnerId {
        self.owners[1].load(Ordering::Relaxed) // Relaxed: as in `is_in`
    }

    /// The heap, for access to it. The caller holds a slot of the segment, or holds the segment itself after
    /// it left a pending list.
    pub(crate) fn heap_to_enter(&self) -> *mut OwnerId {
        // Acquire: the initialisation of that heap, from the Release in `set_heap`. After a push, the value
        // is a heap that owned the segment then or later.
        self.owners[0].load(Ordering::Acquire)
    }

    /// The previous segment in a doubly linked list. Owner only.
    pub(crate) fn prev(&self) -> &Cell<Option<SegmentRef>> {
        &self.owner.links.prev
    }

    /// The next segment in a list. Owner only.
    pub(crate) fn next(&self) -> &Cell<Option<SegmentRef>> {
        &self.owner.links.next
    }

    /// Moves the segment to another heap. The caller owns both heaps.
    pub(crate) fn set_heap(&self, heap: *mut OwnerId) {
        // Release: to `heap_to_enter`.
        self.owners[0].store(heap, Ordering::Release);
    }

    /// Whether `pop_chain` would return slots: some were returned to the segment or never handed out. Owner
    /// only.
    pub(crate) fn has_room(&self) -> bool {
        self.owner.links.returned.get().is_some()
            || self.owner.counts.bumped() < self.identity.capacity
    }

    /// Whether every slot below the bump position was returned to the segment. Owner only.
    pub(crate) fn is_empty(&self) -> bool {
        self.owner.counts.returned() == self.owner.counts.bumped()
    }

    pub(crate) fn bumped(&self) -> usize {
        self.owner.counts.bumped()
    }

    /// The slots returned to the segment. The iterator stops at the recorded length, because a damaged list
    /// may have no end. Owner only.
    pub(crate) fn returned(&self) -> impl Iterator<Item = SlotPtr> {
        free_list::chain(self.owner.links.returned.get()).take(self.owner.counts.returned())
    }

    pub(crate) fn remote_word(&self) -> &RemoteWord {
        &self.remote.word
    }
}

/// What a look sees of a segment: numbers, and addresses that name owners.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) address: usize,
    pub(crate) heap: *mut OwnerId,
    pub(crate) bin: usize,
    /// Slots that were handed out, once or more often.
    pub(crate) bumped: usize,
    /// Those of them that are on the segment's own list.
    pub(crate) returned: usize,
    /// What other threads freed and the owner has not taken.
    pub(crate) remote: Taken,
}

impl Sight {
    /// Looks at what may be a segment of this pool. Any thread, also while the segment is made or ended.
    ///
    /// # Safety
    ///
    /// Segments of some span begin there, in an arena that stays mapped meanwhile.
    pub(crate) unsafe fn of(memory: NonNull<u8>, pool: *mut OwnerId) -> Option<Self> {
        let header = memory.cast::<Segment>().as_ptr();
        // SAFETY: there is a header's memory, in which these words are atomic and initialised since the mapping.
        let owners = unsafe { &(*header).owners };
        // Relaxed (all): numbers, and addresses that lead nowhere.
        if owners[1].load(Ordering::Relaxed) != pool {
            return None;
        }
        // SAFETY: as above.
        let counts = unsafe { &(*header).owner.counts };
        // SAFETY: as above; the link beside the word is not looked at.
        let remote = unsafe { &(*header).remote };
        let bin = counts.bin.get();
        (bin != NO_BIN).then(|| Self {
            address: header.addr(),
            heap: owners[0].load(Ordering::Relaxed),
            bin: bin as usize,
            bumped: counts.bumped(),
            returned: counts.returned(),
            remote: remote.word.peek(),
        })
    }

    /// Slots that other threads freed and the owner has not taken, of so many in the segment.
    pub(crate) fn uncollected(&self, capacity: usize) -> usize {
        match self.remote {
            Taken::List(listed) => listed.count.min(capacity),
            Taken::Purging | Taken::Purged { .. } => capacity,
        }
    }

    /// Slots that are alive, at hand of the owner, or in open batches, of so many in the segment.
    pub(crate) fn used(&self, capacity: usize) -> usize {
        let free = self.returned.saturating_add(self.uncollected(capacity));
        self.bumped.saturating_sub(free).min(capacity)
    }

    /// Makes the words that looks read, which in the models are no zero bytes.
    #[cfg(segment_pool_loom)]
    pub(crate) fn prepare(memory: NonNull<u8>) {
        let header = memory.cast::<Segment>().as_ptr();
        let none = || AtomicPtr::new(ptr::null_mut());
        // SAFETY: nobody else knows the memory yet.
        let at = unsafe { &raw mut (*header).owners };
        // SAFETY: as above.
        unsafe { at.write([none(), none()]) };
        let remote = RemotePart {
            word: RemoteWord::new(),
            pending_link: UnsafeCell::new(ptr::null_mut()),
        };
        // SAFETY: as above.
        let at = unsafe { &raw mut (*header).remote };
        // SAFETY: as above.
        unsafe { at.write(CachePadded::new(remote)) };
    }
}

// SAFETY: the link is in the remote part, written below only; headers are aligned far beyond 4.
unsafe impl PendingNode for Segment {
    unsafe fn set_pending_link(this: NonNull<Self>, next: *mut Self) {
        // SAFETY: the caller turned QUEUED on, so the segment is in use.
        let link = unsafe { &this.as_ref().remote.pending_link };
        // SAFETY: the thread that turned QUEUED on has exclusive access to the link.
        link.with_mut(|link| unsafe { link.write(next) });
    }

    unsafe fn pending_link(this: NonNull<Self>) -> *mut Self {
        // SAFETY: QUEUED is on, so the segment is in use.
        let link = unsafe { &this.as_ref().remote.pending_link };
        // SAFETY: the caller took the node and has not turned QUEUED off, so no thread writes the link.
        link.with(|link| unsafe { link.read() })
    }
}

impl From<NonNull<Segment>> for SegmentRef {
    /// The caller guarantees that the segment is in use while the copy is used.
    fn from(segment: NonNull<Segment>) -> Self {
        Self(segment)
    }
}

impl From<SegmentRef> for NonNull<Segment> {
    fn from(segment: SegmentRef) -> Self {
        segment.0
    }
}
