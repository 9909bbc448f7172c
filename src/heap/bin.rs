//! One heap's slots of one stride: take and give back a slot; refill, spill, distribute.
//!
//! ```text
//!   pop/push        spill (a full magazine, O(1))         distribute (slot by slot, only to release memory)
//!  free list  <------------------------------>  full magazines  ------------------------------>  home lists of the segments
//!      ^                                                                                            |
//!      +------------------------------------- refill: a run of one segment -------------------------+
//!      +---- some slots at a time ---- marks <---------- receive: a long remote list
//! ```
//!
//! Owner only, but for the counters. The free list mixes slots of all the bin's segments, because the slot freed last
//! is in the cache, whichever segment it is in. Only when the full magazines holds more than half of the bin's slots are
//! magazines taken apart and their slots brought home, two for each that is spilled; that goes on until an allocation wants
//! a magazine back.
//!
//! The lists may hold *foreign* slots: of another heap's segments of the same pool and stride, which this thread freed and
//! kept. To their segments these are alive. Distributing notices them and sets them aside to be sent home. A thread begins
//! to keep when it has sent many home, freed few of its own meanwhile, and has an empty full magazines. It ends with the second
//! magazine that it hangs there, or when slots are brought home. So cached remote slots are at most three magazines.
//!
//! Held back at most: one magazine and an eighth in the free list, and in the full magazines half of the bin's slots or 2 MiB, whichever
//! is more; marked, the slots of one remote list. The list `segments` keeps those with room in front.

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

/// Bytes of free slots in the full magazines below which nothing is brought home: what a second-level cache holds.
const FULL_BYTES: usize = 2 << 20;

/// Slots that a thread sends home before it may begin to keep such. Few where operations are
/// random, in the crate's own tests and the fuzzer: they would not come to more.
const WINDOW: usize = if cfg!(all(any(test, fuzzing), not(segment_pool_loom))) {
    64
} else {
    8192
};
/// What the smallest batch counts as, in slots: its compare-and-swap and the owner's cold look are to be saved.
const BATCH_COST: usize = 16;

/// See the module. All zero bytes are a bin that was never used.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Bin {
    free: FreeList,
    /// The segments whose slots it takes while the free list is short.
    cache_scope: Cell<CacheScope>,
    full: FullMagazines,
    /// A remote list that waits to be linked.
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
    /// Whether the full magazines is being emptied.
    draining: Cell<bool>,
    /// What the thread sent home to other heaps in the present window.
    sent: Cell<usize>,
    /// Slots that had been freed here when the window began.
    window: Cell<u64>,
    counts: Counts,
}

/// What the bin's cold paths leave to the heap.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// Segments that became empty.
    pub(crate) empty: Loose,
    /// Slots that were found to be of other heaps' segments.
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

/// For the statistics: written by the owner, read by any thread.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) segments: Counter,
    pub(crate) remote_frees: Counter,
    pub(crate) batches: Counter,
    /// Remote lists that were taken.
    pub(crate) collects: Counter,
    /// Slots freed here that were of other heaps' segments and went on to those, to be counted there.
    sent_on: Counter,
    /// One below the slots of a full free list: part of the equation for the allocations.
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

    /// Sets the stride and the heap of a bin that was never used, and where it may mark slots.
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

    /// A free slot, if one is at hand.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<SlotPtr> {
        self.free.pop()
    }

    /// Frees a slot of a segment of the bin's cache scope, if the free list is short.
    ///
    /// # Safety
    ///
    /// The caller owns the heap, and if the answer is true gives the slot up: if it is of this pool, it is of a bin with
    /// this index.
    #[inline(always)]
    pub(crate) unsafe fn try_cache(&self, segment: SegmentRef, slot: SlotPtr) -> bool {
        // SAFETY: guaranteed by the caller.
        segment.is_in(self.cache_scope.get()) && unsafe { self.free.push_if_short(slot) }
    }

    /// Notes that the thread is sending a batch of so many slots home, to another heap of the same pool.
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

    /// Makes the heap's own segments the cache scope, until the next window says otherwise.
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

    /// Frees a slot; true when the free list must be spilled.
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

    /// Fills the empty free list from the deferred slots. As with the full magazines, draining ends.
    pub(crate) fn refill_from_deferred(&self) -> bool {
        let chain = self.deferred.pop_chain();
        if let Some((slots, len)) = chain {
            self.draining.set(false);
            self.free.fill(slots, len);
        }
        chain.is_some()
    }

    /// A slot of those that are marked, if the free list is empty.
    #[inline(always)]
    pub(crate) fn pop_deferred(&self) -> Option<SlotPtr> {
        if self.refill_from_deferred() {
            self.pop()
        } else {
            None
        }
    }

    /// Fills the empty free list from the full magazines. A thread that asks is not tearing down: draining ends.
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

    /// Puts a magazine of the full free list into the full magazines. Segments that become empty, as they may from then on, go
    /// to `left`.
    pub(crate) fn spill(&self, left: &Leftovers) {
        if self.cache_scope.get().pool_wide && self.full.magazines() > 0 {
            self.narrow_scope();
        }
        let taken = self.free.split_off(self.retained.get(), self.border());
        let Some((slots, len)) = taken else {
            return;
        };
        if len == self.magazine.get() && slot::holds_magazine_link(self.stride.get()) {
            // SAFETY: the free list's slots are given to the full magazines.
            unsafe { self.full.push(slots) };
            self.drain(left);
        } else {
            self.distribute(slots, left);
        }
    }

    /// Brings two magazines home if the full magazines has more than its share; deferred slots, when it has no more.
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

    /// Brings every slot of the free list and the full magazines home, and takes out the segments that are empty, those too of
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

    /// Brings at most so many deferred slots home, and returns how many these were.
    fn return_deferred(&self, most: usize, left: &Leftovers) -> usize {
        let deferred = core::iter::from_fn(|| self.deferred.pop()).take(most);
        let return_slot = |(segment, slot)| {
            // SAFETY: the slot was marked until now.
            unsafe { slot::expect_untouched(slot) };
            // SAFETY: as above, and its segment is the bin's while it has one.
            unsafe { self.return_slot(segment, slot, left) };
        };
        deferred.map(return_slot).count()
    }

    /// One below the slots of a full free list.
    fn border(&self) -> usize {
        self.counts.border.get() as usize
    }

    fn distribute(&self, slots: SlotPtr, left: &Leftovers) {
        let span = Span::of(self.stride.get());
        let mut rest = Some(slots);
        while let Some(slot) = rest {
            // SAFETY: the chain is the bin's own.
            rest = unsafe { slot::link(slot) };
            // SAFETY: the bin's slots are in segments of its stride, in use while a slot is not on the list of its segment.
            let segment = unsafe { SegmentRef::of(slot, span) };
            if segment.heap() == self.heap.get() {
                // SAFETY: the slot just left the bin's lists, and the segment is the heap's own.
                unsafe { self.return_slot(segment, slot, left) };
            } else {
                self.counts.sent_on.add(1);
                // SAFETY: the slot just left the bin's lists.
                unsafe { left.remote.push(slot, span) };
            }
        }
    }

    /// # Safety
    ///
    /// The segment is one of the bin's, and the caller gives up the slot, which is one of the segment's.
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

    /// Takes the remote list of one of the bin's segments: if the free list is empty and the list is long, it is marked, and
    /// else goes into the free list and, a magazine at a time, the full magazines. Returns how many slots these were.
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
            // SAFETY: as above.
            unsafe { self.deferred.defer(segment, list) };
            self.refill_from_deferred();
            return list.count;
        }
        let mut load = self.free.load();
        let receive = |slot| {
            // SAFETY: the slots were on the list that was taken.
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

    /// Takes the remote list of one of the bin's segments straight home. Returns how many slots these were.
    ///
    /// # Safety
    ///
    /// As for [`receive`](Self::receive).
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

    /// # Safety
    ///
    /// As for [`receive`](Self::receive).
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

    /// Brings at most `most` magazines home; true when none is left in the bin's lists.
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

    /// Takes a segment with room out of a bin whose lists are empty.
    pub(crate) fn detach_segments(&self) -> Option<SegmentRef> {
        let segment = self.segments.front().filter(|segment| segment.has_room())?;
        self.remove(segment);
        Some(segment)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Slots handed out, ever. Any thread may ask; the answer may lag.
    pub(crate) fn allocations(&self) -> u64 {
        // Its parts are read one after the other, so while they change the sum may fall below zero.
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

    /// The slots in the bin's own lists, as many as each says it has, for a damaged list may have no end. Owner only.
    pub(crate) fn stock(&self) -> impl Iterator<Item = SlotPtr> {
        let free = self.free.iter().take(self.free.len(self.border()));
        let magazines = self.full.iter().take(self.full.magazines());
        let full = magazines.flat_map(|first| {
            let magazine = free_list::chain(Some(first));
            magazine.take(self.magazine.get())
        });
        free.chain(self.deferred.iter()).chain(full)
    }

    /// Owner only.
    pub(crate) fn stride(&self) -> usize {
        self.stride.get()
    }

    /// Owner only.
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
