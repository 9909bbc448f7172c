//! Scenarios with several threads: slots that other threads free are returned, and abandoned heaps are reused.
//!
//! Every pool has its own counters, so the scenarios do not disturb each other. A scenario that ends with no thread at
//! work ends with a count of all slots.

#![cfg(not(segment_pool_loom))]

mod common;

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Barrier};
use std::thread;

use common::{Checked, Parcel, Worker, address, assert_all_returned, shuffled};
use segment_pool::{PoolBox, SegmentPool, SlotState, flush};

/// 64 bytes.
type Contents = Checked<8>;
type Pool = SegmentPool<Contents>;
type Boxed = PoolBox<Contents>;

/// More than a segment of them.
const MANY: u32 = 3000;

fn make(pool: &Pool, count: u32) -> Vec<Boxed> {
    (0..count).map(|n| pool.alloc(Contents::new(n))).collect()
}

fn addresses(boxes: &[Boxed]) -> HashSet<usize> {
    boxes.iter().map(|boxed| address(&**boxed)).collect()
}

// --- Remote frees ---------------------------------------------------------------------------------------------------

#[test]
fn remote_free_after_owner_exit() {
    static POOL: Pool = Pool::new();
    let boxes = thread::spawn(|| make(&POOL, MANY)).join().unwrap();
    let validation = POOL.validate();
    assert_eq!((validation.live, validation.heaps), (MANY as usize, 1));
    drop(boxes);
    flush();
    assert_all_returned(&POOL);
    let stats = POOL.stats();
    assert_eq!((stats.local_frees, stats.remote_frees), (0, MANY.into()));
    assert!(stats.batches < u64::from(MANY) / 30, "{stats}");
}

#[test]
fn some_are_freed_before_and_some_after_the_owner_exits() {
    static POOL: Pool = Pool::new();
    let owner = Worker::start();
    let mut boxes = owner.run(|| make(&POOL, MANY));
    let last = boxes.split_off(2000);
    let middle = boxes.split_off(1000);
    let freer = Worker::start();
    freer.run(|| drop(boxes)); // part of them waits in the remote-free buffer
    owner.run(|| drop(middle));
    owner.end();
    assert_eq!(
        POOL.validate().capacity,
        POOL.validate().free + POOL.validate().live
    );
    freer.run(|| drop(last));
    freer.end();
    assert_all_returned(&POOL);
    assert_eq!(
        (POOL.stats().local_frees, POOL.stats().remote_frees),
        (1000, 2000)
    );
}

#[test]
fn remote_frees_return_to_a_running_owner() {
    static POOL: Pool = Pool::new();
    let owner = Worker::start();
    let first = owner.run(|| make(&POOL, 1000));
    let places = addresses(&first);
    let segments = POOL.stats().segments;
    thread::spawn(|| drop(first)).join().unwrap();
    for _ in 0..10 {
        let again = owner.run(|| make(&POOL, 1000));
        let reused = addresses(&again).intersection(&places).count();
        assert!(reused >= 900, "{reused} of 1000 places");
        assert_eq!(POOL.stats().segments, segments);
        thread::spawn(|| drop(again)).join().unwrap();
    }
    owner.end();
    assert_all_returned(&POOL);
}

/// Slots that were freed in random order are allocated in address order, so that values allocated together are
/// adjacent.
#[test]
fn scattered_remote_frees_are_allocated_in_address_order() {
    static POOL: Pool = Pool::new();
    let owner = Worker::start();
    let boxes = owner.run(|| make(&POOL, MANY));
    let mut in_order: Vec<Option<Boxed>> = boxes.into_iter().map(Some).collect();
    let free_all = move || {
        for n in shuffled(in_order.len(), 1) {
            in_order[n] = None;
        }
    };
    thread::spawn(free_all).join().unwrap();
    let again = owner.run(|| make(&POOL, MANY));
    let upwards = |pair: &[Boxed]| address(&*pair[0]) < address(&*pair[1]);
    let steps = again.windows(2).filter(|pair| upwards(pair)).count();
    assert!(
        steps > MANY as usize * 9 / 10,
        "{steps} of {MANY} steps upwards"
    );
    owner.run(|| drop(again));
    owner.end();
    assert_all_returned(&POOL);
}

#[test]
fn flush_hands_slots_back_so_that_the_owner_reuses_them() {
    static POOL: Pool = Pool::new();
    let (owner, freer) = (Worker::start(), Worker::start());
    let boxes = owner.run(|| make(&POOL, 10));
    freer.run(|| drop(boxes));
    let live = || POOL.validate().live;
    assert_eq!(owner.run(live), 10, "they wait in the remote_buffer");
    freer.run(flush);
    assert_eq!(owner.run(live), 0, "they are with their owner");
    freer.run(flush);
    let others = owner.run(|| make(&POOL, 2000));
    assert_eq!(POOL.stats().remote_frees, 10);
    owner.run(|| drop(others));
    owner.end();
    freer.end();
    assert_all_returned(&POOL);
}

#[test]
fn an_owner_that_comes_back_finds_what_others_freed_meanwhile() {
    static POOL: Pool = Pool::new();
    let owner = Worker::start();
    for round in 0..20 {
        let boxes = owner.run(|| make(&POOL, MANY));
        let segments = POOL.stats().segments;
        assert!(segments <= 5, "round {round}: {segments} segments");
        let parts: Vec<Boxed> = boxes;
        thread::spawn(|| parts.into_iter().rev().for_each(drop))
            .join()
            .unwrap();
    }
    owner.end();
    assert_all_returned(&POOL);
}

#[test]
fn a_consumer_that_never_allocates_has_no_heap() {
    static POOL: Pool = Pool::new();
    let (to, received) = mpsc::sync_channel::<Boxed>(1000);
    let consumer = thread::spawn(|| received.into_iter().map(|b| u64::from(b.verify())).sum());
    let producer = Worker::start();
    producer.run(move || {
        for n in 0..100_000 {
            to.send(POOL.alloc(Contents::new(n))).unwrap();
        }
    });
    let sum: u64 = consumer.join().unwrap();
    assert_eq!((sum, POOL.stats().heaps), (99_999 * 50_000, 1));
    assert_eq!(producer.run(|| POOL.validate().live), 0);
    let segments = POOL.stats().segments;
    assert!(
        segments <= 12,
        "{segments} segments for 1000 boxes under way"
    );
    producer.end();
    assert_all_returned(&POOL);
    assert_eq!(POOL.stats().remote_frees, 100_000);
}

// --- Abandoned heaps ------------------------------------------------------------------------------------------------

/// Each thread makes one box, which outlives it in every second thread.
#[test]
fn ten_thousand_threads_one_after_the_other_share_one_heap() {
    static POOL: Pool = Pool::new();
    let mut kept = Vec::new();
    for n in 0..10_000 {
        let thread = thread::spawn(move || POOL.alloc(Contents::new(n)));
        let boxed = thread.join().unwrap();
        if n % 2 == 0 {
            kept.push(boxed);
        }
    }
    assert_eq!(POOL.stats().heaps, 1);
    assert!(kept.iter().map(|b| b.verify()).eq((0..10_000).step_by(2)));
    drop(kept);
    flush();
    assert_all_returned(&POOL);
}

/// All of a round's threads have a heap before any of them ends.
#[test]
fn ten_thousand_threads_in_rounds_share_as_many_heaps_as_were_alive_at_once() {
    const AT_ONCE: usize = 200;
    static POOL: Pool = Pool::new();
    let all_have_one = Arc::new(Barrier::new(AT_ONCE));
    for _ in 0..50 {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let all_have_one = all_have_one.clone();
                thread::spawn(move || {
                    let boxed = POOL.alloc(Contents::new(n as u32));
                    all_have_one.wait();
                    boxed
                })
            })
            .collect();
        for (n, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().verify(), n as u32);
        }
        flush();
        assert_eq!(POOL.stats().heaps, AT_ONCE as u64);
    }
    assert_all_returned(&POOL);
}

#[test]
fn the_adopter_of_a_heap_gets_its_free_slots_and_frees_its_boxes_locally() {
    static POOL: Pool = Pool::new();
    let first = thread::spawn(|| make(&POOL, 500)).join().unwrap();
    let segments = POOL.stats().segments;
    let successor = thread::spawn(|| {
        let second = make(&POOL, 380);
        drop(first);
        second
    });
    let second = successor.join().unwrap();
    let stats = POOL.stats();
    assert_eq!((stats.heaps, stats.segments), (1, segments));
    assert_eq!((stats.local_frees, stats.remote_frees), (500, 0));
    drop(second);
    flush();
    assert_all_returned(&POOL);
}

/// The consumer frees boxes of a heap, then adopts that very heap while they are still in its remote-free buffer.
#[test]
fn a_heap_is_adopted_by_a_thread_with_its_slots_in_the_remote_buffer() {
    static POOL: Pool = Pool::new();
    let owner = Worker::start();
    let boxes = owner.run(|| make(&POOL, 10));
    let consumer = Worker::start();
    consumer.run(|| drop(boxes));
    owner.end();
    let one = consumer.run(|| POOL.alloc(Contents::new(1)));
    assert_eq!(POOL.stats().heaps, 1);
    consumer.run(flush);
    assert_eq!(consumer.run(|| POOL.validate().live), 1);
    consumer.run(|| drop(one));
    consumer.end();
    assert_all_returned(&POOL);
}

// --- Rings ----------------------------------------------------------------------------------------------------------

/// Makes boxes for the next in the ring and drops what the one before has made, in turns.
fn take_part(to_next: &SyncSender<Vec<Boxed>>, from_previous: &Receiver<Vec<Boxed>>) {
    for lap in 0..200 {
        to_next
            .send(make(&POOL_OF_THE_RING, 50 + lap % 70))
            .unwrap();
        let boxes = from_previous.recv().unwrap();
        assert!(boxes.iter().map(|b| b.verify()).eq(0..50 + lap % 70));
    }
}

static POOL_OF_THE_RING: Pool = Pool::new();

#[test]
fn threads_in_a_ring_drop_what_the_previous_one_made() {
    let pool = &POOL_OF_THE_RING;
    let (senders, mut receivers): (Vec<_>, Vec<_>) = (0..6).map(|_| mpsc::sync_channel(2)).unzip();
    receivers.rotate_left(1);
    let threads: Vec<_> = senders
        .into_iter()
        .zip(receivers)
        .map(|(to, from)| thread::spawn(move || take_part(&to, &from)))
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_all_returned(pool);
    let stats = pool.stats();
    // Each thread sent as many slots as a window, and then cached the slots that it needed.
    assert_eq!(stats.local_frees + stats.remote_frees, stats.allocations);
    assert!(stats.remote_frees > 6 * 4096, "{stats}");
    assert!(stats.local_frees > 0, "{stats}");
    assert!(stats.heaps <= 6, "{stats}");
}

/// Two workers free each other's boxes to and fro: what is freed here is made there next.
#[test]
fn two_threads_free_for_each_other_without_growing() {
    static POOL: Pool = Pool::new();
    let (left, right) = (Worker::start(), Worker::start());
    for _ in 0..100 {
        let (of_left, of_right) = (
            left.run(|| make(&POOL, 700)),
            right.run(|| make(&POOL, 700)),
        );
        left.run(|| drop(of_right));
        right.run(|| drop(of_left));
    }
    let stats = POOL.stats();
    assert!(stats.segments <= 6, "{stats}");
    left.end();
    right.end();
    assert_all_returned(&POOL);
}

/// As many are linked at a time as a free list may have, however few that are.
#[test]
fn long_lists_of_large_slots_are_collected_within_the_bounds() {
    static POOL: SegmentPool<[u8; 3500]> = SegmentPool::new();
    let boxes: Vec<_> = (0..2900).map(|_| POOL.alloc([0; 3500])).collect();
    let (kept, freed): (Vec<_>, Vec<_>) = boxes
        .into_iter()
        .enumerate()
        .partition(|(n, _)| n % 100 == 0); // one in each segment is retained
    thread::spawn(move || drop(freed)).join().unwrap();
    let collected = POOL.validate();
    assert_eq!(collected.live, kept.len());
    let at_hand = POOL.snapshot().count(SlotState::AtHand);
    assert!(
        at_hand <= collected.capacity / 2 + 160,
        "{at_hand} of {collected}"
    );
    drop(kept);
}
