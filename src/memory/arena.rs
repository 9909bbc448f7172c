//! Arenas: the source of segments. Segments are claimed and released by bitmap, and spare arenas stay mapped.
//!
//! An arena is a 4 MiB mapping, aligned to its size and sliced into segments of one span. Its table entry has
//! one bit per segment that says whether the segment is free:
//!
//! ```text
//! free == 0      every segment is in use, or the entry is vacant (base is null)
//! free == all    the arena is idle; at most one idle arena per span stays mapped
//! dirty          free segments whose pages are still resident; at most 512 KiB of them per span
//! ```
//!
//! Any thread may touch any entry. The table is out of line and never freed, so reading an entry is always
//! safe. The bitmap orders all accesses and changes only by read-modify-writes. A claiming thread reads the
//! base only after it won a bit. A thread that unmaps an arena first moves the bitmap from "all free" to
//! "none free". So an entry can be reused for another arena, and no thread still uses the old base.

use core::ptr::{self, NonNull};

use crate::ground::events::{self, Happened};
use crate::ground::layout::{ARENA_BYTES, Span};
use crate::ground::os;
use crate::ground::sync::{Alive, AtomicPtr, AtomicU64, AtomicUsize, Guess, Ordering, const_fn};
use crate::hardened;
use crate::memory::segment::{ArenaId, Claimed};

/// Entries added to a table at a time: one page of them.
const BLOCK_ENTRIES: usize = if cfg!(segment_pool_loom) { 1 } else { 128 };
/// Bytes of resident pages that the free segments of one span may keep.
const DIRTY_BYTES: usize = 512 << 10;
/// Idle arenas of one span that stay mapped.
const SPARE_ARENAS: isize = if cfg!(segment_pool_loom) { 0 } else { 1 };

/// Stands in for the pool's name in events about free segments, which belong to no pool.
const ARENAS: &str = "arenas";

/// The arenas of every span.
#[derive(Debug)]
pub(crate) struct Arenas {
    small: Table,
    medium: Table,
    large: Table,
    /// Pools that take their segments here, and their heaps. Only in the models, which check that none is
    /// left.
    #[cfg(segment_pool_loom)]
    users: crate::ground::sync::Counter,
}

/// The arenas of one span.
#[derive(Debug)]
struct Table {
    span: Span,
    first: Block,
    /// Idle arenas. The count lags behind the bitmaps, so it may be off, even below zero, for a moment.
    idle: AtomicUsize,
    /// Free segments whose pages are still resident. This count lags too.
    dirty: AtomicUsize,
}

/// A part of a table.
#[derive(Debug)]
struct Block {
    entries: [Entry; BLOCK_ENTRIES],
    next: AtomicPtr<Block>,
}

/// One arena, or room for one.
#[derive(Debug)]
struct Entry {
    /// The lifetime of the mapped arena. It ends with the unmapping, and the next arena of the entry begins
    /// another.
    alive: Alive,
    free: AtomicU64,
    dirty: AtomicU64,
    base: AtomicPtr<u8>,
}

impl Arenas {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                small: Table::new(Span::Small),
                medium: Table::new(Span::Medium),
                large: Table::new(Span::Large),
                #[cfg(segment_pool_loom)]
                users: crate::ground::sync::Counter::new(0),
            }
        }
    }

    /// Claims memory for one segment. `None` if the operating system has no memory.
    pub(crate) fn claim(&self, span: Span) -> Option<Claimed> {
        self.table(span).claim()
    }

    /// Claims memory for `segments` segments and passes each to `claimed`, until the operating system has no
    /// more memory. Returns how many were claimed. Claims none if the system would not map all of the missing
    /// memory.
    pub(crate) fn claim_many(
        &self,
        span: Span,
        segments: usize,
        claimed: impl FnMut(Claimed),
    ) -> usize {
        if !self.table(span).has_or_may_map(segments) {
            return 0;
        }
        let memory = core::iter::from_fn(|| self.claim(span));
        memory.take(segments).map(claimed).count()
    }

    /// Releases a segment's memory.
    ///
    /// # Safety
    ///
    /// The memory came from [`claim`](Self::claim) with this span and is not used again.
    pub(crate) unsafe fn release(&self, span: Span, claimed: Claimed) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.table(span).release(claimed) }
    }

    /// Purges every free segment and unmaps every idle arena.
    pub(crate) fn trim(&self) {
        self.small.trim();
        self.medium.trim();
        self.large.trim();
    }

    /// The arenas mapped now and their unused bytes. The numbers may lag.
    #[cfg(not(segment_pool_loom))]
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for table in [&self.small, &self.medium, &self.large] {
            table.add_usage(&mut usage);
        }
        usage.resident_bytes = os::resident(&usage.bases, ARENA_BYTES);
        usage
    }

    /// Counts a pool or a heap that was created.
    #[cfg(segment_pool_loom)]
    pub(crate) fn count_user(&self) {
        self.users.add(1);
    }

    /// Counts a pool or a heap that was freed.
    #[cfg(segment_pool_loom)]
    pub(crate) fn uncount_user(&self) {
        self.users.sub(1);
    }

    #[cfg(all(test, segment_pool_loom))]
    pub(crate) fn users(&self) -> u64 {
        self.users.get()
    }

    /// Arenas mapped now, of all spans. The number may lag.
    pub(crate) fn mapped(&self) -> usize {
        self.small.mapped() + self.medium.mapped() + self.large.mapped()
    }

    fn table(&self, span: Span) -> &Table {
        match span {
            Span::Small => &self.small,
            Span::Medium => &self.medium,
            Span::Large => &self.large,
        }
    }
}

/// The memory that arenas take.
#[cfg(not(segment_pool_loom))]
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Addresses of the arenas. Each may be unmapped at any time.
    pub(crate) bases: Vec<usize>,
    /// Bytes of free segments.
    pub(crate) free_bytes: usize,
    /// Those bytes of free segments whose pages are still resident.
    pub(crate) dirty_bytes: usize,
    /// Resident bytes, if the system reports them.
    pub(crate) resident_bytes: Option<usize>,
}

impl Table {
    const_fn! {
        fn new(span: Span) -> Self {
            Self {
                span,
                first: Block::new(),
                idle: AtomicUsize::new(0),
                dirty: AtomicUsize::new(0),
            }
        }
    }

    /// The bitmap of an idle arena.
    fn all(&self) -> u64 {
        let segments = if cfg!(segment_pool_loom) {
            2
        } else {
            self.span.per_arena()
        };
        u64::MAX >> (64 - segments)
    }

    /// Claims the first free segment of the first arena that has one. So the last arenas have a chance to
    /// become idle.
    fn claim(&self) -> Option<Claimed> {
        self.entries()
            .find_map(|entry| self.claim_from(entry))
            .or_else(|| self.map())
    }

    fn claim_from(&self, entry: &Entry) -> Option<Claimed> {
        let mut free = if cfg!(segment_pool_loom) {
            self.all()
        } else {
            entry.free.guess()
        };
        while free != 0 {
            let bit = free & free.wrapping_neg();
            // Acquire: the memory, from the `release` of the segment; and the base, from the Release in
            // `map`. Relaxed on failure: the value is only another guess.
            match entry.free.compare_exchange_weak(
                free,
                free & !bit,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    entry.alive.used();
                    self.count_claimed(entry, free, bit);
                    // Relaxed: the base was published before the bit that was won, and is constant while a
                    // bit is held.
                    let base = entry.base.load(Ordering::Relaxed);
                    return Some(self.slice(entry, base, bit.trailing_zeros()));
                }
                Err(current) => free = current,
            }
        }
        None
    }

    fn slice(&self, entry: &Entry, base: *mut u8, index: u32) -> Claimed {
        let memory = base.wrapping_add((index as usize) << self.span.shift());
        Claimed {
            memory: NonNull::new(memory).expect("an arena with free segments is mapped"),
            arena: NonNull::from(entry).cast::<ArenaId>(),
        }
    }

    fn count_claimed(&self, entry: &Entry, free_before: u64, bit: u64) {
        if free_before == self.all() {
            // Relaxed: the count decides only how soon memory is returned to the system.
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
        // Relaxed: only the thread that holds a segment changes its bit.
        if entry.dirty.fetch_and(!bit, Ordering::Relaxed) & bit != 0 {
            // Relaxed: as for `idle`.
            self.dirty.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether there are `segments` free segments, or the system would map the missing memory now. The check
    /// is skipped if one arena is enough.
    ///
    /// Without it, the system would run out of memory one arena at a time, after the headers of the earlier
    /// segments have taken the machine's memory.
    fn has_or_may_map(&self, segments: usize) -> bool {
        let in_an_arena = self.span.per_arena();
        if segments <= in_an_arena {
            return true;
        }
        // Relaxed: an estimate of what need not be mapped.
        let free = |entry: &Entry| entry.free.load(Ordering::Relaxed).count_ones() as usize;
        let free: usize = self.entries().map(free).sum();
        let arenas = segments.saturating_sub(free).div_ceil(in_an_arena);
        arenas <= 1 || os::may_map(arenas * ARENA_BYTES)
    }

    /// Maps an arena, claims its first segment for the caller and publishes the others.
    fn map(&self) -> Option<Claimed> {
        let base = os::map(ARENA_BYTES, ARENA_BYTES)?;
        let known = hardened::arena_mapped(base, self.span);
        let Some(entry) = known.then(|| self.file(base)).flatten() else {
            hardened::arena_unmapped(base);
            // SAFETY: mapped above and not used.
            unsafe { os::unmap(base, ARENA_BYTES, ARENA_BYTES) };
            return None;
        };
        // Release: publishes the base to `claim_from`.
        entry.free.fetch_or(self.all() & !1, Ordering::Release);
        Some(self.slice(entry, base.as_ptr(), 0))
    }

    /// Stores a base in a vacant entry.
    fn file(&self, base: NonNull<u8>) -> Option<&Entry> {
        let mut block = &self.first;
        loop {
            let vacant = block.entries.iter().find(|entry| entry.occupy(base));
            if vacant.is_some() {
                return vacant;
            }
            block = block.next_or_new()?;
        }
    }

    unsafe fn release(&self, claimed: Claimed) {
        // SAFETY: the arena is that of a claimed segment, so its entry is in this table, which is never
        // freed.
        let entry = unsafe { claimed.arena.cast::<Entry>().as_ref() };
        let index = (claimed.memory.addr().get() & (ARENA_BYTES - 1)) >> self.span.shift();
        let bit = 1 << index;
        // SAFETY: the caller gives up the segment.
        unsafe { self.purge_or_keep(entry, claimed.memory, bit) };
        entry.alive.used();
        self.publish_free(entry, bit);
    }

    /// Frees a segment that the caller held, and unmaps the arena if it is idle and enough idle arenas are
    /// mapped.
    fn publish_free(&self, entry: &Entry, bit: u64) {
        // Release: the memory, to the next claim and to `retire`. If this makes the arena idle, `retire`
        // performs the Acquire.
        let free = entry.free.fetch_or(bit, Ordering::Release) | bit;
        if free == self.all() {
            // Relaxed: as in `count_claimed`.
            let idle_before = self.idle.fetch_add(1, Ordering::Relaxed) as isize;
            if idle_before >= SPARE_ARENAS && !self.retire(entry) {
                // Another thread claimed a segment of this arena first. A concurrent release may have kept
                // its own idle arena because it expected this one to be unmapped.
                self.entries().any(|entry| self.retire(entry));
            }
        }
    }

    /// Keeps the pages of a segment if the dirty limit allows it, else purges them.
    ///
    /// # Safety
    ///
    /// The caller holds the segment, and no thread uses its memory.
    unsafe fn purge_or_keep(&self, entry: &Entry, memory: NonNull<u8>, bit: u64) {
        // Relaxed: as in `count_claimed`.
        let dirty_before = self.dirty.fetch_add(1, Ordering::Relaxed);
        if (dirty_before + 1) << self.span.shift() <= DIRTY_BYTES {
            // Relaxed: as in `count_claimed`.
            entry.dirty.fetch_or(bit, Ordering::Relaxed);
            return;
        }
        // Relaxed: as in `count_claimed`.
        self.dirty.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: guaranteed by the caller; a segment consists of whole pages.
        unsafe { os::purge(memory, self.span.bytes()) };
        events::note(Happened::Purged, ARENAS, self.span.bytes());
    }

    /// Unmaps an idle arena. Returns false if it is not idle, or if another thread claims a segment of it
    /// first.
    fn retire(&self, entry: &Entry) -> bool {
        // Acquire: from every `release` in this arena, before its memory is unmapped. Relaxed on failure:
        // nothing was read.
        let won = entry
            .free
            .compare_exchange(self.all(), 0, Ordering::Acquire, Ordering::Relaxed);
        if won.is_err() {
            return false;
        }
        entry.alive.ended();
        // Relaxed (four times): this thread holds every bit, and the counts are as in `count_claimed`.
        self.idle.fetch_sub(1, Ordering::Relaxed);
        let dirty = entry.dirty.swap(0, Ordering::Relaxed).count_ones() as usize;
        self.dirty.fetch_sub(dirty, Ordering::Relaxed);
        let base = entry.base.load(Ordering::Relaxed);
        // Release: the entry is vacant from here on; `occupy` acquires the state of its other words.
        entry.base.store(ptr::null_mut(), Ordering::Release);
        if let Some(base) = NonNull::new(base) {
            hardened::arena_unmapped(base);
            // SAFETY: mapped by `map`; no segment is in use and none can be claimed.
            unsafe { os::unmap(base, ARENA_BYTES, ARENA_BYTES) };
        }
        true
    }

    fn trim(&self) {
        for entry in self.entries() {
            // Relaxed: a hint at the segments worth claiming.
            let mut dirty = entry.dirty.load(Ordering::Relaxed);
            while dirty != 0 {
                self.purge_free(entry, dirty & dirty.wrapping_neg());
                dirty &= dirty - 1;
            }
            self.retire(entry);
        }
    }

    /// Claims a segment, if it is free, purges it and frees it again.
    fn purge_free(&self, entry: &Entry, bit: u64) {
        // Acquire: as in `claim_from`.
        let free = entry.free.fetch_and(!bit, Ordering::Acquire);
        if free & bit == 0 {
            return;
        }
        entry.alive.used();
        self.count_claimed(entry, free, bit);
        // Relaxed: as in `claim_from`.
        let base = entry.base.load(Ordering::Relaxed);
        let claimed = self.slice(entry, base, bit.trailing_zeros());
        // SAFETY: claimed above; a segment consists of whole pages.
        unsafe { os::purge(claimed.memory, self.span.bytes()) };
        events::note(Happened::Purged, ARENAS, self.span.bytes());
        self.publish_free(entry, bit);
    }

    /// Adds the arenas of this table. The vector may run foreign code, which maps and unmaps arenas like
    /// another thread. Entries are never freed.
    #[cfg(not(segment_pool_loom))]
    fn add_usage(&self, usage: &mut Usage) {
        for entry in self.entries() {
            // Relaxed (three times): numbers for display; the base too.
            let base = entry.base.load(Ordering::Relaxed).addr();
            let free = entry.free.load(Ordering::Relaxed).count_ones() as usize;
            let dirty = entry.dirty.load(Ordering::Relaxed).count_ones() as usize;
            if base != 0 {
                usage.bases.push(base);
                usage.free_bytes += free << self.span.shift();
                usage.dirty_bytes += dirty << self.span.shift();
            }
        }
    }

    fn mapped(&self) -> usize {
        // Relaxed: a number for display.
        self.entries()
            .filter(|entry| !entry.base.load(Ordering::Relaxed).is_null())
            .count()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        core::iter::successors(Some(&self.first), |block| block.next())
            .flat_map(|block| &block.entries)
    }
}

impl Block {
    const_fn! {
        fn new() -> Self {
            Self {
                entries: entries(),
                next: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    fn next(&self) -> Option<&Self> {
        // Acquire: the block's contents, from the Release in `next_or_new`.
        let next = NonNull::new(self.next.load(Ordering::Acquire))?;
        // SAFETY: blocks are never freed while the table is in use.
        Some(unsafe { next.as_ref() })
    }

    fn next_or_new(&self) -> Option<&Self> {
        if let Some(next) = self.next() {
            return Some(next);
        }
        let new = os::map(size_of::<Self>(), align_of::<Self>())?.cast::<Self>();
        // SAFETY: mapped above, and large enough.
        unsafe { new.write(Self::new()) };
        let null = ptr::null_mut();
        // Release: publishes the block. Relaxed on failure: `next` acquires the other thread's block.
        let won =
            self.next
                .compare_exchange(null, new.as_ptr(), Ordering::Release, Ordering::Relaxed);
        if won.is_err() {
            // SAFETY: mapped above and never published.
            unsafe { os::unmap(new.cast(), size_of::<Self>(), align_of::<Self>()) };
        }
        self.next()
    }
}

#[cfg(not(segment_pool_loom))]
const fn entries() -> [Entry; BLOCK_ENTRIES] {
    [const { Entry::new() }; BLOCK_ENTRIES]
}

#[cfg(segment_pool_loom)]
fn entries() -> [Entry; BLOCK_ENTRIES] {
    core::array::from_fn(|_| Entry::new())
}

impl Entry {
    const_fn! {
        fn new() -> Self {
            Self {
                alive: Alive::new(),
                free: AtomicU64::new(0),
                dirty: AtomicU64::new(0),
                base: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// Stores an arena in this entry if it is vacant.
    fn occupy(&self, base: NonNull<u8>) -> bool {
        // Acquire: from `retire`, whose changes of this entry come before those of its next arena. Relaxed on
        // failure: nothing was read.
        self.base
            .compare_exchange(
                ptr::null_mut(),
                base.as_ptr(),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
