//! Storage between values.

use core::alloc::Layout;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::pool::route;

/// Storage without a value, given back when dropped.
pub(crate) struct Vacant(pub(crate) NonNull<u8>, pub(crate) Layout);

impl Vacant {
    /// Storage of the default pool; `None` when the system has no memory.
    pub(crate) fn alloc(layout: Layout) -> Option<Self> {
        route::alloc_layout(layout).map(|storage| Self(storage, layout))
    }

    /// What dropping does, inlined.
    #[inline(always)]
    pub(crate) fn dealloc(self) {
        let Self(storage, layout) = *ManuallyDrop::new(self);
        // SAFETY: as in `drop`, which will not run.
        unsafe { route::dealloc(storage, layout) }
    }

    /// The storage, for whoever frees it from here on.
    #[inline]
    pub(crate) fn into_storage(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Vacant {
    fn drop(&mut self) {
        // SAFETY: whoever makes one gives the storage of this layout to it.
        unsafe { route::dealloc(self.0, self.1) }
    }
}
