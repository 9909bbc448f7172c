//! An allocation from a bounded pool does not fail while a slot is free, whichever thread freed it, and whatever that
//! thread does now.

#![cfg(not(segment_pool_loom))]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use common::{Checked, Parcel, Worker};
use segment_pool::{AllocErrorKind, LocalPool, PoolBox, SegmentPool, SlotState, flush, idle};

/// 1008 or so to a segment of 64 KiB.
type Contents = Checked<8>;
type Pool = SegmentPool<Contents>;
type Boxes = Vec<PoolBox<Contents>>;

/// Requests of each story that races.
const ROUNDS: usize = if cfg!(miri) { 20 } else { 3000 };

/// All slots of the pool.
fn fill(pool: &Pool) -> Boxes {
    let boxes = (0..).map_while(|n| pool.try_alloc(Contents::new(n)).ok());
    boxes.collect()
}

fn full(pool: &Pool) -> bool {
    pool.try_alloc(Contents::new(0))
        .is_err_and(|refused| refused.kind() == AllocErrorKind::LimitReached)
}

// --- Free slots outside of the thread's own lists --------------------------------------------------------------------------

#[test]
fn more_threads_than_segments_hold_a_value_each() {
    static POOL: Pool = SegmentPool::builder().max_segments(2).build();
    let all = Barrier::new(8);
    let held = |n| {
        let boxed = POOL.try_alloc(Contents::new(n));
        all.wait();
        boxed.map(|boxed| boxed.verify()).ok()
    };
    let served = thread::scope(|scope| {
        let threads = [0, 1, 2, 3, 4, 5, 6, 7].map(|n| scope.spawn(move || held(n)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(served, [0, 1, 2, 3, 4, 5, 6, 7].map(Some));
}

#[test]
fn what_one_thread_reserved_serves_others() {
    static RESERVED: Pool = SegmentPool::builder().max_segments(2).build();
    static FAULTED: Pool = SegmentPool::builder().max_segments(2).build();
    RESERVED.reserve(1000).unwrap();
    FAULTED.prefault(1000).unwrap();
    for pool in [&RESERVED, &FAULTED] {
        let worker = Worker::start();
        assert!(worker.run(|| fill(pool)).len() >= 1000);
        worker.end();
    }
}

/// Each worker drops what it gets and waits for more, with nothing to make it come back to the pool.
#[test]
fn workers_that_drop_and_block_hold_nothing_back() {
    static POOL: Pool = SegmentPool::builder().max_segments(1).build();
    let workers: Vec<_> = (0..20).map(|_| Worker::start()).collect();
    let mut others = fill(&POOL); // room for one more at a time
    others.pop();
    for n in 0..ROUNDS as u32 {
        let boxed = POOL.try_alloc(Contents::new(n)).expect("all were dropped");
        assert!(full(&POOL));
        workers[n as usize % 20].run(move || drop(boxed));
    }
    let (live, alive) = (POOL.live(), others.len() as u64);
    assert_eq!(
        (live, POOL.leaks().map(|leak| leak.live)),
        (alive, Some(alive))
    );
    workers.into_iter().for_each(Worker::end);
}

#[test]
fn a_pool_and_its_handles_share_their_slots() {
    static POOL: Pool = SegmentPool::builder().max_segments(1).build();
    let (one, two) = (POOL.local(), POOL.local());
    let make: [&dyn Fn() -> Option<PoolBox<Contents>>; 3] = [
        &|| POOL.try_alloc(Contents::new(1)).ok(),
        &|| one.try_alloc(Contents::new(2)).ok(),
        &|| two.try_alloc(Contents::new(3)).ok(),
    ];
    for first in make {
        for second in make {
            let boxes: Boxes = core::iter::from_fn(first).collect();
            assert!(boxes.len() > 500 && second().is_none());
            drop(boxes);
            assert!(second().is_some());
        }
    }
}

#[test]
fn a_handle_of_a_full_pool_says_so_and_is_served_later() {
    static POOL: Pool = SegmentPool::builder().max_segments(1).build();
    let handle: LocalPool<'_, Contents> = POOL.local();
    let mut boxes = fill(&POOL);
    let refused = handle.try_alloc(Contents::new(5)).unwrap_err();
    assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
    assert_eq!(refused.into_inner().verify(), 5);
    thread::scope(|scope| scope.spawn(|| boxes.truncate(10)).join().unwrap());
    assert_eq!(handle.alloc(Contents::new(6)).verify(), 6);
}

// --- Bounds that allow nothing --------------------------------------------------------------------------------------------

/// What `build` says.
fn panics<T>(build: impl FnOnce() -> SegmentPool<T>) -> String {
    let panic = catch_unwind(AssertUnwindSafe(build)).expect_err("it panics");
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn a_bound_below_one_value_is_rejected_by_build() {
    const KIB: usize = 1 << 10;
    let below = |bytes| panics(|| SegmentPool::<[u8; 100]>::builder().max_bytes(bytes).build());
    assert!(below(64 * KIB - 1).contains("below one segment of 64 KiB"));
    assert!(below(0).contains("64 KiB"));
    let none = panics(|| SegmentPool::<u64>::builder().max_segments(0).build());
    assert!(none.contains("64 KiB"));
    let medium = panics(|| {
        SegmentPool::<[u8; 1500]>::builder()
            .max_bytes(256 * KIB)
            .build()
    });
    assert!(medium.contains("512 KiB"));
    let large = panics(|| {
        SegmentPool::<[u8; 50_000]>::builder()
            .max_bytes(KIB * KIB)
            .build()
    });
    assert!(large.contains("4 MiB"));
    let own = panics(|| {
        SegmentPool::<[u8; 200_000]>::builder()
            .max_bytes(150_000)
            .build()
    });
    assert!(own.contains("one value"));
    let nothing = SegmentPool::<()>::builder()
        .max_segments(0)
        .max_bytes(0)
        .build();
    let _: PoolBox<()> = nothing.alloc(()); // takes no memory
}

#[test]
fn a_bound_of_one_segment_holds_as_many_values_as_the_geometry_says() {
    static POOL: Pool = SegmentPool::builder()
        .max_bytes(Pool::SEGMENT_BYTES)
        .build();
    assert_eq!(fill(&POOL).len(), Pool::SLOTS_PER_SEGMENT);
    let own = [
        SegmentPool::<[u8; 200_000]>::SEGMENT_BYTES,
        SegmentPool::<[u8; 200_000]>::SLOTS_PER_SEGMENT,
    ];
    assert_eq!((own, SegmentPool::<()>::SLOTS_PER_SEGMENT), ([0, 0], 0));
}

// --- While other threads are at work ------------------------------------------------------------------------------------

/// Runs `look` on another thread repeatedly, while this thread allocates the last slot, drops it and allocates it
/// again.
fn always_succeeds_beside(pool: &'static Pool, look: impl Fn() + Sync) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                look();
            }
        });
        let asked = catch_unwind(AssertUnwindSafe(|| {
            for n in 0..ROUNDS as u32 {
                drop(pool.try_alloc(Contents::new(n)).expect("a slot is free"));
                idle();
            }
        }));
        done.store(true, Ordering::Relaxed);
        asked.unwrap();
    });
}

#[test]
fn an_inspection_of_the_pool_makes_no_allocation_fail() {
    static POOL: Pool = SegmentPool::builder().max_segments(1).build();
    let mut kept = fill(&POOL);
    kept.pop();
    always_succeeds_beside(&POOL, || _ = POOL.snapshot());
    always_succeeds_beside(&POOL, || _ = POOL.validate());
    always_succeeds_beside(&POOL, || _ = POOL.leaks());
    always_succeeds_beside(&POOL, || POOL.trim());
    always_succeeds_beside(&POOL, || _ = POOL.reserve(1));
    assert_eq!(POOL.snapshot().count(SlotState::Live), kept.len());
}

/// At most half of the slots are alive, and six threads drop them one by one.
#[test]
fn drops_on_other_threads_make_no_allocation_fail() {
    static POOL: Pool = SegmentPool::builder().max_segments(1).build();
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    let droppers = [(); 6].map(|()| {
        let (sender, boxes) = mpsc::channel::<Boxes>();
        let drop_all = move || {
            for boxed in boxes.into_iter().flatten() {
                drop(boxed);
                flush();
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        };
        (sender, thread::spawn(drop_all))
    });
    let ask = |n| POOL.try_alloc(Contents::new(n)).expect("slots are free");
    let mut made = 0;
    for _ in 0..ROUNDS / 30 {
        for (dropper, _) in &droppers {
            dropper.send((0..80).map(ask).collect()).unwrap();
            made += 80;
        }
        while DROPPED.load(Ordering::Relaxed) < made {
            drop(ask(0));
        }
    }
    for (sender, thread) in droppers {
        drop(sender);
        thread.join().unwrap();
    }
    assert_eq!(POOL.leaks(), None);
}

/// Four threads use two slots. At each moment both are free or in use by some thread, so a thread that retries
/// eventually succeeds.
#[test]
fn threads_that_ask_again_are_served_in_turn() {
    static POOL: Pool = SegmentPool::builder().max_segments(1).build();
    static IN_USE: AtomicUsize = AtomicUsize::new(0);
    let mut others = fill(&POOL);
    others.truncate(others.len() - 2);
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for n in 0..ROUNDS as u32 {
                    let cookie = n * 4 + thread;
                    let boxed = loop {
                        match POOL.try_alloc(Contents::new(cookie)) {
                            Ok(boxed) => break boxed,
                            Err(_) => thread::yield_now(),
                        }
                    };
                    let in_use = IN_USE.fetch_add(1, Ordering::Relaxed);
                    assert!(in_use < 2, "the bound is kept");
                    assert_eq!(boxed.verify(), cookie);
                    IN_USE.fetch_sub(1, Ordering::Relaxed);
                    drop(boxed);
                }
            });
        }
    });
    assert_eq!(POOL.live(), others.len() as u64);
}

// --- What stays ---------------------------------------------------------------------------------------------------------

/// A failing allocation inspects all heaps of a pool. There are as many heaps as threads that used the pool at the same
/// moment, not as many as threads in total.
#[test]
fn a_hundred_threads_leave_one_heap() {
    static POOL: Pool = SegmentPool::builder().max_segments(100).build();
    let workers: Vec<_> = (0..100).map(|_| Worker::start()).collect();
    let boxes: Boxes = workers
        .iter()
        .map(|worker| worker.run(|| POOL.try_alloc(Contents::new(1)).unwrap()))
        .collect();
    assert_eq!((POOL.stats().heaps, POOL.stats().segments), (1, 1));
    workers.into_iter().for_each(Worker::end);
    drop(boxes);
    POOL.trim();
    assert_eq!((POOL.stats().segments, POOL.stats().spare_bytes), (0, 0));
}

/// The pool is gone, its values are dropped by two threads, and so is its memory.
#[test]
fn values_outlive_their_bounded_pool() {
    let pool: Pool = SegmentPool::builder().max_segments(3).build();
    let mut boxes = fill(&pool);
    let others = boxes.split_off(boxes.len() / 2);
    drop(pool);
    let other = thread::spawn(move || others.iter().map(|boxed| boxed.verify()).max());
    assert!(
        boxes
            .iter()
            .all(|boxed| (boxed.verify() as usize) < boxes.len())
    );
    drop(boxes);
    assert!(other.join().unwrap().is_some());
}
