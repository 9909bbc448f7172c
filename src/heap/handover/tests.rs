use super::{Debts, Owed};
use crate::heap::HeapRef;

impl Debts {
    pub(crate) fn heaps(&self) -> impl Iterator<Item = HeapRef> {
        self.heaps.iter().filter_map(|debt| debt.get())
    }

    /// Owes the heap a visit, as if it had been left too soon.
    pub(crate) fn owe_a_visit(&self, heap: HeapRef) {
        assert!(matches!(self.owe(heap), Owed::Now(_)));
    }
}
