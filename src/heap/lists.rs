//! Lists of segments and of slots in transit.
//!
//! | list | elements | linked by |
//! |---|---|---|
//! | [`SegmentList`] | a bin's segments, those with room in front | `prev` and `next` |
//! | [`Loose`] | empty segments, spares, segments that change heaps | `next` |
//! | [`Queued`] | segments whose QUEUED is on and that are in no pending list | the pending link |
//! | [`RemoteSlots`] | free slots of other heaps' segments | the slots themselves |
//!
//! Each list belongs to one thread, which owns the elements too. Always holds: an element is in one list
//! only.

use core::ptr::{self, NonNull};

use crate::ground::layout::Span;
use crate::ground::sync::{Cell, const_fn};
use crate::heap::batch::OpenBatch;
use crate::memory::remote::PendingNode;
use crate::memory::segment::{Segment, SegmentRef};
use crate::slot::{self, SlotPtr};

/// Segments that are in no bin, linked through `next`: empty ones on their way to the arena, spares, and
/// segments that change heaps.
#[derive(Debug)]
pub(crate) struct Loose {
    first: Cell<Option<SegmentRef>>,
}

impl Loose {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { first: Cell::new(None) }
        }
    }

    pub(crate) fn push(&self, segment: SegmentRef) {
        segment.next().set(self.first.get());
        self.first.set(Some(segment));
    }

    pub(crate) fn pop(&self) -> Option<SegmentRef> {
        let segment = self.first.get()?;
        self.first.set(segment.next().take());
        Some(segment)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SegmentRef> {
        core::iter::successors(self.first.get(), |segment| segment.next().get())
    }
}

/// Segments whose QUEUED is on and that are in no pending list, linked by their pending links. The owner of
/// this list owns these links until the segment's remote list is taken or the segment is put in a pending
/// list.
#[derive(Debug)]
pub(crate) struct Queued {
    first: Cell<Option<SegmentRef>>,
}

impl Queued {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { first: Cell::new(None) }
        }
    }

    /// Adds a segment.
    ///
    /// # Safety
    ///
    /// The caller turned QUEUED on, or took the segment out of a pending list, and has neither taken its
    /// remote list nor pushed it since.
    pub(crate) unsafe fn push(&self, segment: SegmentRef) {
        let next = self.first.replace(Some(segment));
        let next = next.map_or(ptr::null_mut(), |segment| NonNull::from(segment).as_ptr());
        // SAFETY: guaranteed by the caller.
        unsafe { Segment::set_pending_link(segment.into(), next) };
    }

    pub(crate) fn pop(&self) -> Option<SegmentRef> {
        let segment = self.first.get()?;
        // SAFETY: the segment is in this list, so this thread owns its link.
        let next = unsafe { Segment::pending_link(segment.into()) };
        self.first.set(NonNull::new(next).map(SegmentRef::from));
        Some(segment)
    }

    /// Adds all segments of a list taken from a pending list. The newest comes first there, so the oldest is
    /// popped first.
    ///
    /// # Safety
    ///
    /// The caller owns the heap and took `list` out of its pending list.
    pub(crate) unsafe fn push_all(&self, mut list: *mut Segment) {
        while let Some(node) = NonNull::new(list) {
            // SAFETY: the caller took the node, and its remote list is not taken yet.
            list = unsafe { Segment::pending_link(node) };
            // SAFETY: as above.
            unsafe { self.push(node.into()) };
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }
}

/// Free slots of other heaps' segments, by span, that will be sent to their segments. Owned like a free list.
#[derive(Debug)]
pub(crate) struct RemoteSlots {
    first: [Cell<Option<SlotPtr>>; 3],
}

impl RemoteSlots {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                first: [Cell::new(None), Cell::new(None), Cell::new(None)],
            }
        }
    }

    /// Adds a slot.
    ///
    /// # Safety
    ///
    /// The caller gives up a slot of a segment of this span.
    pub(crate) unsafe fn push(&self, slot: SlotPtr, span: Span) {
        let first = &self.first[span.index()];
        // SAFETY: guaranteed by the caller.
        unsafe { slot::set_link(slot, first.get()) };
        first.set(Some(slot));
    }

    /// Takes a slot. Returns it and its segment.
    pub(crate) fn pop(&self) -> Option<(SegmentRef, SlotPtr)> {
        let mut spans = Span::ALL.into_iter();
        spans.find_map(|span| self.pop_if(span, |_| true))
    }

    /// Takes the first slot of a span if `fits` returns true for its segment.
    fn pop_if(
        &self,
        span: Span,
        fits: impl Fn(SegmentRef) -> bool,
    ) -> Option<(SegmentRef, SlotPtr)> {
        let first = &self.first[span.index()];
        let slot = first.get()?;
        // SAFETY: the slot is in a segment of this span; the segment stays in use while the slot is not
        // returned to it.
        let segment = unsafe { SegmentRef::of(slot, span) };
        if !fits(segment) {
            return None;
        }
        // SAFETY: this list owns its slots.
        first.set(unsafe { slot::link(slot) });
        // SAFETY: as above.
        unsafe { slot::clear_link(slot) };
        Some((segment, slot))
    }

    /// Takes a batch of slots of one segment: the slots at the front that share it, as many as a batch holds.
    pub(crate) fn pop_batch(&self) -> Option<(SegmentRef, OpenBatch)> {
        let (segment, slot) = self.pop()?;
        let span = segment.identity().span;
        let batch = OpenBatch::new();
        batch.open(segment);
        batch.push(SegmentRef::offset_of(slot, span));
        while batch.room() > 0 {
            let Some((_, slot)) = self.pop_if(span, |next| next == segment) else {
                break;
            };
            batch.push(SegmentRef::offset_of(slot, span));
        }
        Some((segment, batch))
    }
}

/// The segments and slots that an owner must send to other heaps after its work on its own heap.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Segments found in the pending list of a heap to which they no longer belong.
    pub(crate) misrouted: Queued,
    /// Slots of other heaps' segments.
    pub(crate) remote: RemoteSlots,
}

impl Outgoing {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                misrouted: Queued::new(),
                remote: RemoteSlots::new(),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.misrouted.is_empty() && self.remote.first.iter().all(|first| first.get().is_none())
    }

    /// Moves all elements of `other` to this list.
    pub(crate) fn take_from(&self, other: &Self) {
        while let Some(misrouted) = other.misrouted.pop() {
            // SAFETY: the segment was in the other list until now, so this thread owns its link.
            unsafe { self.misrouted.push(misrouted) };
        }
        while let Some((segment, slot)) = other.remote.pop() {
            // SAFETY: the slot was in the other list until now, so this thread owns it.
            unsafe { self.remote.push(slot, segment.identity().span) };
        }
    }
}

/// The segments of one bin, those with room in front. Owner only.
#[derive(Debug)]
pub(crate) struct SegmentList {
    front: Cell<Option<SegmentRef>>,
    back: Cell<Option<SegmentRef>>,
}

impl SegmentList {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                front: Cell::new(None),
                back: Cell::new(None),
            }
        }
    }

    pub(crate) fn front(&self) -> Option<SegmentRef> {
        self.front.get()
    }

    pub(crate) fn push_front(&self, segment: SegmentRef) {
        let second = self.front.get();
        self.link(None, Some(segment));
        self.link(Some(segment), second);
    }

    fn push_back(&self, segment: SegmentRef) {
        let last = self.back.get();
        self.link(Some(segment), None);
        self.link(last, Some(segment));
    }

    pub(crate) fn remove(&self, segment: SegmentRef) {
        self.link(segment.prev().get(), segment.next().get());
    }

    /// Moves a segment that has room again to the front.
    pub(crate) fn move_to_front(&self, segment: SegmentRef) {
        self.remove(segment);
        self.push_front(segment);
    }

    /// Moves a segment without room to the back.
    pub(crate) fn move_to_back(&self, segment: SegmentRef) {
        self.remove(segment);
        self.push_back(segment);
    }

    pub(crate) fn after(&self, segment: SegmentRef) -> Option<SegmentRef> {
        segment.next().get()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SegmentRef> {
        core::iter::successors(self.front.get(), |&segment| self.after(segment))
    }

    /// Makes two segments neighbours. `None` stands for the end of the list on that side.
    fn link(&self, left: Option<SegmentRef>, right: Option<SegmentRef>) {
        match left {
            Some(left) => left.next().set(right),
            None => self.front.set(right),
        }
        match right {
            Some(right) => right.prev().set(left),
            None => self.back.set(left),
        }
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod tests;
