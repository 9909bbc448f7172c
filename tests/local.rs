//! `LocalPool`: a handle with its own slots, whose boxes are ordinary ones.

#![cfg(not(segment_pool_loom))]

mod common;

use std::cell::OnceCell;
use std::thread;

use common::{Checked, Parcel, Worker};
use segment_pool::{AllocErrorKind, LocalPool, PoolBox, SegmentPool, flush, idle, trim};
use static_assertions::{assert_impl_all, assert_not_impl_any};

type Contents = Checked<5>;
type Pool = SegmentPool<Contents>;

assert_not_impl_any!(LocalPool<'static, u64>: Send, Sync);
assert_impl_all!(LocalPool<'static, u64>: std::fmt::Debug);

fn make(local: &LocalPool<'_, Contents>, count: u32) -> Vec<PoolBox<Contents>> {
    (0..count).map(|n| local.alloc(Contents::new(n))).collect()
}

fn check(boxes: &[PoolBox<Contents>]) {
    assert!(boxes.iter().map(|b| b.verify()).eq(0..boxes.len() as u32));
}

#[test]
fn boxes_outlive_the_handle_and_its_slots_serve_the_next() {
    static POOL: Pool = Pool::new();
    let local = POOL.local();
    let boxes = make(&local, 3000);
    drop(local);
    check(&boxes);
    drop(boxes);
    flush();
    assert_eq!((POOL.stats().live(), POOL.stats().heaps), (0, 1));
    let again = POOL.local();
    check(&make(&again, 3000));
    assert_eq!(POOL.stats().heaps, 1, "the heap was adopted");
}

/// The thread remembers the handle's heap for frees. When the handle is gone, another thread may have that heap.
#[test]
fn a_box_dropped_after_its_handle_is_a_remote_free() {
    static POOL: Pool = Pool::new();
    let local = POOL.local();
    let (first, second) = (local.alloc(Contents::new(1)), local.alloc(Contents::new(2)));
    drop(first); // the thread now knows the heap
    drop(local);
    let adopter = Worker::start();
    adopter.run(|| drop(POOL.alloc(Contents::new(3))));
    assert_eq!(POOL.stats().heaps, 1);
    drop(second);
    flush();
    adopter.end();
    assert_eq!(
        (POOL.stats().local_frees, POOL.stats().remote_frees),
        (2, 1)
    );
    assert_eq!(POOL.validate().live, 0);
}

#[test]
fn frees_on_the_owning_thread_are_local_and_others_are_not() {
    static POOL: Pool = Pool::new();
    let local = POOL.local();
    drop(make(&local, 100));
    assert_eq!(POOL.stats().local_frees, 100);
    let boxes = make(&local, 100);
    thread::spawn(|| drop(boxes)).join().unwrap();
    check(&make(&local, 5000)); // finds what came back on the way
    assert_eq!(POOL.stats().remote_frees, 100);
}

#[test]
fn the_threads_own_slots_and_the_handles_are_two_things() {
    static POOL: Pool = Pool::new();
    let local = POOL.local();
    let of_handle = make(&local, 500);
    let of_thread: Vec<_> = (0..500).map(|n| POOL.alloc(Contents::new(n))).collect();
    assert_eq!(POOL.stats().heaps, 2);
    idle(); // hands over the thread's heap, not the handle's
    trim();
    check(&of_handle);
    check(&of_thread);
    let more = make(&local, 500);
    drop((of_handle, of_thread));
    check(&more);
    drop((more, local));
    trim();
    assert_eq!(POOL.stats().live(), 0);
}

#[test]
fn a_limit_gives_the_value_back() {
    static POOL: Pool = Pool::builder().max_segments(1).build();
    let local = POOL.local();
    let mut boxes = Vec::new();
    let refused = loop {
        match local.try_alloc(Contents::new(7)) {
            Ok(boxed) => boxes.push(boxed),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
    assert_eq!(refused.into_inner().verify(), 7);
    boxes.pop();
    assert!(local.try_alloc(Contents::new(8)).is_ok());
}

#[test]
fn a_handle_works_in_a_destructor_after_the_threads_end() {
    static POOL: Pool = Pool::new();
    struct Late(LocalPool<'static, Contents>, Option<PoolBox<Contents>>);
    impl Drop for Late {
        fn drop(&mut self) {
            let boxes = make(&self.0, 1000);
            check(&boxes);
            drop(boxes);
            drop(self.1.take());
        }
    }
    thread_local!(static LATE: OnceCell<Late> = const { OnceCell::new() });
    thread::spawn(|| {
        LATE.with(|late| {
            let local = POOL.local(); // registered before the crate's own end, so dropped after it
            assert!(late.set(Late(local, None)).is_ok());
        });
        let boxed = POOL.alloc(Contents::new(0));
        check(&[boxed]);
    })
    .join()
    .unwrap();
    assert_eq!(POOL.validate().live, 0);
    assert_eq!(POOL.stats().live(), 0);
}

#[test]
fn values_without_memory_and_with_dedicated_mappings_have_no_slots() {
    let nothing = SegmentPool::<()>::new();
    let _: PoolBox<()> = nothing.local().alloc(());
    let large = SegmentPool::<[u64; 50_000]>::new();
    let boxed = large.local().alloc([7; 50_000]);
    assert_eq!((boxed[49_999], large.stats().heaps), (7, 0));
}

// --- A handle and its pool on one thread --------------------------------------------------------------------------------

/// A free remembers the handle's heap; an allocation from the pool must not take that for the thread's own.
#[test]
fn what_a_thread_reserved_is_found_after_a_box_of_a_handle_was_dropped() {
    static POOL: SegmentPool<[u64; 128]> = SegmentPool::builder().max_segments(4).build();
    POOL.reserve(63 * 3).unwrap();
    let local = POOL.local();
    drop(local.alloc([0; 128]));
    let boxes = (0..).map_while(|_| POOL.try_alloc([0; 128]).ok());
    assert!(boxes.collect::<Vec<_>>().len() >= 63 * 3);
}

#[test]
fn trim_reaches_what_a_pool_made_beside_a_handle() {
    static POOL: SegmentPool<u64> = SegmentPool::new();
    let local = POOL.local();
    let one = local.alloc(1);
    drop(local.alloc(0));
    drop((0..100_000).map(|n| POOL.alloc(n)).collect::<Vec<_>>());
    POOL.trim();
    assert_eq!(POOL.stats().segments, 1);
    drop(one);
}
