//! Dedicated mappings, for values whose size or alignment is too large for a segment.
//!
//! ```text
//! | header: the pool, if it is a SegmentPool | ... | value |
//! ^ start of the mapping                           ^ at a fixed distance, the larger of 64 bytes and the alignment
//! ```
//!
//! The thread that drops the value unmaps it. Such a value counts like a segment of its pool: it has a reference to the
//! pool, and it counts towards the limit.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::ground::error::{AllocErrorKind, Failure};
use crate::ground::os;
use crate::hardened::Cookie;
use crate::heap::pool_core::Large;
use crate::heap::queue::Woken;
use crate::heap::registry::{self, RegistryRef};
use crate::thread::{self, Asker};

struct Header {
    /// The pool of the value; `None` for the default pool.
    pool: Option<RegistryRef>,
    cookie: Cookie,
}

const HEADER_BYTES: usize = 64;

/// Returns the size of a mapping for this layout in bytes, in whole pages; `None` if the size overflows.
pub(crate) fn mapping_bytes(layout: Layout) -> Option<usize> {
    os::in_pages(layout.size().checked_add(distance(layout))?)
}

const fn distance(layout: Layout) -> usize {
    if layout.align() > HEADER_BYTES {
        layout.align()
    } else {
        HEADER_BYTES
    }
}

/// Maps storage for a value of a pool, or of the default pool. Returns `None` if the system has no memory or the pool's
/// limit is reached.
#[cold]
pub(crate) fn map(layout: Layout, pool: Option<RegistryRef>) -> Option<NonNull<u8>> {
    let storage = try_map(layout, pool);
    if storage.is_none() {
        thread::emit_failure(pool.unwrap_or_else(registry::default).core().name);
    }
    storage
}

/// As [`map`], for a pool that counts its values.
#[cold]
pub(crate) fn map_counted(
    layout: Layout,
    pool: RegistryRef,
    asker: Asker,
) -> Result<NonNull<u8>, Failure> {
    thread::acquire_permit(pool, asker)?;
    map(layout, Some(pool)).ok_or_else(|| {
        thread::release_permit(pool);
        Failure::from(AllocErrorKind::OutOfMemory)
    })
}

fn try_map(layout: Layout, pool: Option<RegistryRef>) -> Option<NonNull<u8>> {
    if !pool.is_none_or(|pool| pool.core().admit(1)) {
        return None;
    }
    let map =
        |bytes| thread::with_room_for(bytes, || os::map(bytes, layout.align())).zip(Some(bytes));
    let Some((mapping, bytes)) = mapping_bytes(layout).and_then(map) else {
        pool.inspect(|pool| pool.core().note_starved());
        // SAFETY: admitted above.
        unsafe { dismiss(pool) };
        return None;
    };
    large(pool).add(bytes);
    let cookie = Cookie::new(mapping.addr().get());
    // SAFETY: the mapping was just created, belongs to this function, and is larger than a header.
    unsafe { mapping.cast::<Header>().write(Header { pool, cookie }) };
    // SAFETY: the value starts at this distance and ends at most at the end of the mapping.
    Some(unsafe { mapping.add(distance(layout)) })
}

/// Unmaps storage.
///
/// # Safety
///
/// `storage` came from [`map`] for this layout, and the caller does not use it afterwards.
#[cold]
pub(crate) unsafe fn unmap(storage: NonNull<u8>, layout: Layout) {
    let bytes = mapping_bytes(layout).expect("the value was mapped");
    // SAFETY: the mapping begins at this distance before the storage, and the pointer has the provenance of the whole
    // mapping.
    let mapping = unsafe { storage.sub(distance(layout)) };
    // SAFETY: `map` wrote the header, and no other thread uses the mapping.
    let Header { pool, cookie } = unsafe { mapping.cast::<Header>().read() };
    cookie.check(mapping.addr().get());
    // SAFETY: mapped with this size and alignment; the caller no longer uses the storage.
    unsafe { os::unmap(mapping, bytes, layout.align()) };
    large(pool).remove(bytes);
    let Some(pool) = pool else { return };
    pool.core().dismiss(1); // before the permit is released: its next holder must find room
    let counts = pool.core().counts_values();
    let woken = counts.then(|| pool.core().gate.release());
    // SAFETY: the value's reference to the pool; the value is gone.
    unsafe { pool.release_refs(1) };
    woken.into_iter().for_each(Woken::wake);
}

/// The counters of the pool for dedicated mappings.
fn large<'a>(pool: Option<RegistryRef>) -> &'a Large {
    &pool.unwrap_or_else(registry::default).core().large
}

/// # Safety
///
/// The pool admitted the value, and its mapping is gone.
unsafe fn dismiss(pool: Option<RegistryRef>) {
    if let Some(pool) = pool {
        pool.core().dismiss(1);
        // SAFETY: guaranteed by the caller.
        unsafe { pool.release_refs(1) };
    }
}
