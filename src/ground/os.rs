//! The entry point to the operating system: map, unmap and purge.
//!
//! Fresh memory reads as zero and costs nothing until it is touched. On unix it comes from `mmap` and on
//! Windows from `VirtualAlloc`. Elsewhere and in Miri it comes from `std::alloc::System`, and purging does
//! nothing. It does not come from the program's global allocator, which may itself use pools.
//!
//! Unmapping cannot fail for the caller. Unix may fail to unmap a part of a mapping. Such a range is kept
//! here for the next mapping of its size (`os/kept`). Windows has no such failure: a reservation is released
//! whole, so no mapping is split.
//!
//! Any thread may call these functions; a range belongs to the thread that maps or unmaps it.

use core::ptr::NonNull;

use crate::ground::checker;

#[cfg(any(test, all(unix, not(miri))))]
pub(crate) mod kept;

/// The granularity of mapping and purging in bytes: 4 KiB on most systems, 16 or 64 KiB on some.
pub(crate) fn page_bytes() -> usize {
    platform::page_bytes()
}

/// The size of a mapping of `bytes` bytes, in whole pages. `None` if it exceeds the address space.
pub(crate) fn in_pages(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(page_bytes())
}

/// Maps `bytes` bytes of zeroed memory, aligned to `align`, a power of two. `None` if the system has no
/// memory.
///
/// [`unmap`] returns the mapping, with the same size and alignment.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(crate) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    #[cfg(all(test, not(segment_pool_loom)))]
    if refusal::refuses() {
        return None;
    }
    #[cfg(all(test, not(segment_pool_loom)))]
    refusal::interrupt();
    let bytes = in_pages(bytes)?;
    let memory = platform::map(bytes, align.max(page_bytes()));
    #[cfg(all(test, not(segment_pool_loom)))]
    refusal::note(memory, bytes);
    checker::mapped(memory?, bytes);
    memory
}

/// Returns a mapping to the system.
///
/// # Safety
///
/// `memory` came from [`map`] with the same numbers and is not used again.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(crate) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, align: usize) {
    let bytes = bytes.next_multiple_of(page_bytes());
    #[cfg(all(test, not(segment_pool_loom)))]
    refusal::note_gone(memory);
    checker::unmapped(memory, bytes);
    // SAFETY: guaranteed by the caller.
    unsafe { platform::unmap(memory, bytes, align.max(page_bytes())) }
}

/// Bytes of address space that the system did not unmap.
#[cfg(not(segment_pool_loom))]
pub(crate) fn kept_bytes() -> usize {
    platform::kept_bytes()
}

/// Tries again to unmap all of them.
#[cfg(not(segment_pool_loom))]
pub(crate) fn unmap_kept() {
    platform::retry(usize::MAX);
}

/// Whether the system maps this many bytes now. It maps them and unmaps them at once.
#[cfg_attr(all(test, not(segment_pool_loom)), track_caller)]
pub(crate) fn may_map(bytes: usize) -> bool {
    let memory = map(bytes, 1);
    if let Some(memory) = memory {
        // SAFETY: mapped above and not used.
        unsafe { unmap(memory, bytes, 1) };
    }
    memory.is_some()
}

/// Purges the pages of a part of a mapping and keeps the addresses. Later reads return zero or the previous
/// contents.
///
/// # Safety
///
/// The range lies in one mapping from [`map`], starts and ends at page boundaries, and only the caller uses
/// it.
pub(crate) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { platform::purge(memory, bytes) }
}

/// Returns how many bytes of these ranges are resident. Each range is `bytes` bytes of whole pages. `None`
/// where the system does not report it; only Linux does. The ranges are not read and may be unmapped.
pub(crate) fn resident(ranges: &[usize], bytes: usize) -> Option<usize> {
    pages::resident(ranges, bytes)
}

/// Linux reports it in `/proc/self/pagemap`: one word per page, whose top bit is set if the page is in
/// memory.
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

/// What the system calls this thread; 0 where it does not say, as only Linux does.
pub(crate) fn thread_id() -> u64 {
    threads::id()
}

/// The name that the system has for a thread of this process that runs. Foreign code runs.
#[cfg(not(segment_pool_loom))]
pub(crate) fn thread_name(id: u64) -> Option<String> {
    threads::name(id)
}

/// Linux says it in `/proc`. The standard library knows longer names, but is not to be asked where the global allocator may be at
/// work: to make a thread's first handle allocates, and ends the process if it comes back in.
#[cfg(all(target_os = "linux", not(any(segment_pool_loom, miri))))]
mod threads {
    pub(super) fn id() -> u64 {
        u64::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or(0)
    }

    pub(super) fn name(id: u64) -> Option<String> {
        let name = std::fs::read(format!("/proc/self/task/{id}/comm")).ok()?;
        Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
    }
}

#[cfg(not(all(target_os = "linux", not(any(segment_pool_loom, miri)))))]
mod threads {
    pub(super) fn id() -> u64 {
        0
    }

    #[cfg(not(segment_pool_loom))]
    pub(super) fn name(_id: u64) -> Option<String> {
        None
    }
}

/// The time of day, in milliseconds since 1970; 0 where there is no clock.
pub(crate) fn milliseconds() -> u64 {
    clock::milliseconds()
}

#[cfg(not(any(
    miri,
    segment_pool_loom,
    all(target_family = "wasm", target_os = "unknown")
)))]
mod clock {
    use std::time::{SystemTime, UNIX_EPOCH};

    pub(super) fn milliseconds() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }
}

#[cfg(any(
    miri,
    segment_pool_loom,
    all(target_family = "wasm", target_os = "unknown")
))]
mod clock {
    pub(super) fn milliseconds() -> u64 {
        0
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
        // SAFETY: as above. Volatile, so that the compiler keeps the write.
        unsafe { page.write_volatile(0) };
    }
}

#[cfg(all(unix, not(miri)))]
#[path = "os/unix.rs"]
mod platform;

#[cfg(all(windows, not(miri)))]
mod platform {
    use core::ffi::c_void;
    use core::ptr::{self, NonNull};

    use windows_sys::Win32::System::Memory::{
        DiscardVirtualMemory, MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc,
        VirtualFree,
    };

    /// Windows has pages of 4 KiB on all its platforms.
    pub(super) const fn page_bytes() -> usize {
        4 << 10
    }

    /// Maps aligned memory. A reservation can only be released whole. So an unaligned one is released, and
    /// the aligned address inside it is reserved instead. Another thread may take that address meanwhile;
    /// then this tries again.
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
        // SAFETY: reserving unused addresses affects nothing else; for addresses in use the call fails.
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
        // SAFETY: the caller gives up the reservation.
        let _ = unsafe { VirtualFree(memory.as_ptr().cast::<c_void>(), 0, MEM_RELEASE) };
    }

    pub(super) unsafe fn unmap(memory: NonNull<u8>, _bytes: usize, _align: usize) {
        // SAFETY: guaranteed by the caller.
        unsafe { release(memory) }
    }

    /// Nothing is kept.
    #[cfg(not(segment_pool_loom))]
    pub(super) fn retry(_most: usize) {}

    /// Nothing is kept.
    #[cfg(not(segment_pool_loom))]
    pub(super) const fn kept_bytes() -> usize {
        0
    }

    /// The pages stay committed, so using them again cannot fail. Only their contents are discarded.
    pub(super) unsafe fn purge(memory: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller owns the range and expects its contents to be lost. A failure only costs memory.
        let _ = unsafe { DiscardVirtualMemory(memory.as_ptr().cast::<c_void>(), bytes) };
    }
}

#[cfg(any(miri, not(any(unix, windows))))]
mod platform {
    use core::alloc::Layout;
    use core::ptr::NonNull;
    use std::alloc::{GlobalAlloc, System};

    pub(super) const fn page_bytes() -> usize {
        4 << 10
    }

    pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: no caller maps zero bytes.
        NonNull::new(unsafe { System.alloc_zeroed(layout) })
    }

    pub(super) unsafe fn unmap(memory: NonNull<u8>, bytes: usize, align: usize) {
        // SAFETY: the caller got the memory from `map` with the same numbers, which `map` checked.
        let layout = unsafe { Layout::from_size_align_unchecked(bytes, align) };
        // SAFETY: as above.
        unsafe { System.dealloc(memory.as_ptr(), layout) }
    }

    pub(super) unsafe fn purge(_memory: NonNull<u8>, _bytes: usize) {}

    /// Nothing is kept.
    #[cfg(not(segment_pool_loom))]
    pub(super) fn retry(_most: usize) {}

    /// Nothing is kept.
    #[cfg(not(segment_pool_loom))]
    pub(super) const fn kept_bytes() -> usize {
        0
    }
}

/// Makes mapping and unmapping fail on demand, for tests. Also counts the mappings, for tests that nothing
/// leaks.
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod refusal {
    use core::cell::{Cell, RefCell};
    use core::panic::Location;
    use core::ptr::NonNull;
    use std::collections::BTreeMap;
    use std::thread::LocalKey;

    std::thread_local! {
        static PLAN: Cell<Plan> = const { Cell::new(Plan::Never) };
        static UNMAPS: Cell<Plan> = const { Cell::new(Plan::Never) };
        static INTERRUPTION: Cell<Option<Interruption>> = const { Cell::new(None) };
        static REFUSED: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
        static KEPT: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
        static MAPPINGS: RefCell<BTreeMap<NonNull<u8>, usize>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Work to run after this many more mappings.
    type Interruption = (usize, Box<dyn FnOnce()>);

    #[derive(Clone, Copy)]
    enum Plan {
        Never,
        Always,
        /// Until this thread unmaps a mapping.
        UntilUnmapped,
        /// Every call after this many that succeed.
        After(usize),
        /// One call, after this many that succeed.
        Once(usize),
    }

    impl Plan {
        /// Whether this call fails, and the plan for the next call.
        fn step(self) -> (bool, Self) {
            match self {
                Self::Never => (false, Self::Never),
                Self::Always => (true, Self::Always),
                Self::UntilUnmapped => (true, Self::UntilUnmapped),
                Self::After(0) => (true, Self::Always),
                Self::After(granted) => (false, Self::After(granted - 1)),
                Self::Once(0) => (true, Self::Never),
                Self::Once(granted) => (false, Self::Once(granted - 1)),
            }
        }
    }

    #[track_caller]
    pub(super) fn refuses() -> bool {
        let (refuses, next) = PLAN.get().step();
        PLAN.set(next);
        if refuses && REFUSED.get().is_none() {
            REFUSED.set(Some(Location::caller()));
        }
        refuses
    }

    /// The same for unmapping.
    #[cfg(all(unix, not(miri)))]
    #[track_caller]
    pub(super) fn refuses_unmap() -> bool {
        let (refuses, next) = UNMAPS.get().step();
        UNMAPS.set(next);
        if refuses {
            KEPT.set(Some(Location::caller()));
        }
        refuses
    }

    /// Runs the interruption if it is due before this mapping.
    pub(super) fn interrupt() {
        match INTERRUPTION.take() {
            Some((0, work)) => work(),
            Some((mappings, work)) => INTERRUPTION.set(Some((mappings - 1, work))),
            None => {}
        }
    }

    /// Makes this thread run `work` after this many more mappings, within the next one.
    #[cfg(all(unix, not(miri)))]
    pub(crate) fn interrupt_after(mappings: usize, work: impl FnOnce() + 'static) {
        INTERRUPTION.set(Some((mappings, Box::new(work))));
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

    /// Mappings that this thread created and that still exist.
    pub(crate) fn mappings() -> usize {
        MAPPINGS.with_borrow(BTreeMap::len)
    }

    /// Unmaps all of them.
    ///
    /// # Safety
    ///
    /// No thread uses any of them again.
    pub(crate) unsafe fn unmap_all() {
        for (memory, bytes) in MAPPINGS.take() {
            // SAFETY: guaranteed by the caller.
            unsafe { super::platform::unmap(memory, bytes, 1) };
        }
    }

    /// Runs `work` while every mapping of this thread fails.
    pub(crate) fn while_refused<R>(work: impl FnOnce() -> R) -> R {
        under(&PLAN, Plan::Always, work)
    }

    /// Runs `work` while every unmapping of this thread fails.
    #[cfg(all(unix, not(miri)))]
    pub(crate) fn while_kept<R>(work: impl FnOnce() -> R) -> R {
        under(&UNMAPS, Plan::Always, work)
    }

    /// Runs `work` while one unmapping of this thread fails, after `unmapped` that succeed. Also returns the
    /// caller of the one that failed, if any did.
    #[cfg(all(unix, not(miri)))]
    pub(crate) fn once_kept<R>(
        unmapped: usize,
        work: impl FnOnce() -> R,
    ) -> (R, Option<&'static Location<'static>>) {
        KEPT.set(None);
        let result = under(&UNMAPS, Plan::Once(unmapped), work);
        (result, KEPT.take())
    }

    /// Runs `work` while every mapping of this thread fails, until it unmaps one.
    pub(crate) fn refused_until_unmapped<R>(work: impl FnOnce() -> R) -> R {
        under(&PLAN, Plan::UntilUnmapped, work)
    }

    /// Runs `work` while every mapping of this thread fails after `granted` that succeed. Also returns the
    /// caller of the first that failed, if any did.
    pub(crate) fn refused_after<R>(
        granted: usize,
        work: impl FnOnce() -> R,
    ) -> (R, Option<&'static Location<'static>>) {
        REFUSED.set(None);
        let result = under(&PLAN, Plan::After(granted), work);
        (result, REFUSED.take())
    }

    fn under<R>(place: &'static LocalKey<Cell<Plan>>, plan: Plan, work: impl FnOnce() -> R) -> R {
        struct Reset(&'static LocalKey<Cell<Plan>>);
        impl Drop for Reset {
            fn drop(&mut self) {
                self.0.set(Plan::Never);
            }
        }
        let _reset = Reset(place);
        place.set(plan);
        work()
    }
}
