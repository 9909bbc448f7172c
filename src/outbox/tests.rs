use super::Outbox;
use crate::segment::SegmentRef;
use crate::slot::SlotPtr;

impl Outbox {
    /// Every slot in an open batch.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (SegmentRef, SlotPtr)> {
        self.entries.iter().flat_map(|entry| {
            let segment = entry.segment.get();
            let offsets = entry.offsets[..entry.len.get() as usize].iter();
            offsets.map(move |offset| {
                let segment = segment.expect("a batch has a segment");
                let offset = offset.get().expect("a batch has offsets");
                (segment, segment.slot_at(offset))
            })
        })
    }
}
