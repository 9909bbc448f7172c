//! The state of each slot of a heap according to its lists, read while no foreign code runs.
//!
//! The global allocator is foreign code. It may call `trim` or `idle`, use boxes, or inspect pools itself, and so
//! change or release the lists during a walk. So an inspection of heaps has two parts, which alternate until the room
//! suffices:
//!
//! ```text
//! make room   allocates: foreign code may run, and no heap is adopted temporarily
//! look        adopts, walks and puts back the heaps: fills the room, never allocates, never panics
//! ```
//!
//! The room is flat: one [`Shelf`] contains the segments of a heap in order, and another a [`SlotState`] for each slot.
//! A push without room, or a damaged list, [stops](Stop) the inspection. Damage is raised as a panic after every heap
//! was put back.

use core::ops::{Deref, DerefMut, Range};

use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::memory::segment::{SegmentRef, capacity};
use crate::slot::SlotPtr;

/// The state of a slot.
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
/// assert_eq!(slots as u64, pool.stats().capacity); // each slot has one state
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlotState {
    /// It holds a value. Or another thread freed it, and has it in an open batch or keeps it for its own use.
    Live,
    /// Freed by a thread that does not own the segment, and not yet returned to the segment: in an open batch of the
    /// calling thread, or received by the owner and not yet collected.
    InFlight,
    /// Free, in a list of the thread that owns the heap, or that owned it last. Such slots are allocated next.
    AtHand,
    /// Free, in the free list of its segment.
    Returned,
    /// Free and never allocated. If its page was never used either, it takes no memory.
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

/// The reason why an inspection stopped early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There are more items than room: the pool has changed since the room was made.
    NoRoom,
    /// A list is damaged, as described.
    Damaged(&'static str),
}

/// The excess room, which doubles with each attempt. So the attempts end, even if other threads or the global allocator
/// keep adding segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slack {
    attempt: u32,
}

impl Slack {
    pub(crate) fn beyond(self, items: usize) -> usize {
        (items + 8) << self.attempt
    }
}

/// Alternates between making room and inspecting, until the room suffices.
///
/// # Panics
///
/// Panics if a list is damaged.
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

/// Room for the items of an inspection.
#[derive(Debug)]
pub(crate) struct Shelf<T>(Vec<T>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Shelf<T> {
    /// Clears the shelf and makes room for `items` items. Foreign code may run.
    pub(crate) fn make_room(&mut self, items: usize) {
        self.0.clear();
        self.0.reserve(items);
    }

    /// Adds an item. Never allocates.
    pub(crate) fn push(&mut self, item: T) -> Result<(), Stop> {
        self.push_many(item, 1)
    }

    /// Adds an item `times` times. Never allocates.
    pub(crate) fn push_many(&mut self, item: T, times: usize) -> Result<(), Stop> {
        let len = self.0.len() + times;
        if len > self.0.capacity() {
            return Err(Stop::NoRoom);
        }
        self.0.resize(len, item);
        Ok(())
    }

    /// Removes all items and keeps the room.
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

/// A number of segments and slots.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) segments: usize,
    pub(crate) slots: usize,
}

impl Size {
    /// Any thread may call this. The result is exact for the owning thread.
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

/// A segment of an inspected heap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outline {
    pub(crate) address: usize,
    pub(crate) bytes: usize,
    pub(crate) slot_bytes: usize,
    pub(crate) capacity: usize,
    /// The number of slots in the preceding segments of the heap.
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

    /// The indices of its slots among all slots of the heap.
    pub(crate) fn slots(&self) -> Range<usize> {
        self.before..self.before + self.capacity
    }
}

/// Adds the segments of a heap, sorted by slot size and address, and returns the number of their slots. Owning thread
/// only.
pub(crate) fn outline(heap: HeapRef, outlines: &mut Shelf<Outline>) -> Result<usize, Stop> {
    let first = outlines.len();
    for segment in heap.used_bins().flat_map(|bin| bin.segments()) {
        outlines.push(Outline::new(segment))?;
    }
    let added = &mut outlines[first..];
    added.sort_unstable_by_key(Outline::key); // sorts in place, without allocation
    let mut slots = 0;
    for outline in added {
        outline.before = slots;
        slots += outline.capacity;
    }
    Ok(slots)
}

/// Sets the state of each slot of a heap from the heap's lists. `slots` are the slots of `outlines`, which may include
/// segments that the heap has released since. Returns how many slots in the lists belong to segments of other heaps.
/// Owning thread only.
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
                None => return Err(Stop::Damaged("a segment is missing from its bin")),
            }
        }
    }
    Ok(foreign)
}

/// Returns the segment of a slot that is in a list of a bin of this stride, or in a batch of such slots.
pub(crate) fn segment_of(slot: SlotPtr, stride: usize) -> SegmentRef {
    // SAFETY: the slot is in a segment of this stride, which stays in use while the slot is not in the segment's own
    // free list.
    unsafe { SegmentRef::of(slot, Span::of(stride)) }
}

/// The segments of one heap and all their slots.
struct Drawing<'a> {
    outlines: &'a [Outline],
    slots: &'a mut [SlotState],
}

impl Drawing<'_> {
    /// Returns the slots of a segment, if it is one of `outlines`.
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
        // `None` means that the segment was added after the outline, so a new attempt is needed.
        let slots = self.slots_of(segment, stride).ok_or(Stop::NoRoom)?;
        slots[..segment.bumped()].fill(SlotState::Live);
        for slot in segment.returned() {
            if segment_of(slot, stride) != segment {
                return Err(Stop::Damaged(
                    "a segment's free list contains a slot of another segment",
                ));
            }
            mark(slots, segment, slot, SlotState::Returned)?;
        }
        Ok(())
    }
}

/// Marks a slot of the segment as free, because a list contains it.
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
            return Err(Stop::Damaged("a free slot was never allocated"));
        }
        Some(_) => return Err(Stop::Damaged("a free slot is listed twice")),
        None => {
            return Err(Stop::Damaged(
                "a free slot is not at the address of any slot",
            ));
        }
    }
    Ok(())
}
