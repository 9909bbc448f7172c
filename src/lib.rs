//! `Box` from per-thread segments of fixed-size slots, freed lock-free from any thread.
//!
//! [`PoolBox::new`] is used like `Box::new`, with any type and without set-up. On its owning thread an allocation and a
//! drop are mostly a pop and a push on a free list: no atomic read-modify-write and no system call. A box dropped on
//! another thread goes back in a batch of up to 56, by one or two compare-and-swaps. Neither takes a lock. For programs that
//! make and drop many small values: requests, messages, tree nodes, orders, futures.
//!
//! | | |
//! |---|---|
//! | [`PoolBox`] | used like `Box`: as large as a pointer, owns its value, may be dropped on any thread |
//! | [`PoolArc`], [`PoolWeak`] | used like `Arc` and `Weak` |
//! | [`SegmentPool`] | a pool of one's own for one type: kept apart, counted by itself, limited if need be |
//! | [`coerce!`] | boxes of trait objects and slices, on stable Rust |
//! | [`stats()`], [`validate()`] | where the memory is |
//! | [`idle()`], [`flush()`], [`trim()`] | for threads that wait, and for memory that should go back now |
//!
//! # When to choose something else
//!
//! * To make all of a program allocate faster, `Vec` and `String` too: a global allocator such as mimalloc, snmalloc, jemalloc.
//! * If all values die together: an arena, such as bumpalo.
//! * To refer to values by index, or to walk over them: slab, slotmap.
//! * For few values, or large ones: `Box`. A thread takes whole segments, 64 KiB or more, for each size it uses, and a value
//!   above 128 KiB has a dedicated mapping.
//! * For buffers that keep their capacity from one use to the next: object-pool, opool.
//! * Without `std`, or with a memory source of one's own: plurality.
//!
//! The [`migration`] page compares one by one, and shows what to write instead.
//!
//! # First example
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
//! # Threads
//!
//! A box is `Send` and `Sync` exactly if its value is. Any thread may allocate, and drop what any other allocated; there is
//! no limit on their number. When a thread ends, its memory is left to the others; boxes stay valid.
//!
//! A thread that waits for long should call [`idle`] before: others may then use its free slots, and bring home what they
//! free of its memory. Until it does, up to 1 MiB and one segment of what others freed waits for it in each pool, and
//! whatever shares a segment with a live value. In tokio that is one line:
//!
//! ```
//! # #[cfg(not(miri))] {
//! let runtime = tokio::runtime::Builder::new_multi_thread()
//!     .on_thread_park(segment_pool::idle)
//!     .build()
//!     .unwrap();
//! let boxed = runtime.block_on(async { segment_pool::PoolBox::new(7) });
//! assert_eq!(*boxed, 7);
//! # }
//! ```
//!
//! # Configuration
//!
//! The default pool has none. A [`SegmentPool`] can be limited, and filled ahead:
//!
//! ```
//! use segment_pool::SegmentPool;
//!
//! static ORDERS: SegmentPool<[u64; 6]> = SegmentPool::builder().max_bytes(64 << 20).build();
//!
//! ORDERS.prefault(10_000)?; // segments and pages for the first ten thousand orders of this thread
//! let order = ORDERS.try_alloc([0; 6]); // at the limit an error, with the order in it
//! assert!(order.is_ok());
//! # Ok::<(), segment_pool::AllocErrorKind>(())
//! ```
//!
//! Cargo features, all off by default:
//!
//! | feature | what it adds |
//! |---|---|
//! | `serde` | `Serialize` and `Deserialize` for the handles |
//! | `stable_deref_trait` | `StableDeref` for the handles, as yoke and others ask of an owner |
//! | `allocator-api2` | `Segments`: the default pool as an allocator for collections such as hashbrown's, by allocator-api2 0.2 |
//! | `allocator-api2-03`, `allocator-api2-04` | the same by versions 0.3 and 0.4 of that crate |
//! | `unsize` | `CoerceUnsize`, for code that is generic over pointers |
//! | `metrics` | what a report says, published to the recorder of the program |
//! | `tracing` | events of the slow paths: heaps, segments, purges, refusals |
//! | `hardened` | misuse by unsafe code is found, and ends the process |
//!
//! The feature `hardened` makes misuse by unsafe code (a box freed twice, a pointer freed that is no box's, a write to a
//! free slot or beyond a value) an abort with a message where it finds it. What it finds, what not, and what it costs is in
//! the file SECURITY.md.
//!
//! # Where is my memory?
//!
//! ```
//! use segment_pool::PoolBox;
//!
//! let boxes: Vec<_> = (0..1000_u64).map(PoolBox::new).collect();
//! println!("{}", segment_pool::stats()); // a table: segments, bytes, allocations, frees, values that live
//! assert!(segment_pool::stats().live() >= 1000);
//!
//! drop(boxes);
//! segment_pool::trim(); // what is empty goes back
//! assert_eq!(segment_pool::stats().live(), 0);
//! ```
//!
//! [`report()`] shows it class by class, [`snapshot()`] slot by slot; of a pool of one's own [`SegmentPool::report`] and
//! [`SegmentPool::leaks`], which counts the values that were not dropped.
//!
//! More than the live values need is held back for reuse, and the table in the [`design`] page says how much at most, and
//! where. If it does not go down after [`trim`], ask which threads wait without [`idle`], and which segments have a
//! single live value in them.
//!
//! # Guarantees
//!
//! [`PoolBox`] lists them: size, address, pinning, aliasing, provenance, threads, lifetime, order of drops, unwinding. In
//! short: whatever `Box` promises, but `noalias`; and a box outlives its thread and its pool.
//!
//! A `tracing` subscriber may use pools, and may panic: its panic ends where the event is emitted, after the panic hook, and its
//! payload is dropped. So allocating and freeing never unwind because of it. (If the payload's destructor panics as well,
//! the payload of that is leaked.) The events that follow are told all the same, also while another panic unwinds.
//!
//! Memory that the operating system or a pool's limit refuses is an error in every `try_` function, with the value in it if one
//! was given, and [`handle_alloc_error`](std::alloc::handle_alloc_error) in the others. Slices longer than any memory are refused
//! as such, and about 2^31 handles to one [`PoolArc`] abort. Nothing else fails.
//!
//! A slow path, on which a free list is filled or emptied or a batch is sent, may make system calls, and bring home what other
//! threads freed: of a heap, the thread's own or one that no thread has, at most 1024 slots and the rest of the last segment's.
//! It takes no lock. An allocation from a pool with a limit waits while another thread is at work on that pool
//! ([`SegmentPoolBuilder`] says how long). The [`design`] page says of how many heaps (*Work of a call*).
//!
//! The program's global allocator may use boxes and pools in each of its calls, and may take its memory from them.
//!
//! # How it is tested
//!
//! The protocols between threads are checked with loom on the crate's own types: every word, segment and heap, not a copy
//! of them. Each model and test has been seen failing with the bug it is for. Random operations are compared with a
//! model, [`validate`] counts each slot once, the bounds of what is held back are measured, and the layers of the
//! source are enforced by a test. That was done on x86-64 Linux; the CI workflow has jobs for Arm Linux, macOS and Windows that have
//! not run so far, and for other systems the library is compiled.
//!
//! # Performance
//!
//! `benches/README.md` in the repository has the rows, the machine and the caveats; `benches/peers` compares with allocators
//! and other pools, and draws a chart of each group of rows. Measure your own program: `use segment_pool::PoolBox as Box` in one
//! module is often all it takes.
//!
//! # How it works
//!
//! The [`design`] page draws the parts and the memory, tells the protocols, and lists what was tried and rejected.

#![cfg_attr(docsrs, feature(doc_cfg))] // says at each item which feature it needs
#![cfg_attr(
    segment_pool_loom,
    allow(
        dead_code,
        unreachable_pub,
        clippy::modulo_one,
        reason = "the models do not reach the public surface, and have an remote_buffer of one batch"
    )
)]

mod ground;
mod hardened;
mod heap;
mod memory;
mod slot;

#[cfg(not(segment_pool_loom))]
mod arc;
#[cfg(not(segment_pool_loom))]
mod boxed;
#[cfg(not(segment_pool_loom))]
#[doc(hidden)] // public for what the macro expands to
pub mod coerce;
#[cfg(not(segment_pool_loom))]
mod features;
#[cfg(not(segment_pool_loom))]
mod insight;
#[cfg(not(segment_pool_loom))]
mod pool;
#[cfg(not(segment_pool_loom))]
mod thread;

#[cfg(not(segment_pool_loom))]
pub use self::{
    arc::{Counted, PoolArc, PoolWeak},
    boxed::{CallOnce, IntoIter, PoolBox, PoolFnOnce},
    ground::error::{AllocError, AllocErrorKind},
    insight::census::FillRange,
    insight::holder::{HeapReport, Holder, ThreadTag},
    insight::leaks::LeakReport,
    insight::look::SlotState,
    insight::report::{Memory, Report, memory, report},
    insight::snapshot::{HeapSnapshot, SegmentSnapshot, Snapshot, snapshot},
    insight::stats::{ClassStats, OtherHeaps, Stats, Validation, stats, validate},
    pool::local::LocalPool,
    pool::{SegmentPool, SegmentPoolBuilder},
    thread::{flush, idle, retain, trim},
};

/// How many times this thread touched a free slot so far. Built only under `--cfg slots_touched`, for the test that
/// bounds the work of a single call.
#[cfg(slots_touched)]
#[doc(hidden)]
pub fn slots_touched() -> u64 {
    ground::sync::slots_touched::total()
}
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
pub use self::ground::misuse::{Misuse, set_misuse_hook};

#[cfg(all(
    any(
        feature = "allocator-api2",
        feature = "allocator-api2-03",
        feature = "allocator-api2-04"
    ),
    not(segment_pool_loom)
))]
pub use self::features::Segments;
#[cfg(all(feature = "metrics", not(segment_pool_loom)))]
pub use self::features::metrics;

#[cfg(all(test, segment_pool_loom))]
#[allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::missing_safety_doc,
    reason = "a model plays every caller at once; loom is the judge of what it may do"
)]
mod models;

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;

#[doc = include_str!("design.md")]
pub mod design {}
#[doc = include_str!("migration.md")]
pub mod migration {}
#[cfg(doc)]
#[doc = include_str!("boxed/surface.md")]
pub mod surface {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
