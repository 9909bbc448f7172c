use core::iter;
use core::ptr::NonNull;

use super::Queued;
use crate::memory::remote::PendingNode;
use crate::memory::segment::{Segment, SegmentRef};

impl Queued {
    pub(crate) fn iter(&self) -> impl Iterator<Item = SegmentRef> {
        queued(self.first.get())
    }
}

/// The segments of a list that is linked like a pending list. For tests in which no other thread runs.
pub(crate) fn queued(first: Option<SegmentRef>) -> impl Iterator<Item = SegmentRef> {
    iter::successors(first, |&segment| {
        // SAFETY: the segment is in the list, and no thread changes the list meanwhile.
        let next = unsafe { Segment::pending_link(segment.into()) };
        NonNull::new(next).map(SegmentRef::from)
    })
}
