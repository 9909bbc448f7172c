use core::ptr::NonNull;

use super::HeapRef;
use super::owner::SPARE_BYTES;
use crate::heap::lists::tests::queued;
use crate::memory::segment::SegmentRef;

impl HeapRef {
    pub(crate) fn is_abandoned(self) -> bool {
        self.pending().look().1
    }

    /// The segments in the pending list, and those taken from it that are not served yet.
    pub(crate) fn waiting(self) -> impl Iterator<Item = SegmentRef> {
        let first = NonNull::new(self.pending().look().0);
        let collecting: Vec<_> = self.own.collecting.iter().collect();
        queued(first.map(SegmentRef::from)).chain(collecting)
    }

    pub(crate) fn spares(self) -> usize {
        self.own
            .spares
            .iter()
            .map(|spares| spares.iter().count())
            .sum()
    }

    /// Checks the invariants that hold while no call is under way.
    pub(crate) fn check_at_rest(self) {
        assert!(self.own.outgoing.is_empty(), "something was not passed on");
        let spare_bytes = self.own.spare_bytes.get() as usize;
        assert!(spare_bytes <= SPARE_BYTES);
        let spares = self.own.spares.iter().flat_map(|spares| spares.iter());
        let bytes: usize = spares.map(|spare| spare.identity().span.bytes()).sum();
        assert_eq!(bytes, spare_bytes, "spares are counted");
    }
}
