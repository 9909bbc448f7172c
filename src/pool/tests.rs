use super::SegmentPool;
use crate::heap::registry::RegistryRef;

impl<T> SegmentPool<T> {
    pub(crate) fn registry_if_any(&self) -> Option<RegistryRef> {
        self.registry()
    }
}
