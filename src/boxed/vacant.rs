//! Owned storage without a value.

use core::alloc::Layout;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::pool::route;

/// Storage without a value. Its drop frees the storage.
pub(crate) struct Vacant(pub(crate) NonNull<u8>, pub(crate) Layout);

impl Vacant {
    /// Allocates storage in the default pool; `None` if the system has no memory.
    pub(crate) fn alloc(layout: Layout) -> Option<Self> {
        route::alloc_layout(layout).map(|storage| Self(storage, layout))
    }

    /// Frees the storage as `drop` does, but inlined.
    #[inline(always)]
    pub(crate) fn dealloc(self) {
        let Self(storage, layout) = *ManuallyDrop::new(self);
        // SAFETY: as in `drop`, which does not run for this value.
        unsafe { route::dealloc(storage, layout) }
    }

    /// Gives up ownership of the storage, which the caller must free.
    #[inline]
    pub(crate) fn into_storage(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Vacant {
    fn drop(&mut self) {
        // SAFETY: the constructor's caller gave up this storage, which has this layout.
        unsafe { route::dealloc(self.0, self.1) }
    }
}
