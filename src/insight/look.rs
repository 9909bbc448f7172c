//! What the slots of a heap are, as its lists say, while no foreign code runs.
//!
//! The global allocator is foreign code: it may call `trim` or `idle`, use boxes, or look at pools itself, and so change or
//! release what is being walked. So a look at heaps has two parts, taken by turns until the room was enough:
//!
//! ```text
//! make room   allocates: any code may run, no heap is held but by the thread itself
//! look        adopt, walk, put back: fills the room, never allocates, never panics
//! ```
//!
//! The room is flat: one [`Shelf`] has the segments of a heap, in order, another a [`SlotState`] for each slot. A push without
//! room, or a damaged list, [stops](Stop) the look. Damage becomes a panic when every heap was put back.

use core::ops::{Deref, DerefMut, Range};

use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::memory::segment::{SegmentRef, capacity};
use crate::slot::SlotPtr;

/// What a slot is.
///
/// # Examples
///
/// ```
/// use segment_pool::{SegmentPool, SlotState};
///
/// let pool = SegmentPool::new();
/// let _boxed = pool.alloc(1);
/// let snapshot = pool.snapshot();
/// let slots: usize = SlotState::ALL.map(|state| snapshot.count(state)).iter().sum();
/// assert_eq!(slots as u64, pool.stats().capacity); // each is in one state
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlotState {
    /// It holds a value; or another thread freed it, and has it in an open batch or keeps it for its own use. Of a segment that
    /// another thread has: or it is at hand of that thread.
    Live,
    /// Freed by a thread that does not own the segment, and not yet home: in an open batch of the asking thread, or
    /// received and not yet collected.
    InFlight,
    /// Free, in a list of the thread that has the heap, or had it last: handed out next. Of another thread's heap it is known how many
    /// there are, and not which.
    AtHand,
    /// Free, on the segment's own list.
    Returned,
    /// Free, and never handed out: if the page was never used either, it costs no memory.
    Untouched,
}

impl SlotState {
    /// How many states there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::InFlight,
        Self::AtHand,
        Self::Returned,
        Self::Untouched,
    ];
}

/// Why a look ended before it had seen everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There is more to see than there is room for: the pool has changed since the room was made.
    NoRoom,
    /// A list is damaged, in this way.
    Damaged(&'static str),
}

/// How much more room is made than seems to be needed: twice as much with each attempt. So there is an end, however fast other
/// threads, or the global allocator, make segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slack {
    attempt: u32,
}

impl Slack {
    pub(crate) fn beyond(self, items: usize) -> usize {
        (items + 8) << self.attempt
    }
}

/// Makes room and looks, by turns, until the room was enough.
///
/// # Panics
///
/// If a list is damaged.
pub(crate) fn until_seen<Room, Seen>(
    room: &mut Room,
    make_room: impl Fn(&mut Room, Slack),
    look: impl Fn(&mut Room) -> Result<Seen, Stop>,
) -> Seen {
    let mut slack = Slack { attempt: 0 };
    loop {
        make_room(room, slack);
        match look(room) {
            Ok(seen) => return seen,
            Err(Stop::NoRoom) => slack.attempt += 1,
            Err(Stop::Damaged(how)) => panic!("a list is damaged: {how}"),
        }
    }
}

/// Room for items that a look finds.
#[derive(Debug)]
pub(crate) struct Shelf<T>(Vec<T>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Shelf<T> {
    /// Clears the shelf and makes room for so many items. Foreign code may run.
    pub(crate) fn make_room(&mut self, items: usize) {
        self.0.clear();
        self.0.reserve(items);
    }

    /// Adds an item. Never allocates.
    pub(crate) fn push(&mut self, item: T) -> Result<(), Stop> {
        self.push_many(item, 1)
    }

    /// Adds an item so many times. Never allocates.
    pub(crate) fn push_many(&mut self, item: T, times: usize) -> Result<(), Stop> {
        let len = self.0.len() + times;
        if len > self.0.capacity() {
            return Err(Stop::NoRoom);
        }
        self.0.resize(len, item);
        Ok(())
    }

    /// Takes every item away and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<T> Deref for Shelf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Shelf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// How many segments and slots there are.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) segments: usize,
    pub(crate) slots: usize,
}

impl Size {
    /// Any thread may ask; exact for the owner.
    pub(crate) fn of(heap: HeapRef) -> Self {
        let mut size = Self::default();
        for (index, bin) in heap.bins().enumerate() {
            let segments = bin.counts().segments.get() as usize;
            size.segments += segments;
            size.slots += segments * capacity(heap.stride(index));
        }
        size
    }
}

/// A segment of a heap that is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline {
    pub(crate) address: usize,
    pub(crate) bytes: usize,
    pub(crate) slot_bytes: usize,
    pub(crate) capacity: usize,
    /// Slots of the heap's segments before this one.
    before: usize,
}

impl Outline {
    fn new(segment: SegmentRef) -> Self {
        let identity = segment.identity();
        Self {
            address: segment.addr(),
            bytes: identity.span.bytes(),
            slot_bytes: identity.stride,
            capacity: identity.capacity,
            before: 0,
        }
    }

    fn key(&self) -> (usize, usize) {
        (self.slot_bytes, self.address)
    }

    /// The places of its slots among those of its heap.
    pub(crate) fn slots(&self) -> Range<usize> {
        self.before..self.before + self.capacity
    }
}

/// Adds the segments of a heap by slot size and address, and returns how many slots they have. Owner only.
pub(crate) fn outline(heap: HeapRef, outlines: &mut Shelf<Outline>) -> Result<usize, Stop> {
    let first = outlines.len();
    for segment in heap.used_bins().flat_map(|bin| bin.segments()) {
        outlines.push(Outline::new(segment))?;
    }
    let added = &mut outlines[first..];
    added.sort_unstable_by_key(Outline::key); // in place
    let mut slots = 0;
    for outline in added {
        outline.before = slots;
        slots += outline.capacity;
    }
    Ok(slots)
}

/// Says of each slot of a heap which of its lists it is in. `slots` are those of `outlines`, which may name segments that the
/// heap has released since. Returns how many slots of other heaps' segments are in the lists. Owner only.
pub(crate) fn draw(
    heap: HeapRef,
    outlines: &[Outline],
    slots: &mut [SlotState],
) -> Result<usize, Stop> {
    slots.fill(SlotState::Untouched);
    let mut drawing = Drawing { outlines, slots };
    let mut foreign = 0;
    for bin in heap.used_bins() {
        for segment in bin.segments() {
            drawing.draw_segment(segment)?;
        }
        for slot in bin.stock() {
            let segment = segment_of(slot, bin.stride());
            match drawing.slots_of(segment, bin.stride()) {
                Some(slots) => mark(slots, segment, slot, SlotState::AtHand)?,
                None if segment.heap() != heap.id() => foreign += 1,
                None => return Err(Stop::Damaged("a segment is not in its bin")),
            }
        }
    }
    Ok(foreign)
}

/// The segment of a slot that is in a list of a bin of this stride, or in a batch of such slots.
pub(crate) fn segment_of(slot: SlotPtr, stride: usize) -> SegmentRef {
    // SAFETY: such slots are in segments of the stride, in use while the slot is not on the list of its segment.
    unsafe { SegmentRef::of(slot, Span::of(stride)) }
}

/// The segments of one heap, and the slots of all of them.
struct Drawing<'a> {
    outlines: &'a [Outline],
    slots: &'a mut [SlotState],
}

impl Drawing<'_> {
    /// The slots of a segment, if it is one of these.
    fn slots_of(&mut self, segment: SegmentRef, stride: usize) -> Option<&mut [SlotState]> {
        let key = (stride, segment.addr());
        let place = self
            .outlines
            .binary_search_by_key(&key, Outline::key)
            .ok()?;
        self.slots.get_mut(self.outlines[place].slots())
    }

    fn draw_segment(&mut self, segment: SegmentRef) -> Result<(), Stop> {
        let stride = segment.identity().stride;
        // None would be a segment that was added since the outline: to be looked at anew.
        let slots = self.slots_of(segment, stride).ok_or(Stop::NoRoom)?;
        slots[..segment.bumped()].fill(SlotState::Live);
        for slot in segment.returned() {
            if segment_of(slot, stride) != segment {
                return Err(Stop::Damaged("a slot is at home in another segment"));
            }
            mark(slots, segment, slot, SlotState::Returned)?;
        }
        Ok(())
    }
}

/// Marks a slot of the segment, which is in a list, as free.
fn mark(
    slots: &mut [SlotState],
    segment: SegmentRef,
    slot: SlotPtr,
    free: SlotState,
) -> Result<(), Stop> {
    let index = segment.index_of(slot);
    match index.and_then(|index| slots.get_mut(index)) {
        Some(state @ SlotState::Live) => *state = free,
        Some(SlotState::Untouched) => {
            return Err(Stop::Damaged("a free slot was never handed out"));
        }
        Some(_) => return Err(Stop::Damaged("a free slot is in two places")),
        None => return Err(Stop::Damaged("a free slot starts where none does")),
    }
    Ok(())
}
