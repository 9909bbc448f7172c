//! The numbers add up: whatever way a slot went, its box was made once and freed once.

#![cfg(not(segment_pool_loom))]

mod common;

use std::thread;

use common::KILOBYTE;
use segment_pool::{PoolBox, SegmentPool};

/// 63 to a segment.
type Kilobyte = [u64; KILOBYTE];

static POOL: SegmentPool<Kilobyte> = SegmentPool::new();

/// Each in another segment than the previous one: batches of one slot, until a thread that needs such slots begins to
/// cache them.
fn drop_scattered(boxes: &mut [Option<PoolBox<Kilobyte>>]) {
    for first in 0..8 {
        for boxed in boxes.iter_mut().skip(first).step_by(63) {
            drop(boxed.take());
        }
    }
}

#[test]
fn a_slot_that_was_cached_and_then_returned_is_counted_once() {
    let mut boxes: Vec<_> = (0..63 * 128)
        .map(|n| Some(POOL.alloc([n; KILOBYTE])))
        .collect();
    let keeper = thread::spawn(move || {
        let used: Vec<_> = (0..15).map(|n| POOL.alloc([n; KILOBYTE])).collect();
        drop_scattered(&mut boxes);
        let kept = POOL.validate().kept;
        drop(used);
        (boxes, kept)
    });
    let (boxes, kept) = keeper.join().unwrap();
    assert!(kept > 0, "nothing was kept");
    drop(boxes);
    POOL.trim();
    let stats = POOL.stats();
    assert_eq!(
        stats.allocations,
        stats.local_frees + stats.remote_frees,
        "{stats}"
    );
    assert_eq!((stats.live(), stats.segments), (0, 0));
}

/// Fewer than a thread frees before it begins to cache, in full batches: they are returned to their segments, and the
/// thread allocates only from its own segments.
#[test]
fn a_thread_that_inherits_some_thousand_boxes_returns_their_slots() {
    static POOL: SegmentPool<u64> = SegmentPool::new();
    let boxes: Vec<_> = (0..5000).map(|n| POOL.alloc(n)).collect();
    let heir = thread::spawn(move || {
        let mut mine: Vec<_> = boxes.into_iter().map(Some).collect();
        for round in 0..20 {
            for place in &mut mine {
                *place = None;
                *place = Some(POOL.alloc(round));
            }
        }
        POOL.validate().kept
    });
    assert_eq!(heir.join().unwrap(), 0);
    POOL.trim(); // which serves what waits for this thread
    assert_eq!(POOL.stats().remote_frees, 5000);
}

/// Local frees between remote ones push cached slots into the full magazines, but only a limited number.
#[test]
fn a_thread_keeps_three_magazines_at_most() {
    static POOL: SegmentPool<[u64; 2]> = SegmentPool::new();
    const BOXES: u64 = 1 << 17;
    const MAGAZINE: usize = 256;
    let make = |n| POOL.alloc([n; 2]);
    let mut theirs: Vec<_> = (0..BOXES).map(|n| Some(make(n))).collect();
    let keeper = thread::spawn(move || {
        let mut own: Vec<_> = (0..BOXES).map(make).collect();
        let mixed = (0..BOXES).map(|n| n * 61_803 % BOXES);
        for (turn, place) in mixed.enumerate() {
            theirs[place as usize] = None;
            if turn > 20_000 && turn % 3 == 0 {
                own.pop();
            }
        }
        POOL.validate().kept
    });
    let kept = keeper.join().unwrap();
    assert!((1..=3 * MAGAZINE).contains(&kept), "{kept}");
}
