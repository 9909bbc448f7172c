use super::DeferredReclaims;
use crate::heap::HeapRef;

impl DeferredReclaims {
    pub(crate) fn heaps(&self) -> impl Iterator<Item = HeapRef> {
        self.heaps.iter().filter_map(|reclaim| reclaim.get())
    }

    pub(crate) fn are_closed(&self) -> bool {
        self.closed.get()
    }
}
