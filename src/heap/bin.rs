//! One heap's slots of one stride: allocate and free a slot; refill, spill, distribute.
//!
//! ```text
//!               spill (a full magazine, O(1))           distribute (slot by slot, only to release memory)
//!   free list  <----------------------------->  full magazines  --------->  returned lists of the segments
//!    ^  ^  ^                                                                              |
//!    |  |  +------------------- refill: a run of slots of one segment --------------------+
//!    |  +---- refill: some slots at a time ---- deferred list  <---- collect: a long remote list
//!   pop/push
//! ```
//!
//! Only the heap's owner touches a bin; any thread may read the counters. The free list mixes slots of all
//! segments of the bin, because the slot freed last is in the cache whichever segment it belongs to. If the
//! full magazines hold more than half of the bin's slots, spilling starts to drain them: each spill takes two
//! magazines apart and returns their slots to the segments. Draining ends when an allocation takes a
//! magazine.
//!
//! The lists may contain *cached remote slots*. These are slots of other heaps' segments, of the same pool
//! and stride, which this thread freed and kept. To their segments they are live. `distribute` detects them
//! and sets them aside to be sent to their segments. A thread starts to cache remote slots after it sent
//! many, freed few of its own meanwhile, and has no full magazine. It stops with the second magazine that it
//! spills, or when slots are returned to the segments. So a bin caches at most three magazines of remote
//! slots.
//!
//! Free slots that a bin holds: at most one magazine and an eighth in the free list, half of the bin's slots
//! or 2 MiB (whichever is more) in the full magazines, and the slots of one remote list in the deferred list.
//! `segments` lists those with room first.

use core::ptr::NonNull;

use crate::ground::layout::{Span, magazine_slots};
use crate::ground::sync::{Cell, Counter, const_fn};
use crate::heap::batch;
use crate::heap::deferred::{DeferredList, Places};
use crate::heap::lists::{Loose, RemoteSlots, SegmentList};
use crate::memory::remote::{Listed, Taken};
use crate::memory::segment::{CacheScope, OwnerId, SegmentRef};
use crate::slot::free_list::{self, FreeList, FullMagazines};
use crate::slot::{self, SlotPtr};

/// Bytes of free slots in the full magazines below which no slot is returned to its segment: the size of a
/// second-level cache.
const FULL_BYTES: usize = 2 << 20;

/// Remote slots that a thread sends before it may start to cache them. Small in the crate's own tests and the
/// fuzzer, whose random operations would not reach more.
const WINDOW: usize = if cfg!(all(any(test, fuzzing), not(segment_pool_loom))) {
    64
} else {
    8192
};
/// The least that a batch counts for, in slots: caching saves its compare-and-swap and the owner's cold
/// reads.
const BATCH_COST: usize = 16;

/// See the module documentation. A bin of all zero bytes was never used.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Bin {
    free: FreeList,
    /// The segments whose slots it caches while the free list is short.
    cache_scope: Cell<CacheScope>,
    full: FullMagazines,
    /// A remote list that is linked bit by bit.
    deferred: DeferredList,
    segments: SegmentList,
    stride: Cell<usize>,
    heap: Cell<*mut OwnerId>,
    /// Slots in a magazine.
    magazine: Cell<usize>,
    /// Slots that stay in the free list when a magazine is spilled.
    retained: Cell<usize>,
    /// Slots in its segments, handed out or not.
    slots: Cell<usize>,
    /// Whether spilling returns full magazines to the segments.
    draining: Cell<bool>,
    /// Slots that the thread sent to other heaps in the current window, small batches rounded up.
    sent: Cell<usize>,
    /// The number of slots freed here when the window began.
    window: Cell<u64>,
    counts: Counts,
}

/// What the bin's cold paths leave for the heap to handle.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// Segments that became empty.
    pub(crate) empty: Loose,
    /// Slots found in the bin's lists that belong to other heaps' segments.
    pub(crate) remote: RemoteSlots,
    /// Bytes of segments among these that the pushing threads purged.
    pub(crate) purged_bytes: Cell<usize>,
}

impl Leftovers {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                empty: Loose::new(),
                remote: RemoteSlots::new(),
                purged_bytes: Cell::new(0),
            }
        }
    }
}

/// Statistics. The owner writes them; any thread reads them.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) segments: Counter,
    pub(crate) remote_frees: Counter,
    pub(crate) batches: Counter,
    /// Remote lists that were taken.
    pub(crate) collects: Counter,
    /// Slots freed here that were sent on to other heaps' segments. Those heaps count their frees.
    sent_on: Counter,
    /// One less than the slots of a full free list. The number of allocations is computed from it.
    border: Counter,
}

impl Bin {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                free: FreeList::new(),
                cache_scope: Cell::new(CacheScope { pool_wide: false, owner: core::ptr::null_mut() }),
                full: FullMagazines::new(),
                deferred: DeferredList::new(),
                segments: SegmentList::new(),
                stride: Cell::new(0),
                heap: Cell::new(core::ptr::null_mut()),
                magazine: Cell::new(0),
                retained: Cell::new(0),
                slots: Cell::new(0),
                draining: Cell::new(false),
                sent: Cell::new(0),
                window: Cell::new(0),
                counts: Counts {
                    segments: Counter::new(0),
                    remote_frees: Counter::new(0),
                    batches: Counter::new(0),
                    collects: Counter::new(0),
                    sent_on: Counter::new(0),
                    border: Counter::new(0),
                },
            }
        }
    }

    /// Sets the stride, the heap and the deferred list's bitmap of a bin that was never used.
    ///
    /// # Safety
    ///
    /// As for [`DeferredList::prepare`].
    pub(crate) unsafe fn prepare(
        &self,
        stride: usize,
        heap: *mut OwnerId,
        places: NonNull<Places>,
    ) {
        if self.stride.get() == 0 {
            // SAFETY: guaranteed by the caller.
            unsafe { self.deferred.prepare(places) };
            self.heap.set(heap);
            self.narrow_scope();
            let magazine = magazine_slots(stride);
            let retained = (magazine / 8).max(1);
            self.stride.set(stride);
            self.magazine.set(magazine);
            self.retained.set(retained);
            let border = magazine + retained - 1;
            self.counts.border.add(border as u64);
            self.free.set_border(border);
        }
    }

    /// Allocates a slot from the free list.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<SlotPtr> {
        self.free.pop()
    }

    /// Frees a slot into the free list, if its segment is in the cache scope and the free list is short.
    ///
    /// # Safety
    ///
    /// The caller owns the heap and, if the answer is true, gives up the slot. If the slot is of this pool,
    /// it is of a bin with this index.
    #[inline(always)]
    pub(crate) unsafe fn try_cache(&self, segment: SegmentRef, slot: SlotPtr) -> bool {
        // SAFETY: guaranteed by the caller.
        segment.is_in(self.cache_scope.get()) && unsafe { self.free.push_if_short(slot) }
    }

    /// Notes that the thread is sending a batch of `slots` slots to another heap of the same pool.
    pub(crate) fn note_sent(&self, slots: usize, pool: *mut OwnerId) {
        if self.heap.get().is_null() {
            return;
        }
        self.sent.set(self.sent.get() + slots.max(BATCH_COST));
        if self.sent.get() < WINDOW || self.full.magazines() > 0 {
            return;
        }
        let own = (self.free.pushes() - self.window.get()) as usize;
        if own < 2 * self.sent.get() {
            self.cache_scope.set(CacheScope {
                pool_wide: true,
                owner: pool,
            });
        }
        self.begin_window();
    }

    /// Narrows the cache scope to the heap's own segments and starts a new window.
    fn narrow_scope(&self) {
        self.cache_scope.set(CacheScope {
            pool_wide: false,
            owner: self.heap.get(),
        });
        self.begin_window();
    }

    fn begin_window(&self) {
        self.sent.set(0);
        self.window.set(self.free.pushes());
    }

    /// Frees a slot. True if the free list must be spilled.
    ///
    /// # Safety
    ///
    /// The caller owns the heap and gives up a slot of this bin.
    #[inline]
    #[must_use = "a full free list must be spilled"]
    pub(crate) unsafe fn push(&self, slot: SlotPtr) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe { self.free.push(slot) };
        self.free.is_full()
    }

    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Fills the empty free list from the deferred list. Draining ends, as in `refill_from_magazines`.
    pub(crate) fn refill_from_deferred(&self) -> bool {
        let chain = self.deferred.pop_chain();
        if let Some((slots, len)) = chain {
            self.draining.set(false);
            self.free.fill(slots, len);
        }
        chain.is_some()
    }

    /// Allocates a slot from the deferred list. The free list must be empty.
    #[inline(always)]
    pub(crate) fn pop_deferred(&self) -> Option<SlotPtr> {
        if self.refill_from_deferred() {
            self.pop()
        } else {
            None
        }
    }

    /// Fills the empty free list with a full magazine. Draining ends, because the thread allocates.
    pub(crate) fn refill_from_magazines(&self) -> bool {
        let magazine = self.full.pop();
        self.draining.set(false);
        if let Some(slots) = magazine {
            self.free.fill(slots, self.magazine.get());
        }
        magazine.is_some()
    }

    /// Fills the empty free list from a segment with room.
    pub(crate) fn refill_from_segments(&self) -> bool {
        let Some(segment) = self.segments.front() else {
            return false;
        };
        let run = segment.pop_chain(self.magazine.get());
        if let Some((slots, len)) = run {
            self.free.fill(slots, len);
        }
        if !segment.has_room() {
            self.segments.move_to_back(segment);
        }
        run.is_some()
    }

    /// Adds a segment with room.
    pub(crate) fn add(&self, segment: SegmentRef) {
        self.segments.push_front(segment);
        self.slots
            .set(self.slots.get() + segment.identity().capacity);
        self.counts.segments.add(1);
    }

    fn remove(&self, segment: SegmentRef) {
        self.segments.remove(segment);
        self.slots
            .set(self.slots.get() - segment.identity().capacity);
        self.counts.segments.sub(1);
    }

    /// Moves a magazine from the full free list to the full magazines. Segments may become empty from then
    /// on; they go to `left`.
    pub(crate) fn spill(&self, left: &Leftovers) {
        if self.cache_scope.get().pool_wide && self.full.magazines() > 0 {
            self.narrow_scope();
        }
        let taken = self.free.split_off(self.retained.get(), self.border());
        let Some((slots, len)) = taken else {
            return;
        };
        if len == self.magazine.get() && slot::holds_magazine_link(self.stride.get()) {
            // SAFETY: the caller gives the slots of the free list to the full magazines.
            unsafe { self.full.push(slots) };
            self.drain(left);
        } else {
            self.distribute(slots, left);
        }
    }

    /// Returns the slots of two magazines to the segments if the full magazines hold more than their limit.
    /// Returns deferred slots if no magazine is left.
    fn drain(&self, left: &Leftovers) {
        let held = self.full.magazines() * self.magazine.get();
        let small = FULL_BYTES / self.stride.get();
        if held > small.max(self.slots.get() / 2) {
            self.draining.set(true);
            self.narrow_scope();
        }
        if self.draining.get() {
            for magazine in [self.full.pop(), self.full.pop()] {
                match magazine {
                    Some(slots) => self.distribute(slots, left),
                    None => _ = self.return_deferred(self.magazine.get(), left),
                }
            }
        }
    }

    /// Returns every slot of the bin's lists to its segment. Removes the empty segments, including those of
    /// which no slot was ever handed out.
    pub(crate) fn distribute_all(&self, left: &Leftovers) {
        self.narrow_scope();
        self.return_deferred(usize::MAX, left);
        if let Some((slots, _)) = self.free.split_off(0, self.border()) {
            self.distribute(slots, left);
        }
        while let Some(slots) = self.full.pop() {
            self.distribute(slots, left);
        }
        let mut next = self.segments.front().filter(|segment| segment.has_room());
        while let Some(segment) = next {
            next = self
                .segments
                .after(segment)
                .filter(|segment| segment.has_room());
            if segment.is_empty() {
                self.remove(segment);
                left.empty.push(segment);
            }
        }
    }

    /// Returns at most `most` deferred slots to their segment. Returns how many there were.
    fn return_deferred(&self, most: usize, left: &Leftovers) -> usize {
        let deferred = core::iter::from_fn(|| self.deferred.pop()).take(most);
        let return_slot = |(segment, slot)| {
            // SAFETY: the slot was in the deferred list until now, so the owner owns it.
            unsafe { slot::expect_untouched(slot) };
            // SAFETY: as above; the segment of the deferred list belongs to this bin while the list is not
            // empty.
            unsafe { self.return_slot(segment, slot, left) };
        };
        deferred.map(return_slot).count()
    }

    /// One less than the slots of a full free list.
    fn border(&self) -> usize {
        self.counts.border.get() as usize
    }

    fn distribute(&self, slots: SlotPtr, left: &Leftovers) {
        let span = Span::of(self.stride.get());
        let mut rest = Some(slots);
        while let Some(slot) = rest {
            // SAFETY: the bin owns the chain.
            rest = unsafe { slot::link(slot) };
            // SAFETY: the bin's slots are in segments of its stride. A segment is in use while one of its
            // slots is not returned to it.
            let segment = unsafe { SegmentRef::of(slot, span) };
            if segment.heap() == self.heap.get() {
                // SAFETY: the slot just left the bin's lists, and the segment belongs to this heap.
                unsafe { self.return_slot(segment, slot, left) };
            } else {
                self.counts.sent_on.add(1);
                // SAFETY: the slot just left the bin's lists.
                unsafe { left.remote.push(slot, span) };
            }
        }
    }

    /// Returns a slot to its segment and moves the segment within the bin's list, or out of it if it is empty
    /// now.
    ///
    /// # Safety
    ///
    /// The segment belongs to this bin, and the caller gives up the slot, which is in that segment.
    #[inline]
    pub(crate) unsafe fn return_slot(&self, segment: SegmentRef, slot: SlotPtr, left: &Leftovers) {
        let had_room = segment.has_room();
        // SAFETY: guaranteed by the caller.
        if unsafe { segment.return_slot(slot) } {
            self.remove(segment);
            left.empty.push(segment);
        } else if !had_room {
            self.segments.move_to_front(segment);
        }
    }

    /// Takes the remote list of one of the bin's segments. If the free list is empty and the list is long,
    /// the list is deferred. Otherwise its slots go to the free list and, one magazine at a time, to the full
    /// magazines. Returns the number of slots.
    ///
    /// # Safety
    ///
    /// The caller owns the heap and took the segment out of its pending list.
    pub(crate) unsafe fn collect_list(&self, segment: SegmentRef, left: &Leftovers) -> usize {
        // SAFETY: guaranteed by the caller.
        let Some(list) = (unsafe { self.take_remote(segment, left) }) else {
            return 0;
        };
        // SAFETY: the list was taken above.
        if !self.has_free() && unsafe { self.deferred.suit(segment, list) } {
            // SAFETY: as above; `suit` returned true for the list.
            unsafe { self.deferred.defer(segment, list) };
            self.refill_from_deferred();
            return list.count;
        }
        let mut load = self.free.load();
        let receive = |slot| {
            // SAFETY: the slots were on the list that was taken, so the owner owns them.
            if unsafe { load.push(slot) } {
                load.store();
                self.spill(left);
                load = self.free.load();
            }
        };
        // SAFETY: the list was taken above.
        unsafe { batch::each(segment, list, receive) };
        load.store();
        list.count
    }

    /// Takes the remote list of one of the bin's segments and returns its slots to the segment. Returns the
    /// number of slots.
    ///
    /// # Safety
    ///
    /// As for [`collect_list`](Self::collect_list).
    pub(crate) unsafe fn collect_into_segment(
        &self,
        segment: SegmentRef,
        left: &Leftovers,
    ) -> usize {
        // SAFETY: guaranteed by the caller.
        let Some(list) = (unsafe { self.take_remote(segment, left) }) else {
            return 0;
        };
        // With `hardened` each slot is looked at instead, for what was written to it meanwhile.
        if list.count == segment.identity().capacity && !cfg!(feature = "hardened") {
            // SAFETY: the list of all slots was taken.
            unsafe { self.take_out(segment, false, left) };
            return list.count;
        }
        // SAFETY: the slots were on the list that was taken.
        let return_slot = |slot| unsafe { self.return_slot(segment, slot, left) };
        // SAFETY: the list was taken above.
        unsafe { batch::each(segment, list, return_slot) };
        list.count
    }

    /// Takes the remote list of one of the bin's segments and counts it. `None` if there is no list to
    /// unpack; a purged segment is removed from the bin here.
    ///
    /// # Safety
    ///
    /// As for [`collect_list`](Self::collect_list).
    unsafe fn take_remote(&self, segment: SegmentRef, left: &Leftovers) -> Option<Listed> {
        // SAFETY: guaranteed by the caller.
        match unsafe { segment.take_remote() } {
            Taken::List(list) => {
                self.count_remote(list.count, list.batches);
                Some(list)
            }
            Taken::Purging => None,
            Taken::Purged { batches } => {
                self.count_remote(segment.identity().capacity, batches);
                let bytes = segment.identity().span.bytes();
                left.purged_bytes.set(left.purged_bytes.get() + bytes);
                // SAFETY: PURGED was taken just now.
                unsafe { self.take_out(segment, true, left) };
                None
            }
        }
    }

    /// Takes out a segment of which every slot is free, and in no list.
    ///
    /// # Safety
    ///
    /// As for [`SegmentRef::reset`].
    unsafe fn take_out(&self, segment: SegmentRef, purged: bool, left: &Leftovers) {
        // SAFETY: guaranteed by the caller.
        unsafe { segment.reset(purged) };
        self.remove(segment);
        left.empty.push(segment);
    }

    fn count_remote(&self, frees: usize, batches: usize) {
        self.counts.remote_frees.add(frees as u64);
        self.counts.batches.add(batches as u64);
        self.counts.collects.add(1);
    }

    /// Returns at most `most` magazines of slots to their segments. True if the bin's lists are empty.
    pub(crate) fn distribute_some(&self, most: usize, left: &Leftovers) -> bool {
        for _ in 0..most {
            if self.return_deferred(self.magazine.get(), left) > 0 {
                continue;
            }
            match self.full.pop() {
                Some(slots) => self.distribute(slots, left),
                None => {
                    self.distribute_all(left);
                    return true;
                }
            }
        }
        false
    }

    /// Removes a segment with room from a bin whose lists are empty, and returns it.
    pub(crate) fn detach_segments(&self) -> Option<SegmentRef> {
        let segment = self.segments.front().filter(|segment| segment.has_room())?;
        self.remove(segment);
        Some(segment)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Slots ever allocated. Any thread may call this; the answer may lag.
    pub(crate) fn allocations(&self) -> u64 {
        // The terms are read one after the other. While they change, the sum may fall below zero.
        let allocations = self.free.pops(self.counts.border.get());
        if allocations > u64::MAX / 2 {
            0
        } else {
            allocations
        }
    }

    /// Slots freed by the owner, ever, also those that it sent home since. Any thread may ask; the answer may lag.
    pub(crate) fn freed_here(&self) -> u64 {
        self.free.pushes()
    }

    /// Those of them that it sent home, to be counted there. Any thread may ask; the answer may lag.
    pub(crate) fn sent_on(&self) -> u64 {
        self.counts.sent_on.get()
    }

    /// How many slots are in the bin's own lists, which has this stride. Any thread may ask; the answer may lag.
    pub(crate) fn at_hand(&self, stride: usize) -> usize {
        let magazine = magazine_slots(stride);
        // While its parts change the length may be off, and fall below zero.
        let free = match self.free.len(self.border()) {
            len if len <= 2 * magazine => len,
            _ => 0,
        };
        free + self.full.magazines() * magazine + self.deferred.left()
    }

    /// The slots in the bin's lists. Each list stops at its recorded length, because a damaged list may have
    /// no end. Owner only.
    pub(crate) fn stock(&self) -> impl Iterator<Item = SlotPtr> {
        let free = self.free.iter().take(self.free.len(self.border()));
        let magazines = self.full.iter().take(self.full.magazines());
        let full = magazines.flat_map(|first| {
            let magazine = free_list::chain(Some(first));
            magazine.take(self.magazine.get())
        });
        free.chain(self.deferred.iter()).chain(full)
    }

    /// The stride, or 0 if the bin was never used. Owner only.
    pub(crate) fn stride(&self) -> usize {
        self.stride.get()
    }

    /// The segments of the bin, those with room first. Owner only.
    pub(crate) fn segments(&self) -> impl Iterator<Item = SegmentRef> {
        self.segments.iter()
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
impl Bin {
    /// Slots in the free list.
    pub(crate) fn free_len(&self) -> usize {
        self.free.iter().count()
    }
}
