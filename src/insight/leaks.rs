//! What a pool still holds when it should hold nothing.
//!
//! A plain value, made when somebody asks: at the end of a pool if its builder said so, or by its user. Nothing is ever
//! written to stderr by itself.

use core::error::Error;
use core::fmt;

use crate::heap::registry::RegistryRef;
use crate::heap::remote_buffer::most_slots;
use crate::insight::stats::Stats;
use crate::thread;

/// The values of a pool that were not dropped: how many, and of which type.
///
/// Slots are no values: what was dropped does not count, whichever thread made it and whether that sleeps, runs or ended. One
/// thing cannot be seen: a value that another thread dropped a moment ago counts as long as its slot is in an open batch of that
/// thread, until it flushes, idles or ends. [`in_open_batches`](Self::in_open_batches) says how many these may be. Of a pool with a
/// limit, and of values with a dedicated mapping, there are none.
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
    /// The pool's name, or that of its type.
    pub name: &'static str,
    /// The type of the values.
    pub type_name: &'static str,
    /// Values that were not dropped, but for those in open batches.
    pub live: u64,
    /// So many of these, at most, were dropped in truth, and are in open batches of other threads.
    pub in_open_batches: u64,
    /// Threads, but for the asking one, that have used any pool and have not ended: those that may have open batches.
    pub other_threads: u64,
}

impl LeakReport {
    /// Brings home what this thread may bring home, so that it does not count, and reports the rest if there is any. No
    /// foreign code runs.
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
