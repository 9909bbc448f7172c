//! `mmap`, `munmap` and `madvise`, and the [stack](super::kept) of ranges that the system did not unmap. Any
//! thread may call these functions for a range that it owns.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

#[cfg(not(segment_pool_loom))]
use super::kept::Kept;
#[cfg(not(segment_pool_loom))]
use crate::ground::checker;

/// Kept ranges that are tried again after each successful unmapping.
#[cfg(not(segment_pool_loom))]
const RETRIES: usize = 2;

/// The models have no statics, and too few mappings for one to be kept.
#[cfg(not(segment_pool_loom))]
static KEPT: Kept = Kept::new();

pub(super) fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Returns a kept range, or else a new mapping.
pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    #[cfg(not(segment_pool_loom))]
    if let Some(kept) = KEPT.take(bytes, align) {
        return Some(kept);
    }
    let new = map_new(bytes, align);
    #[cfg(not(segment_pool_loom))]
    let new = new.or_else(|| KEPT.take_at_last(bytes, align));
    new
}

/// Maps without alignment first: next to an aligned mapping the result is often aligned. Otherwise maps more
/// than requested and cuts the ends off.
fn map_new(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    let memory = map_anywhere(bytes)?;
    if memory.addr().get() % align == 0 {
        return Some(memory);
    }
    // SAFETY: mapped above and not used.
    unsafe { unmap(memory, bytes, align) };
    let reserved = bytes.checked_add(align)?;
    let memory = map_anywhere(reserved)?;
    let before = memory.align_offset(align);
    // SAFETY: `before` is less than `align`.
    let aligned = unsafe { memory.add(before) };
    // SAFETY: the part before the aligned one, not used.
    unsafe { unmap(memory, before, align) };
    // SAFETY: `before + bytes` is less than the size of the mapping.
    let end = unsafe { aligned.add(bytes) };
    // SAFETY: the part behind the aligned one, not used.
    unsafe { unmap(end, align - before, align) };
    Some(aligned)
}

fn map_anywhere(bytes: usize) -> Option<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice affects nothing else.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) };
    NonNull::new(memory.ok()?.cast())
}

/// Unmaps a range, which may be a part of a mapping, or keeps it if the system does not unmap it.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(super) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, _align: usize) {
    if bytes == 0 {
        return;
    }
    // SAFETY: the caller gives up the range.
    let unmapped = unsafe { try_unmap(memory, bytes) };
    #[cfg(segment_pool_loom)]
    assert!(unmapped, "no model has so many mappings");
    #[cfg(not(segment_pool_loom))]
    if unmapped {
        retry(RETRIES);
    } else {
        // SAFETY: as above; the range stays mapped.
        unsafe { keep(memory, bytes) };
    }
}

/// Returns false if the range stays mapped, unchanged.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
unsafe fn try_unmap(memory: NonNull<u8>, bytes: usize) -> bool {
    #[cfg(all(test, not(segment_pool_loom)))]
    if super::refusal::refuses_unmap() {
        return false;
    }
    // SAFETY: the caller gives up the range.
    unsafe { munmap(memory.as_ptr().cast::<c_void>(), bytes) }.is_ok()
}

/// Keeps a range that stays mapped.
#[cfg(not(segment_pool_loom))]
unsafe fn keep(memory: NonNull<u8>, bytes: usize) {
    checker::open(memory, bytes);
    // SAFETY: the caller gives up the range.
    if unsafe { !try_purge(memory, bytes) } {
        // SAFETY: as above; the range is mapped.
        unsafe { memory.write_bytes(0, bytes) };
    }
    // SAFETY: as above; the range reads as zero.
    unsafe { KEPT.keep(memory, bytes) };
}

/// Tries again to unmap at most `most` kept ranges.
#[cfg(not(segment_pool_loom))]
pub(super) fn retry(most: usize) {
    // SAFETY: a kept range is mapped and not used.
    let unmap = |memory, bytes| unsafe { try_unmap(memory, bytes) };
    // SAFETY: a range that the system does not unmap stays unchanged.
    unsafe { KEPT.retry(most, unmap) };
}

/// Bytes of address space that the system did not unmap.
#[cfg(not(segment_pool_loom))]
pub(super) fn kept_bytes() -> usize {
    KEPT.bytes()
}

/// Purges a range. A failure (locked pages) only costs memory.
pub(super) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    let _ = unsafe { try_purge(memory, bytes) };
}

/// Returns the pages to the system. False if they are unchanged.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn try_purge(memory: NonNull<u8>, bytes: usize) -> bool {
    use rustix::mm::{Advice, madvise};
    let start = memory.as_ptr().cast::<c_void>();
    // SAFETY: the caller owns the range and expects its contents to be lost.
    unsafe { madvise(start, bytes, Advice::LinuxDontNeed) }.is_ok()
}

/// The same: on every unix, a new mapping over a range drops its pages.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn try_purge(memory: NonNull<u8>, bytes: usize) -> bool {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    let start = memory.as_ptr().cast::<c_void>();
    // SAFETY: the caller owns the range and expects its contents to be lost.
    unsafe { mmap_anonymous(start, bytes, protection, flags) }.is_ok()
}
