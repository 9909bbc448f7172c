use super::{ABANDONED, PendingList, PendingNode, first, has};
use crate::ground::sync::Ordering;

impl<N: PendingNode> PendingList<N> {
    /// The segment pushed last, and whether the heap is abandoned. For tests in which no other thread runs.
    pub(crate) fn look(&self) -> (*mut N, bool) {
        let word = self.0.load(Ordering::Relaxed);
        (first(word), has(word, ABANDONED))
    }
}
