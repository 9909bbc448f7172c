//! Ownership: what happens to heaps and segments when threads end, idle or trim, and when pools are dropped, limited or
//! prefaulted.
//!
//! Every pool has its own counters. A pool that was dropped has none, so its remaining memory is checked through the
//! address space of the process, by tests that run in their own process.

#![cfg(not(segment_pool_loom))]

mod common;

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use common::{Checked, Parcel, Worker, address, assert_all_returned};
use segment_pool::{AllocErrorKind, PoolBox, SegmentPool, flush, idle};

/// 64 bytes.
type Contents = Checked<8>;
type Pool = SegmentPool<Contents>;
type Boxed = PoolBox<Contents>;

/// Slots of 64 bytes in a segment, or a few less.
const A_SEGMENT: u32 = if cfg!(feature = "hardened") {
    880
} else {
    1000
};

fn make(pool: &Pool, count: u32) -> Vec<Boxed> {
    (0..count).map(|n| pool.alloc(Contents::new(n))).collect()
}

/// Which segments the boxes lie in.
fn segments<'a>(boxes: impl IntoIterator<Item = &'a Boxed>) -> HashSet<usize> {
    let segment = |boxed: &Boxed| address(&**boxed) >> 16;
    boxes.into_iter().map(segment).collect()
}

/// Drops every second box.
fn thin_out(boxes: Vec<Boxed>) -> Vec<Boxed> {
    let numbered = boxes.into_iter().enumerate();
    numbered
        .filter(|(n, _)| n % 2 == 0)
        .map(|(_, b)| b)
        .collect()
}

fn assert_intact(boxes: &[Boxed]) {
    for boxed in boxes {
        boxed.verify();
    }
}

// --- Stealing -------------------------------------------------------------------------------------------------------

/// Two heaps, because both threads make a box before either goes on; then the one's thread ends.
fn beside_an_abandoned_heap(pool: &'static Pool, left: u32) -> (Worker, Boxed, Vec<Boxed>) {
    let (heir, other) = (Worker::start(), Worker::start());
    let own = heir.run(|| pool.alloc(Contents::new(0)));
    let boxes = other.run(move || thin_out(make(pool, 2 * left)));
    assert_eq!(pool.stats().heaps, 2);
    other.end();
    (heir, own, boxes)
}

#[test]
fn a_thread_with_a_heap_takes_segments_out_of_an_abandoned_one() {
    static POOL: Pool = Pool::new();
    let (heir, own, left) = beside_an_abandoned_heap(&POOL, 5000);
    let old = POOL.stats().segments;
    let new = heir.run(|| make(&POOL, 5000));
    let places = segments(&left);
    let in_old = |boxed: &&Boxed| places.contains(&(address(&***boxed) >> 16));
    let reused = new.iter().filter(in_old).count();
    assert!(reused >= 3900, "{reused}, the others in its own segment");
    assert_eq!((POOL.stats().heaps, POOL.stats().segments), (2, old));
    assert_intact(&left);
    heir.run(|| drop((own, new, left)));
    heir.end();
    assert_all_returned(&POOL);
}

/// The heir frees both what it made and what it inherited: they lie in the same segments, now its own.
#[test]
fn boxes_in_stolen_segments_are_freed_by_the_owner() {
    static POOL: Pool = Pool::new();
    let (heir, own, left) = beside_an_abandoned_heap(&POOL, 1500);
    let freed_before = POOL.stats().local_frees;
    heir.run(move || {
        let new = make(&POOL, 2000); // no room is left, so every segment was stolen
        drop((own, new, left));
    });
    assert_eq!(POOL.stats().local_frees - freed_before, 1 + 2000 + 1500);
    assert_eq!(POOL.stats().remote_frees, 0);
    heir.end();
    assert_all_returned(&POOL);
}

/// A third thread holds boxes of a segment, in its remote-free buffer too, while the segment moves from heap to heap.
#[test]
fn frees_after_a_steal_go_to_the_new_owner() {
    static POOL: Pool = Pool::new();
    let (heir, own, mut left) = beside_an_abandoned_heap(&POOL, 1500);
    let freer = Worker::start();
    let first = left.split_off(750);
    freer.run(|| drop(first));
    let new = heir.run(|| make(&POOL, 2000));
    freer.run(|| drop(left));
    freer.run(flush);
    assert_eq!(heir.run(|| POOL.validate()).live, 2001);
    heir.run(|| drop((own, new)));
    heir.end();
    freer.end();
    assert_all_returned(&POOL);
}

/// Each leaves to the consumer every second box of some hundred.
fn spawn_short_ones(pool: &'static Pool, to: mpsc::SyncSender<Vec<Boxed>>) {
    for n in 0..200 {
        let to = to.clone();
        let short = move || to.send(thin_out(make(pool, 500 + n))).unwrap();
        thread::spawn(short).join().unwrap();
    }
}

/// Stealing, pushing and ending at the same time: nothing is lost, and there are no more heaps than can be in use.
#[test]
fn stealing_goes_on_while_heaps_are_left_and_served() {
    const LIVING: u64 = 4;
    static POOL: Pool = Pool::new();
    let (to, from) = mpsc::sync_channel::<Vec<Boxed>>(20);
    let consumer = thread::spawn(|| from.into_iter().for_each(drop));
    let parents: Vec<_> = (1..LIVING)
        .map(|_| to.clone())
        .map(|to| thread::spawn(|| spawn_short_ones(&POOL, to)))
        .collect();
    drop(to);
    parents
        .into_iter()
        .chain([consumer])
        .for_each(|thread| thread.join().unwrap());
    assert!(POOL.stats().heaps <= 2 * LIVING, "{}", POOL.stats());
    assert_all_returned(&POOL);
}

// --- Ten thousand threads -------------------------------------------------------------------------------------------

/// A new thread begins as soon as the oldest of two hundred has ended. Each makes one box and waits to be called.
#[test]
fn ten_thousand_threads_two_hundred_at_a_time_share_as_many_heaps() {
    const AT_ONCE: usize = 200;
    static POOL: Pool = Pool::new();
    let mut alive = std::collections::VecDeque::new();
    for n in 0..10_000 {
        let (call, called) = mpsc::channel::<()>();
        let (to, from) = mpsc::channel();
        let thread = thread::spawn(move || {
            to.send(POOL.alloc(Contents::new(n))).unwrap();
            let _ = called.recv();
        });
        alive.push_back((from.recv().unwrap(), call, thread));
        if alive.len() == AT_ONCE {
            let (boxed, call, thread) = alive.pop_front().unwrap();
            drop(call);
            thread.join().unwrap();
            assert_eq!(boxed.verify(), n + 1 - AT_ONCE as u32);
        }
    }
    assert!(POOL.stats().heaps <= 201, "{}", POOL.stats());
    for (boxed, call, thread) in alive {
        drop(call);
        thread.join().unwrap();
        drop(boxed); // after its thread
    }
    flush();
    assert_all_returned(&POOL);
}

// --- Pools that are dropped -----------------------------------------------------------------------------------------

/// Every worker allocates this many boxes of the pool.
fn make_on_each(workers: &[Worker], pool: &std::sync::Arc<Pool>, count: u32) -> Vec<Vec<Boxed>> {
    let boxes = workers.iter().map(|worker| {
        let pool = pool.clone();
        worker.run(move || make(&pool, count))
    });
    boxes.collect()
}

fn workers(count: usize) -> Vec<Worker> {
    (0..count).map(|_| Worker::start()).collect()
}

#[test]
fn boxes_of_many_threads_outlive_their_pool() {
    let (workers, pool) = (workers(3), std::sync::Arc::new(Pool::new()));
    let mut boxes = make_on_each(&workers, &pool, 2500);
    drop(pool);
    boxes.iter().for_each(|boxes| assert_intact(boxes));
    boxes.rotate_left(1);
    for (worker, boxes) in workers.iter().zip(boxes) {
        worker.run(move || drop(thin_out(boxes)));
    }
    workers.into_iter().for_each(Worker::end);
}

#[test]
fn a_leaked_box_outlives_its_pool_and_all_threads() {
    let pool = std::sync::Arc::new(Pool::new());
    let maker = Worker::start();
    let boxes = make_on_each(std::slice::from_ref(&maker), &pool, 2000).remove(0);
    drop(pool);
    let mut boxes = boxes.into_iter();
    let leaked = PoolBox::leak(boxes.nth(1234).unwrap());
    maker.run(move || drop(boxes));
    maker.end();
    let others: Vec<_> = (0..5000).map(|n| PoolBox::new(Contents::new(n))).collect();
    assert_eq!(leaked.verify(), 1234);
    assert_intact(&others);
}

#[test]
fn a_large_value_outlives_its_pool() {
    let pool = SegmentPool::new();
    let boxed = pool.alloc([7_u8; 200_000]);
    drop(pool);
    let boxed = thread::spawn(|| boxed).join().unwrap();
    assert!(boxed.iter().all(|&byte| byte == 7));
}

/// A thread-local value that was made before the pool's thread-local variables and so is dropped after them.
#[test]
fn a_box_is_dropped_after_its_pool_and_after_its_thread_let_go() {
    thread_local! {
        static LAST: std::cell::RefCell<Option<Boxed>> = const { std::cell::RefCell::new(None) };
    }
    thread::spawn(|| {
        LAST.with(|last| drop(last.borrow())); // registered first, dropped last
        let pool = Pool::new();
        let boxed = pool.alloc(Contents::new(9));
        drop(pool);
        LAST.with(|last| *last.borrow_mut() = Some(boxed));
    })
    .join()
    .unwrap();
}

#[cfg(target_os = "linux")]
mod mappings {
    //! What is left of dropped pools.

    use super::*;
    use common::in_own_process;
    use std::fs;

    /// Neighbouring mappings look like one, so it is their size that counts.
    fn mapped() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<usize>().unwrap() << 10
    }

    /// The registry of a pool and each of its heaps take a page at least: of 2000 pools, 8 MiB.
    fn assert_flat(mut step: impl FnMut()) {
        (0..50).for_each(|_| step());
        let before = mapped();
        (0..2000).for_each(|_| step());
        let grown = mapped().saturating_sub(before);
        println!("{} KiB more", grown >> 10);
        assert!(grown < 4 << 20, "{grown} bytes of address space are left");
    }

    /// Three threads use each pool, which is dropped; then each drops what another has made.
    #[test]
    fn nothing_is_left_of_two_thousand_pools_when_their_boxes_are_dropped() {
        in_own_process(
            "mappings::nothing_is_left_of_two_thousand_pools_when_their_boxes_are_dropped",
            || {
                let workers = workers(3);
                assert_flat(|| {
                    let pool = std::sync::Arc::new(Pool::new());
                    let mut boxes = make_on_each(&workers, &pool, 40);
                    drop(pool);
                    boxes.rotate_left(1);
                    for (worker, boxes) in workers.iter().zip(boxes) {
                        worker.run(|| drop(boxes));
                        worker.run(flush);
                    }
                    take_a_slow_path(&workers);
                });
            },
        );
    }

    /// Allocates a segment of another pool.
    fn take_a_slow_path(workers: &[Worker]) {
        for worker in workers {
            worker.run(|| drop(Pool::new().alloc(Contents::new(1))));
        }
    }

    /// The same with threads that end before the pool is dropped, and others that end after.
    #[test]
    fn nothing_is_left_of_two_thousand_pools_when_their_threads_end() {
        in_own_process(
            "mappings::nothing_is_left_of_two_thousand_pools_when_their_threads_end",
            || {
                assert_flat(|| {
                    let (workers, pool) = (workers(2), std::sync::Arc::new(Pool::new()));
                    let boxes = make_on_each(&workers, &pool, 40);
                    let mut workers = workers.into_iter();
                    workers.next().unwrap().end();
                    drop(pool);
                    workers.next().unwrap().end();
                    drop(boxes);
                    flush();
                });
            },
        );
    }

    /// Heaps that are parked when their pool is dropped are abandoned.
    #[test]
    fn nothing_is_left_of_two_thousand_pools_of_idle_threads() {
        in_own_process(
            "mappings::nothing_is_left_of_two_thousand_pools_of_idle_threads",
            || {
                let workers = workers(2);
                assert_flat(|| {
                    let pool = std::sync::Arc::new(Pool::new());
                    let boxes = make_on_each(&workers, &pool, 40);
                    workers.iter().for_each(|worker| worker.run(idle));
                    drop(pool);
                    drop(boxes);
                    flush();
                });
            },
        );
    }
}

// --- Idle threads ---------------------------------------------------------------------------------------------------

#[test]
fn an_idle_thread_takes_its_heap_back() {
    static POOL: Pool = Pool::new();
    let boxes = make(&POOL, 10);
    for n in 0..1000 {
        idle();
        idle();
        assert_eq!(POOL.alloc(Contents::new(n)).verify(), n);
    }
    assert_eq!(POOL.stats().heaps, 1);
    assert_eq!(POOL.stats().segments, 1);
    drop(boxes);
    assert_eq!(POOL.stats().remote_frees, 0, "they were local frees");
}

#[test]
fn another_thread_uses_the_free_slots_of_an_idle_one() {
    static POOL: Pool = Pool::new();
    let (sleeper, other) = (Worker::start(), Worker::start());
    let own = other.run(|| POOL.alloc(Contents::new(0)));
    let kept = sleeper.run(|| {
        let kept = thin_out(make(&POOL, 6 * A_SEGMENT));
        idle();
        kept
    });
    let before = POOL.stats().segments;
    let new = other.run(|| make(&POOL, 3 * A_SEGMENT));
    let in_old = segments(&new).intersection(&segments(&kept)).count();
    assert!(in_old >= 3, "{in_old} segments");
    assert!(POOL.stats().segments <= before + 3, "{}", POOL.stats());
    assert_eq!(POOL.stats().heaps, 2);
    drop((own, new, kept));
    sleeper.end();
    other.end();
    flush();
    assert_all_returned(&POOL);
}

/// A thread without a heap gets the whole heap of the idle one, which makes another for itself when it wakes.
#[test]
fn a_new_thread_adopts_the_heap_of_an_idle_one() {
    static POOL: Pool = Pool::new();
    let (sleeper, new) = (Worker::start(), Worker::start());
    let places: HashSet<usize> = sleeper.run(|| {
        let boxes = make(&POOL, 100);
        let places = boxes.iter().map(|b| address(&**b)).collect();
        drop(boxes);
        idle();
        places
    });
    let adopted = new.run(|| make(&POOL, 100));
    assert!(adopted.iter().all(|b| places.contains(&address(&**b))));
    assert_eq!(POOL.stats().heaps, 1);
    let own = sleeper.run(|| make(&POOL, 100));
    assert_eq!(POOL.stats().heaps, 2);
    sleeper.run(|| drop(adopted));
    new.run(|| drop(own));
    sleeper.end();
    new.end();
    assert_all_returned(&POOL);
}

#[test]
fn remote_frees_to_an_idle_thread_are_returned_by_the_freeing_threads() {
    static POOL: Pool = Pool::new();
    let sleeper = Worker::start();
    let boxes = sleeper.run(|| {
        let boxes = make(&POOL, 3 * A_SEGMENT);
        idle();
        boxes
    });
    drop(boxes);
    flush();
    assert_eq!(POOL.stats().remote_frees, u64::from(3 * A_SEGMENT));
    assert!(
        POOL.stats().segments <= 1,
        "the sleeper's few free slots: {}",
        POOL.stats()
    );
    sleeper.end();
    POOL.trim();
    assert_all_returned(&POOL);
}

/// It frees, too: its own boxes are another's while its heap is parked.
#[test]
fn an_idle_thread_drops_boxes() {
    static POOL: Pool = Pool::new();
    let boxes = make(&POOL, 500);
    idle();
    drop(boxes);
    idle();
    assert_eq!(POOL.stats().live(), 0);
    assert_eq!(POOL.stats().remote_frees, 500);
    assert_eq!(POOL.alloc(Contents::new(3)).verify(), 3);
    assert_eq!(POOL.stats().heaps, 1);
}

/// As it would if it had not idled before.
#[test]
fn a_thread_that_ends_while_it_idles_leaves_no_empty_segment() {
    static POOL: Pool = Pool::new();
    let sleeper = Worker::start();
    sleeper.run(|| drop(make(&POOL, 3 * A_SEGMENT)));
    sleeper.run(idle);
    sleeper.end();
    assert_all_returned(&POOL);
}

#[test]
fn several_idle_threads_of_the_default_pool_take_their_own_heaps_back() {
    let workers = workers(3);
    let place = |worker: &Worker| {
        worker.run(|| {
            let place = address(&*PoolBox::new(Contents::new(0)));
            idle();
            place
        })
    };
    let first: Vec<_> = workers.iter().map(place).collect();
    assert!(
        first[0] >> 16 == first[1] >> 16,
        "the second adopted what the first parked"
    );
    let all_hold: Vec<_> = workers
        .iter()
        .map(|w| w.run(|| PoolBox::new(Contents::new(1))))
        .collect();
    workers.iter().for_each(|worker| worker.run(idle));
    let again: Vec<_> = workers
        .iter()
        .map(|w| w.run(|| PoolBox::new(Contents::new(2))))
        .collect();
    let segment = |boxed: &Boxed| address(&**boxed) >> 16;
    let before: Vec<_> = all_hold.iter().map(segment).collect();
    let after: Vec<_> = again.iter().map(segment).collect();
    assert_eq!(before, after, "each has its own heap again");
    drop((all_hold, again));
    workers.into_iter().for_each(Worker::end);
}

// --- Trimming -------------------------------------------------------------------------------------------------------

#[test]
fn trim_returns_all_free_slots_and_keeps_segments_in_use() {
    static POOL: Pool = Pool::new();
    let mut boxes = make(&POOL, 20 * A_SEGMENT);
    let kept = boxes.split_off(boxes.len() - 10);
    drop(boxes);
    POOL.trim();
    let stats = POOL.stats();
    assert!(stats.segments <= 2 && stats.segments >= 1, "{stats}");
    assert_intact(&kept);
    drop(kept);
    POOL.trim();
    assert_all_returned(&POOL);
}

#[test]
fn trim_collects_abandoned_heaps_and_the_remote_buffer() {
    static POOL: Pool = Pool::new();
    let sleeper = Worker::start();
    let boxes = sleeper.run(|| {
        drop(make(&POOL, 3 * A_SEGMENT));
        let boxes = make(&POOL, 10);
        idle();
        boxes
    });
    drop(boxes); // waits in the remote-free buffer
    POOL.trim();
    assert_eq!((POOL.stats().segments, POOL.stats().live()), (0, 0));
    sleeper.end();
    assert_all_returned(&POOL);
}

// --- Limits ---------------------------------------------------------------------------------------------------------

/// As many boxes as the pool allows, and what it says then.
fn fill<T>(pool: &SegmentPool<T>, make: impl Fn(u32) -> T) -> (Vec<PoolBox<T>>, AllocErrorKind) {
    let mut boxes = Vec::new();
    loop {
        match pool.try_alloc(make(boxes.len() as u32)) {
            Ok(boxed) => boxes.push(boxed),
            Err(refused) => return (boxes, refused.kind()),
        }
        assert!(boxes.len() * size_of::<T>() < 64 << 20, "there is no limit");
    }
}

#[test]
fn an_allocation_at_a_limit_by_segments_returns_the_value() {
    static POOL: Pool = Pool::builder().max_segments(3).build();
    let (mut boxes, kind) = fill(&POOL, Contents::new);
    assert_eq!(
        (kind, POOL.stats().segments),
        (AllocErrorKind::LimitReached, 3)
    );
    assert!(boxes.len() >= 3 * A_SEGMENT as usize);
    let refused = POOL.try_alloc(Contents::new(77)).unwrap_err();
    assert_eq!(refused.into_inner().verify(), 77);
    for n in 0..100 {
        boxes.pop();
        boxes.push(POOL.try_alloc(Contents::new(n)).unwrap());
        assert!(POOL.try_alloc(Contents::new(n)).is_err());
    }
    drop(boxes);
    let again = fill(&POOL, Contents::new).0;
    assert!(again.len() >= 3 * A_SEGMENT as usize);
}

/// Empty segments that the heap retains count towards the limit, so they must be reused before an allocation fails.
#[test]
fn spare_segments_are_used_again_below_a_limit() {
    static POOL: Pool = Pool::builder().max_segments(60).build();
    let (boxes, _) = fill(&POOL, Contents::new);
    let count = boxes.len();
    drop(boxes);
    let stats = POOL.stats();
    assert!(stats.segments < 60, "segments became empty: {stats}");
    assert_eq!(fill(&POOL, Contents::new).0.len(), count);
}

#[test]
fn a_limit_by_bytes_counts_segments() {
    static POOL: Pool = Pool::builder().max_bytes((2 << 16) + 5).build();
    let (boxes, kind) = fill(&POOL, Contents::new);
    assert_eq!(kind, AllocErrorKind::LimitReached);
    assert_eq!(POOL.stats().segment_bytes, 2 << 16);
    drop(boxes);
}

#[test]
fn values_with_a_dedicated_mapping_are_limited() {
    const BYTES: usize = 150_000;
    static POOL: SegmentPool<[u8; BYTES]> = SegmentPool::builder().max_segments(3).build();
    static BY_BYTES: SegmentPool<[u8; BYTES]> = SegmentPool::builder().max_bytes(5 * BYTES).build();
    let (boxes, kind) = fill(&POOL, |n| [n as u8; BYTES]);
    assert_eq!((boxes.len(), kind), (3, AllocErrorKind::LimitReached));
    assert_eq!(
        fill(&BY_BYTES, |_| [0; BYTES]).0.len(),
        4,
        "each has a header, too"
    );
    thread::spawn(move || drop(boxes)).join().unwrap();
    assert_eq!(fill(&POOL, |n| [n as u8; BYTES]).0.len(), 3);
}

/// Address space of the process, in bytes.
#[cfg(all(target_os = "linux", not(miri)))]
fn address_space() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').next().unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

/// Fills a pool whose values have dedicated mappings up to a limit. The limit, the statistics and the system agree
/// about its memory.
#[cfg(all(target_os = "linux", not(miri)))]
fn fill_with_mappings<T>(limit: usize) {
    let pool = SegmentPool::<T>::builder().max_bytes(limit).build();
    drop(pool.alloc_uninit()); // for which the pool needs its own page, too
    let mut values = Vec::with_capacity(limit / size_of::<T>() + 1);
    let before = address_space();
    let refused = loop {
        match pool.try_alloc_uninit() {
            Ok(value) => values.push(value),
            Err(refused) => break refused,
        }
    };
    let (taken, counted) = (address_space() - before, pool.stats().large_bytes as usize);
    let each = counted / values.len();
    let what = std::any::type_name::<T>();
    assert_eq!(refused, AllocErrorKind::LimitReached, "{what}");
    assert_eq!(taken, counted, "{what}");
    assert!(
        counted <= limit && limit - counted < each,
        "{what}: {counted} of {limit}"
    );
    drop(values);
    let left = (pool.stats().large_bytes, address_space());
    assert_eq!(left, (0, before), "{what}");
}

#[cfg(all(target_os = "linux", not(miri), not(asan_slots)))] // AddressSanitizer has its own mappings
#[test]
fn a_limit_by_bytes_counts_whole_pages_with_header_and_alignment() {
    #[repr(align(8192))]
    struct OfTwoPages(#[expect(dead_code, reason = "only its layout counts")] u8);
    #[repr(align(1_048_576))]
    struct OfAMebibyte(#[expect(dead_code, reason = "as above")] [u8; 3 << 20]);

    common::in_own_process(
        "a_limit_by_bytes_counts_whole_pages_with_header_and_alignment",
        || {
            fill_with_mappings::<[u8; 131_073]>(20 * (131_073 + 64));
            fill_with_mappings::<[u8; 33 * 4096 - 64]>(20 * 33 * 4096);
            fill_with_mappings::<[u8; 33 * 4096 - 63]>(20 * 33 * 4096);
            fill_with_mappings::<OfTwoPages>(20 * 16_384 + 16_383);
            fill_with_mappings::<OfAMebibyte>(20 << 20);
        },
    );
}

#[test]
fn slots_freed_by_another_thread_are_found_before_the_limit_is_reached() {
    static POOL: Pool = Pool::builder().max_segments(2).build();
    let (boxes, _) = fill(&POOL, Contents::new);
    let (count, other) = (boxes.len(), Worker::start());
    other.run(|| drop(boxes));
    other.run(flush);
    let again = fill(&POOL, Contents::new).0;
    assert_eq!(again.len(), count);
    drop(again);
    other.end();
}

/// A full pool's free slots are all in this thread's remote-free buffer, and their heap is abandoned.
#[test]
fn slots_in_the_remote_free_buffer_are_found_before_the_limit_is_reached() {
    static POOL: Pool = Pool::builder().max_segments(2).build();
    let owner = Worker::start();
    let mut boxes = owner.run(|| fill(&POOL, Contents::new).0);
    owner.end();
    let last = boxes.split_off(boxes.len() - 5);
    drop(last);
    assert_eq!(fill(&POOL, Contents::new).0.len(), 5);
}

/// Slots that this thread freed for another thread, whose segments it has taken over since: a flush returns more slots
/// at once than a free list holds.
#[test]
fn slots_that_a_flush_returns_at_the_limit_are_not_lost() {
    static POOL: SegmentPool<Checked<125>> = SegmentPool::builder().max_segments(3).build();
    let owner = Worker::start();
    let mut boxes = owner.run(|| fill(&POOL, Checked::new).0);
    let in_a_segment = boxes.len() / 3;
    let mut firsts = Vec::new();
    for segment in [2, 1, 0] {
        firsts.push(boxes.remove(segment * in_a_segment));
    }
    owner.run(move || drop(firsts)); // so that there is room, and the segments can be taken over
    owner.end();
    for segment in [2, 1, 0] {
        let from = segment * (in_a_segment - 1);
        drop(boxes.drain(from..from + 7)); // one less than a batch of these is sent with
    }
    let (found, kind) = fill(&POOL, Checked::new);
    assert_eq!((found.len(), kind), (3 * 8, AllocErrorKind::LimitReached));
}

/// Fills the pool on a thread with its own heap, after another thread has prepared and left.
fn filled_beside(
    pool: &'static Pool,
    leave: impl FnOnce() -> Vec<Boxed> + Send + 'static,
) -> usize {
    let (asker, other) = (Worker::start(), Worker::start());
    let own = asker.run(|| pool.alloc(Contents::new(0)));
    let kept = other.run(leave);
    let count = asker.run(|| {
        let (boxes, _) = fill(pool, Contents::new);
        boxes.len()
    });
    drop((own, kept));
    asker.end();
    other.end();
    count
}

#[test]
fn free_slots_of_an_idle_thread_are_found_before_the_limit_is_reached() {
    static POOL: Pool = Pool::builder().max_segments(4).build();
    let count = filled_beside(&POOL, || {
        let kept = thin_out(make(&POOL, 3 * A_SEGMENT));
        idle();
        kept
    });
    let free = 4 * A_SEGMENT as usize - 1 - 3 * A_SEGMENT as usize / 2;
    assert!(count >= free, "{count} of {free}");
}

/// Enough slots to fill dozens of magazines in the lists of the idle thread's heap.
#[test]
fn all_free_slots_of_a_large_idle_heap_are_found_before_the_limit_is_reached() {
    static POOL: Pool = Pool::builder().max_segments(101).build();
    let count = filled_beside(&POOL, || {
        let kept = thin_out(make(&POOL, 100 * A_SEGMENT));
        idle();
        kept
    });
    let free = 50 * A_SEGMENT as usize;
    assert!(count >= free, "{count} of {free}");
}

/// Empty segments that an idle thread's heap retains count towards the limit, although no thread uses them there.
#[test]
fn spare_segments_of_an_idle_thread_are_found_before_the_limit_is_reached() {
    static POOL: Pool = Pool::builder().max_segments(40).build();
    let count = filled_beside(&POOL, || {
        drop(make(&POOL, 39 * A_SEGMENT));
        idle();
        Vec::new()
    });
    let free = 40 * A_SEGMENT as usize - 1;
    assert!(count >= free, "{count} of {free}");
}

// --- Filling ahead --------------------------------------------------------------------------------------------------

#[test]
fn reserved_segments_are_used_and_unused_ones_go_back() {
    static POOL: Pool = Pool::new();
    POOL.reserve(10 * A_SEGMENT as usize).unwrap();
    let reserved = POOL.stats().segments;
    assert!(reserved >= 9 && POOL.stats().allocations == 0);
    let boxes = make(&POOL, 5 * A_SEGMENT);
    assert_eq!(POOL.stats().segments, reserved);
    drop(boxes);
    POOL.trim();
    assert_all_returned(&POOL);
}

#[test]
fn prefaulted_segments_hold_values() {
    static POOL: Pool = Pool::new();
    POOL.prefault(3 * A_SEGMENT as usize).unwrap();
    let reserved = POOL.stats().segments;
    let boxes = make(&POOL, 3 * A_SEGMENT - 100);
    assert_eq!(POOL.stats().segments, reserved);
    assert_intact(&boxes);
    drop(boxes);
    POOL.trim();
    assert_all_returned(&POOL);
}

#[test]
fn a_reservation_beyond_the_limit_maps_nothing() {
    static POOL: Pool = Pool::builder().max_segments(3).build();
    let refused = Err(AllocErrorKind::LimitReached);
    assert_eq!(POOL.reserve(10 * A_SEGMENT as usize), refused);
    assert_eq!(POOL.prefault(10 * A_SEGMENT as usize), refused);
    assert_eq!(POOL.stats().heaps, 0);
    let boxes = make(&POOL, 1);
    assert_eq!(POOL.reserve(3 * A_SEGMENT as usize - 100), refused);
    assert_eq!(POOL.stats().segments, 1);
    POOL.reserve(2 * A_SEGMENT as usize - 100).unwrap();
    assert_eq!(POOL.stats().segments, 3);
    assert_eq!(POOL.reserve(1), refused);
    assert_eq!(POOL.reserve(0), Ok(()));
    drop(boxes);
    POOL.trim();
    assert_all_returned(&POOL);
}

/// What a reservation takes of the heap's spare segments is counted already.
#[test]
fn spare_segments_are_reserved_first() {
    static POOL: Pool = Pool::builder().max_segments(60).build();
    drop(fill(&POOL, Contents::new));
    let before = POOL.stats();
    assert!(before.spare_bytes > 0);
    let most = ((60 - before.segments) * before.capacity / before.segments) as usize;
    assert_eq!(POOL.reserve(most + 1), Err(AllocErrorKind::LimitReached));
    assert_eq!(POOL.stats(), before);
    POOL.reserve(most).unwrap();
    let stats = POOL.stats();
    assert_eq!((stats.spare_bytes, stats.segments), (0, 60), "{stats}");
    POOL.trim();
    assert_all_returned(&POOL);
}

#[test]
fn what_no_address_space_holds_is_not_begun() {
    fn ask<T>() {
        let pool = SegmentPool::<T>::new();
        for refused in [pool.reserve(usize::MAX), pool.prefault(usize::MAX / 2)] {
            assert_eq!(refused, Err(AllocErrorKind::CapacityOverflow));
        }
        assert_eq!(pool.stats().heaps, 0);
    }
    ask::<u64>();
    ask::<[u8; 3000]>();
    ask::<[u8; 100_000]>();
}

#[cfg(target_os = "linux")]
fn limit_address_space(most: libc::rlim_t) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a valid limit.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(set, 0);
}

/// A process that may map 128 MiB more allocates more than that, by the size of one arena and by much. It can continue.
#[cfg(all(target_os = "linux", not(miri), not(asan_slots)))]
#[test]
fn a_reservation_that_the_system_cannot_map_leaves_nothing_behind() {
    const MORE: usize = 128 << 20;
    let name = "a_reservation_that_the_system_cannot_map_leaves_nothing_behind";
    common::in_own_process(name, || {
        for touch in [false, true] {
            for bytes in [MORE, 2 << 30, 1 << 46] {
                let pool = SegmentPool::<u64>::new();
                let before = address_space();
                limit_address_space((before + MORE) as libc::rlim_t);
                let slots = bytes / 8;
                let reserved = if touch {
                    pool.prefault(slots)
                } else {
                    pool.reserve(slots)
                };
                assert_eq!(reserved, Err(AllocErrorKind::OutOfMemory));
                let (boxed, vector) = (PoolBox::new([0_u8; 5000]), vec![0_u8; MORE / 2]);
                limit_address_space(libc::RLIM_INFINITY);
                drop((boxed, vector));
                segment_pool::trim();
                pool.reserve(1000).unwrap();
                drop(pool);
                segment_pool::trim();
                let left = address_space().saturating_sub(before);
                assert!(left < 8 << 20, "{left} bytes are left of {bytes}");
            }
        }
    });
}

#[test]
fn a_thread_that_ends_leaves_what_it_reserved() {
    static POOL: Pool = Pool::new();
    thread::spawn(|| POOL.reserve(3 * A_SEGMENT as usize))
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(POOL.stats().segments, 0, "they were empty, and went back");
    assert_all_returned(&POOL);
}

/// If an allocation failed at the limit and another thread frees memory at once, the reason is still the limit.
#[test]
fn a_failure_at_the_limit_is_not_reported_as_out_of_memory() {
    static ONE: SegmentPool<[u8; 200_000]> = SegmentPool::builder().max_segments(1).build();
    let take_turns = || {
        for _ in 0..20_000 {
            if let Err(kind) = ONE.try_alloc_uninit() {
                assert_eq!(kind, AllocErrorKind::LimitReached);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(take_turns);
        scope.spawn(take_turns);
    });
}
