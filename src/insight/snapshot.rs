//! A picture of a pool: which slots of which segments of which heaps are alive, free, or on their way.
//!
//! Only the owner of a heap may look into its lists, so the picture shows the slots of the heaps of the asking thread and of those
//! that no thread holds, which it adopts for the moment; of the others it shows the segments, and how many slots are what.
//!
//! Slots on a remote list are not looked at where they are, for whoever frees a segment's last one may purge them all.
//! They are collected, as the next allocation would, and what was alive before and is free after was in flight.
//!
//! A picture is first a [`Sketch`], for which no foreign code runs; the values that the user gets are made of that.

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
    /// Where it is.
    pub address: usize,
    /// Its size, in bytes.
    pub bytes: usize,
    /// Bytes from one slot to the next.
    pub slot_bytes: usize,
    /// Its slots, in the order of addresses: none of a heap that another thread has, of which only [`count`](Self::count) says
    /// something.
    pub slots: Vec<SlotState>,
    counts: [usize; SlotState::COUNT],
}

/// A heap: what one thread has at a time.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let _boxed = pool.alloc(1);
/// let snapshot = pool.snapshot();
/// println!("{}", snapshot.heaps[0]); // this thread's, 1 segments: 1 live, ...
/// assert_eq!(snapshot.heaps[0].segment_count, snapshot.heaps[0].segments.len());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapSnapshot {
    /// Who has it.
    pub holder: Holder,
    /// The thread that has it, or had it last. `None` in a pool with a limit, of which no thread keeps a heap.
    pub thread: Option<ThreadTag>,
    /// When the thread got the heap, or what others had freed of it was last taken, whichever came last. `None` where there is no
    /// clock.
    pub last_served: Option<SystemTime>,
    /// How many segments it has, not counting spares. Of another thread's heap it may lag.
    pub segment_count: usize,
    /// Its segments, by slot size and address. Those of [`Holder::OtherThread`] are counted and not looked into, and while that
    /// thread runs the numbers may be off.
    pub segments: Vec<SegmentSnapshot>,
    /// Slots that are at hand and in no segment's count.
    at_hand: usize,
}

/// What is where in a pool. See [`snapshot()`].
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
    /// The pool's name, or that of its type.
    pub name: &'static str,
    /// Its heaps, the oldest first. They stay as long as the pool, so a place in this list is always the same heap's.
    pub heaps: Vec<HeapSnapshot>,
}

/// What is where in the default pool: the state of each slot of the heaps that this thread or no thread has. Of heaps that
/// other threads have it says how many slots of each segment are in which state.
///
/// On the way it collects what waits for these heaps, and gives their spare segments back where nobody has them. Cost: it
/// looks at every slot. For tests, diagnosis and drawings; the example `occupancy` draws one.
///
/// # Panics
///
/// If a list is damaged, as [`validate`](crate::validate) does.
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

    /// Slots in this state.
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
    /// Slots in this state.
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
    /// Of a segment and the slots of its heap.
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
    fn counted(seen: &SeenSegment, astray: &[Astray]) -> Self {
        let SeenSegment { sight, stride } = seen;
        let capacity = capacity(*stride);
        let used = sight.used(capacity);
        let mine = |state| {
            astray
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

    /// Slots in this state.
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

/// All heaps of a pool, as they were seen. Flat, with room that was made before.
#[derive(Default)]
struct Sketch {
    heaps: Shelf<Seen>,
    /// The segments of all heaps, one heap's after the other's.
    outlines: Shelf<Outline>,
    /// The slots of all these.
    slots: Shelf<SlotState>,
    /// The slots of one heap, after it has collected.
    after: Shelf<SlotState>,
    /// By segment.
    astray: Shelf<Astray>,
    /// All segments of the pool, as any thread sees them, by heap, slot size and address.
    segments: Shelf<SeenSegment>,
}

/// A segment that was looked at.
#[derive(Clone, Copy)]
struct SeenSegment {
    sight: Sight,
    stride: usize,
}

/// A heap that was seen.
#[derive(Clone, Copy)]
struct Seen {
    heap: HeapRef,
    belongs: Belongs,
    /// How many of its segments and slots were drawn: none of a heap that another thread has.
    drawn: Size,
    /// Slots at hand of another thread.
    at_hand: usize,
}

/// A slot of another heap that this thread freed and did not send home: in an open batch, or kept in its lists, those of its
/// handles too.
#[derive(Clone, Copy)]
struct Astray {
    /// The segment's address.
    segment: usize,
    /// The slot's number in its segment.
    index: usize,
    state: SlotState,
}

impl Sketch {
    fn make_room(&mut self, pool: RegistryRef, slack: Slack) {
        let sizes = || pool.heaps().filter(may_be_seen).map(Size::of);
        let segments = sizes().map(|size| size.segments).sum();
        let slots = sizes().map(|size| size.slots).sum();
        let most = sizes().map(|size| size.slots).max().unwrap_or(0);
        let mut astray = 0;
        each_astray(pool, |_| astray += 1);
        self.heaps.make_room(slack.beyond(pool.heaps().count()));
        self.outlines.make_room(slack.beyond(segments));
        self.slots.make_room(slack.beyond(slots));
        self.after.make_room(slack.beyond(most));
        self.astray.make_room(slack.beyond(astray));
        let all = pool.heaps().map(|heap| Size::of(heap).segments).sum();
        self.segments.make_room(slack.beyond(all));
    }

    /// Runs no foreign code, which might idle or flush between two heaps: what is astray stays so.
    fn take(&mut self, pool: RegistryRef) -> Result<(), Stop> {
        let mut room = Ok(());
        each_astray(pool, |astray| {
            room = room.and_then(|()| self.astray.push(astray))
        });
        room?;
        self.astray.sort_unstable_by_key(|astray| astray.segment); // in place
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
        // SAFETY: adopted and counted above.
        unsafe { thread::put_back(heap) };
        drawn
    }

    /// Owner only.
    fn draw(&mut self, heap: HeapRef, holder: Holder) -> Result<(), Stop> {
        let (segments, slots) = (self.outlines.len(), self.slots.len());
        self.lay_out(heap, holder)?;
        let outlines = &self.outlines[segments..];
        let seen = &mut self.slots[slots..];
        look::draw(heap, outlines, seen)?;
        note_astray(outlines, seen, &self.astray);
        thread::collect(heap);
        look::draw(heap, outlines, &mut self.after)?;
        note_arrived(seen, &self.after);
        Ok(())
    }

    /// Adds a heap with its segments, and their slots for now as they are when a segment is new. Owner only.
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

    /// The values that the user gets. Foreign code may run, and all that was seen stays as it was seen.
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
            SegmentSnapshot::counted(seen, of_segment(&self.astray, seen.sight.address))
        })
    }
}

/// What is of the segment at this address. They are sorted.
fn of_segment(astray: &[Astray], address: usize) -> &[Astray] {
    let first = astray.partition_point(|astray| astray.segment < address);
    let end = astray.partition_point(|astray| astray.segment <= address);
    &astray[first..end]
}

/// Whether the heap is this thread's or, as it seems, nobody's.
fn may_be_seen(heap: &HeapRef) -> bool {
    thread::holds(*heap) || !heap.is_held()
}

/// Calls `visit` with what this thread has of other heaps, of this pool and, in its open batches, of any.
fn each_astray(pool: RegistryRef, mut visit: impl FnMut(Astray)) {
    let mut visit_slot = |slot: SlotPtr, stride: usize, state: SlotState| {
        let segment = look::segment_of(slot, stride);
        if let Some(index) = segment.index_of(slot) {
            visit(Astray {
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

/// Says of what seems to be alive in these segments that this thread has it.
fn note_astray(outlines: &[Outline], slots: &mut [SlotState], astray: &[Astray]) {
    for outline in outlines {
        let slots = &mut slots[outline.slots()];
        for astray in of_segment(astray, outline.address) {
            if let Some(slot @ SlotState::Live) = slots.get_mut(astray.index) {
                *slot = astray.state;
            }
        }
    }
}

/// What was alive and is free `after`, or was released with its segment, was in flight.
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
