//! Reports of the values of a pool that were not dropped.
//!
//! A report is a plain value. It is made when the pool is dropped, if its builder set `on_leak`, or when the user
//! requests one. Nothing is written to stderr by default.

use core::error::Error;
use core::fmt;

use crate::heap::registry::RegistryRef;
use crate::heap::remote_buffer::most_slots;
use crate::insight::stats::Stats;
use crate::thread;

/// The number and type of the values of a pool that were not dropped.
///
/// The report is exact if no other thread holds a heap of the pool, and if all threads that dropped values of it have
/// since ended, idled or flushed. Otherwise `live` is an upper bound. A value that another thread dropped recently
/// still counts while its slot is in an open batch of that thread, or waits for the thread that holds the heap of its
/// segment.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let forgotten = pool.alloc(1_u64);
/// let report = pool.leaks().unwrap();
/// assert_eq!((report.live, report.type_name), (1, "u64"));
/// assert_eq!(report.to_string(), "pool u64: 1 value of type u64 is alive");
/// # drop(forgotten);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeakReport {
    /// The pool's name, or the type name of its values.
    pub name: &'static str,
    /// The type name of the values.
    pub type_name: &'static str,
    /// The number of values that were not dropped, or an upper bound of it.
    pub live: u64,
    /// So many of these, at most, were dropped in truth, and are in open batches of other threads.
    pub in_open_batches: u64,
    /// Threads, but for the asking one, that have used any pool and have not ended: those that may have open batches.
    pub other_threads: u64,
}

impl LeakReport {
    /// Collects everything that this thread can reach, so that it does not count, and reports the remaining values, if
    /// any. Runs no foreign code.
    pub(crate) fn of(
        pool: RegistryRef,
        name: &'static str,
        type_name: &'static str,
    ) -> Option<Self> {
        thread::trim_pool(pool);
        let stats = Stats::of(pool, None);
        let in_slots = stats.live() - stats.large;
        let other_threads = thread::other_threads() as u64;
        let report = Self {
            name,
            type_name,
            live: stats.live(),
            in_open_batches: (other_threads * open_slots(pool)).min(in_slots),
            other_threads,
        };
        (report.live > 0).then_some(report)
    }
}

/// Slots of the pool that the open batches of one thread hold at most.
fn open_slots(pool: RegistryRef) -> u64 {
    let core = pool.core();
    if core.is_bounded() {
        0 // its frees join no batches
    } else {
        most_slots(core.stride(0)) as u64
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            type_name,
            live,
            in_open_batches,
            other_threads,
        } = self;
        match live {
            1 => write!(f, "pool {name}: 1 value of type {type_name} is alive")?,
            _ => write!(
                f,
                "pool {name}: {live} values of type {type_name} are alive"
            )?,
        }
        match in_open_batches {
            0 => Ok(()),
            _ => write!(
                f,
                "; up to {in_open_batches} of these may be in open batches of {other_threads} other threads"
            ),
        }
    }
}

impl Error for LeakReport {}
