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
use crate::ground::sync::{Alive, AtomicPtr, Cell, Ordering, UnsafeCell};
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
    /// The neighbours in the bin's list. `next` also links loose segments on their way to the arena.
    prev: Cell<Option<SegmentRef>>,
    next: Cell<Option<SegmentRef>>,
    /// The slots returned to the segment.
    returned: Cell<Option<SlotPtr>>,
    returned_len: Cell<usize>,
    /// Slots that were ever handed out. Those beyond were never touched.
    bumped: Cell<usize>,
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
        // SAFETY: the caller owns the memory, which is larger than a header and aligned for one.
        unsafe { header.write(Segment::new([heap, pool], identity, shield)) };
        // SAFETY: the slots begin behind the header, within the same mapping.
        let slots = unsafe { claimed.memory.add(HEADER_BYTES) };
        checker::shut(slots, identity.span.bytes() - HEADER_BYTES);
        Self(header)
    }

    /// Ends the segment. Returns its memory, to be released or reused for another segment.
    pub(crate) fn end(self) -> Claimed {
        self.alive.ended();
        self.shield.end();
        Claimed {
            memory: self.0.cast(),
            arena: self.identity.arena,
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
        // SAFETY: the caller gives up the slot, so no other thread touches its bytes.
        unsafe { slot::set_link(slot, owner.returned.get()) };
        owner.returned.set(Some(slot));
        owner.returned_len.set(owner.returned_len.get() + 1);
        owner.returned_len.get() == owner.bumped.get()
    }

    /// Takes at most `most` linked slots: from the returned list or, if that is empty, from beyond the bump
    /// position. The latter are linked in the order of addresses. Owner only.
    pub(crate) fn pop_chain(self, most: usize) -> Option<(SlotPtr, usize)> {
        match self.owner.returned.get() {
            Some(head) => Some(self.pop_returned(head, most)),
            None if self.owner.bumped.get() < self.identity.capacity => Some(self.bump(most)),
            None => None,
        }
    }

    fn pop_returned(self, head: SlotPtr, most: usize) -> (SlotPtr, usize) {
        let owner = &self.owner;
        let len = owner.returned_len.get().min(most);
        let all = len == owner.returned_len.get();
        let rest = if all {
            None
        } else {
            // SAFETY: the owner's list has more than `len` slots, and `len` is not 0 because the list has a
            // head.
            unsafe { free_list::cut(head, len) }
        };
        owner.returned.set(rest);
        owner.returned_len.set(owner.returned_len.get() - len);
        (head, len)
    }

    fn bump(self, most: usize) -> (SlotPtr, usize) {
        let Identity {
            stride,
            capacity,
            first,
            ..
        } = self.identity;
        let from = self.owner.bumped.get();
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
        self.owner.bumped.set(from + len);
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
    /// The caller owns the segment and took PURGED.
    pub(crate) unsafe fn reset(self) {
        let owner = &self.owner;
        debug_assert!(
            owner.returned.get().is_none() && owner.bumped.get() == self.identity.capacity
        );
        owner.bumped.set(0);
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
    fn new(owners: [*mut OwnerId; 2], identity: Identity, shield: Shield) -> Self {
        Self {
            shield,
            owners: owners.map(AtomicPtr::new),
            alive: Alive::new(),
            identity,
            owner: OwnerPart {
                prev: Cell::new(None),
                next: Cell::new(None),
                returned: Cell::new(None),
                returned_len: Cell::new(0),
                bumped: Cell::new(0),
            },
            remote: CachePadded::new(RemotePart {
                word: RemoteWord::new(),
                pending_link: UnsafeCell::new(ptr::null_mut()),
            }),
        }
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
        &self.owner.prev
    }

    /// The next segment in a list. Owner only.
    pub(crate) fn next(&self) -> &Cell<Option<SegmentRef>> {
        &self.owner.next
    }

    /// Moves the segment to another heap. The caller owns both heaps.
    pub(crate) fn set_heap(&self, heap: *mut OwnerId) {
        // Release: to `heap_to_enter`.
        self.owners[0].store(heap, Ordering::Release);
    }

    /// Whether `pop_chain` would return slots: some were returned to the segment or never handed out. Owner
    /// only.
    pub(crate) fn has_room(&self) -> bool {
        self.owner.returned.get().is_some() || self.owner.bumped.get() < self.identity.capacity
    }

    /// Whether every slot below the bump position was returned to the segment. Owner only.
    pub(crate) fn is_empty(&self) -> bool {
        self.owner.returned_len.get() == self.owner.bumped.get()
    }

    pub(crate) fn bumped(&self) -> usize {
        self.owner.bumped.get()
    }

    /// The slots returned to the segment. The iterator stops at the recorded length, because a damaged list
    /// may have no end. Owner only.
    pub(crate) fn returned(&self) -> impl Iterator<Item = SlotPtr> {
        free_list::chain(self.owner.returned.get()).take(self.owner.returned_len.get())
    }

    pub(crate) fn remote_word(&self) -> &RemoteWord {
        &self.remote.word
    }
}

// SAFETY: the link is a field of the remote part that only `set_pending_link` writes; headers are aligned far
// beyond 4.
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
