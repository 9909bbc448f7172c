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
//! How it works, and what is held back at most, is told file by file; [`PoolBox`] lists the guarantees.

mod arena;
mod bin;
mod error;
mod free_list;
mod heap;
mod layout;
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
mod pointer;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod thread;

#[cfg(not(loom))]
pub use self::{
    arc::{Counted, PoolArc, PoolWeak},
    boxed::{CallOnce, IntoIter, PoolBox, PoolFnOnce},
    error::{AllocError, AllocErrorKind},
    pool::SegmentPool,
    stats::{Census, Stats, stats, validate},
    thread::flush,
};

#[cfg(all(feature = "allocator-api2", not(loom)))]
pub use self::features::Segments;

#[cfg(all(test, loom))]
mod models;

#[cfg(doc)]
#[doc = include_str!("boxed/surface.md")]
pub mod surface {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
