//! Looking into pools: what the numbers, the pictures and the leak reports say, of threads that run, wait and ended.

#![cfg(not(segment_pool_loom))]

mod common;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use common::{KILOBYTE, Worker, in_own_process};
use segment_pool::{Holder, LeakReport, PoolBox, Report, SegmentPool, SlotState, Snapshot, Stats};

/// 63 to a segment of 64 KiB.
type Kilobyte = [u64; KILOBYTE];

const IN_A_SEGMENT: usize = 63;

fn fill(pool: &SegmentPool<Kilobyte>, boxes: usize) -> Vec<PoolBox<Kilobyte>> {
    (0..boxes as u64)
        .map(|n| pool.alloc([n; KILOBYTE]))
        .collect()
}

// --- Numbers --------------------------------------------------------------------------------------------------------

#[test]
fn capacity_is_what_the_segments_hold() {
    let pool = SegmentPool::new();
    let boxes = fill(&pool, 2 * IN_A_SEGMENT + 1);
    let stats = pool.stats();
    assert_eq!(stats.segments, 3, "{stats}");
    assert_eq!(stats.capacity as usize, 3 * IN_A_SEGMENT);
    assert_eq!(stats.segment_bytes, 3 << 16);
    assert_eq!(stats.live() as usize, boxes.len());
    assert_eq!(pool.live() as usize, boxes.len());
    assert_eq!(stats.capacity as usize, pool.validate().capacity);
}

#[test]
fn remote_frees_are_counted_before_the_owner_collects() {
    let pool = SegmentPool::new();
    let boxes = fill(&pool, 32); // four batches of 8
    thread::scope(|scope| scope.spawn(|| drop(boxes)).join().unwrap());
    let pushed = pool.stats();
    assert_eq!((pushed.live(), pushed.unreclaimed), (0, 32), "{pushed}");
    assert_eq!(
        (pushed.remote_frees, pushed.collects, pushed.batches),
        (0, 0, 0)
    );
    pool.trim();
    let stats = pool.stats();
    assert_eq!((stats.live(), stats.unreclaimed), (0, 0), "{stats}");
    assert_eq!(
        (stats.remote_frees, stats.collects, stats.batches),
        (32, 1, 4)
    );
}

/// The owner waits and does nothing, and each number is right all the same: what was freed to the last slot, and purged, too.
#[test]
fn values_are_counted_while_their_owner_sleeps() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let owner = Worker::start();
    let mut boxes = owner.run(|| fill(&POOL, 40 * IN_A_SEGMENT));
    let kept = boxes.split_off(39 * IN_A_SEGMENT);
    thread::spawn(move || drop(boxes)).join().unwrap();
    let stats = POOL.stats();
    assert_eq!(
        (stats.live() as usize, stats.unreclaimed as usize),
        (IN_A_SEGMENT, 39 * IN_A_SEGMENT)
    );
    let report = POOL.report();
    println!("{report}");
    assert_eq!(
        (report.classes[0].live(), report.classes[0].unreclaimed),
        (stats.live(), stats.unreclaimed)
    );
    let fill: Vec<_> = report
        .fill
        .iter()
        .map(|range| (range.up_to_percent, range.segments, range.used))
        .collect();
    assert_eq!(fill, [(0, 39, 0), (100, 1, 63)]);
    drop(kept);
    segment_pool::flush();
    assert_eq!(POOL.live(), 0);
    owner.end();
}

/// What the asking thread has in its open batches is known; of other threads it is not, and counts as alive.
#[test]
fn open_batches_of_other_threads_count_as_alive() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let [owner, other] = [(); 2].map(|()| Worker::start());
    let [mine, theirs] = owner.run(|| [fill(&POOL, 10), fill(&POOL, 10)]);
    drop(mine); // a batch of 8, and 2 in the next
    assert_eq!((POOL.live(), POOL.stats().unreclaimed), (10, 10));
    other.run(move || drop(theirs));
    assert_eq!((POOL.live(), POOL.stats().unreclaimed), (2, 18));
    other.run(segment_pool::flush);
    assert_eq!((POOL.live(), POOL.stats().unreclaimed), (0, 20));
    segment_pool::flush();
    assert_eq!((POOL.live(), POOL.stats().unreclaimed), (0, 20));
    owner.end();
    assert_eq!((POOL.live(), POOL.stats().unreclaimed), (0, 0));
    other.end();
}

/// "980 segments hold 1000 values": one value keeps each segment.
#[test]
fn segments_that_hold_almost_nothing_are_seen() {
    let pool = SegmentPool::new();
    let mut boxes = fill(&pool, 100 * IN_A_SEGMENT);
    let mut number = 0;
    boxes.retain(|_| {
        number += 1;
        number % IN_A_SEGMENT == 1
    });
    pool.trim();
    let report = pool.report();
    println!("{report}");
    let [range] = report.fill[..] else {
        panic!("{report}")
    };
    assert_eq!(
        (range.up_to_percent, range.segments, range.used),
        (10, 100, 100)
    );
    assert!(
        report
            .to_string()
            .contains("100 segments up to 10 % full hold 100")
    );
}

#[test]
fn adoptions_and_abandonments_are_counted() {
    let pool = SegmentPool::new();
    let hold = |pool: &SegmentPool<Kilobyte>| drop(pool.alloc([0; KILOBYTE]));
    thread::scope(|scope| scope.spawn(|| hold(&pool)).join().unwrap());
    let owners = |stats: Stats| {
        let Stats {
            heaps,
            abandoned_heaps,
            adoptions,
            abandonments,
            ..
        } = stats;
        (heaps, abandoned_heaps, adoptions, abandonments)
    };
    assert_eq!(owners(pool.stats()), (1, 1, 0, 1), "made, and left");
    hold(&pool);
    assert_eq!(owners(pool.stats()), (1, 0, 1, 1), "adopted");
    segment_pool::idle();
    assert_eq!(owners(pool.stats()), (1, 1, 1, 2), "parked");
    hold(&pool);
    assert_eq!(owners(pool.stats()), (1, 0, 2, 2), "taken back");
    pool.trim();
    let _ = (pool.validate(), pool.snapshot());
    assert_eq!(
        owners(pool.stats()),
        (1, 0, 2, 2),
        "looking changes nothing"
    );
}

#[test]
fn spare_segments_are_counted_by_their_bytes() {
    let pool = SegmentPool::new();
    drop(fill(&pool, 100 * IN_A_SEGMENT));
    let stats = pool.stats();
    assert_eq!(stats.spare_bytes, 256 << 10, "{stats}");
    assert_eq!(stats.mapped_bytes(), stats.segment_bytes + (256 << 10));
    pool.trim();
    assert_eq!(pool.stats().mapped_bytes(), 0);
}

#[test]
fn values_with_a_dedicated_mapping_are_alive_too() {
    let pool = SegmentPool::<[u8; 200_000]>::new();
    let boxes = [pool.alloc([1; 200_000]), pool.alloc([2; 200_000])];
    let stats = pool.stats();
    assert_eq!((stats.large, stats.live()), (2, 2), "{stats}");
    assert!(stats.large_bytes >= 400_000 && stats.large_bytes == stats.mapped_bytes());
    let [first, _second] = boxes;
    thread::scope(|scope| scope.spawn(|| drop(first)).join().unwrap());
    assert_eq!(pool.stats().live(), 1);
    assert_eq!(pool.leaks().unwrap().live, 1);
}

#[test]
fn the_default_pool_counts_large_values_as_well() {
    in_own_process("the_default_pool_counts_large_values_as_well", || {
        let large = || segment_pool::stats().large;
        assert_eq!(large(), 0);
        let boxed = PoolBox::new([0_u8; 300_000]);
        assert_eq!(large(), 1);
        drop(boxed);
        assert_eq!(large(), 0);
    });
}

/// Reading while others run is harmless, and a remote free that was counted is never taken back.
#[test]
fn frees_collected_while_one_looks_only_grow() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let rounds: u64 = if cfg!(miri) { 3 } else { 100 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..rounds {
                        let (stays, goes) = (fill(&POOL, 100), fill(&POOL, 100));
                        thread::spawn(move || drop(goes)).join().unwrap();
                        drop(stays);
                    }
                })
            })
            .collect();
        let mut before = Stats::default();
        while !workers.iter().all(|worker| worker.is_finished()) {
            let now = POOL.stats();
            assert!(now.remote_frees >= before.remote_frees && now.batches >= before.batches);
            assert!(now.collects >= before.collects);
            before = now;
        }
    });
    let stats = POOL.stats();
    assert_eq!(stats.allocations, 2 * rounds * 200);
    POOL.trim();
    assert_eq!(POOL.stats().live(), 0);
}

// --- Reports --------------------------------------------------------------------------------------------------------

#[test]
fn a_report_has_a_row_per_class_and_adds_up() {
    in_own_process("a_report_has_a_row_per_class_and_adds_up", || {
        let _small: Vec<_> = (0..10_u64).map(PoolBox::new).collect();
        let _large: Vec<_> = (0..20_u8).map(|n| PoolBox::new([n; 1000])).collect();
        let Report { total, classes, .. } = segment_pool::report();
        let live: Vec<_> = classes.iter().map(|c| (c.slot_bytes, c.live())).collect();
        let smallest = if cfg!(feature = "hardened") { 16 } else { 8 };
        assert_eq!(live, [(smallest, 10), (1024, 20)]);
        let sum = |of: fn(&segment_pool::ClassStats) -> u64| classes.iter().map(of).sum::<u64>();
        assert_eq!(sum(|class| class.segments), total.segments);
        assert_eq!(sum(|class| class.segment_bytes), total.segment_bytes);
        assert_eq!(sum(|class| class.capacity), total.capacity);
        assert_eq!(sum(|class| class.allocations), total.allocations);
        assert_eq!(sum(|class| class.live()), total.live());
    });
}

#[test]
fn a_report_is_a_table_whose_columns_line_up() {
    let pool = SegmentPool::builder().name("packets").build();
    let _boxes = fill(&pool, 100);
    let text = pool.report().to_string();
    println!("{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "pool packets");
    assert!(lines[1].ends_with("collects") && lines[2].contains("128 KiB"));
    assert!(lines[1..4].iter().all(|line| line.len() == lines[1].len()));
    let row: Vec<_> = lines[2].split_whitespace().collect();
    assert_eq!(
        row[..8],
        ["1024", "2", "128", "KiB", "126", "100", "79%", "0"]
    );
    assert!(lines.last().unwrap().starts_with("arenas of all pools: "));
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn resident_memory_is_what_was_touched() {
    in_own_process("resident_memory_is_what_was_touched", || {
        let resident = || segment_pool::memory().resident_bytes.unwrap() >> 10;
        assert_eq!(resident(), 0);
        const PAGE: usize = if cfg!(feature = "hardened") { 511 } else { 512 };
        let boxes: Vec<_> = (0..1000_u64).map(|n| PoolBox::new([n; PAGE])).collect();
        let memory = segment_pool::memory();
        assert!((4000..=4100).contains(&resident()), "{memory}");
        assert_eq!(memory.mapped_bytes, memory.arenas * (4 << 20));
        assert!(
            memory.resident_bytes.unwrap() + memory.free_bytes <= memory.mapped_bytes + (512 << 10)
        );
        drop(boxes);
        segment_pool::trim();
        assert_eq!((segment_pool::memory().arenas, resident()), (0, 0));
    });
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn free_segments_with_pages_are_reported() {
    in_own_process("free_segments_with_pages_are_reported", || {
        let pool = SegmentPool::new();
        let keep = pool.alloc([7; KILOBYTE]);
        let fill_and_end = || drop(fill(&pool, 20 * IN_A_SEGMENT));
        thread::scope(|scope| scope.spawn(fill_and_end).join().unwrap());
        let memory = segment_pool::memory();
        assert_eq!(memory.arenas, 1, "{memory}");
        assert_eq!(
            memory.mapped_bytes - memory.free_bytes,
            pool.stats().segment_bytes
        );
        assert_eq!(memory.dirty_bytes, 512 << 10, "{memory}");
        drop(keep);
    });
}

// --- Pictures -------------------------------------------------------------------------------------------------------

fn counts(snapshot: &Snapshot) -> [usize; 5] {
    SlotState::ALL.map(|state| snapshot.count(state))
}

#[test]
fn a_picture_of_a_threads_own_heap() {
    let pool = SegmentPool::builder().name("own").build();
    assert_eq!(pool.snapshot().heaps, []);
    let mut boxes = fill(&pool, 20);
    let addresses: Vec<_> = boxes
        .iter()
        .map(|boxed| (&raw const **boxed).addr())
        .collect();
    boxes.drain(5..8);
    let snapshot = pool.snapshot();
    println!("{snapshot}");
    assert_eq!(snapshot.name, "own");
    let [heap] = &snapshot.heaps[..] else {
        panic!("{snapshot}")
    };
    assert_eq!((heap.holder, heap.segment_count), (Holder::ThisThread, 1));
    let [segment] = &heap.segments[..] else {
        panic!("{snapshot}")
    };
    assert_eq!((segment.bytes, segment.slot_bytes), (1 << 16, 1024));
    let places = addresses
        .iter()
        .map(|address| (address - segment.address) / 1024 - 1);
    let places: Vec<_> = places.collect(); // in order, unless hardened
    let mut expected = [SlotState::Live; 20];
    places[5..8]
        .iter()
        .for_each(|&place| expected[place] = SlotState::AtHand);
    assert_eq!(segment.slots[..20], expected);
    let others = [SlotState::AtHand, SlotState::Untouched];
    assert!(segment.slots[20..].iter().all(|slot| others.contains(slot)));
    assert_eq!(segment.slots.len(), IN_A_SEGMENT);
    pool.trim();
    let trimmed = pool.snapshot();
    places[5..8]
        .iter()
        .for_each(|&place| expected[place] = SlotState::Returned);
    assert_eq!(trimmed.heaps[0].segments[0].slots[..20], expected);
    assert_eq!(trimmed.count(SlotState::AtHand), 0);
}

#[test]
fn what_another_thread_freed_is_in_flight_once() {
    let pool = SegmentPool::new();
    let mut boxes = fill(&pool, 20);
    let tail = boxes.split_off(12);
    thread::scope(|scope| scope.spawn(|| drop(tail)).join().unwrap());
    assert_eq!(counts(&pool.snapshot())[..2], [12, 8]);
    assert_eq!(
        counts(&pool.snapshot())[..2],
        [12, 0],
        "the picture collected them"
    );
}

#[test]
fn a_fully_freed_segment_is_in_flight_as_a_whole() {
    let pool = SegmentPool::new();
    // More than 1 MiB of fully freed segments: the others are purged where they are.
    let boxes = fill(&pool, 40 * IN_A_SEGMENT);
    thread::scope(|scope| scope.spawn(|| drop(boxes)).join().unwrap());
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.heaps[0].segment_count, 40);
    assert_eq!(counts(&snapshot)[..2], [0, 40 * IN_A_SEGMENT], "{snapshot}");
    assert_eq!(pool.snapshot().count(SlotState::InFlight), 0);
}

#[test]
fn open_batches_of_the_asking_thread_are_in_flight() {
    let pool = SegmentPool::new();
    let owner = Worker::start();
    static KEPT: std::sync::OnceLock<SegmentPool<Kilobyte>> = std::sync::OnceLock::new();
    let pool = KEPT.get_or_init(|| pool);
    let boxes = owner.run(move || fill(pool, 10));
    drop(boxes); // a batch of 8, and 2 in the next
    owner.run(segment_pool::idle);
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.heaps[0].holder, Holder::Nobody);
    let [live, in_flight, ..] = counts(&snapshot);
    assert_eq!((live, in_flight), (0, 2), "{snapshot}");
    segment_pool::flush();
    assert_eq!(pool.snapshot().count(SlotState::InFlight), 0);
    owner.end();
}

#[test]
fn slots_that_a_thread_keeps_are_at_its_hand() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let _used = fill(&POOL, 15);
    drop_those_of_another_and_see_them_at_hand(&POOL);
}

#[test]
fn slots_that_a_handle_keeps_are_at_its_hand() {
    in_own_process("slots_that_a_handle_keeps_are_at_its_hand", || {
        static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
        let local = POOL.local();
        let mut used: Vec<_> = (0..16).map(|_| local.alloc([0; KILOBYTE])).collect();
        used.pop(); // now this thread knows the handle's slots
        drop_those_of_another_and_see_them_at_hand(&POOL);
        drop(used);
    });
}

/// Drops eight of each segment, one of each after the other, and returns how many.
fn drop_across_segments(boxes: &mut [Option<PoolBox<Kilobyte>>]) -> isize {
    let mut dropped = 0;
    for first in 0..8 {
        for boxed in boxes.iter_mut().skip(first).step_by(IN_A_SEGMENT) {
            dropped += isize::from(boxed.take().is_some());
        }
    }
    dropped
}

fn drop_those_of_another_and_see_them_at_hand(pool: &'static SegmentPool<Kilobyte>) {
    let owner = Worker::start();
    let mut boxes = owner.run(move || {
        let boxes = fill(pool, IN_A_SEGMENT * 128);
        segment_pool::idle();
        boxes.into_iter().map(Some).collect::<Vec<_>>()
    });
    // As in tests/stats.rs: batches of one slot, until a thread that needs such slots begins to cache them.
    let before = pool.snapshot();
    let dropped = drop_across_segments(&mut boxes);
    let after = pool.snapshot();
    let of_owner = |snapshot: &Snapshot, state| snapshot.heaps[1].count(state);
    let change = |state| of_owner(&after, state) as isize - of_owner(&before, state) as isize;
    assert_eq!(change(SlotState::Live), -dropped, "{before}\n{after}");
    assert!(change(SlotState::AtHand) > 0, "{before}\n{after}");
    owner.end();
}

#[test]
fn what_an_idle_thread_kept_is_no_leak_and_goes_back_by_a_trim() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let boxes = fill(&POOL, IN_A_SEGMENT * 128);
    let mut boxes: Vec<_> = boxes.into_iter().map(Some).collect();
    let keeper = Worker::start();
    let kept = keeper.run(move || {
        drop(POOL.alloc([0; KILOBYTE]));
        drop_across_segments(&mut boxes);
        drop(boxes);
        let kept = POOL.validate().kept;
        segment_pool::idle();
        kept
    });
    assert!(kept > 0);
    assert_eq!(POOL.leaks(), None);
    POOL.trim();
    assert_eq!(POOL.stats().segments, 0);
    keeper.end();
}

#[test]
fn what_is_on_its_way_to_a_handle_is_no_leak() {
    let pool = SegmentPool::new();
    let local = pool.local();
    let boxed = local.alloc([1; KILOBYTE]);
    thread::scope(|scope| scope.spawn(|| drop(boxed)).join().unwrap());
    assert_eq!(pool.leaks(), None);
    let kept = local.alloc([2; KILOBYTE]);
    assert_eq!(pool.leaks().map(|report| report.live), Some(1));
    drop(kept);
}

/// Its segments are counted, by what any thread may read, and its lists are not walked.
#[test]
fn a_running_threads_heap_is_counted() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let other = Worker::start();
    let mut boxes = other.run(|| fill(&POOL, 3 * IN_A_SEGMENT - 5));
    let theirs = boxes.split_off(IN_A_SEGMENT);
    other.run(move || drop(theirs));
    drop(boxes.drain(..20)); // two batches of 8, and 4 in the next
    let running = POOL.snapshot();
    println!("{running}");
    let heap = &running.heaps[0];
    assert_eq!((heap.holder, heap.segment_count), (Holder::OtherThread, 3));
    assert_eq!(heap.segments.len(), 3);
    assert!(
        heap.segments
            .iter()
            .all(|segment| segment.slots.is_empty() && segment.slot_bytes == 1024)
    );
    let [live, in_flight, at_hand, returned, untouched] = counts(&running);
    assert_eq!((live, in_flight), (boxes.len(), 20), "{running}");
    assert_eq!(
        live + in_flight + at_hand + returned + untouched,
        3 * IN_A_SEGMENT
    );
    let of = |address: usize| {
        let mut segments = heap.segments.iter();
        segments
            .find(|segment| (segment.address..segment.address + segment.bytes).contains(&address))
            .unwrap()
    };
    let first = of((&raw const *boxes[0]).addr());
    assert_eq!(first.count(SlotState::InFlight), 20);
    assert_eq!(
        (first.count(SlotState::Live), first.count(SlotState::AtHand)),
        (boxes.len(), 0)
    );
    other.end();
    let ended = POOL.snapshot();
    let heap = &ended.heaps[0];
    assert_eq!((heap.holder, heap.segments.len()), (Holder::Nobody, 1));
    assert_eq!(ended.count(SlotState::Live), boxes.len());
    assert_eq!(POOL.stats().abandoned_heaps, 1, "the picture put it back");
}

#[test]
fn a_validation_counts_the_heaps_that_it_may_not_look_into() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let other = Worker::start();
    let mut boxes = other.run(|| fill(&POOL, 2 * IN_A_SEGMENT));
    let _mine = fill(&POOL, 5);
    let theirs = boxes.split_off(116);
    other.run(move || drop(theirs));
    drop(boxes.drain(..16));
    let validation = POOL.validate();
    assert_eq!(
        (validation.heaps, validation.capacity, validation.live),
        (1, IN_A_SEGMENT, 5),
        "{validation}"
    );
    let others = validation.others;
    assert_eq!(
        (others.heaps, others.segments, others.capacity),
        (1, 2, 2 * IN_A_SEGMENT),
        "{validation}"
    );
    assert_eq!((others.live, others.unreclaimed), (100, 16), "{validation}");
    assert!(validation.to_string().contains("not looked into: 1 heaps"));
    other.end();
    let ended = POOL.validate();
    assert_eq!(
        (ended.heaps, ended.live, ended.others.heaps),
        (2, 105, 0),
        "{ended}"
    );
}

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn a_heap_names_its_thread_and_when_it_was_served() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let before = std::time::SystemTime::now() - std::time::Duration::from_millis(1);
    let (to_main, boxes) = std::sync::mpsc::channel();
    let (wake, sleep) = std::sync::mpsc::channel::<()>();
    let maker = thread::Builder::new()
        .name("maker-of-many".into())
        .spawn(move || {
            to_main.send(fill(&POOL, 100)).unwrap();
            sleep.recv().unwrap();
            drop(fill(&POOL, 100)); // it serves itself
            to_main.send(Vec::new()).unwrap();
            sleep.recv().unwrap();
        });
    drop(boxes.recv().unwrap());
    segment_pool::flush();
    let asleep = POOL.report();
    println!("{asleep}");
    assert_eq!((asleep.total.live(), asleep.total.unreclaimed), (0, 100));
    let [heap] = &asleep.heaps[..] else {
        panic!("{asleep}")
    };
    assert_eq!(
        (heap.holder, heap.unreclaimed, heap.segments),
        (Holder::OtherThread, 100, 2)
    );
    let tag = heap.thread.clone().unwrap();
    assert_eq!(tag.name.as_deref(), Some("maker-of-many"));
    let served = heap.last_served.unwrap();
    assert!(
        served >= before && served <= std::time::SystemTime::now(),
        "{heap}"
    );
    let line = asleep.to_string();
    assert!(
        line.contains("\"maker-of-many\"") && line.contains("100 unreclaimed"),
        "{line}"
    );
    let picture = POOL.snapshot();
    assert_eq!(
        (
            picture.heaps[0].thread.as_ref(),
            picture.heaps[0].last_served
        ),
        (Some(&tag), Some(served))
    );
    wake.send(()).unwrap();
    boxes.recv().unwrap();
    let awake = POOL.report();
    assert_eq!(
        (awake.heaps[0].unreclaimed, awake.total.live()),
        (0, 0),
        "{awake}"
    );
    assert!(awake.heaps[0].last_served.unwrap() >= served);
    wake.send(()).unwrap();
    maker.unwrap().join().unwrap();
    let ended = POOL.report();
    let heap = &ended.heaps[0];
    assert_eq!(
        (heap.holder, heap.thread.as_ref().unwrap().number),
        (Holder::Nobody, tag.number)
    );
    assert_eq!(heap.thread.as_ref().unwrap().name, None, "it is gone");
}

#[test]
fn looking_at_an_idle_threads_heap_leaves_its_lists_as_they_are() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let pool = &POOL;
    let idler = Worker::start();
    let boxes = idler.run(move || {
        let mut boxes = fill(pool, 10);
        boxes.truncate(7);
        segment_pool::idle();
        boxes
    });
    let first = pool.snapshot();
    assert_eq!(first.count(SlotState::Live), boxes.len());
    assert!(first.count(SlotState::AtHand) >= 3, "{first}");
    assert_eq!(pool.snapshot(), first);
    idler.end();
}

#[test]
fn pictures_while_threads_run_lose_nothing() {
    static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
    let rounds = if cfg!(miri) { 3 } else { 200 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..rounds {
                        let boxes = fill(&POOL, 100);
                        let other = thread::spawn(move || drop(boxes));
                        segment_pool::idle();
                        other.join().unwrap();
                    }
                })
            })
            .collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            let _ = POOL.snapshot();
        }
    });
    POOL.trim();
    let (stats, validation) = (POOL.stats(), POOL.validate());
    assert_eq!(
        (stats.live(), stats.segments, validation.capacity),
        (0, 0, 0),
        "{stats}"
    );
}

// --- Names and leaks ------------------------------------------------------------------------------------------------

struct Forgotten(#[expect(dead_code, reason = "gives it a size")] u64);

thread_local! {
    static REPORTED: Cell<Option<LeakReport>> = const { Cell::new(None) };
}

fn note(report: &LeakReport) {
    REPORTED.set(Some(*report));
}

#[test]
fn a_name_is_shown_wherever_the_pool_is() {
    let pool = SegmentPool::builder().name("packets").build();
    let _boxed = pool.alloc(1_u32);
    assert_eq!(pool.name(), "packets");
    assert_eq!(pool.stats().name, Some("packets"));
    let shown = [
        pool.stats().to_string(),
        pool.report().to_string(),
        pool.snapshot().to_string(),
        pool.leaks().unwrap().to_string(),
        format!("{pool:?}"),
    ];
    assert!(
        shown.iter().all(|text| text.contains("packets")),
        "{shown:#?}"
    );
    let default = [
        segment_pool::stats().to_string(),
        segment_pool::report().to_string(),
    ];
    assert!(default.iter().all(|text| text.contains("default")));
}

#[test]
fn a_pool_dropped_with_live_values_says_how_many_and_of_which_type() {
    in_own_process(
        "a_pool_dropped_with_live_values_says_how_many_and_of_which_type",
        || {
            let pool = SegmentPool::builder().name("orders").on_leak(note).build();
            let mut boxes: Vec<_> = (0..10).map(|n| pool.alloc(Forgotten(n))).collect();
            boxes.truncate(3);
            drop(pool);
            let report = REPORTED.take().unwrap();
            assert_eq!((report.live, report.in_open_batches), (3, 0));
            assert_eq!(
                report.to_string(),
                "pool orders: 3 values of type insight::Forgotten are alive"
            );
        },
    );
}

#[test]
fn a_pool_without_live_values_or_without_the_wish_says_nothing() {
    let pool = SegmentPool::builder().on_leak(note).build();
    drop(pool.alloc(1));
    drop(pool);
    drop(SegmentPool::<u64>::builder().on_leak(note).build()); // never used
    let pool = SegmentPool::new();
    let _leaked = pool.alloc(1);
    drop(pool);
    assert_eq!(REPORTED.take(), None);
}

#[test]
fn closing_reports_leaks_to_the_caller_only() {
    let pool = SegmentPool::builder().on_leak(note).build();
    let boxed = pool.alloc(Forgotten(1));
    let report = pool.close().unwrap_err();
    assert_eq!((report.live, REPORTED.take()), (1, None));
    drop(boxed);
    assert_eq!(SegmentPool::<u8>::new().close(), Ok(()));
}

/// Dropped by threads that ended, idle, or are the asking one: all of it is noticed.
#[test]
fn values_dropped_elsewhere_are_no_leaks() {
    let pool = SegmentPool::new();
    let [first, second, third] = [(); 3].map(|()| fill(&pool, 20));
    thread::scope(|scope| scope.spawn(|| drop(first)).join().unwrap());
    let idler = Worker::start();
    idler.run(move || {
        drop(second);
        segment_pool::idle();
    });
    let foreign = thread::scope(|scope| scope.spawn(|| fill(&pool, 20)).join().unwrap());
    drop((third, foreign)); // the last into open batches of this thread
    assert_eq!(pool.close(), Ok(()));
    idler.end();
}

/// The maker sleeps, and another thread has some of the dropped values in open batches. Those may be alive, as far as is known; the
/// others are no leaks, though the maker has their slots and will never look.
#[test]
fn a_report_says_how_many_may_be_in_open_batches() {
    in_own_process("a_report_says_how_many_may_be_in_open_batches", || {
        static POOL: SegmentPool<Kilobyte> = SegmentPool::new();
        let [owner, other] = [(); 2].map(|()| Worker::start());
        let mut boxes = owner.run(|| fill(&POOL, 100));
        let kept = boxes.split_off(90);
        other.run(move || drop(boxes));
        let report = POOL.leaks().unwrap();
        assert_eq!(report.other_threads, 2, "{report}");
        assert!((10..10 + 16).contains(&report.live), "{report}"); // two segments, a batch of 8 each
        assert_eq!(report.in_open_batches, report.live);
        assert!(
            report
                .to_string()
                .contains("open batches of 2 other threads"),
            "{report}"
        );
        other.run(segment_pool::flush);
        assert_eq!(POOL.leaks().map(|report| report.live), Some(10));
        other.end();
        owner.run(|| drop(kept));
        assert_eq!(
            POOL.leaks(),
            None,
            "free slots of a thread that sleeps are no values"
        );
        owner.end();
    });
}

/// What has no slots, and what is freed without batches, is known exactly.
#[test]
fn a_report_of_what_joins_no_batches_is_exact() {
    let worker = Worker::start();
    worker.run(|| drop(PoolBox::new(1)));
    let large = SegmentPool::<[u8; 200_000]>::new();
    let _boxed = large.alloc([1; 200_000]);
    let bounded = SegmentPool::builder().max_segments(1).build();
    let _other = bounded.alloc(1);
    for report in [large.leaks().unwrap(), bounded.leaks().unwrap()] {
        assert_eq!((report.live, report.in_open_batches), (1, 0), "{report}");
        assert!(report.other_threads >= 1);
    }
    worker.end();
}

#[test]
fn a_report_function_that_panics_costs_nothing() {
    let pool = SegmentPool::builder()
        .on_leak(|report| panic!("{report}"))
        .build();
    let boxed = pool.alloc(String::from("alive"));
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(pool)));
    let said = dropped.unwrap_err();
    assert!(said.downcast_ref::<String>().unwrap().contains("1 value"));
    assert_eq!(*boxed, "alive");
}

/// A test fails while a value of its pool is alive: its own message is what counts.
#[test]
fn a_report_function_that_panics_does_not_hide_the_panic_that_unwinds() {
    let mut alive = None;
    let failed = panic::catch_unwind(AssertUnwindSafe(|| {
        let pool = SegmentPool::builder().on_leak(note_and_panic).build();
        alive = Some(pool.alloc(Forgotten(1)));
        panic!("the test's own failure");
    }));
    let said = failed.unwrap_err();
    assert_eq!(said.downcast_ref(), Some(&"the test's own failure"));
    let report = REPORTED.take().expect("the report was made");
    assert_eq!(report.live, 1);
}

fn note_and_panic(report: &LeakReport) {
    note(report);
    panic!("{report}");
}

#[test]
fn a_report_function_may_use_pools() {
    static LOG: SegmentPool<String> = SegmentPool::new();
    let pool = SegmentPool::builder()
        .on_leak(|report| drop((LOG.alloc(report.to_string()), PoolBox::new(1))))
        .build();
    let boxed = pool.alloc(7);
    drop(pool);
    assert_eq!((LOG.stats().allocations, *boxed), (1, 7));
}
