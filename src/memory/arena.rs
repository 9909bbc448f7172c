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
use crate::memory::pins::Pins;
use crate::memory::retention::{BASE_BYTES, Limits, Retention};
use crate::memory::segment::{ArenaId, Claimed, OwnerId, Sight};

/// Entries added to a table at a time: one page of them.
const BLOCK_ENTRIES: usize = if cfg!(segment_pool_loom) { 1 } else { 128 };
/// Idle arenas of one span that stay mapped, beside those that the span's free segments may keep the pages of.
const SPARE_ARENAS: isize = if cfg!(segment_pool_loom) { 0 } else { 1 };

/// Stands in for the pool's name in events about free segments, which belong to no pool.
const ARENAS: &str = "arenas";

/// The arenas of every span.
#[derive(Debug)]
pub(crate) struct Arenas {
    small: Table,
    medium: Table,
    large: Table,
    limits: Limits,
    /// Pools that take their segments here, and their heaps, in the models, which check that none is left.
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
    /// How many bytes of free segments keep their pages; lags likewise.
    retention: Retention,
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
    /// Looks at the headers of its segments.
    pins: Pins,
}

impl Arenas {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                small: Table::new(Span::Small),
                medium: Table::new(Span::Medium),
                large: Table::new(Span::Large),
                limits: Limits::new(),
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
        unsafe { self.table(span).release(claimed, self.bounds(span)) }
    }

    /// Purges every free segment, unmaps every idle arena, and forgets what was asked for again.
    pub(crate) fn trim(&self) {
        self.tables().into_iter().for_each(Table::trim);
    }

    /// Whether free segments hold more than they may in any case.
    #[inline]
    pub(crate) fn may_have_excess(&self) -> bool {
        self.tables()
            .into_iter()
            .any(|table| table.retention.held() > BASE_BYTES)
    }

    /// Returns pages that free segments hold and that were not needed by this time, in milliseconds: at most about so many bytes of
    /// each span.
    pub(crate) fn return_excess(&self, now: u64, most: usize) {
        for table in self.tables() {
            table.retention.tick(now);
            table.return_excess(self.bounds(table.span), most);
        }
    }

    /// Bounds what free segments keep, in bytes, of all spans.
    pub(crate) fn set_limits(&self, at_least: usize, at_most: usize) {
        self.limits.set(at_least, at_most);
    }

    /// The most that was in use lately, in bytes.
    pub(crate) fn recent_peak(&self) -> usize {
        let peaks = self.tables().into_iter();
        peaks.map(|table| table.retention.recent_peak()).sum()
    }

    fn bounds(&self, span: Span) -> Bounds<'_> {
        let others = self.tables().into_iter().filter(|table| table.span != span);
        Bounds {
            limits: &self.limits,
            others: others.map(|table| table.retention.held()).sum(),
        }
    }

    fn tables(&self) -> [&Table; 3] {
        [&self.small, &self.medium, &self.large]
    }

    /// Calls `visit` with every segment of a pool, which the caller keeps alive: as it is if no thread is at work on it, else as it
    /// may never have been. `visit` does not panic.
    pub(crate) fn look(&self, pool: *mut OwnerId, mut visit: impl FnMut(Sight)) {
        for table in self.tables() {
            table.look(pool, &mut visit);
        }
    }

    /// The arenas mapped now and their unused bytes. The numbers may lag.
    #[cfg(not(segment_pool_loom))]
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for table in self.tables() {
            table.add_usage(&mut usage);
            usage.limit_bytes += table.limit(self.bounds(table.span));
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
        self.tables().into_iter().map(Table::mapped).sum()
    }

    fn table(&self, span: Span) -> &Table {
        match span {
            Span::Small => &self.small,
            Span::Medium => &self.medium,
            Span::Large => &self.large,
        }
    }
}

/// What bounds the pages that the free segments of a span keep.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    limits: &'a Limits,
    /// What the free segments of the other spans hold, in bytes.
    others: usize,
}

/// What arenas take.
#[cfg(not(segment_pool_loom))]
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Addresses of the arenas. Each may be unmapped at any time.
    pub(crate) bases: Vec<usize>,
    /// Bytes of free segments.
    pub(crate) free_bytes: usize,
    /// Those bytes of free segments whose pages are still resident.
    pub(crate) dirty_bytes: usize,
    /// How many may have them.
    pub(crate) limit_bytes: usize,
    /// Bytes of pages of free segments that were returned to the system, ever.
    pub(crate) purged_bytes: u64,
    /// What of them was claimed again.
    pub(crate) refaulted_bytes: u64,
    /// Bytes that have a page, if the system says so.
    pub(crate) resident_bytes: Option<usize>,
}

impl Table {
    const_fn! {
        fn new(span: Span) -> Self {
            Self {
                span,
                first: Block::new(),
                idle: AtomicUsize::new(0),
                retention: Retention::new(),
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
        self.claim_with_pages()
            .or_else(|| self.entries().find_map(|entry| self.claim_from(entry)))
            .or_else(|| self.map())
    }

    fn claim_with_pages(&self) -> Option<Claimed> {
        if cfg!(segment_pool_loom) || self.retention.held() == 0 {
            return None;
        }
        let has_some = |entry: &&Entry| entry.free_with_pages() != 0;
        let mut entries = self.entries().filter(has_some);
        entries.find_map(|entry| self.claim_from(entry))
    }

    fn claim_from(&self, entry: &Entry) -> Option<Claimed> {
        let mut free = if cfg!(segment_pool_loom) {
            self.all()
        } else {
            entry.free.guess()
        };
        while free != 0 {
            let with_pages = entry.with_pages(free);
            let best = if with_pages != 0 { with_pages } else { free };
            let bit = best & best.wrapping_neg();
            // Acquire: from the `release` of the segment, and from `publish` the base. Relaxed on failure:
            // only another guess.
            match entry.free.compare_exchange_weak(
                free,
                free & !bit,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    entry.alive.used();
                    let had_pages = self.take(entry, free, bit);
                    self.retention.claimed(self.span.bytes(), had_pages);
                    // Relaxed: published before the bit that was won, and fixed while a bit is held.
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
            has_pages: true,
        }
    }

    /// Counts that a segment is not free any more; whether it has its pages.
    fn take(&self, entry: &Entry, free_before: u64, bit: u64) -> bool {
        if free_before == self.all() {
            // Relaxed: the count decides only how soon memory is returned to the system.
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
        // Relaxed: the bit of a segment is changed only by who holds the segment.
        entry.dirty.fetch_and(!bit, Ordering::Relaxed) & bit != 0
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
        #[cfg(segment_pool_loom)]
        (0..2).for_each(|index| Sight::prepare(self.slice(entry, base.as_ptr(), index).memory));
        entry.pins.open();
        self.retention.claimed(self.span.bytes(), false);
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

    unsafe fn release(&self, claimed: Claimed, bounds: Bounds<'_>) {
        // SAFETY: the arena is that of a claimed segment, filed in this table, which is never freed.
        let entry = unsafe { claimed.arena.cast::<Entry>().as_ref() };
        let index = (claimed.memory.addr().get() & (ARENA_BYTES - 1)) >> self.span.shift();
        let bit = 1 << index;
        // SAFETY: the caller gives the segment up.
        unsafe { self.purge_or_keep(entry, claimed, bit, bounds) };
        entry.alive.used();
        self.publish_free(entry, bit, bounds);
    }

    /// Frees a segment that the caller held, and the arena if it is idle and one too many.
    fn publish_free(&self, entry: &Entry, bit: u64, bounds: Bounds<'_>) {
        // Release: the memory, to the next claimer and to `retire`. Who finds the arena idle here acquires in `retire`.
        let free = entry.free.fetch_or(bit, Ordering::Release) | bit;
        if free == self.all() {
            // Relaxed: as in `take`.
            let idle_before = self.idle.fetch_add(1, Ordering::Relaxed) as isize;
            if idle_before >= self.spare_arenas(bounds) && !self.retire(entry) {
                // Somebody claimed from this one, and another's release may have counted on it to go.
                self.entries().any(|entry| self.retire(entry));
            }
        }
    }

    /// Keeps the pages of a segment if the dirty limit allows it, else purges them.
    ///
    /// # Safety
    ///
    /// The caller holds the segment, and nobody uses its memory.
    unsafe fn purge_or_keep(&self, entry: &Entry, claimed: Claimed, bit: u64, bounds: Bounds<'_>) {
        let Bounds { others, limits } = bounds;
        if !claimed.has_pages {
            self.retention.released_purged(self.span.bytes());
        } else if self.retention.released(self.span.bytes(), others, limits) {
            // Relaxed: as in `take`.
            entry.dirty.fetch_or(bit, Ordering::Relaxed);
        } else {
            // SAFETY: guaranteed by the caller; a segment is whole pages.
            unsafe { os::purge(claimed.memory, self.span.bytes()) };
            events::note(Happened::Purged, ARENAS, self.span.bytes());
        }
    }

    fn limit(&self, bounds: Bounds<'_>) -> usize {
        self.retention.limit(bounds.others, bounds.limits)
    }

    /// Idle arenas that may stay mapped.
    fn spare_arenas(&self, bounds: Bounds<'_>) -> isize {
        let kept = match self.limit(bounds) {
            0..=BASE_BYTES => 0,
            learned => learned.div_ceil(ARENA_BYTES),
        };
        SPARE_ARENAS + kept as isize
    }

    /// Purges free segments of the last arenas, or unmaps these, until the free segments hold no more than they may, or about so
    /// many bytes are returned.
    fn return_excess(&self, bounds: Bounds<'_>, most: usize) {
        let mut returned = 0;
        while returned < most && self.retention.excess(bounds.others, bounds.limits) > 0 {
            let has_some = |entry: &&Entry| entry.free_with_pages() != 0;
            let Some(last) = self.entries().filter(has_some).last() else {
                break;
            };
            returned += self.return_from(last, bounds);
        }
        // Relaxed: as in `take`.
        if self.idle.load(Ordering::Relaxed) as isize > self.spare_arenas(bounds) {
            self.entries().any(|entry| self.retire(entry));
        }
    }

    /// Returns the pages of one free segment, or of an idle arena. Returns how many bytes these are.
    fn return_from(&self, entry: &Entry, bounds: Bounds<'_>) -> usize {
        let segments = entry.free_with_pages();
        // Relaxed: as in `take`.
        let spare = self.idle.load(Ordering::Relaxed) as isize <= self.spare_arenas(bounds);
        if spare || !self.retire(entry) {
            self.purge_free(entry, segments & segments.wrapping_neg(), bounds);
            return self.span.bytes();
        }
        segments.count_ones() as usize * self.span.bytes()
    }

    /// Gives an idle arena back to the operating system, or leaves that to who looks at it; false if it is not idle, or somebody
    /// claims from it first.
    fn retire(&self, entry: &Entry) -> bool {
        // Acquire: from every `release` in this arena, before its memory is unmapped. Relaxed on failure:
        // nothing was read.
        let won = entry
            .free
            .compare_exchange(self.all(), 0, Ordering::Acquire, Ordering::Relaxed);
        if won.is_err() {
            return false;
        }
        // Relaxed (twice): as in `take`.
        self.idle.fetch_sub(1, Ordering::Relaxed);
        let dirty = entry.dirty.swap(0, Ordering::Relaxed).count_ones() as usize;
        self.retention.purged(dirty * self.span.bytes());
        if entry.pins.close() {
            self.unmap(entry);
        }
        true
    }

    /// Gives an arena back of which the caller holds every bit, and at which nobody looks.
    fn unmap(&self, entry: &Entry) {
        entry.alive.ended();
        // Relaxed: filed by who mapped the arena, and fixed until here.
        let base = entry.base.load(Ordering::Relaxed);
        // Release: the entry is vacant from here on; `occupy` acquires the state of its other words.
        entry.base.store(ptr::null_mut(), Ordering::Release);
        if let Some(base) = NonNull::new(base) {
            hardened::arena_unmapped(base);
            // SAFETY: mapped by `map`; no segment is in use and none can be claimed.
            unsafe { os::unmap(base, ARENA_BYTES, ARENA_BYTES) };
        }
    }

    fn look(&self, pool: *mut OwnerId, visit: &mut impl FnMut(Sight)) {
        for entry in self.entries() {
            if entry.pins.pin() {
                self.look_into(entry, pool, visit);
                if entry.pins.unpin() {
                    self.unmap(entry);
                }
            }
        }
    }

    /// Looks into an arena that the caller pinned. Free segments are passed by: their pages may never have been touched.
    fn look_into(&self, entry: &Entry, pool: *mut OwnerId, visit: &mut impl FnMut(Sight)) {
        entry.alive.used();
        // Relaxed: filed before `open`, and fixed until the look ends.
        let base = entry.base.load(Ordering::Relaxed);
        // Relaxed: a hint; the header of a free segment says that it is none.
        let mut in_use = self.all() & !entry.free.load(Ordering::Relaxed);
        while in_use != 0 {
            let segment = self.slice(entry, base, in_use.trailing_zeros());
            // SAFETY: a segment's place in an arena that stays mapped.
            if let Some(sight) = unsafe { Sight::of(segment.memory, pool) } {
                visit(sight);
            }
            in_use &= in_use - 1;
        }
    }

    fn trim(&self) {
        self.retention.forget();
        let nothing = Limits::nothing();
        let bounds = Bounds {
            limits: &nothing,
            others: 0,
        };
        for entry in self.entries() {
            // Relaxed: a hint at the segments worth claiming.
            let mut dirty = entry.dirty.load(Ordering::Relaxed);
            while dirty != 0 {
                self.purge_free(entry, dirty & dirty.wrapping_neg(), bounds);
                dirty &= dirty - 1;
            }
            self.retire(entry);
        }
    }

    /// Claims this segment, if it is free, to purge it.
    fn purge_free(&self, entry: &Entry, bit: u64, bounds: Bounds<'_>) {
        // Acquire: as in `claim_from`.
        let free = entry.free.fetch_and(!bit, Ordering::Acquire);
        if free & bit == 0 {
            return;
        }
        entry.alive.used();
        let had_pages = self.take(entry, free, bit);
        // Relaxed: as in `claim_from`.
        let base = entry.base.load(Ordering::Relaxed);
        let claimed = self.slice(entry, base, bit.trailing_zeros());
        // SAFETY: claimed above; a segment consists of whole pages.
        unsafe { os::purge(claimed.memory, self.span.bytes()) };
        events::note(Happened::Purged, ARENAS, self.span.bytes());
        if had_pages {
            self.retention.purged(self.span.bytes());
        }
        self.publish_free(entry, bit, bounds);
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
        let (purged, refaulted) = self.retention.turnover();
        usage.purged_bytes += purged;
        usage.refaulted_bytes += refaulted;
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
                pins: Pins::new(),
            }
        }
    }

    /// Free segments that have pages, one bit each. A hint.
    fn free_with_pages(&self) -> u64 {
        // Relaxed (twice): a hint.
        self.free.load(Ordering::Relaxed) & self.dirty.load(Ordering::Relaxed)
    }

    /// Which of these segments have pages. A hint, which the models do without.
    fn with_pages(&self, segments: u64) -> u64 {
        if cfg!(segment_pool_loom) {
            return 0;
        }
        segments & self.dirty.load(Ordering::Relaxed) // Relaxed: a hint
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
