//! The operations of a heap's owner: refill a bin, spill, collect remote frees, collect and release, abandon.
//!
//! Only the thread that owns the heap calls these functions; a temporary owner may too. They leave two kinds
//! of results to the caller. The caller must release the returned references to the pool after it abandoned
//! the heap, because the heap is gone with the last reference. And the caller must reroute the segments and
//! slots in `Outgoing`.
//!
//! Between calls, a segment of the heap is in its bin's list or is a spare, and spares are at most
//! [`SPARE_BYTES`].

use crate::ground::error::AllocErrorKind;
use crate::ground::events::{self, Happened};
use crate::ground::layout::Span;
use crate::ground::os;
use crate::ground::sync::Ordering;
use crate::heap::bin::{Bin, Leftovers};
use crate::heap::fields::HeapRef;
use crate::heap::lists::{Loose, Outgoing};
use crate::memory::segment::{Claimed, Identity, SegmentRef};

/// Bytes of empty segments that a heap keeps as spares.
pub(super) const SPARE_BYTES: usize = if cfg!(segment_pool_loom) {
    0
} else {
    256 << 10
};
/// Slots that one refill or spill takes out of remote lists. The last list is taken whole.
const COLLECT_SLOTS: usize = 1024;
/// What a segment whose slots are all free counts as, in slots, when it is released as a whole.
const WHOLE_SEGMENT: usize = 64;

impl HeapRef {
    /// Fills the empty free list of a bin with slots that the heap has. Owner only.
    pub(crate) fn refill(self, index: usize) -> bool {
        let bin = self.bin(index);
        bin.refill_from_deferred()
            || bin.refill_from_magazines()
            || self.collect_for(bin)
            || bin.refill_from_segments()
    }

    /// Fills the empty free list of a bin from a new segment. False if the system has no memory or the pool's
    /// limit is reached. Owner only.
    pub(crate) fn refill_from_new(self, index: usize) -> bool {
        self.add_segments(index, 1, false).is_ok() && self.bin(index).refill_from_segments()
    }

    /// Adds `segments` segments to a bin, or none. If `touch` is true, their pages are made resident. Owner
    /// only.
    pub(crate) fn add_segments(
        self,
        index: usize,
        segments: usize,
        touch: bool,
    ) -> Result<(), AllocErrorKind> {
        let stride = self.stride(index);
        let (span, new) = (Span::of(stride), Leftovers::new());
        let make = |claimed| {
            // SAFETY: claimed for this span, and only this thread uses it.
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

    /// Adds a segment with room to its bin. The caller owns the heap and the segment, which names this heap.
    pub(crate) fn take_over(self, segment: SegmentRef) {
        let index = segment.identity().bin;
        let bin = self.bin(index);
        // SAFETY: the bitmap lies behind the bins, and no other bin has this index.
        unsafe { bin.prepare(self.stride(index), self.id(), self.places(index)) };
        self.own.used.set(self.own.used.get() | 1 << index);
        bin.add(segment);
    }

    fn take_spare(self, span: Span) -> Option<Claimed> {
        let spare = self.own.spares[span.index()].pop()?;
        self.own.spare_bytes.sub(span.bytes() as u64);
        Some(spare.end())
    }

    /// Claims `segments` segments, which the limit must allow as a whole, until the system has no more
    /// memory.
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

    /// Spills a full free list, and collects if the pending list is not empty. Owner only.
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

    /// Collects all pending segments. Owner only.
    pub(crate) fn collect_all(self) {
        self.collect(usize::MAX, || false);
    }

    /// Collects pending segments, the oldest first, until `enough` returns true or `most` slots were taken.
    /// Owner only.
    fn collect(self, most: usize, enough: impl Fn() -> bool) {
        let left = Leftovers::new();
        let mut slots = 0;
        while slots < most && !enough() {
            let Some(segment) = self.next_waiting() else {
                break;
            };
            // SAFETY: the caller owns the heap, and the segment came out of the pending list.
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

    /// Takes the segment of this heap that has been pending the longest. Puts misrouted segments aside.
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
                // SAFETY: the segment came out of the pending list, and its remote list is not taken yet.
                Some(misrouted) => unsafe { self.own.outgoing.misrouted.push(misrouted) },
                None => {
                    self.remote.fully_freed.clear();
                    return None;
                }
            }
        }
    }

    /// Keeps or releases empty segments. For an owner with a reference of its own, so that the pool is not
    /// freed here.
    fn release_some(self, left: &Leftovers) {
        self.release_down_to(left, SPARE_BYTES);
    }

    /// As `release_some`, with at most `spare_bytes` bytes of spares.
    fn release_down_to(self, left: &Leftovers, spare_bytes: usize) {
        self.drop_refs(self.release(left, spare_bytes));
    }

    /// Releases references to the pool, for an owner with one of its own.
    fn drop_refs(self, released: usize) {
        if released > 0 {
            // Relaxed: the pool is freed only after this thread released its own reference, and that release
            // covers everything done here.
            self.pool().refs.fetch_sub(released, Ordering::Relaxed);
        }
    }

    /// Keeps empty segments as spares up to `spare_bytes` bytes and releases the others to the arena. Returns
    /// the number of references to the pool that the caller must release for them. Owner only.
    fn release(self, left: &Leftovers, spare_bytes: usize) -> usize {
        while let Some((segment, slot)) = left.remote.pop() {
            let remote = &self.own.outgoing.remote;
            // SAFETY: the slot came out of a bin's lists, so the owner owns it.
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
                // SAFETY: every slot of the segment was returned to it, so no thread uses its memory.
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

    /// Collects and releases: serves the pending list, returns every slot to its segment, and releases the
    /// empty segments and the spares. Returns the number of references to release. Owner only.
    pub(crate) fn collect_and_release(self) -> usize {
        let served = self.serve();
        let left = Leftovers::new();
        self.used_bins().for_each(|bin| bin.distribute_all(&left));
        served + self.release(&left, 0) + self.release_spares()
    }

    /// Releases the spare segments. Returns the number of references to release. Owner only.
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

    /// Serves the pending list: returns its slots to their segments and releases the segments that are empty.
    /// Returns the number of references to release. Owner only.
    pub(crate) fn serve(self) -> usize {
        self.serve_some(usize::MAX).0
    }

    /// As [`serve`](Self::serve), until at least `most` slots were returned. Also returns whether nothing is
    /// pending any more.
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
            // With `hardened` each slot is looked at.
            let whole = received == capacity && !cfg!(feature = "hardened");
            let most = if whole { WHOLE_SEGMENT } else { usize::MAX };
            slots += received.clamp(1, most);
        }
        (self.release(&left, 0), served)
    }

    /// Releases some of the segments that wait, if more do than were needed lately. Owner only, with a reference of its own.
    pub(crate) fn release_excess(self) {
        if self.remote.fully_freed.has_excess(os::milliseconds) {
            let (released, _) = self.serve_some(COLLECT_SLOTS);
            self.drop_refs(released);
        }
    }

    /// Abandons the heap, its lists as they are unless its pool was closed, and hands `outgoing` over to the caller,
    /// who passes it on now. Returns the references to give up. Owner only, and not any more.
    ///
    /// The heap is abandoned only with an empty pending list, because no other thread would necessarily come
    /// to empty it. The loop ends: each push that continues it frees a slot, and no slot is handed out
    /// meanwhile.
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

    /// Abandons a heap that no thread holds, with its lists as they are, if nothing is pending or outgoing.
    /// Owner only; if the answer is true, the caller no longer owns the heap.
    pub(crate) fn try_abandon(self) -> bool {
        let own = &self.own;
        let nothing_to_do =
            own.collecting.is_empty() && own.outgoing.is_empty() && !own.closing.get();
        nothing_to_do && self.pending().try_abandon()
    }

    /// As [`abandon`](Self::abandon), but serves about `most` slots at the most. Also returns whether nothing
    /// is pending any more. If something is, the caller must visit the heap again.
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

    /// Moves at most `most` segments with room out of a bin and assigns them to the heap `to`. The caller
    /// adds them there after it abandoned this heap. Owner only.
    ///
    /// The bin's own lists are emptied first, at most `most` magazines per call. No segment moves until they
    /// are empty. Returns the number of references to release.
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
