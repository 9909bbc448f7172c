//! A fast replacement for `Box`: values live in per-thread segments of fixed-size slots, and any thread can free them
//! without a lock.
//!
//! [`PoolBox::new`] is used like `Box::new`. It takes any type and needs no set-up. On the owning thread, an allocation
//! is usually a pop from a free list and a drop is usually a push: no atomic read-modify-write and no system call. A
//! box that is dropped on another thread is returned to its segment in a batch of up to 56 slots, with one or two
//! compare-and-swaps per batch. Neither path takes a lock. The crate suits programs that allocate and drop many small
//! values: requests, messages, tree nodes, orders, futures.
//!
//! | | |
//! |---|---|
//! | [`PoolBox`] | used like `Box`: as large as a pointer, owns its value, may be dropped on any thread |
//! | [`PoolArc`], [`PoolWeak`] | used like `Arc` and `Weak` |
//! | [`SegmentPool`] | a separate pool for one type, with its own statistics and an optional limit |
//! | [`coerce!`] | boxes of trait objects and slices, on stable Rust |
//! | [`stats()`], [`validate()`] | statistics and consistency checks |
//! | [`idle()`], [`flush()`], [`trim()`] | for threads that are about to wait, and for returning memory now |
//!
//! # When to choose something else
//!
//! * To speed up every allocation of a program, including those of `Vec` and `String`: a global allocator such as
//!   mimalloc, snmalloc or jemalloc.
//! * For values that all die together: an arena such as bumpalo.
//! * To refer to values by index, or to iterate over them: slab, slotmap.
//! * For few values, or for large ones: `Box`. For each size that a thread uses, it takes whole segments of 64 KiB or
//!   more. A value larger than 128 KiB gets a dedicated mapping.
//! * For buffers that keep their capacity between uses: object-pool, opool.
//! * Without `std`, or with a custom memory source: plurality.
//!
//! The [`migration`] page compares the alternatives one by one and shows the equivalent code.
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
//! A box is `Send` or `Sync` exactly if its value is. Any thread may allocate, and any thread may drop a box that
//! another thread allocated. The number of threads is not limited. When a thread ends, other threads can use its free
//! memory. Boxes stay valid.
//!
//! A thread should call [`idle`] before it waits for a long time. Other threads may then use its free slots, and they
//! return the slots that they free directly to its segments. Until the thread calls [`idle`], up to 1 MiB plus one
//! segment of fully freed segments can wait for it in each pool, as well as every segment that still contains a live
//! value. In tokio this takes one line:
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
//! The default pool has no configuration. A [`SegmentPool`] can have a limit, and can map memory in advance:
//!
//! ```
//! use segment_pool::SegmentPool;
//!
//! static ORDERS: SegmentPool<[u64; 6]> = SegmentPool::builder().max_bytes(64 << 20).build();
//!
//! ORDERS.prefault(10_000)?; // segments and pages for the first ten thousand orders of this thread
//! let order = ORDERS.try_alloc([0; 6]); // at the limit an error, which contains the order
//! assert!(order.is_ok());
//! # Ok::<(), segment_pool::AllocErrorKind>(())
//! ```
//!
//! A pool can also limit the number of live values ([`max_values`](SegmentPoolBuilder::max_values)), and requests can wait at
//! a limit: see the [`backpressure`] page.
//!
//! All Cargo features are off by default:
//!
//! | feature | what it adds |
//! |---|---|
//! | `serde` | `Serialize` and `Deserialize` for the handles |
//! | `stable_deref_trait` | `StableDeref` for the handles, which yoke and other crates require of an owner |
//! | `allocator-api2` | `Segments`: the default pool as an allocator for collections (hashbrown), for allocator-api2 0.2 |
//! | `allocator-api2-03`, `allocator-api2-04` | the same for versions 0.3 and 0.4 of that crate |
//! | `unsize` | `CoerceUnsize`, for code that is generic over pointer types |
//! | `metrics` | publishes the numbers of a report to the program's metrics recorder |
//! | `tracing` | emits events of the slow paths: heaps, segments, purges, failed allocations |
//! | `hardened` | detects misuse by unsafe code and aborts the process |
//!
//! With the feature `hardened`, misuse by unsafe code aborts the process with a message at the point of detection.
//! Examples are a double free, a free of a pointer that does not belong to a box, and a write to a free slot or beyond
//! a value. The file SECURITY.md lists what is detected, what is not, and the cost.
//!
//! # Where is my memory?
//!
//! ```
//! use segment_pool::PoolBox;
//!
//! let boxes: Vec<_> = (0..1000_u64).map(PoolBox::new).collect();
//! println!("{}", segment_pool::stats()); // a table: segments, bytes, allocations, frees, live values
//! assert!(segment_pool::stats().live() >= 1000);
//!
//! drop(boxes);
//! segment_pool::trim(); // releases empty segments
//! assert_eq!(segment_pool::stats().live(), 0);
//! ```
//!
//! [`report()`] shows the memory by size class, and [`snapshot()`] by slot. [`SegmentPool::report`] does the same for
//! one pool, and [`SegmentPool::leaks`] counts the values of a pool that were not dropped.
//!
//! Pools keep some free memory for reuse. The table in the [`design`] page gives the bound for each place. If memory
//! usage stays high after [`trim`], look for threads that wait without having called [`idle`], and for segments that
//! contain a single live value.
//!
//! # Guarantees
//!
//! The documentation of [`PoolBox`] lists the guarantees: size, address, pinning, aliasing, provenance, threads,
//! lifetime, drop order, unwinding. In short, a `PoolBox` guarantees what a `Box` does, except `noalias`, and a box
//! outlives its thread and its pool.
//!
//! A `tracing` subscriber may use pools, and it may panic. Its panic is caught where the event is emitted, after the
//! panic hook has run, and the payload is dropped. So allocating and freeing never unwind because of a subscriber. (If
//! the destructor of the payload panics too, the second payload is leaked.) Later events are still emitted, even while
//! another panic unwinds.
//!
//! If the operating system has no memory or the limit of a pool is reached, every `try_` function returns an error,
//! which contains the value if one was passed. The other functions call
//! [`handle_alloc_error`](std::alloc::handle_alloc_error) if the system has no memory, and panic at the limit of a pool. A
//! slice whose size overflows the address space is reported as a capacity overflow. About 2^31 handles to one
//! [`PoolArc`] abort the process. Nothing else fails.
//!
//! A slow path refills or spills a free list, or sends a batch. It may make system calls, and it may return slots that
//! other threads freed to their segments. For each heap that it serves, it returns at most 1024 slots plus the rest of
//! the last segment's list. The heap is the thread's own or an abandoned one; the [`design`] page gives the number of
//! heaps (*Work of a call*). A slow path takes no lock. An allocation from a pool with a limit waits while another
//! thread works on that pool; [`SegmentPoolBuilder`] gives the maximum.
//!
//! The program's global allocator may use boxes and pools in each of its calls, and it may use them as its source of
//! memory.
//!
//! # How it is tested
//!
//! Loom checks the protocols between threads on the crate's own types: every word, segment and heap, not a copy of
//! them. Each model and each test has been seen to fail with the bug that it looks for. Other tests compare random
//! operations with a model, count each slot once with [`validate`], measure the bounds on retained memory, and enforce
//! the layers of the source. All of this ran on x86-64 Linux. The CI workflow also has jobs for Arm Linux, macOS and
//! Windows, which have not run so far. For other systems the library is only compiled.
//!
//! # Performance
//!
//! `benches/README.md` in the repository describes the benchmarks, the machine and the caveats. `benches/peers`
//! compares with allocators and other pools, and draws a chart for each group of rows. Measure your own program: often
//! `use segment_pool::PoolBox as Box` in one module is all that is needed.
//!
//! # How it works
//!
//! The [`design`] page shows the parts and the memory layout, and describes the protocols. `benches/NOTES.md` in the
//! repository lists the alternatives that were tried, with figures.

#![cfg_attr(docsrs, feature(doc_cfg))] // each item shows the feature that it needs
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
#[doc(hidden)] // public because the macro expands to it
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
    boxed::{Acquire, CallOnce, IntoIter, PoolBox, PoolFnOnce},
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

/// Returns how many times this thread has touched a free slot so far. Compiled only under `--cfg slots_touched`, for
/// the test that bounds the work of a single call.
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
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}
#[doc = include_str!("backpressure.md")]
pub mod backpressure {}
#[cfg(doc)]
#[doc = include_str!("boxed/surface.md")]
pub mod surface {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
