//! `Box` from per-thread segments of fixed-size slots, freed lock-free from any thread.
//!
//! [`PoolBox::new`] is used like `Box::new`, with any type and without set-up. On its home thread an allocation and a
//! drop are a pop and a push on a free list: no atomic read-modify-write, no lock, no system call. A box dropped on
//! another thread goes back in a batch, by one compare-and-swap for up to 32 boxes.
//!
//! [`SegmentPool`] is a pool of one's own for one type: its segments hold nothing else, and it counts for itself.
//!
//! ```
//! use segment_pool::{PoolBox, SegmentPool};
//! use std::sync::mpsc;
//!
//! static LINES: SegmentPool<String> = SegmentPool::new();
//!
//! let (sender, receiver) = mpsc::channel();
//! let worker = std::thread::spawn(move || {
//!     receiver.iter().map(|line: PoolBox<String>| line.len()).sum::<usize>()
//! });
//! for line in ["from one thread", "to another"] {
//!     sender.send(LINES.alloc(line.to_owned())).unwrap();
//! }
//! drop(sender);
//! assert_eq!(worker.join().unwrap(), 25);
//! ```
//!
//! Where the memory is, [`report()`] and [`snapshot()`] say, of a pool of one's own [`SegmentPool::report`] and
//! [`SegmentPool::leaks`].
//!
//! [`PoolBox`] lists the guarantees, and the [`design`] page tells how it works and what is held back at most. A
//! thread that waits for long should call [`idle`] first.

#![cfg_attr(
    loom,
    allow(
        dead_code,
        unreachable_pub,
        clippy::modulo_one,
        reason = "the models do not reach the public surface, and have an outbox of one batch"
    )
)]

mod arena;
mod batch;
mod bin;
mod error;
mod events;
mod free_list;
mod handover;
mod heap;
mod layout;
mod lists;
mod os;
mod outbox;
#[cfg_attr(loom, allow(dead_code))] // the models use what they check
mod refcount;
mod registry;
mod remote;
mod segment;
mod slot;
mod sync;

#[cfg(not(loom))]
mod arc;
#[cfg(not(loom))]
mod boxed;
#[cfg(not(loom))]
#[doc(hidden)] // public for what the macro expands to
pub mod coerce;
#[cfg(not(loom))]
mod features;
#[cfg(not(loom))]
mod forward;
#[cfg(not(loom))]
mod leaks;
#[cfg(not(loom))]
mod own;
#[cfg(not(loom))]
mod pointer;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod report;
#[cfg(not(loom))]
mod snapshot;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod thread;

#[cfg(not(loom))]
pub use self::{
    arc::{Counted, PoolArc, PoolWeak},
    boxed::{CallOnce, IntoIter, PoolBox, PoolFnOnce},
    error::{AllocError, AllocErrorKind},
    leaks::LeakReport,
    pool::{SegmentPool, SegmentPoolBuilder},
    report::{Memory, Report, memory, report},
    snapshot::{HeapSnapshot, Holder, SegmentSnapshot, SlotState, Snapshot, snapshot},
    stats::{Census, ClassStats, Stats, stats, validate},
    thread::{flush, idle, trim},
};

/// How many times this thread touched a free slot so far. Built only under `--cfg slots_touched`, for the test that
/// bounds the work of a single call.
#[cfg(slots_touched)]
#[doc(hidden)]
pub fn slots_touched() -> u64 {
    sync::slots_touched::total()
}
#[cfg(all(feature = "allocator-api2", not(loom)))]
pub use self::features::Segments;
#[cfg(all(feature = "metrics", not(loom)))]
pub use self::features::metrics;

#[cfg(all(test, loom))]
#[allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::missing_safety_doc,
    reason = "a model plays every caller at once; loom is the judge of what it may do"
)]
mod models;

#[doc = include_str!("design.md")]
pub mod design {}
#[cfg(doc)]
#[doc = include_str!("boxed/surface.md")]
pub mod surface {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
