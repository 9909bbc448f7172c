//! Map, unmap and purge: the only file that talks to the operating system.
//!
//! Fresh memory reads as zero and costs nothing until it is touched. On unix it comes from `mmap`, on Windows from
//! `VirtualAlloc`, elsewhere and in Miri from `std::alloc`, where purging does nothing.

use core::ptr::NonNull;

use crate::checker;

/// Granularity of mapping and purging: 4 KiB on most systems, 16 or 64 on some.
pub(crate) fn page_bytes() -> usize {
    platform::page_bytes()
}

/// What a mapping of so many bytes takes: whole pages. `None` if no address space has as many.
pub(crate) fn in_pages(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(page_bytes())
}

/// Maps `bytes` of zeroed memory, aligned to `align`, a power of two. `None` when memory is refused.
///
/// The mapping is given back by [`unmap`] with the same size and alignment.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(crate) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    #[cfg(all(test, not(segment_pool_loom)))]
    if refusal::refuses() {
        return None;
    }
    let bytes = in_pages(bytes)?;
    let memory = platform::map(bytes, align.max(page_bytes()));
    #[cfg(all(test, not(segment_pool_loom)))]
    refusal::note(memory, bytes);
    checker::mapped(memory?, bytes);
    memory
}

/// Gives a mapping back.
///
/// # Safety
///
/// `memory` came from [`map`] with these very numbers and is not used again.
pub(crate) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, align: usize) {
    let bytes = bytes.next_multiple_of(page_bytes());
    #[cfg(all(test, not(segment_pool_loom)))]
    refusal::note_gone(memory);
    checker::unmapped(memory, bytes);
    // SAFETY: guaranteed by the caller.
    unsafe { platform::unmap(memory, bytes, align.max(page_bytes())) }
}

/// Whether the system maps so much now: it does, and gets it back at once.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(crate) fn may_map(bytes: usize) -> bool {
    let memory = map(bytes, 1);
    if let Some(memory) = memory {
        // SAFETY: mapped above and not used.
        unsafe { unmap(memory, bytes, 1) };
    }
    memory.is_some()
}

/// Gives the pages of a part of a mapping back and keeps the addresses; what is read there next is zero or what was
/// there before.
///
/// # Safety
///
/// The range lies in one mapping from [`map`], starts and ends at page boundaries, and only the caller uses it.
pub(crate) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { platform::purge(memory, bytes) }
}

/// How many bytes of these address ranges, `bytes` at whole pages each, have a page; `None` where the system does not
/// tell, as only Linux does. Nothing there is read, so the ranges need not even be mapped.
pub(crate) fn resident(ranges: &[usize], bytes: usize) -> Option<usize> {
    pages::resident(ranges, bytes)
}

/// Linux says it in `/proc/self/pagemap`: a word for each page, whose top bit is on if the page is in memory.
#[cfg(all(target_os = "linux", not(any(segment_pool_loom, miri))))]
mod pages {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const WORD: usize = size_of::<u64>();
    const PRESENT: u64 = 1 << 63;

    pub(super) fn resident(ranges: &[usize], bytes: usize) -> Option<usize> {
        let page = super::page_bytes();
        let pagemap = File::open("/proc/self/pagemap").ok()?;
        let mut words = vec![0; bytes / page * WORD];
        let mut pages = 0;
        for start in ranges {
            let at = start / page * WORD;
            pagemap.read_exact_at(&mut words, at as u64).ok()?;
            pages += words
                .chunks_exact(WORD)
                .filter(|word| u64::from_ne_bytes((*word).try_into().unwrap()) & PRESENT != 0)
                .count();
        }
        Some(pages * page)
    }
}

#[cfg(not(all(target_os = "linux", not(any(segment_pool_loom, miri)))))]
mod pages {
    pub(super) fn resident(_ranges: &[usize], _bytes: usize) -> Option<usize> {
        None
    }
}

/// Makes the system provide the pages of a part of a mapping now.
///
/// # Safety
///
/// As for [`purge`]: the contents are lost.
pub(crate) unsafe fn touch(memory: NonNull<u8>, bytes: usize) {
    for offset in (0..bytes).step_by(page_bytes()) {
        // SAFETY: within the caller's range.
        let page = unsafe { memory.add(offset) };
        // SAFETY: as above. Volatile: the write is the point.
        unsafe { page.write_volatile(0) };
    }
}

#[cfg(all(unix, not(miri)))]
mod platform {
    use core::ffi::c_void;
    use core::ptr::{self, NonNull};

    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    pub(super) fn page_bytes() -> usize {
        rustix::param::page_size()
    }

    /// Maps as it comes, which next to an aligned mapping is often aligned, and otherwise more than asked and cuts.
    pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
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
        let memory =
            unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) };
        NonNull::new(memory.ok()?.cast())
    }

    pub(super) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, _align: usize) {
        if bytes == 0 {
            return;
        }
        // SAFETY: the caller gives the range up.
        let result = unsafe { munmap(memory.as_ptr().cast::<c_void>(), bytes) };
        // It fails only when splitting a mapping exceeds the system's limit of mappings; the pages go all the same.
        if result.is_err() {
            // SAFETY: as above; the range stays mapped.
            unsafe { purge(memory, bytes) };
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
        use rustix::mm::{Advice, madvise};
        // SAFETY: the caller owns the range and expects its contents to be lost. A refusal (locked pages) costs
        // memory, not meaning.
        let _ = unsafe {
            madvise(
                memory.as_ptr().cast::<c_void>(),
                bytes,
                Advice::LinuxDontNeed,
            )
        };
    }

    /// Mapping anew over the range drops its pages on every unix.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the caller owns the range and expects its contents to be lost. On failure it is as it was.
        let _ =
            unsafe { mmap_anonymous(memory.as_ptr().cast::<c_void>(), bytes, protection, flags) };
    }
}

#[cfg(all(windows, not(miri)))]
mod platform {
    use core::ffi::c_void;
    use core::ptr::{self, NonNull};

    use windows_sys::Win32::System::Memory::{
        DiscardVirtualMemory, MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc,
        VirtualFree,
    };

    /// Windows has pages of 4 KiB on all it runs on.
    pub(super) const fn page_bytes() -> usize {
        4 << 10
    }

    /// A reservation can only be released whole, so an unaligned one is let go and tried again at the aligned address
    /// inside it, which another thread may take meanwhile.
    pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
        const TRIES: usize = 16;
        let reserved = bytes.checked_add(align)?;
        for _ in 0..TRIES {
            let probe = reserve(ptr::null(), reserved)?;
            let aligned = probe.as_ptr().map_addr(|addr| addr.next_multiple_of(align));
            // SAFETY: reserved above and not used.
            unsafe { release(probe) };
            if let Some(memory) = reserve(aligned, bytes) {
                return commit(memory, bytes);
            }
        }
        None
    }

    fn reserve(address: *const u8, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: reserving addresses that are free disturbs nothing; taken ones are refused.
        let memory = unsafe { VirtualAlloc(address.cast(), bytes, MEM_RESERVE, PAGE_READWRITE) };
        NonNull::new(memory.cast())
    }

    fn commit(memory: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the range was just reserved by the caller.
        let committed =
            unsafe { VirtualAlloc(memory.as_ptr().cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
        if committed.is_null() {
            // SAFETY: reserved by the caller and not used.
            unsafe { release(memory) };
            return None;
        }
        Some(memory)
    }

    unsafe fn release(memory: NonNull<u8>) {
        // SAFETY: the caller gives the reservation up.
        let _ = unsafe { VirtualFree(memory.as_ptr().cast::<c_void>(), 0, MEM_RELEASE) };
    }

    pub(super) unsafe fn unmap(memory: NonNull<u8>, _bytes: usize, _align: usize) {
        // SAFETY: guaranteed by the caller.
        unsafe { release(memory) }
    }

    /// The pages stay promised, so using them again cannot fail; only their contents are given up.
    pub(super) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller owns the range and expects its contents to be lost. A refusal costs memory, not meaning.
        let _ = unsafe { DiscardVirtualMemory(memory.as_ptr().cast::<c_void>(), bytes) };
    }
}

#[cfg(any(miri, not(any(unix, windows))))]
mod platform {
    use core::alloc::Layout;
    use core::ptr::NonNull;

    pub(super) const fn page_bytes() -> usize {
        4 << 10
    }

    pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: no caller maps zero bytes.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
    }

    pub(super) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, align: usize) {
        // SAFETY: the caller got the memory from `map` with these numbers, which it checked.
        let layout = unsafe { Layout::from_size_align_unchecked(bytes, align) };
        // SAFETY: as above.
        unsafe { std::alloc::dealloc(memory.as_ptr(), layout) }
    }

    pub(super) unsafe fn purge(_memory: NonNull<u8>, _bytes: usize) {}
}

/// Refusal on demand, for the tests of failing memory, and how many mappings there are, for those that nothing is lost.
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod refusal {
    use core::cell::{Cell, RefCell};
    use core::panic::Location;
    use core::ptr::NonNull;
    use std::collections::BTreeMap;

    std::thread_local! {
        static PLAN: Cell<Plan> = const { Cell::new(Plan::Never) };
        static REFUSED: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
        static MAPPINGS: RefCell<BTreeMap<NonNull<u8>, usize>> = const { RefCell::new(BTreeMap::new()) };
    }

    #[derive(Clone, Copy)]
    enum Plan {
        Never,
        Always,
        /// Until this thread gives a mapping back.
        UntilUnmapped,
        /// When so many were granted.
        After(usize),
    }

    #[track_caller]
    pub(super) fn refuses() -> bool {
        let (refuses, next) = match PLAN.get() {
            Plan::Never => (false, Plan::Never),
            Plan::Always | Plan::UntilUnmapped => (true, PLAN.get()),
            Plan::After(0) => (true, Plan::Always),
            Plan::After(granted) => (false, Plan::After(granted - 1)),
        };
        PLAN.set(next);
        if refuses && REFUSED.get().is_none() {
            REFUSED.set(Some(Location::caller()));
        }
        refuses
    }

    pub(super) fn note(memory: Option<NonNull<u8>>, bytes: usize) {
        MAPPINGS.with_borrow_mut(|mappings| mappings.extend(memory.map(|memory| (memory, bytes))));
    }

    pub(super) fn note_gone(memory: NonNull<u8>) {
        if let Plan::UntilUnmapped = PLAN.get() {
            PLAN.set(Plan::Never);
        }
        // None: an arena that another thread mapped.
        MAPPINGS.with_borrow_mut(|mappings| mappings.remove(&memory));
    }

    /// Mappings that this thread made and that are still there.
    pub(crate) fn mappings() -> usize {
        MAPPINGS.with_borrow(BTreeMap::len)
    }

    /// Gives all of them back.
    ///
    /// # Safety
    ///
    /// Nobody uses any of them again.
    pub(crate) unsafe fn unmap_all() {
        for (memory, bytes) in MAPPINGS.take() {
            // SAFETY: guaranteed by the caller.
            unsafe { super::platform::unmap(memory, bytes, 1) };
        }
    }

    /// Runs `work` while this thread gets no memory from the system.
    pub(crate) fn while_refused<R>(work: impl FnOnce() -> R) -> R {
        under(Plan::Always, work)
    }

    /// Runs `work` while this thread gets no memory from the system before it gives some back.
    pub(crate) fn refused_until_unmapped<R>(work: impl FnOnce() -> R) -> R {
        under(Plan::UntilUnmapped, work)
    }

    /// Runs `work` while this thread is refused every mapping after so many that are granted. Also who was refused first, if
    /// it came to that.
    pub(crate) fn refused_after<R>(
        granted: usize,
        work: impl FnOnce() -> R,
    ) -> (R, Option<&'static Location<'static>>) {
        REFUSED.set(None);
        let result = under(Plan::After(granted), work);
        (result, REFUSED.take())
    }

    fn under<R>(plan: Plan, work: impl FnOnce() -> R) -> R {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                PLAN.set(Plan::Never);
            }
        }
        let _reset = Reset;
        PLAN.set(plan);
        work()
    }
}
