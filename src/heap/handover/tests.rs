use super::Debts;
use crate::heap::HeapRef;

impl Debts {
    pub(crate) fn heaps(&self) -> impl Iterator<Item = HeapRef> {
        self.heaps.iter().filter_map(|debt| debt.get())
    }

    pub(crate) fn are_closed(&self) -> bool {
        self.closed.get()
    }
}
