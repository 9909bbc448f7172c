//! Values of no size, of a pool that counts its values.
//!
//! Such a value needs no memory, but its drop must find the pool. So its address is that of the pool's registry, which is mapped to the
//! alignment of the values; that of any other value of no size is its alignment. A value keeps its pool, as a segment does.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::ground::error::Failure;
use crate::heap::registry::RegistryRef;
use crate::thread::{self, Asker};

/// An address for a value of no size, of this pool.
#[cold]
pub(crate) fn alloc(pool: RegistryRef, asker: Asker) -> Result<NonNull<u8>, Failure> {
    thread::acquire_permit(pool, asker)?;
    pool.add_ref();
    Ok(pool.address())
}

/// Gives an address back.
///
/// # Safety
///
/// It is that of a value of no size and this layout, which the caller gives up.
#[inline(always)]
pub(crate) unsafe fn free(address: NonNull<u8>, layout: Layout) {
    if address.addr().get() != layout.align() {
        // SAFETY: guaranteed by the caller, and by the addresses there are.
        unsafe { free_counted(address) }
    }
}

/// # Safety
///
/// The address is from [`alloc`], and the caller gives it up.
#[cold]
unsafe fn free_counted(address: NonNull<u8>) {
    // SAFETY: the value that the caller gives up keeps its pool.
    let pool = unsafe { RegistryRef::from_address(address) };
    let woken = pool.core().gate.release();
    // SAFETY: the reference of the value that is gone.
    unsafe { pool.release_refs(1) };
    woken.wake();
}
