//! A picture of a pool: which slots of which segments of which heaps are alive, free, or on their way.
//!
//! Only the owner of a heap may look into its lists, so the picture shows the heaps of the asking thread and those that
//! no thread holds, which it adopts for the moment; of the others it says how many segments they have.
//!
//! Slots on a remote list are not looked at where they are, for whoever frees a segment's last one may purge them all.
//! They are collected, as the next allocation would, and what was alive before and is free after was in flight.

use core::fmt;
use std::collections::{BTreeMap, HashMap};

use crate::heap::HeapRef;
use crate::layout::Span;
use crate::registry::{self, RegistryRef};
use crate::segment::SegmentRef;
use crate::slot::SlotPtr;
use crate::thread;

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
    /// It holds a value; or another thread freed it, and has it in an open batch or keeps it for its own use.
    Live,
    /// Freed by a thread that does not own the segment, and not yet home: in an open batch of the asking thread, or
    /// received and not yet collected.
    InFlight,
    /// Free, in a list of the thread that has the heap, or had it last: handed out next.
    AtHand,
    /// Free, on the segment's own list.
    Home,
    /// Free, and never handed out: if the page was never used either, it costs no memory.
    Untouched,
}

impl SlotState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::InFlight,
        Self::AtHand,
        Self::Home,
        Self::Untouched,
    ];
}

/// Who has a heap.
///
/// # Examples
///
/// ```
/// use segment_pool::{Holder, SegmentPool};
///
/// let pool = SegmentPool::new();
/// let _boxed = pool.alloc(1);
/// assert_eq!(pool.snapshot().heaps[0].holder, Holder::ThisThread);
/// segment_pool::idle();
/// assert_eq!(pool.snapshot().heaps[0].holder, Holder::Nobody);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Holder {
    /// The thread that asks.
    ThisThread,
    /// No thread: it ended, or idles.
    Nobody,
    /// Another thread, whose lists cannot be looked into while it runs.
    OtherThread,
}

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
    /// Its slots, in the order of addresses.
    pub slots: Vec<SlotState>,
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
    /// How many segments it has, not counting spares. Of another thread's heap this is all that can be said, and it may
    /// lag.
    pub segment_count: usize,
    /// Its segments, by slot size and address: none for [`Holder::OtherThread`], for they cannot be looked into.
    pub segments: Vec<SegmentSnapshot>,
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

/// What is where in the default pool: the state of each slot of the heaps that this thread or no thread has. Heaps that
/// other threads have are listed without their segments.
///
/// On the way it collects what waits for these heaps, and gives their spare segments back where nobody has them. Cost: it
/// looks at every slot. For tests, diagnosis and drawings; the example `occupancy` draws one.
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
        let astray = Astray::of_this_thread(pool);
        let heaps = pool
            .heaps()
            .map(|heap| HeapSnapshot::of(pool, heap, &astray))
            .collect();
        thread::tell();
        Self { name, heaps }
    }

    pub(crate) fn unused(name: &'static str) -> Self {
        let heaps = Vec::new();
        Self { name, heaps }
    }

    /// Slots in this state, of the heaps that were looked into.
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
    fn of(pool: RegistryRef, heap: HeapRef, astray: &Astray) -> Self {
        if thread::holds(heap) {
            return Self::looked_into(heap, Holder::ThisThread, astray);
        }
        if !pool.adopt_one(heap) {
            return Self {
                holder: Holder::OtherThread,
                segment_count: heap
                    .bins()
                    .map(|bin| bin.counts().segments.get() as usize)
                    .sum(),
                segments: Vec::new(),
            };
        }
        pool.count_held();
        let looked_into = Self::looked_into(heap, Holder::Nobody, astray);
        // SAFETY: adopted and counted above.
        unsafe { thread::put_back(heap) };
        looked_into
    }

    /// Owner only.
    fn looked_into(heap: HeapRef, holder: Holder, astray: &Astray) -> Self {
        let mut found = segments_of(heap, astray);
        thread::collect(heap);
        let after = segments_of(heap, astray);
        for (address, segment) in &mut found {
            // A segment that was released meanwhile had no slot but free ones.
            let after = after.get(address).map_or(&[][..], |after| &after.slots);
            segment.note_arrived(after);
        }
        let mut segments: Vec<_> = found.into_values().collect();
        segments.sort_by_key(|segment| (segment.slot_bytes, segment.address));
        Self {
            holder,
            segment_count: segments.len(),
            segments,
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
    /// assert_eq!(pool.snapshot().heaps[0].count(SlotState::Live), 1);
    /// ```
    #[must_use]
    pub fn count(&self, state: SlotState) -> usize {
        self.segments
            .iter()
            .map(|segment| segment.count(state))
            .sum()
    }
}

/// A heap's segments by address, with the state of their slots as the lists have it now. Owner only.
fn segments_of(heap: HeapRef, astray: &Astray) -> BTreeMap<usize, SegmentSnapshot> {
    let mut segments = BTreeMap::new();
    for bin in heap.used_bins() {
        for segment in bin.segments() {
            segments.insert(address(segment), SegmentSnapshot::of(segment, astray));
        }
        for slot in bin.stock() {
            let (address, index) = place(slot, bin.stride());
            // Foreign slots are of no segment here.
            if let Some(segment) = segments.get_mut(&address) {
                segment.slots[index] = SlotState::AtHand;
            }
        }
    }
    segments
}

fn address(segment: SegmentRef) -> usize {
    core::ptr::NonNull::from(segment).addr().get()
}

/// The address of a slot's segment, and the slot's number there. The slot is one of a list's, of this stride.
fn place(slot: SlotPtr, stride: usize) -> (usize, usize) {
    // SAFETY: slots in the lists of a bin are in segments of its stride, which are in use.
    let segment = unsafe { SegmentRef::of(slot, Span::of(stride)) };
    let index = segment.index_of(slot);
    (
        address(segment),
        index.expect("a free slot starts where slots start"),
    )
}

impl SegmentSnapshot {
    /// Owner only.
    fn of(segment: SegmentRef, astray: &Astray) -> Self {
        let (identity, address) = (segment.identity(), address(segment));
        let mut slots = vec![SlotState::Untouched; identity.capacity];
        for (index, slot) in slots.iter_mut().take(segment.bumped()).enumerate() {
            let astray = astray.slots.get(&(address, index));
            *slot = astray.copied().unwrap_or(SlotState::Live);
        }
        for slot in segment.home() {
            slots[place(slot, identity.stride).1] = SlotState::Home;
        }
        Self {
            address,
            bytes: identity.span.bytes(),
            slot_bytes: identity.stride,
            slots,
        }
    }

    /// What was alive and is free `after`, or was released with the segment, was in flight.
    fn note_arrived(&mut self, after: &[SlotState]) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if *slot == SlotState::Live && after.get(index) != Some(&SlotState::Live) {
                *slot = SlotState::InFlight;
            }
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
        self.slots.iter().filter(|&&slot| slot == state).count()
    }
}

/// Slots of other heaps that this thread freed and did not send home: in its open batches, or kept in its lists, those of its
/// handles too.
struct Astray {
    slots: HashMap<(usize, usize), SlotState>,
}

impl Astray {
    fn of_this_thread(pool: RegistryRef) -> Self {
        let mut slots = HashMap::new();
        thread::for_each_open(|slot, stride| {
            slots.insert(place(slot, stride), SlotState::InFlight);
        });
        let own = pool.heaps().filter(|heap| thread::holds(*heap));
        for bin in own.flat_map(HeapRef::used_bins) {
            let stock = bin.stock().map(|slot| place(slot, bin.stride()));
            slots.extend(stock.map(|place| (place, SlotState::AtHand)));
        }
        Self { slots }
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
        let segments = self.segment_count;
        match self.holder {
            Holder::OtherThread => write!(f, "another thread's, {segments} segments"),
            holder => {
                let whose = match holder {
                    Holder::ThisThread => "this thread's",
                    _ => "nobody's",
                };
                let [live, in_flight, at_hand, home, untouched] =
                    SlotState::ALL.map(|state| self.count(state));
                write!(
                    f,
                    "{whose}, {segments} segments: {live} live, {in_flight} in flight, {at_hand} at hand, \
                     {home} home, {untouched} untouched"
                )
            }
        }
    }
}
