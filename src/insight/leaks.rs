//! What a pool still holds when it should hold nothing.
//!
//! A plain value, made when somebody asks: at the end of a pool if its builder said so, or by its user. Nothing is ever
//! written to stderr by itself.

use core::error::Error;
use core::fmt;

use crate::heap::registry::RegistryRef;
use crate::insight::stats::Stats;
use crate::thread;

/// The values of a pool that were not dropped: how many, and of which type.
///
/// It is exact when no other thread has a heap of the pool and all threads that dropped values of it have ended, idled or
/// flushed. Otherwise `live` is the most that it can be: a value that another thread dropped a moment ago counts as
/// long as its slot is in an open batch of that thread, or waits for a thread that holds the heap it belongs to.
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
    /// Values that were not dropped, as far as is known.
    pub live: u64,
    /// Heaps of the pool that other threads hold, where values that were dropped may still count.
    pub running_heaps: u64,
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
        let live = Stats::of(pool, None).live();
        let report = Self {
            name,
            type_name,
            live,
            running_heaps: thread::held_by_others(pool) as u64,
        };
        (live > 0).then_some(report)
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            type_name,
            live,
            running_heaps,
        } = self;
        match live {
            1 => write!(f, "pool {name}: 1 value of type {type_name} is alive")?,
            _ => write!(
                f,
                "pool {name}: {live} values of type {type_name} are alive"
            )?,
        }
        match running_heaps {
            0 => Ok(()),
            _ => write!(
                f,
                ", at most: other threads hold {running_heaps} of its heaps"
            ),
        }
    }
}

impl Error for LeakReport {}
