//! Counters, summed over the heaps of a pool, and a consistency check.
//!
//! `Stats` sums the counters that the owners of the heaps maintain. Any thread may read them at any time, and changes
//! that a running thread has not counted yet are missing. `Validation` inspects every slot of the heaps that it may
//! visit, as `look` does. If a slot is lost or is in two places, it panics after it has left the heap.

use core::fmt;

use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::bin::Bin;
use crate::heap::registry::{self, RegistryRef};
use crate::insight::census::{Census, HeapCount};
use crate::insight::holder::at_hand;
use crate::insight::look::{self, Outline, Shelf, Size, Slack, SlotState, Stop};
use crate::memory::remote::Taken;
use crate::memory::segment::{OwnerId, SegmentRef, capacity};
use crate::thread;

/// The counters of a pool.
///
/// A remote free counts once the owner collects it. Until then the value counts as live. All numbers may lag behind
/// while other threads run. `allocations` is computed from numbers that an owner maintains for other purposes; for a
/// moment it may be off by the few hundred slots that the owner is about to allocate from. The numbers are exact for
/// threads that have ended or that wait. The fast paths count nothing for statistics alone: the owners need these
/// numbers anyway, or write them on slow paths.
///
/// A [`Report`](crate::Report) has the counters by slot size, and the memory of the process.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let boxes: Vec<_> = (0..10).map(|n| pool.alloc(n)).collect();
/// std::thread::scope(|scope| scope.spawn(|| drop(boxes)).join().unwrap());
/// assert_eq!(pool.stats().remote_frees, 0); // pushed, and not collected yet
/// pool.trim();
/// let stats = pool.stats();
/// println!("{stats}");
/// assert_eq!((stats.live(), stats.remote_frees, stats.batches), (0, 10, 1));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The name that the pool was given. The name of the default pool is "default".
    pub name: Option<&'static str>,
    /// The heaps of the pool: as many as threads used it at the same time.
    pub heaps: u64,
    /// The heaps that no thread holds now.
    pub abandoned_heaps: u64,
    /// How often a thread took over an abandoned heap, including one that it had parked itself while idle.
    pub adoptions: u64,
    /// How often a thread left a heap, because it ended or idled.
    pub abandonments: u64,
    /// The segments that the heaps use, not counting spare segments.
    pub segments: u64,
    /// The address space of these segments, in bytes. Untouched pages in it take no memory.
    pub segment_bytes: u64,
    /// The address space of the empty segments that the heaps keep for reuse, in bytes.
    pub spare_bytes: u64,
    /// The slots in the segments in use.
    pub capacity: u64,
    /// The values that were allocated in slots.
    pub allocations: u64,
    /// The slots that were freed by the owning thread of their segment, or by a thread that cached them for its own
    /// use.
    pub local_frees: u64,
    /// The slots that other threads freed and that the owner has collected.
    pub remote_frees: u64,
    /// Slots freed by other threads, and by this one into its open batches, that the owner has not collected yet: they are free, but
    /// nobody uses them before the owner, or who has the heap after it, takes them.
    pub unreclaimed: u64,
    /// Batches in which the collected ones came.
    pub batches: u64,
    /// How often an owner collected the batches of a segment.
    pub collects: u64,
    /// The live values in dedicated mappings: those larger than 128 KiB, or with an alignment above 4 KiB.
    pub large: u64,
    /// The address space of these mappings, in bytes: whole pages, including the header of each.
    pub large_bytes: u64,
    /// How many values may be alive, if the pool was given a limit of whatever kind.
    pub bound: Option<u64>,
    /// Values that count towards the bound: those alive, exactly, and those being made or dropped. 0 without a bound.
    pub in_use: u64,
    /// Requests that were refused because the bound was reached.
    pub refusals: u64,
    /// Requests that waited at the bound, or still do.
    pub waits: u64,
}

impl Stats {
    pub(crate) fn of(pool: RegistryRef, name: Option<&'static str>) -> Self {
        Self::by_class(pool, name, &mut [], &mut []).0
    }

    /// Of a pool without memory.
    pub(crate) fn unused(name: Option<&'static str>) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// And how full the segments are, what waits for each of these heaps, and the same by class, if there is
    /// [room](ClassStats::room).
    ///
    /// No foreign code runs. Frees come first, then what is on its way, then allocations and what was sent on: so what happens meanwhile
    /// makes more values alive rather than fewer.
    pub(crate) fn by_class(
        pool: RegistryRef,
        name: Option<&'static str>,
        classes: &mut [ClassStats],
        heaps: &mut [HeapCount],
    ) -> (Self, Census) {
        let large = &pool.core().large;
        let mut stats = Self {
            name,
            large: large.values() as u64,
            large_bytes: large.bytes() as u64,
            ..Self::default()
        };
        stats.add_gate(pool);
        for heap in pool.heaps() {
            stats.add_heap(heap);
            stats.each_bin(heap, classes, ClassStats::add_frees);
        }
        let census = Census::of(pool, heaps);
        stats.unreclaimed = census.uncollected_of_all();
        for (bin, class) in classes.iter_mut().enumerate() {
            class.unreclaimed = census.uncollected(bin);
        }
        for heap in pool.heaps() {
            stats.each_bin(heap, classes, ClassStats::add_allocations);
        }
        stats.local_frees = not_below_zero(stats.local_frees);
        for class in classes {
            class.local_frees = not_below_zero(class.local_frees);
        }
        (stats, census)
    }

    fn add_gate(&mut self, pool: RegistryRef) {
        let gate = &pool.core().gate;
        if gate.permits.counts() {
            self.bound = Some(gate.permits.bound() as u64);
            self.in_use = gate.permits.in_use() as u64;
            (self.refusals, self.waits) = (gate.refusals(), gate.waits());
        }
    }

    fn add_heap(&mut self, heap: HeapRef) {
        let (adoptions, abandonments) = heap.changes_of_owner();
        self.heaps += 1;
        self.abandoned_heaps += u64::from(!heap.is_held());
        self.adoptions += adoptions;
        self.abandonments += abandonments;
        self.spare_bytes += heap.spare_bytes();
    }

    /// Adds something of each bin of a heap, here and to the class.
    fn each_bin(
        &mut self,
        heap: HeapRef,
        classes: &mut [ClassStats],
        add: impl Fn(&mut ClassStats, &Bin),
    ) {
        for (index, bin) in heap.bins().enumerate() {
            let mut class = ClassStats::of_stride(heap.stride(index));
            add(&mut class, bin);
            self.add_class(&class);
            if let Some(of_all) = classes.get_mut(index) {
                add(of_all, bin);
            }
        }
    }

    /// Frees that were sent on come after the frees, and are taken off: the sum wraps meanwhile.
    fn add_class(&mut self, class: &ClassStats) {
        self.segments += class.segments;
        self.segment_bytes += class.segment_bytes;
        self.capacity += class.capacity;
        self.allocations += class.allocations;
        self.local_frees = self.local_frees.wrapping_add(class.local_frees);
        self.remote_frees += class.remote_frees;
        self.batches += class.batches;
        self.collects += class.collects;
    }

    /// Returns the number of live values: allocations minus frees, plus the values in dedicated mappings.
    ///
    /// Exact for threads that wait or ended, but for what is in the open batches of other threads, which counts as alive.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// let _boxed = pool.alloc([0_u8; 1 << 20]); // in a dedicated mapping
    /// let stats = pool.stats();
    /// assert_eq!((stats.live(), stats.large), (1, 1));
    /// ```
    #[must_use]
    pub fn live(&self) -> u64 {
        let freed = self.local_frees + self.remote_frees + self.unreclaimed;
        self.allocations.saturating_sub(freed) + self.large
    }

    /// Returns the address space that the pool holds, in bytes: segments in use, spare segments, and dedicated
    /// mappings.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(pool.stats().mapped_bytes(), 0); // nothing before the first value
    /// let boxed = pool.alloc(7);
    /// assert!(pool.stats().mapped_bytes() >= 64 << 10); // a segment at least
    /// # drop(boxed);
    /// ```
    #[must_use]
    pub fn mapped_bytes(&self) -> u64 {
        self.segment_bytes + self.spare_bytes + self.large_bytes
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name {
            writeln!(f, "pool          {name:>14}")?;
        }
        writeln!(
            f,
            "heaps         {:>14}  ({} abandoned; {} adoptions, {} abandonments)",
            self.heaps, self.abandoned_heaps, self.adoptions, self.abandonments
        )?;
        writeln!(
            f,
            "segments      {:>14}  ({} KiB, {} KiB more spare)",
            self.segments,
            self.segment_bytes >> 10,
            self.spare_bytes >> 10
        )?;
        writeln!(f, "capacity      {:>14}", self.capacity)?;
        writeln!(f, "allocations   {:>14}", self.allocations)?;
        writeln!(f, "local frees   {:>14}", self.local_frees)?;
        writeln!(
            f,
            "remote frees  {:>14}  ({} batches, {} collects)",
            self.remote_frees, self.batches, self.collects
        )?;
        writeln!(f, "unreclaimed   {:>14}", self.unreclaimed)?;
        if self.large > 0 {
            let kib = self.large_bytes >> 10;
            writeln!(f, "large         {:>14}  ({kib} KiB)", self.large)?;
        }
        if let Some(bound) = self.bound {
            let Self {
                in_use,
                refusals,
                waits,
                ..
            } = self;
            writeln!(
                f,
                "in use        {in_use:>14}  (of at most {bound}; {refusals} refusals, {waits} waits)"
            )?;
        }
        write!(f, "live          {:>14}", self.live())
    }
}

/// A difference of counters that were read one after the other, while they grew.
fn not_below_zero(difference: u64) -> u64 {
    if difference > u64::MAX / 2 {
        0
    } else {
        difference
    }
}

/// What a pool did with slots of one size: the part of its [`Stats`] that can be told apart by size.
///
/// # Examples
///
/// ```
/// let _small = segment_pool::PoolBox::new([0_u8; 30]);
/// let _larger = segment_pool::PoolBox::new([0_u8; 3000]);
/// let report = segment_pool::report();
/// assert_eq!(report.classes.len(), 2);
/// assert!(report.classes[0].slot_bytes < report.classes[1].slot_bytes);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// The distance from one slot to the next, in bytes. A value uses the smallest class that is large enough.
    pub slot_bytes: u64,
    /// As in [`Stats::segments`].
    pub segments: u64,
    /// As in [`Stats::segment_bytes`].
    pub segment_bytes: u64,
    /// As in [`Stats::capacity`].
    pub capacity: u64,
    /// As in [`Stats::allocations`].
    pub allocations: u64,
    /// As in [`Stats::local_frees`].
    pub local_frees: u64,
    /// As in [`Stats::remote_frees`].
    pub remote_frees: u64,
    /// As in [`Stats::unreclaimed`].
    pub unreclaimed: u64,
    /// As in [`Stats::batches`].
    pub batches: u64,
    /// As in [`Stats::collects`].
    pub collects: u64,
}

impl ClassStats {
    /// Room for the classes of a pool, the smallest first. Foreign code runs.
    pub(crate) fn room(pool: RegistryRef) -> Vec<Self> {
        pool.strides().map(Self::of_stride).collect()
    }

    pub(crate) fn was_used(&self) -> bool {
        self.segments + self.allocations > 0
    }

    fn of_stride(stride: usize) -> Self {
        Self {
            slot_bytes: stride as u64,
            ..Self::default()
        }
    }

    /// All but what was allocated and sent on.
    fn add_frees(&mut self, bin: &Bin) {
        let (stride, counts) = (self.slot_bytes as usize, bin.counts());
        let segments = counts.segments.get();
        self.segments += segments;
        self.segment_bytes += segments * Span::of(stride).bytes() as u64;
        self.capacity += segments * capacity(stride) as u64;
        self.local_frees += bin.freed_here();
        self.remote_frees += counts.remote_frees.get();
        self.batches += counts.batches.get();
        self.collects += counts.collects.get();
    }

    /// What was allocated, and takes off what was sent on, which may be more by now than was freed then.
    fn add_allocations(&mut self, bin: &Bin) {
        self.allocations += bin.allocations();
        self.local_frees = self.local_frees.wrapping_sub(bin.sent_on());
    }

    /// The sum of two.
    pub(crate) fn plus(self, other: &Self) -> Self {
        Self {
            slot_bytes: 0,
            segments: self.segments + other.segments,
            segment_bytes: self.segment_bytes + other.segment_bytes,
            capacity: self.capacity + other.capacity,
            allocations: self.allocations + other.allocations,
            local_frees: self.local_frees + other.local_frees,
            remote_frees: self.remote_frees + other.remote_frees,
            unreclaimed: self.unreclaimed + other.unreclaimed,
            batches: self.batches + other.batches,
            collects: self.collects + other.collects,
        }
    }

    /// Returns the number of live values: allocations minus frees.
    ///
    /// # Examples
    ///
    /// ```
    /// let _boxes: Vec<_> = (0..10).map(segment_pool::PoolBox::new).collect();
    /// assert_eq!(segment_pool::report().classes[0].live(), 10);
    /// ```
    #[must_use]
    pub fn live(&self) -> u64 {
        self.allocations
            .saturating_sub(self.local_frees + self.remote_frees + self.unreclaimed)
    }
}

/// Returns the default pool's [`Stats`]. Cost: a few loads per heap and size class.
///
/// # Examples
///
/// ```
/// let before = segment_pool::stats();
/// drop(segment_pool::PoolBox::new(1_u64));
/// let after = segment_pool::stats();
/// assert_eq!(after.allocations - before.allocations, 1);
/// assert_eq!(after.local_frees - before.local_frees, 1);
/// ```
#[must_use]
pub fn stats() -> Stats {
    let pool = registry::default();
    Stats::of(pool, Some(pool.core().name))
}

/// The result of a validation, which counted every slot of the visited heaps.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let boxed = pool.alloc(7);
/// let validation = pool.validate();
/// assert_eq!((validation.heaps, validation.segments, validation.live), (1, 1, 1));
/// assert_eq!(validation.others.heaps, 0); // no other thread has a heap of the pool
/// println!("{validation}");
/// # drop(boxed);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Validation {
    /// The heaps that were visited.
    pub heaps: usize,
    /// The segments of these heaps.
    pub segments: usize,
    /// The slots in these segments.
    pub capacity: usize,
    /// The slots that are free: in one of the lists, or never allocated.
    pub free: usize,
    /// The other slots: live, or freed by a thread that has them in an open batch or keeps them for its own use.
    pub live: usize,
    /// The slots of other heaps' segments that a visited thread freed and keeps in its lists. In those heaps they count
    /// as live.
    pub kept: usize,
    /// The heaps that were not visited, because other threads have them.
    pub others: OtherHeaps,
}

/// Heaps of other threads, by what their counters and the headers of their segments say: no list was walked. While those threads run
/// the numbers may be off.
///
/// # Examples
///
/// ```
/// use segment_pool::SegmentPool;
///
/// let pool = SegmentPool::new();
/// let meet = std::sync::Barrier::new(2);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let _boxed = pool.alloc(7);
///         meet.wait();
///         meet.wait();
///     });
///     meet.wait();
///     let others = pool.validate().others;
///     assert_eq!((others.heaps, others.segments, others.live), (1, 1, 1));
///     meet.wait();
/// });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherHeaps {
    /// How many there are.
    pub heaps: usize,
    /// Their segments.
    pub segments: usize,
    /// Slots in these segments.
    pub capacity: usize,
    /// Those that are alive, or in open batches.
    pub live: usize,
    /// Those that were freed remotely and are not collected.
    pub unreclaimed: usize,
}

impl OtherHeaps {
    /// Of the heaps that are not among these, which are sorted.
    fn but(pool: RegistryRef, visited: &[*mut OwnerId]) -> Self {
        let mut others = Self::default();
        let is_other = |heap: &*mut OwnerId| visited.binary_search(heap).is_err();
        pool.look(|sight, stride| {
            if is_other(&sight.heap) {
                let capacity = capacity(stride);
                others.segments += 1;
                others.capacity += capacity;
                others.live += sight.used(capacity);
                others.unreclaimed += sight.uncollected(capacity);
            }
        });
        for heap in pool.heaps().filter(|heap| is_other(&heap.id())) {
            others.heaps += 1;
            others.live = others.live.saturating_sub(at_hand(heap));
        }
        others
    }
}

impl Validation {
    /// Counts the slots in a pool's heaps that this thread holds or that are abandoned, without foreign code in
    /// between.
    pub(crate) fn of(pool: RegistryRef) -> Self {
        let mut canvas = Canvas::default();
        let validation = look::until_seen(
            &mut canvas,
            |canvas, slack| canvas.make_room(pool, slack),
            |canvas| Self::count(pool, canvas),
        );
        thread::emit_events();
        validation
    }

    /// Runs no foreign code, which might idle or trim between two heaps. So each heap is visited once.
    fn count(pool: RegistryRef, canvas: &mut Canvas) -> Result<Self, Stop> {
        canvas.visited.clear();
        let mut validation = Self::default();
        let mut visited = Ok(());
        thread::for_each_held(|heap| {
            if registry::registry_of(heap) == pool && visited.is_ok() {
                visited = validation.visit(heap, canvas);
            }
        });
        visited?;
        for heap in pool.heaps() {
            if pool.adopt_one(heap) {
                pool.add_ref();
                let visited = validation.visit(heap, canvas);
                // SAFETY: the heap was adopted and its reference was counted above.
                unsafe { leave(heap, visited) }?;
            }
        }
        canvas.visited.sort_unstable(); // in place
        validation.others = OtherHeaps::but(pool, &canvas.visited);
        Ok(validation)
    }

    /// Owning thread only.
    fn visit(&mut self, heap: HeapRef, canvas: &mut Canvas) -> Result<(), Stop> {
        canvas.visited.push(heap.id())?;
        thread::collect(heap);
        self.kept += canvas.draw(heap)?;
        let live = |state: &&SlotState| **state == SlotState::Live;
        let live = canvas.slots.iter().filter(live).count();
        let live = live.checked_sub(remote(heap)).ok_or(Stop::Damaged(
            "a free slot was freed again by another thread",
        ))?;
        self.heaps += 1;
        self.segments += canvas.outlines.len();
        self.capacity += canvas.slots.len();
        self.live += live;
        self.free += canvas.slots.len() - live;
        Ok(())
    }
}

/// Leaves a heap that was adopted temporarily. If a list of it is damaged, the lists stay as they are.
///
/// # Safety
///
/// As for [`thread::leave`].
unsafe fn leave(heap: HeapRef, visited: Result<(), Stop>) -> Result<(), Stop> {
    match visited {
        // SAFETY: guaranteed by the caller.
        Ok(()) => unsafe { thread::leave(heap) },
        // SAFETY: guaranteed by the caller.
        Err(_) => unsafe { thread::put_back(heap) },
    }
    visited
}

/// Counts the slots in remote lists, which arrived since the owner collected. They are not inspected, because a thread
/// that frees the last slot of a segment may purge the segment.
fn remote(heap: HeapRef) -> usize {
    let of_segment = |segment: SegmentRef| match segment.remote_word().peek() {
        Taken::List(listed) => listed.count,
        Taken::Purging | Taken::Purged { .. } => segment.identity().capacity,
    };
    let segments = heap.used_bins().flat_map(Bin::segments);
    segments.map(of_segment).sum()
}

/// Room for the inspection of one heap.
#[derive(Default)]
struct Canvas {
    outlines: Shelf<Outline>,
    slots: Shelf<SlotState>,
    /// The heaps that were drawn.
    visited: Shelf<*mut OwnerId>,
}

impl Canvas {
    /// Makes room for the largest heap of the pool.
    fn make_room(&mut self, pool: RegistryRef, slack: Slack) {
        let sizes = || pool.heaps().map(Size::of);
        let segments = sizes().map(|size| size.segments).max().unwrap_or(0);
        let slots = sizes().map(|size| size.slots).max().unwrap_or(0);
        self.outlines.make_room(slack.beyond(segments));
        self.slots.make_room(slack.beyond(slots));
        self.visited.make_room(slack.beyond(pool.heaps().count()));
    }

    /// Owning thread only.
    fn draw(&mut self, heap: HeapRef) -> Result<usize, Stop> {
        self.outlines.clear();
        self.slots.clear();
        let slots = look::outline(heap, &mut self.outlines)?;
        self.slots.push_many(SlotState::Untouched, slots)?;
        look::draw(heap, &self.outlines, &mut self.slots)
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            heaps,
            segments,
            capacity,
            free,
            live,
            kept,
            others,
        } = self;
        write!(
            f,
            "{heaps} heaps, {segments} segments: {free} free + {live} live = {capacity} slots, {kept} kept"
        )?;
        if others.heaps > 0 {
            let OtherHeaps {
                heaps,
                segments,
                capacity,
                live,
                unreclaimed,
            } = others;
            write!(
                f,
                "; not looked into: {heaps} heaps, {segments} segments, {live} live and {unreclaimed} unreclaimed of {capacity} slots"
            )?;
        }
        Ok(())
    }
}

/// Checks the lists of the default pool's heaps that this thread holds or that are abandoned: each slot must be in
/// exactly one place, so `free + live == capacity`. Heaps that other threads hold are not visited. This is meant for
/// tests and diagnosis. Cost: it inspects every free slot.
///
/// # Panics
///
/// Panics if a list is damaged: a slot is in two lists, or outside of its segment. Only a misuse of
/// [`PoolBox::from_raw`](crate::PoolBox::from_raw), or a bug, can cause that.
///
/// # Examples
///
/// ```
/// let boxed = segment_pool::PoolBox::new(1_u64);
/// let validation = segment_pool::validate();
/// assert!(validation.live >= 1);
/// assert_eq!(validation.free + validation.live, validation.capacity);
/// ```
#[must_use]
pub fn validate() -> Validation {
    Validation::of(registry::default())
}
