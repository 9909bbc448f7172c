//! Snapshots of a pool: which slots of which segments of which heaps are live, free, or in flight.
//!
//! Only the owning thread of a heap may read its lists. So a snapshot shows the heaps of the calling thread, and the
//! abandoned heaps, which it adopts temporarily. For the other heaps it gives only the number of segments.
//!
//! Slots in a remote list are not inspected in place, because a thread that frees the last slot of a segment may purge
//! the segment. They are collected, as the next allocation would do. Slots that were live before and are free
//! afterwards were in flight.
//!
//! A snapshot is first recorded in a [`Sketch`], while no foreign code runs. The user's values are made from that.

use core::fmt;

use std::time::SystemTime;

use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::registry::{self, RegistryRef};
use crate::insight::holder::{self, Belongs, Holder, ThreadTag, Whose};
use crate::insight::look::{self, Outline, Shelf, Size, Slack, SlotState, Stop};
use crate::memory::segment::{Sight, capacity};
use crate::slot::SlotPtr;
use crate::thread;

/// A segment and its slots.
///
/// # Examples
///
/// ```
/// use segment_pool::{SegmentPool, SlotState};
///
/// let pool = SegmentPool::new();
/// let boxed = pool.alloc(1_u64);
/// let snapshot = pool.snapshot();
/// let segment = &snapshot.heaps[0].segments[0];
/// let live = segment.slots.iter().position(|slot| *slot == SlotState::Live);
/// assert!(live.is_some());
/// assert!((segment.address..segment.address + segment.bytes).contains(&(&raw const *boxed).addr()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentSnapshot {
    /// The address of the segment.
    pub address: usize,
    /// The size of the segment, in bytes.
    pub bytes: usize,
    /// The distance from one slot to the next, in bytes.
    pub slot_bytes: usize,
    /// The slots, in address order.
    pub slots: Vec<SlotState>,
    counts: [usize; SlotState::COUNT],
}

/// A heap and its segments. One thread at a time owns a heap.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let _boxed = pool.alloc(1);
/// let snapshot = pool.snapshot();
/// println!("{}", snapshot.heaps[0]); // held by this thread, 1 segments: 1 live, ...
/// assert_eq!(snapshot.heaps[0].segment_count, snapshot.heaps[0].segments.len());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapSnapshot {
    /// The holder of the heap.
    pub holder: Holder,
    /// The thread that has it, or had it last. `None` in a pool with a limit, of which no thread keeps a heap.
    pub thread: Option<ThreadTag>,
    /// When the thread got the heap, or what others had freed of it was last taken, whichever came last. `None` where there is no
    /// clock.
    pub last_served: Option<SystemTime>,
    /// How many segments it has, not counting spares. Of another thread's heap it may lag.
    pub segment_count: usize,
    /// The segments, by slot size and address. Empty for [`Holder::OtherThread`].
    pub segments: Vec<SegmentSnapshot>,
    /// Slots that are at hand and in no segment's count.
    at_hand: usize,
}

/// The state of each slot of a pool, by heap and segment. See [`snapshot()`].
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::builder().name("orders").build();
/// let _order = pool.alloc([1, 2]);
/// let snapshot = pool.snapshot();
/// println!("{snapshot}"); // a line for each heap
/// assert_eq!((snapshot.name, snapshot.heaps.len()), ("orders", 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The pool's name, or the type name of its values.
    pub name: &'static str,
    /// The heaps, the oldest first. They exist as long as the pool, so an index in this list always denotes the same
    /// heap.
    pub heaps: Vec<HeapSnapshot>,
}

/// Returns the state of each slot in the default pool's heaps that this thread holds or that are abandoned. Heaps that
/// other threads hold are listed without their segments.
///
/// The call also collects the remote frees of these heaps, and releases the spare segments of the abandoned ones. Cost:
/// it inspects every slot. It is meant for tests, diagnosis and drawings; the example `occupancy` draws one.
///
/// # Panics
///
/// Panics if a list is damaged, as [`validate`](crate::validate) does.
///
/// # Examples
///
/// ```
/// use segment_pool::{PoolBox, SlotState};
///
/// let mut boxes: Vec<_> = (0..10).map(PoolBox::new).collect();
/// boxes.truncate(7);
/// let snapshot = segment_pool::snapshot();
/// assert_eq!(snapshot.count(SlotState::Live), 7);
/// ```
#[must_use]
pub fn snapshot() -> Snapshot {
    let pool = registry::default();
    Snapshot::of(pool, pool.core().name)
}

impl Snapshot {
    pub(crate) fn of(pool: RegistryRef, name: &'static str) -> Self {
        let mut sketch = Sketch::default();
        look::until_seen(
            &mut sketch,
            |sketch, slack| sketch.make_room(pool, slack),
            |sketch| sketch.take(pool),
        );
        let heaps = sketch.heaps();
        thread::emit_events();
        Self { name, heaps }
    }

    pub(crate) fn unused(name: &'static str) -> Self {
        let heaps = Vec::new();
        Self { name, heaps }
    }

    /// Counts the slots in this state, in the heaps that were inspected.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{SegmentPool, SlotState};
    ///
    /// let pool = SegmentPool::new();
    /// let _boxes: Vec<_> = (0..10).map(|n| pool.alloc(n)).collect();
    /// assert_eq!(pool.snapshot().count(SlotState::Live), 10);
    /// ```
    #[must_use]
    pub fn count(&self, state: SlotState) -> usize {
        self.heaps.iter().map(|heap| heap.count(state)).sum()
    }
}

impl HeapSnapshot {
    /// Counts the slots in this state.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{SegmentPool, SlotState};
    ///
    /// let pool = SegmentPool::new();
    /// let _boxed = pool.alloc(1);
    /// assert_eq!(pool.snapshot().heaps[0].count(SlotState::Live), 1);
    /// ```
    #[must_use]
    pub fn count(&self, state: SlotState) -> usize {
        let counts = self.segments.iter().map(|segment| segment.count(state));
        let count = counts.sum::<usize>();
        match state {
            SlotState::AtHand => count + self.at_hand,
            SlotState::Live => count.saturating_sub(self.at_hand), // where a segment has counted them
            _ => count,
        }
    }
}

impl SegmentSnapshot {
    /// Makes the snapshot of a segment, given the slots of its heap.
    fn new(outline: &Outline, slots: &[SlotState]) -> Self {
        let slots = slots[outline.slots()].to_vec();
        let count = |state| slots.iter().filter(|&&slot| slot == state).count();
        Self {
            address: outline.address,
            bytes: outline.bytes,
            slot_bytes: outline.slot_bytes,
            counts: SlotState::ALL.map(count),
            slots,
        }
    }

    /// Of a segment that another thread has, and of slots of it that this thread has.
    fn counted(seen: &SeenSegment, remote_slots: &[RemoteSlot]) -> Self {
        let SeenSegment { sight, stride } = seen;
        let capacity = capacity(*stride);
        let used = sight.used(capacity);
        let mine = |state| {
            remote_slots
                .iter()
                .filter(|slot| slot.state == state)
                .count()
                .min(used)
        };
        let (in_flight, at_hand) = (mine(SlotState::InFlight), mine(SlotState::AtHand));
        let count = |state| match state {
            SlotState::Live => used.saturating_sub(in_flight + at_hand),
            SlotState::InFlight => sight.uncollected(capacity) + in_flight,
            SlotState::AtHand => at_hand,
            SlotState::Returned => sight.returned,
            SlotState::Untouched => capacity.saturating_sub(sight.bumped),
        };
        Self {
            address: sight.address,
            bytes: Span::of(*stride).bytes(),
            slot_bytes: *stride,
            slots: Vec::new(),
            counts: SlotState::ALL.map(count),
        }
    }

    /// Counts the slots in this state.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{SegmentPool, SlotState};
    ///
    /// let pool = SegmentPool::new();
    /// let _boxed = pool.alloc(1);
    /// assert_eq!(pool.snapshot().heaps[0].segments[0].count(SlotState::Live), 1);
    /// ```
    #[must_use]
    pub fn count(&self, state: SlotState) -> usize {
        let states = SlotState::ALL.iter().zip(self.counts);
        states
            .filter(|(of, _)| **of == state)
            .map(|(_, count)| count)
            .sum()
    }
}

/// All heaps of a pool as inspected. The data is flat, in room that was made before.
#[derive(Default)]
struct Sketch {
    heaps: Shelf<Seen>,
    /// The segments of all heaps, heap by heap.
    outlines: Shelf<Outline>,
    /// The slots of all these segments.
    slots: Shelf<SlotState>,
    /// The slots of one heap, after it was collected.
    after: Shelf<SlotState>,
    /// By segment.
    remote_slots: Shelf<RemoteSlot>,
    /// All segments of the pool, as any thread sees them, by heap, slot size and address.
    segments: Shelf<SeenSegment>,
}

/// A segment that was looked at.
#[derive(Clone, Copy)]
struct SeenSegment {
    sight: Sight,
    stride: usize,
}

/// A heap that was inspected.
#[derive(Clone, Copy)]
struct Seen {
    heap: HeapRef,
    belongs: Belongs,
    /// How many of its segments and slots were drawn: none of a heap that another thread has.
    drawn: Size,
    /// Slots at hand of another thread.
    at_hand: usize,
}

/// A slot of another heap that this thread freed but did not return to its segment: it is in an open batch, or in a
/// list of the thread or of its handles.
#[derive(Clone, Copy)]
struct RemoteSlot {
    /// The address of the segment.
    segment: usize,
    /// The index of the slot in its segment.
    index: usize,
    state: SlotState,
}

impl Sketch {
    fn make_room(&mut self, pool: RegistryRef, slack: Slack) {
        let sizes = || pool.heaps().filter(may_be_seen).map(Size::of);
        let segments = sizes().map(|size| size.segments).sum();
        let slots = sizes().map(|size| size.slots).sum();
        let most = sizes().map(|size| size.slots).max().unwrap_or(0);
        let mut remote_slots = 0;
        each_remote_slot(pool, |_| remote_slots += 1);
        self.heaps.make_room(slack.beyond(pool.heaps().count()));
        self.outlines.make_room(slack.beyond(segments));
        self.slots.make_room(slack.beyond(slots));
        self.after.make_room(slack.beyond(most));
        self.remote_slots.make_room(slack.beyond(remote_slots));
        let all = pool.heaps().map(|heap| Size::of(heap).segments).sum();
        self.segments.make_room(slack.beyond(all));
    }

    /// Runs no foreign code, which might idle or flush between two heaps. So the `remote_slots` stay where they are.
    fn take(&mut self, pool: RegistryRef) -> Result<(), Stop> {
        let mut room = Ok(());
        each_remote_slot(pool, |slot| {
            room = room.and_then(|()| self.remote_slots.push(slot))
        });
        room?;
        self.remote_slots
            .sort_unstable_by_key(|remote_slots| remote_slots.segment); // in place
        pool.heaps().try_for_each(|heap| self.see(pool, heap))?;
        self.see_segments(pool)
    }

    /// Looks at all segments, those too that were drawn.
    fn see_segments(&mut self, pool: RegistryRef) -> Result<(), Stop> {
        let mut room = Ok(());
        pool.look(|sight, stride| {
            let segment = SeenSegment { sight, stride };
            room = room.and_then(|()| self.segments.push(segment));
        });
        let key = |seen: &SeenSegment| (seen.sight.heap, seen.stride, seen.sight.address);
        self.segments.sort_unstable_by_key(key); // in place
        room
    }

    fn see(&mut self, pool: RegistryRef, heap: HeapRef) -> Result<(), Stop> {
        if thread::holds(heap) {
            return self.draw(heap, Holder::ThisThread);
        }
        if !pool.adopt_one(heap) {
            return self.heaps.push(Seen {
                heap,
                belongs: Belongs::of(heap).to(Holder::OtherThread),
                drawn: Size::default(),
                at_hand: holder::at_hand(heap),
            });
        }
        pool.add_ref();
        let drawn = self.draw(heap, Holder::Nobody);
        // SAFETY: the heap was adopted and its reference was counted above.
        unsafe { thread::put_back(heap) };
        drawn
    }

    /// Owning thread only.
    fn draw(&mut self, heap: HeapRef, holder: Holder) -> Result<(), Stop> {
        let (segments, slots) = (self.outlines.len(), self.slots.len());
        self.lay_out(heap, holder)?;
        let outlines = &self.outlines[segments..];
        let seen = &mut self.slots[slots..];
        look::draw(heap, outlines, seen)?;
        note_remote_slots(outlines, seen, &self.remote_slots);
        thread::collect(heap);
        look::draw(heap, outlines, &mut self.after)?;
        note_arrived(seen, &self.after);
        Ok(())
    }

    /// Adds a heap with its segments. The slots get the state of a new segment for now. Owning thread only.
    fn lay_out(&mut self, heap: HeapRef, holder: Holder) -> Result<(), Stop> {
        let before = self.outlines.len();
        let slots = look::outline(heap, &mut self.outlines)?;
        let segments = self.outlines.len() - before;
        self.slots.push_many(SlotState::Untouched, slots)?;
        self.after.clear();
        self.after.push_many(SlotState::Untouched, slots)?;
        self.heaps.push(Seen {
            heap,
            belongs: Belongs::of(heap).to(holder),
            drawn: Size { segments, slots },
            at_hand: 0,
        })
    }

    /// Makes the user's values. Foreign code may run, and does not change what was recorded.
    fn heaps(&self) -> Vec<HeapSnapshot> {
        let (mut outlines, mut slots) = (&self.outlines[..], &self.slots[..]);
        let heap = |seen: &Seen| {
            let (drawn, of_heap);
            (drawn, outlines) = outlines.split_at(seen.drawn.segments);
            (of_heap, slots) = slots.split_at(seen.drawn.slots);
            let segments: Vec<_> = match seen.belongs.holder {
                Holder::OtherThread => self.counted_segments(seen.heap).collect(),
                _ => drawn
                    .iter()
                    .map(|outline| SegmentSnapshot::new(outline, of_heap))
                    .collect(),
            };
            HeapSnapshot {
                holder: seen.belongs.holder,
                thread: seen.belongs.thread(),
                last_served: seen.belongs.last_served(),
                segment_count: segments.len(),
                segments,
                at_hand: seen.at_hand,
            }
        };
        self.heaps.iter().map(heap).collect()
    }

    /// The segments of a heap that another thread has.
    fn counted_segments(&self, heap: HeapRef) -> impl Iterator<Item = SegmentSnapshot> {
        let first = self
            .segments
            .partition_point(|seen| seen.sight.heap < heap.id());
        let segments = self.segments[first..].iter();
        let segments = segments.take_while(move |seen| seen.sight.heap == heap.id());
        segments.map(|seen| {
            SegmentSnapshot::counted(seen, of_segment(&self.remote_slots, seen.sight.address))
        })
    }
}

/// What is of the segment at this address. They are sorted.
fn of_segment(remote_slots: &[RemoteSlot], address: usize) -> &[RemoteSlot] {
    let first = remote_slots.partition_point(|remote_slots| remote_slots.segment < address);
    let end = remote_slots.partition_point(|remote_slots| remote_slots.segment <= address);
    &remote_slots[first..end]
}

/// Whether the heap is held by this thread or appears to be abandoned.
fn may_be_seen(heap: &HeapRef) -> bool {
    thread::holds(*heap) || !heap.is_held()
}

/// Calls `visit` with the slots of other heaps that this thread has: in the lists of its heaps of this pool, and in its
/// open batches for any pool.
fn each_remote_slot(pool: RegistryRef, mut visit: impl FnMut(RemoteSlot)) {
    let mut visit_slot = |slot: SlotPtr, stride: usize, state: SlotState| {
        let segment = look::segment_of(slot, stride);
        if let Some(index) = segment.index_of(slot) {
            visit(RemoteSlot {
                segment: segment.addr(),
                index,
                state,
            });
        }
    };
    thread::for_each_open(|slot, stride| visit_slot(slot, stride, SlotState::InFlight));
    for heap in pool.heaps().filter(|heap| thread::holds(*heap)) {
        for bin in heap.used_bins() {
            let foreign =
                |slot: &SlotPtr| look::segment_of(*slot, bin.stride()).heap() != heap.id();
            let foreign = bin.stock().filter(foreign);
            foreign.for_each(|slot| visit_slot(slot, bin.stride(), SlotState::AtHand));
        }
    }
}

/// Sets the state of the slots in these segments that seem live but are in the lists or batches of this thread.
fn note_remote_slots(outlines: &[Outline], slots: &mut [SlotState], remote_slots: &[RemoteSlot]) {
    for outline in outlines {
        let slots = &mut slots[outline.slots()];
        for remote_slots in of_segment(remote_slots, outline.address) {
            if let Some(slot @ SlotState::Live) = slots.get_mut(remote_slots.index) {
                *slot = remote_slots.state;
            }
        }
    }
}

/// Marks a slot as in flight if it seemed live, and is free in `after` or was released with its segment.
fn note_arrived(slots: &mut [SlotState], after: &[SlotState]) {
    for (slot, after) in slots.iter_mut().zip(after) {
        if *slot == SlotState::Live && *after != SlotState::Live {
            *slot = SlotState::InFlight;
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}", self.name)?;
        for (number, heap) in self.heaps.iter().enumerate() {
            write!(f, "\nheap {number}: {heap}")?;
        }
        Ok(())
    }
}

impl fmt::Display for HeapSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = Whose {
            holder: self.holder,
            thread: self.thread.as_ref(),
            last_served: self.last_served,
        };
        let segments = self.segment_count;
        let [live, in_flight, at_hand, returned, untouched] =
            SlotState::ALL.map(|state| self.count(state));
        write!(
            f,
            "{whose}, {segments} segments: {live} live, {in_flight} in flight, {at_hand} at hand, \
             {returned} returned, {untouched} untouched"
        )
    }
}
