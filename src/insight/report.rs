//! Reports: a pool's counters by slot size and the memory of the process, formatted as a table.
//!
//! Reports are plain values, computed from the counters on request. All pools share the arenas, because a segment that
//! one pool releases may be used by another. So mapped and resident memory is known for the process, not for a pool.

use core::fmt;

use crate::ground::layout::ARENA_BYTES;
use crate::ground::os;
use crate::heap::registry;
use crate::heap::registry::RegistryRef;
use crate::insight::census::{Census, FillRange};
use crate::insight::holder::HeapReport;
use crate::insight::stats::{ClassStats, Stats};

/// The memory that the arenas of all pools take from the operating system. Values with dedicated mappings are not
/// included, nor are the heaps, which are mapped separately and use a few KiB each.
///
/// The numbers may lag behind while other threads run.
///
/// # Examples
///
/// ```
/// let _boxed = segment_pool::PoolBox::new(1);
/// let memory = segment_pool::memory();
/// assert_eq!(memory.mapped_bytes, memory.arenas * (4 << 20));
/// assert!(memory.dirty_bytes <= memory.free_bytes && memory.free_bytes < memory.mapped_bytes);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The number of arenas, of 4 MiB each, which are divided into segments.
    pub arenas: u64,
    /// The address space of the arenas, in bytes. Untouched pages in it take no memory.
    pub mapped_bytes: u64,
    /// The part of the address space in segments that no pool uses, in bytes.
    pub free_bytes: u64,
    /// The part of these free segments that still has its pages, in bytes. [`trim`](crate::trim) returns these pages to
    /// the system.
    pub dirty_bytes: u64,
    /// What `dirty_bytes` may be now: 512 KiB for each of the three segment sizes, or more, as was learned from what was asked for
    /// again, or as [`retain`](crate::retain) says.
    pub limit_bytes: u64,
    /// Pages of free segments that were returned to the system, ever, in bytes.
    pub purged_bytes: u64,
    /// What of them was claimed again, each of its pages by a page fault, in bytes. If it grows as fast as `purged_bytes`, the
    /// process pays for promptness: [`retain`](crate::retain) helps.
    pub refaulted_bytes: u64,
    /// What of the address space has a page in memory, in bytes; `None` where the system does not say, as only Linux
    /// does (`/proc/self/pagemap`).
    pub resident_bytes: Option<u64>,
    /// The address space that the crate could not unmap, in bytes, because the process has reached the limit of
    /// mappings (`vm.max_map_count` on Linux). It belongs to no arena and to no value. The next mapping of the same
    /// size reuses it. Until then at most one page of each range is resident. Each later unmapping, and
    /// [`trim`](crate::trim), retry.
    pub kept_bytes: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arenas of all pools: {}, {} of address space mapped",
            self.arenas,
            Bytes(self.mapped_bytes)
        )?;
        if let Some(resident) = self.resident_bytes {
            write!(f, ", {} resident", Bytes(resident))?;
        }
        write!(
            f,
            "; free segments: {} of address space, up to {} with pages",
            Bytes(self.free_bytes),
            Bytes(self.dirty_bytes)
        )?;
        write!(
            f,
            " of at most {}; purged {}, refaulted {}",
            Bytes(self.limit_bytes),
            Bytes(self.purged_bytes),
            Bytes(self.refaulted_bytes)
        )?;
        if self.kept_bytes > 0 {
            let kept = Bytes(self.kept_bytes);
            write!(f, "; {kept} that could not be unmapped")?;
        }
        Ok(())
    }
}

/// Returns the memory that the arenas of all pools take from the operating system.
///
/// Cost: one to three loads for each arena of the highest number that ever existed at once, and on Linux a system call
/// of about 20 microseconds per arena. Suitable for occasional calls, not for a loop.
///
/// # Examples
///
/// ```
/// let boxed = segment_pool::PoolBox::new(1);
/// let memory = segment_pool::memory();
/// assert!(memory.arenas >= 1);
/// assert!(memory.resident_bytes <= Some(memory.mapped_bytes));
/// println!("{memory}");
/// ```
#[must_use]
pub fn memory() -> Memory {
    let usage = registry::arena_usage();
    Memory {
        arenas: usage.bases.len() as u64,
        mapped_bytes: (usage.bases.len() * ARENA_BYTES) as u64,
        free_bytes: usage.free_bytes as u64,
        dirty_bytes: usage.dirty_bytes as u64,
        limit_bytes: usage.limit_bytes as u64,
        purged_bytes: usage.purged_bytes,
        refaulted_bytes: usage.refaulted_bytes,
        resident_bytes: usage.resident_bytes.map(|bytes| bytes as u64),
        kept_bytes: os::kept_bytes() as u64,
    }
}

/// A pool's counters, by slot size and in total, and the memory of the process. `Display` formats it as a table.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let _packets: Vec<_> = (0..1000).map(|n| pool.alloc([n; 100])).collect();
/// let report = pool.report();
/// assert_eq!(report.classes.len(), 1); // a pool of one type has one slot size
/// assert_eq!(report.classes[0].live(), report.total.live());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The pool's name, or the type name of its values.
    pub name: &'static str,
    /// The pool's counters in total.
    pub total: Stats,
    /// The pool's counters by slot size, in increasing order, for the sizes that were ever used.
    pub classes: Vec<ClassStats>,
    /// Its heaps, the oldest first, whoever has them. `Display` shows those for which most waits.
    pub heaps: Vec<HeapReport>,
    /// How full its segments are: how many are empty, up to 10 % full, and so on, the emptiest first. Many that are almost empty hold
    /// much memory for few values.
    pub fill: Vec<FillRange>,
    /// What the arenas of all pools take.
    pub memory: Memory,
}

impl Report {
    pub(crate) fn of(pool: RegistryRef, name: &'static str, given: Option<&'static str>) -> Self {
        let mut heaps = Census::room_for_heaps(pool);
        let mut classes = ClassStats::room(pool);
        let (total, census) = Stats::by_class(pool, given, &mut classes, &mut heaps);
        classes.retain(ClassStats::was_used);
        Self {
            name,
            total,
            classes,
            heaps: HeapReport::of(pool, &heaps),
            fill: census.fill(),
            memory: memory(),
        }
    }

    /// Of a pool without memory.
    pub(crate) fn unused(name: &'static str, given: Option<&'static str>) -> Self {
        Self {
            name,
            total: Stats::unused(given),
            classes: Vec::new(),
            heaps: Vec::new(),
            fill: Vec::new(),
            memory: memory(),
        }
    }

    /// The heaps for which something waits, those for which most does first.
    fn heaps_that_wait(&self) -> Vec<&HeapReport> {
        let waiting = self.heaps.iter().filter(|heap| heap.unreclaimed > 0);
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|heap| core::cmp::Reverse(heap.unreclaimed));
        waiting
    }
}

/// Heaps that a table shows, of those for which something waits.
const SHOWN_HEAPS: usize = 8;

/// The default pool's numbers, by size of slot and in total, beside what the process holds. Cost: see [`memory`].
///
/// # Examples
///
/// ```
/// let boxes: Vec<_> = (0..1000).map(segment_pool::PoolBox::new).collect();
/// let report = segment_pool::report();
/// let class = &report.classes[0]; // of 8 bytes, or 16 if hardened
/// assert_eq!(class.live(), 1000);
/// println!("{report}");
/// ```
#[must_use]
pub fn report() -> Report {
    let pool = registry::default();
    let name = pool.core().name;
    Report::of(pool, name, Some(name))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        writeln!(f, "pool {}", self.name)?;
        writeln!(
            f,
            "{:>9} {:>9} {:>10} {:>10} {:>10} {:>5} {:>11} {:>12} {:>12} {:>12} {:>9} {:>9}",
            "slot",
            "segments",
            "mapped",
            "capacity",
            "live",
            "used",
            "unreclaimed",
            "allocations",
            "local frees",
            "remote frees",
            "batches",
            "collects"
        )?;
        for class in &self.classes {
            row(f, &class.slot_bytes.to_string(), class)?;
        }
        row(f, "total", &summed(&self.classes))?;
        writeln!(
            f,
            "heaps: {}, {} of them abandoned; {} adoptions, {} abandonments; {} in spare segments",
            total.heaps,
            total.abandoned_heaps,
            total.adoptions,
            total.abandonments,
            Bytes(total.spare_bytes)
        )?;
        if !self.fill.is_empty() {
            let fill: Vec<_> = self.fill.iter().map(FillRange::to_string).collect();
            writeln!(f, "fill: {}", fill.join(", "))?;
        }
        let waiting = self.heaps_that_wait();
        for heap in waiting.iter().take(SHOWN_HEAPS) {
            writeln!(f, "heap {heap}")?;
        }
        if waiting.len() > SHOWN_HEAPS {
            writeln!(
                f,
                "and {} more with unreclaimed slots",
                waiting.len() - SHOWN_HEAPS
            )?;
        }
        if total.large > 0 {
            let bytes = Bytes(total.large_bytes);
            writeln!(
                f,
                "values with dedicated mappings: {}, {bytes}",
                total.large
            )?;
        }
        write!(f, "{}", self.memory)
    }
}

fn row(f: &mut fmt::Formatter<'_>, slot: &str, class: &ClassStats) -> fmt::Result {
    let used = 100 * class.live() / class.capacity.max(1);
    writeln!(
        f,
        "{slot:>9} {:>9} {:>10} {:>10} {:>10} {used:>4}% {:>11} {:>12} {:>12} {:>12} {:>9} {:>9}",
        class.segments,
        Bytes(class.segment_bytes).to_string(),
        class.capacity,
        class.live(),
        class.unreclaimed,
        class.allocations,
        class.local_frees,
        class.remote_frees,
        class.batches,
        class.collects
    )
}

/// Computes the last row as the sum of the rows above it, even if the totals have changed since.
fn summed(classes: &[ClassStats]) -> ClassStats {
    classes.iter().fold(ClassStats::default(), ClassStats::plus)
}

/// A number of bytes, formatted with a unit.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            bytes @ 1024..0x10_0000 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        }
    }
}
