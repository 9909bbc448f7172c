//! What the owner of a heap does with it: refill a bin, spill, collect what other threads freed, collect and release, release, abandon.
//!
//! Everything here is for the thread that owns the heap, if only for the moment. Two kinds of results are left to the caller:
//! references to the pool that are to be given up, because with the last one the heap is gone, and what is to be passed on to other
//! heaps (`Outgoing`).

use crate::ground::error::AllocErrorKind;
use crate::ground::events::{self, Happened};
use crate::ground::layout::Span;
use crate::ground::os;
use crate::ground::sync::Ordering;
use crate::heap::bin::{Bin, Leftovers};
use crate::heap::fields::HeapRef;
use crate::heap::lists::{Loose, Outgoing};
use crate::memory::segment::{Claimed, Identity, SegmentRef};

/// Empty segments that a heap keeps as spares, in bytes.
pub(super) const SPARE_BYTES: usize = if cfg!(segment_pool_loom) {
    0
} else {
    256 << 10
};
/// Slots that one refill or spill takes out of remote lists, but for the last list, which is taken whole.
const COLLECT_SLOTS: usize = 1024;
/// Fully freed segments that one refill or spill releases at most, of those that nobody needed lately.
const EXCESS_SEGMENTS: usize = 16;

impl HeapRef {
    /// Fills the empty free list of a bin with what the heap has. Owner only.
    pub(crate) fn refill(self, index: usize) -> bool {
        let bin = self.bin(index);
        bin.refill_from_deferred()
            || bin.refill_from_magazines()
            || self.collect_for(bin)
            || bin.refill_from_segments()
    }

    /// Fills the empty free list of a bin from a new segment; false when the system has no memory or the pool's limit is
    /// reached. Owner only.
    pub(crate) fn refill_from_new(self, index: usize) -> bool {
        self.add_segments(index, 1, false).is_ok() && self.bin(index).refill_from_segments()
    }

    /// Adds so many segments to a bin, with their pages if `touch`: all of them, or none. Owner only.
    pub(crate) fn add_segments(
        self,
        index: usize,
        segments: usize,
        touch: bool,
    ) -> Result<(), AllocErrorKind> {
        let stride = self.stride(index);
        let (span, new) = (Span::of(stride), Leftovers::new());
        let make = |claimed| {
            // SAFETY: claimed for this span.
            let segment =
                unsafe { SegmentRef::init(claimed, self.id(), self.pool_id(), index, stride) };
            new.empty.push(segment);
        };
        let spares = self.own.spares[span.index()].iter().count().min(segments);
        let claimed = self.claim(span, segments - spares, make);
        if claimed.is_err() {
            self.release_down_to(&new, 0);
            return claimed;
        }
        let spares = core::iter::from_fn(|| self.take_spare(span)).take(spares);
        spares.for_each(make);
        while let Some(segment) = new.empty.pop() {
            if touch {
                // SAFETY: no slot was handed out yet.
                unsafe { segment.touch(os::page_bytes(), os::touch) };
            }
            self.take_over(segment);
        }
        Ok(())
    }

    /// Takes a segment with room into its bin. Owner only, also of the segment, which names this heap.
    pub(crate) fn take_over(self, segment: SegmentRef) {
        let index = segment.identity().bin;
        let bin = self.bin(index);
        // SAFETY: they lie behind the bins, and no other bin has this index.
        unsafe { bin.prepare(self.stride(index), self.id(), self.places(index)) };
        self.own.used.set(self.own.used.get() | 1 << index);
        bin.add(segment);
    }

    fn take_spare(self, span: Span) -> Option<Claimed> {
        let spare = self.own.spares[span.index()].pop()?;
        self.own.spare_bytes.sub(span.bytes() as u64);
        Some(spare.end())
    }

    /// Claims so many segments, which the limit must allow as a whole, until the system refuses one.
    fn claim(
        self,
        span: Span,
        segments: usize,
        mut claimed: impl FnMut(Claimed),
    ) -> Result<(), AllocErrorKind> {
        let pool = self.pool();
        if !pool.admit(segments) {
            return Err(AllocErrorKind::LimitReached);
        }
        let count = pool.arenas().claim_many(span, segments, |memory| {
            events::note(Happened::SegmentAdded, pool.name, span.bytes());
            claimed(memory);
        });
        if count == segments {
            return Ok(());
        }
        pool.note_starved();
        pool.dismiss(segments - count);
        // Relaxed: as in `release_down_to`.
        pool.refs.fetch_sub(segments - count, Ordering::Relaxed);
        Err(AllocErrorKind::OutOfMemory)
    }

    /// Spills a full free list, and looks at the pending list on the occasion. Owner only.
    pub(crate) fn spill(self, index: usize) {
        let left = Leftovers::new();
        self.bin(index).spill(&left);
        self.release_some(&left);
        if !self.pending().is_empty() {
            self.collect(COLLECT_SLOTS, || false);
        }
    }

    fn collect_for(self, bin: &Bin) -> bool {
        self.collect(COLLECT_SLOTS, || bin.has_free());
        bin.has_free()
    }

    /// Serves everything that waits. Owner only.
    pub(crate) fn collect_all(self) {
        self.collect(usize::MAX, || false);
    }

    /// Serves waiting segments, oldest first, until `enough` or so many slots were taken. Owner only.
    fn collect(self, most: usize, enough: impl Fn() -> bool) {
        let left = Leftovers::new();
        let mut slots = 0;
        while slots < most && !enough() {
            let Some(segment) = self.next_waiting() else {
                break;
            };
            // SAFETY: the segment came out of the pending list.
            let received = unsafe {
                self.bin(segment.identity().bin)
                    .collect_list(segment, &left)
            };
            self.count_received(segment, received);
            slots += received;
        }
        self.learn(left.purged_bytes.get());
        self.release_some(&left);
    }

    fn count_received(self, segment: SegmentRef, slots: usize) {
        let identity = segment.identity();
        if slots == identity.capacity {
            self.uncount_fully_freed(identity.span.bytes());
            self.remote.fully_freed.note_use(os::milliseconds);
        }
    }

    /// Notes that purged segments are in use again.
    fn learn(self, purged_bytes: usize) {
        if purged_bytes > 0 {
            let most = self.pool().arenas().recent_peak();
            self.remote
                .fully_freed
                .learn(purged_bytes, most, os::milliseconds());
        }
    }

    /// The segment of this heap that waited longest.
    fn next_waiting(self) -> Option<SegmentRef> {
        loop {
            if self.own.collecting.is_empty() {
                let taken = self.pending().take();
                self.own
                    .closing
                    .set(self.own.closing.get() | taken.signalled);
                // A pusher that has the heap for a moment need not ask for the time.
                if !taken.first.is_null() && self.is_held() {
                    self.note_served();
                }
                // SAFETY: the caller owns the heap; the list was just taken.
                unsafe { self.own.collecting.push_all(taken.first) };
            }
            match self.own.collecting.pop() {
                Some(segment) if segment.heap() == self.id() => return Some(segment),
                // SAFETY: out of the pending list, and not done with.
                Some(misrouted) => unsafe { self.own.outgoing.misrouted.push(misrouted) },
                None => {
                    self.remote.fully_freed.clear();
                    return None;
                }
            }
        }
    }

    /// For an owner with a reference of its own: the pool cannot end here.
    fn release_some(self, left: &Leftovers) {
        self.release_down_to(left, SPARE_BYTES);
    }

    /// The same with so many bytes of spares.
    fn release_down_to(self, left: &Leftovers, spare_bytes: usize) {
        let released = self.release(left, spare_bytes);
        if released > 0 {
            // Relaxed: the pool ends after this thread has given up its own reference, and that releases all of this.
            self.pool().refs.fetch_sub(released, Ordering::Relaxed);
        }
    }

    /// Keeps empty segments as spares up to a number of bytes and gives the others to the arena. Returns how many
    /// references to the pool are to be given up for them. Owner only.
    fn release(self, left: &Leftovers, spare_bytes: usize) -> usize {
        while let Some((segment, slot)) = left.remote.pop() {
            let remote = &self.own.outgoing.remote;
            // SAFETY: out of a bin's lists.
            unsafe { remote.push(slot, segment.identity().span) };
        }
        let mut released = 0;
        while let Some(segment) = left.empty.pop() {
            let span = segment.identity().span;
            debug_assert!(segment.is_empty() && segment.remote_word().is_idle());
            let kept = self.own.spare_bytes.get() as usize + span.bytes();
            if kept <= spare_bytes {
                segment.hide();
                self.own.spares[span.index()].push(segment);
                self.own.spare_bytes.add(span.bytes() as u64);
            } else {
                // SAFETY: no slot of the segment is anywhere but on the list of its segment.
                unsafe { self.pool().arenas().release(span, segment.end()) };
                events::note(Happened::SegmentReleased, self.pool().name, span.bytes());
                released += 1;
            }
        }
        self.pool().dismiss(released);
        released
    }

    /// The bins that were ever used. Owner only.
    pub(crate) fn used_bins<'a>(self) -> impl Iterator<Item = &'a Bin> {
        let used = self.own.used.get();
        (0..self.pool().bins())
            .filter(move |index| used & 1 << index != 0)
            .map(move |index| self.bin(index))
    }

    /// Makes the segments self-contained: serves the pending list, brings every slot home and releases what is empty, the
    /// spares too. Returns the references to give up. Owner only.
    pub(crate) fn collect_and_release(self) -> usize {
        let served = self.serve();
        let left = Leftovers::new();
        self.used_bins().for_each(|bin| bin.distribute_all(&left));
        served + self.release(&left, 0) + self.release_spares()
    }

    /// Gives the spare segments back. Returns the references to give up. Owner only.
    pub(crate) fn release_spares(self) -> usize {
        let left = Leftovers::new();
        for spares in &self.own.spares {
            while let Some(spare) = spares.pop() {
                left.empty.push(spare);
            }
        }
        self.own.spare_bytes.sub(self.own.spare_bytes.get());
        self.release(&left, 0)
    }

    /// Brings what waits in the pending list straight home and releases what is empty. Returns the references to give up.
    /// Owner only.
    pub(crate) fn serve(self) -> usize {
        self.serve_some(usize::MAX).0
    }

    /// As [`serve`](Self::serve), until so many slots were brought home; also whether nothing waits any more.
    fn serve_some(self, most: usize) -> (usize, bool) {
        let left = Leftovers::new();
        let mut slots = 0;
        let mut served = false;
        while slots < most {
            let Some(segment) = self.next_waiting() else {
                served = true;
                break;
            };
            let Identity { bin, capacity, .. } = *segment.identity();
            // SAFETY: the segment came out of the pending list.
            let received = unsafe { self.bin(bin).collect_into_segment(segment, &left) };
            self.count_received(segment, received);
            let whole = received == capacity;
            slots += if whole { 1 } else { received.max(1) };
        }
        (self.release(&left, 0), served)
    }

    /// Releases some of the segments that wait, if more do than were needed lately. Owner only, with a reference of its own.
    pub(crate) fn release_excess(self) {
        if self.remote.fully_freed.has_excess(os::milliseconds) {
            let (released, _) = self.serve_some(EXCESS_SEGMENTS);
            // Relaxed: as in `release_down_to`.
            self.pool().refs.fetch_sub(released, Ordering::Relaxed);
        }
    }

    /// Abandons the heap, its lists as they are unless its pool was closed, and hands `outgoing` over to the caller,
    /// who passes it on now. Returns the references to give up. Owner only, and not any more.
    ///
    /// An owner leaves only an empty pending list, for nobody else need come who would empty it. It comes to an end, since
    /// each push that keeps it here frees a slot and none are handed out.
    pub(crate) fn abandon(self, outgoing: &Outgoing) -> usize {
        self.set_owner(0);
        let mut released = 0;
        loop {
            released += self.serve() + self.release_if_closing();
            outgoing.take_from(&self.own.outgoing);
            if self.pending().try_abandon() {
                return released;
            }
        }
    }

    /// Abandons a heap that no thread keeps, with its lists as they are, if nothing waits and nothing is to be passed on. Owner
    /// only, and not any more if the answer is true.
    pub(crate) fn try_abandon(self) -> bool {
        let own = &self.own;
        let nothing_to_do =
            own.collecting.is_empty() && own.outgoing.is_empty() && !own.closing.get();
        nothing_to_do && self.pending().try_abandon()
    }

    /// As [`abandon`](Self::abandon), but serves no more than about so many slots. Also whether nothing waits any more;
    /// if something does, the caller owes the heap another visit.
    pub(crate) fn abandon_soon(self, most: usize, outgoing: &Outgoing) -> (usize, bool) {
        self.set_owner(0);
        let (mut released, served) = self.serve_some(most);
        released += self.release_if_closing();
        outgoing.take_from(&self.own.outgoing);
        if served && self.pending().try_abandon() {
            return (released, true);
        }
        if self.pending().try_abandon_with_list() {
            return (released, false);
        }
        (released + self.abandon(outgoing), true)
    }

    fn release_if_closing(self) -> usize {
        if self.own.closing.get() {
            self.collect_and_release()
        } else {
            0
        }
    }

    /// Parts with at most `most` segments of a bin that have room, in favour of another heap. They must reach it
    /// after this one was abandoned. Owner only.
    ///
    /// The bin's own lists are emptied first, a few magazines at a time; until that is done nothing is given.
    pub(crate) fn detach_segments(
        self,
        index: usize,
        most: usize,
        to: Self,
        detached: &Loose,
    ) -> usize {
        let bin = self.bin(index);
        let left = Leftovers::new();
        if bin.stride() != 0 && bin.distribute_some(most, &left) {
            for segment in core::iter::from_fn(|| bin.detach_segments()).take(most) {
                segment.set_heap(to.id());
                detached.push(segment);
            }
        }
        self.release(&left, 0)
    }
}
