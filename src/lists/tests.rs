use core::iter;
use core::ptr::NonNull;

use super::{Outgoing, Queued};
use crate::remote::Node;
use crate::segment::{Segment, SegmentRef};

impl Queued {
    pub(crate) fn iter(&self) -> impl Iterator<Item = SegmentRef> {
        queued(self.first.get())
    }
}

/// The segments of a list linked as in an inbox. For tests in which no other thread runs.
pub(crate) fn queued(first: Option<SegmentRef>) -> impl Iterator<Item = SegmentRef> {
    iter::successors(first, |&segment| {
        // SAFETY: the segment is in the list, which nobody changes meanwhile.
        let next = unsafe { Segment::inbox_link(segment.into()) };
        NonNull::new(next).map(SegmentRef::from)
    })
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.strays.is_empty() && self.foreign.first.iter().all(|first| first.get().is_none())
    }
}
