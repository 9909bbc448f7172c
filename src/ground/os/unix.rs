//! `mmap`, `munmap` and `madvise`, and what becomes of a range that the system does not take back: it is [kept](super::kept).

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

#[cfg(not(segment_pool_loom))]
use super::kept::Kept;
#[cfg(not(segment_pool_loom))]
use crate::ground::checker;

/// Kept ranges that are tried again with each that the system takes back.
#[cfg(not(segment_pool_loom))]
const RETRIES: usize = 2;

/// The models have no statics, nor so many mappings that one would be kept.
#[cfg(not(segment_pool_loom))]
static KEPT: Kept = Kept::new();

pub(super) fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// A kept range, or else a new mapping.
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

/// Maps as it comes, which next to an aligned mapping is often aligned, and otherwise more than asked and cuts.
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
    // SAFETY: `before + bytes` is less than what was reserved.
    let end = unsafe { aligned.add(bytes) };
    // SAFETY: the part behind the aligned one, not used.
    unsafe { unmap(end, align - before, align) };
    Some(aligned)
}

fn map_anywhere(bytes: usize) -> Option<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice disturbs nothing.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) };
    NonNull::new(memory.ok()?.cast())
}

/// Unmaps a range, which may be a part of a mapping, or keeps it if the system does not take it back.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(super) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, _align: usize) {
    if bytes == 0 {
        return;
    }
    // SAFETY: the caller gives the range up.
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

/// False if the range stays mapped, as it is.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
unsafe fn try_unmap(memory: NonNull<u8>, bytes: usize) -> bool {
    #[cfg(all(test, not(segment_pool_loom)))]
    if super::refusal::refuses_unmap() {
        return false;
    }
    // SAFETY: the caller gives the range up.
    unsafe { munmap(memory.as_ptr().cast::<c_void>(), bytes) }.is_ok()
}

/// Keeps a range that stays mapped.
#[cfg(not(segment_pool_loom))]
unsafe fn keep(memory: NonNull<u8>, bytes: usize) {
    checker::open(memory, bytes);
    // SAFETY: the caller gives the range up.
    if unsafe { !try_purge(memory, bytes) } {
        // SAFETY: as above; the range is mapped.
        unsafe { memory.write_bytes(0, bytes) };
    }
    // SAFETY: as above; the range reads as zero.
    unsafe { KEPT.keep(memory, bytes) };
}

/// Asks the system once more to take back at most so many ranges that it did not.
#[cfg(not(segment_pool_loom))]
pub(super) fn retry(most: usize) {
    // SAFETY: a kept range is mapped and not used.
    let unmap = |memory, bytes| unsafe { try_unmap(memory, bytes) };
    // SAFETY: what the system refuses to unmap stays as it is.
    unsafe { KEPT.retry(most, unmap) };
}

/// Address space that the system did not take back, in bytes.
#[cfg(not(segment_pool_loom))]
pub(super) fn kept_bytes() -> usize {
    KEPT.bytes()
}

/// A refusal (locked pages) costs memory, not meaning.
pub(super) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    let _ = unsafe { try_purge(memory, bytes) };
}

/// Gives the pages back; false if they are as they were.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn try_purge(memory: NonNull<u8>, bytes: usize) -> bool {
    use rustix::mm::{Advice, madvise};
    let start = memory.as_ptr().cast::<c_void>();
    // SAFETY: the caller owns the range and expects its contents to be lost.
    unsafe { madvise(start, bytes, Advice::LinuxDontNeed) }.is_ok()
}

/// The same: mapping anew over a range drops its pages on every unix.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn try_purge(memory: NonNull<u8>, bytes: usize) -> bool {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    let start = memory.as_ptr().cast::<c_void>();
    // SAFETY: the caller owns the range and expects its contents to be lost.
    unsafe { mmap_anonymous(start, bytes, protection, flags) }.is_ok()
}
