//! Feature `tracing`: slow paths emit events when they are done, to subscribers that do anything that foreign code may
//! do.

mod common;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{KILOBYTE, Worker, in_own_process};
use segment_pool::{AllocErrorKind, PoolBox, SegmentPool, SlotState};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// 63 to a segment of 64 KiB.
type Kilobyte = [u64; KILOBYTE];

fn fill(pool: &SegmentPool<Kilobyte>, boxes: usize) -> Vec<PoolBox<Kilobyte>> {
    (0..boxes as u64)
        .map(|n| pool.alloc([n; KILOBYTE]))
        .collect()
}

/// An event as a line: "pool: count x message of bytes".
#[derive(Default)]
struct Line {
    pool: String,
    message: String,
    count: u64,
    bytes: u64,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "count" => self.count = value,
            "bytes" => self.bytes = value,
            name => panic!("{name}"),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        assert_eq!(field.name(), "pool");
        self.pool = value.to_owned();
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        assert_eq!(field.name(), "message");
        self.message = format!("{value:?}");
    }
}

/// Records its events, and then does what the test requests.
#[derive(Clone)]
struct Listener {
    heard: Arc<Mutex<Vec<String>>>,
    then: fn(),
}

impl Listener {
    fn new(then: fn()) -> Self {
        Self {
            heard: Arc::default(),
            then,
        }
    }

    /// Runs the work and returns the events of a pool that were emitted meanwhile.
    fn record(&self, pool: &str, work: impl FnOnce()) -> Vec<String> {
        self.heard.lock().unwrap().clear();
        tracing::subscriber::with_default(self.clone(), work);
        let heard = self.heard.lock().unwrap();
        let of_pool = heard
            .iter()
            .filter_map(|line| line.strip_prefix(pool)?.strip_prefix(": "));
        of_pool.map(str::to_owned).collect()
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "segment_pool"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line {
            pool,
            message,
            count,
            bytes,
        } = line;
        let level = *event.metadata().level();
        assert_eq!(level == Level::WARN, message == "refused");
        self.heard.lock().unwrap().push(match bytes {
            0 => format!("{pool}: {count} {message}"),
            _ => format!("{pool}: {count} {message}, {} KiB", bytes >> 10),
        });
        (self.then)();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn nothing() {}

#[test]
fn the_life_of_a_pool_is_emitted() {
    let listener = Listener::new(nothing);
    let record = |work: &mut dyn FnMut()| listener.record("life", work);
    let pool = SegmentPool::builder().name("life").build();
    let mut boxes = Vec::new();
    let events = record(&mut || boxes = fill(&pool, 1));
    assert_eq!(events, ["1 heap made", "1 segment added, 64 KiB"]);
    assert_eq!(record(&mut || boxes.extend(fill(&pool, 10))), [""; 0]);
    assert_eq!(record(&mut segment_pool::idle), ["1 heap abandoned"]);
    assert_eq!(
        record(&mut || boxes.extend(fill(&pool, 1))),
        ["1 heap adopted"]
    );
    boxes.clear();
    assert_eq!(record(&mut || pool.trim()), ["1 segment released, 64 KiB"]);
    let mut pool = Some(pool);
    let events = record(&mut || drop(pool.take()));
    assert_eq!(events, ["1 pool closed"]);
}

#[test]
fn equal_events_are_emitted_once_with_their_number() {
    let pool = SegmentPool::builder().name("many").build();
    let boxes = fill(&pool, 100 * 63);
    let listener = Listener::new(nothing);
    let events = listener.record("many", || {
        // All at once: they are returned in reverse order when the thread trims.
        thread::scope(|scope| scope.spawn(|| drop(boxes)).join().unwrap());
        pool.trim();
    });
    assert_eq!(events, ["100 segment released, 64 KiB"]);
}

#[test]
fn a_failed_allocation_is_emitted_before_the_value_is_returned() {
    let pool = SegmentPool::builder().name("full").max_segments(1).build();
    let boxes = fill(&pool, 63);
    let listener = Listener::new(nothing);
    let events = listener.record("full", || {
        let refused = pool.try_alloc([64; KILOBYTE]).unwrap_err();
        assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
    });
    assert_eq!(events, ["1 refused"]);
    drop(boxes);
    let large = SegmentPool::<[u8; 200_000]>::builder()
        .name("large")
        .max_segments(1)
        .build();
    assert_eq!(
        listener.record("large", || {
            let _only = large.alloc([0; 200_000]);
            assert!(large.try_alloc([0; 200_000]).is_err());
        }),
        ["1 refused"]
    );
    let events = listener.record("full", || assert!(pool.reserve(1000).is_err()));
    assert_eq!(events, ["1 refused"]);
}

#[test]
fn a_limit_that_is_reached_is_emitted_once_until_a_request_is_served() {
    let pool = SegmentPool::builder()
        .name("episodes")
        .max_values(1)
        .build();
    let mut one = pool.alloc(1);
    let listener = Listener::new(nothing);
    for _ in 0..3 {
        let told = listener.record("episodes", || {
            (0..100).for_each(|_| assert!(pool.try_alloc(2).is_err()));
            assert!(pool.alloc_timeout(2, Duration::ZERO).is_err());
        });
        assert_eq!(told, ["1 refused"]);
        let told = listener.record("episodes", || assert!(pool.try_alloc(2).is_err()));
        assert_eq!(told, [""; 0]);
        drop(one);
        one = pool.alloc(1);
    }
}

#[test]
fn purged_pages_are_emitted() {
    let pool = SegmentPool::builder().name("purged").build();
    let boxes = fill(&pool, 40 * 63);
    let listener = Listener::new(nothing);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            listener.record("purged", || {
                drop(boxes);
                segment_pool::flush();
            })
        });
        // 1 MiB may wait for the owner. The other 24 segments are purged by the thread that frees their last slots: in
        // the flush, except for those whose batch was displaced by another segment before, which emit separate events.
        let events = other.join().unwrap();
        let purged = events.iter().map(|line| {
            let number = line
                .strip_suffix(" purged, 64 KiB")
                .expect("all are purged");
            number.parse::<u32>().expect("so many of them")
        });
        assert_eq!(purged.sum::<u32>(), 24, "{events:?}");
    });
}

static SHARED: SegmentPool<Kilobyte> = SegmentPool::builder().name("shared").build();

/// Allocates from the pool of the event and from others, drops, retains for a while, frees remotely, inspects the pool,
/// and leaves every heap.
fn make_use_of_pools() {
    let boxes = fill(&SHARED, 100);
    let kept: Vec<_> = (0..300_u64).map(PoolBox::new).collect();
    thread::spawn(move || drop(boxes)).join().unwrap();
    let _ = (SHARED.validate(), SHARED.snapshot(), SHARED.report());
    let boxes = fill(&SHARED, 200);
    assert!(
        boxes
            .iter()
            .enumerate()
            .all(|(n, boxed)| boxed[KILOBYTE - 1] == n as u64)
    );
    segment_pool::idle();
    assert!(
        kept.iter()
            .enumerate()
            .all(|(n, boxed)| **boxed == n as u64)
    );
    SHARED.trim();
}

#[test]
fn a_subscriber_may_use_the_pool_of_its_event() {
    let listener = Listener::new(make_use_of_pools);
    let events = listener.record("shared", || {
        for round in 0..10 {
            let mut boxes = fill(&SHARED, 500);
            let here = boxes.split_off(250);
            thread::spawn(move || drop(boxes)).join().unwrap();
            assert!(
                here.iter()
                    .zip(250..)
                    .all(|(boxed, n)| **boxed == [n; KILOBYTE])
            );
            match round % 5 {
                0 => segment_pool::idle(),
                1 => SHARED.trim(),
                2 => drop(SHARED.validate()),
                3 => drop(SHARED.snapshot()),
                _ => drop(SHARED.leaks()),
            }
            drop(here);
        }
    });
    assert!(events.len() > 10, "{events:?}");
    let _ = SHARED.leaks();
    let (stats, validation) = (SHARED.stats(), SHARED.validate());
    assert_eq!(
        (stats.live(), stats.segments, validation.capacity),
        (0, 0, 0),
        "{stats}"
    );
}

static WATCHED: SegmentPool<Kilobyte> = SegmentPool::builder().name("watched").build();
static KEPT: Mutex<Boxes> = Mutex::new(Vec::new());

type Boxes = Vec<PoolBox<Kilobyte>>;

/// The events that a subscriber causes come after the event that it received, and after the operation of the caller.
#[test]
fn a_validation_and_a_snapshot_are_done_before_a_subscriber_changes_the_pool() {
    let listener = Listener::new(|| KEPT.lock().unwrap().extend(fill(&WATCHED, 5)));
    let mut looks: [(&str, &dyn Fn() -> usize); 2] = [
        ("validation", &|| WATCHED.validate().live),
        ("picture", &|| WATCHED.snapshot().count(SlotState::Live)),
    ];
    for (look, live) in &mut looks {
        // All purged, and so released when they are collected.
        let boxes = fill(&WATCHED, 40 * 63);
        thread::spawn(move || drop(boxes)).join().unwrap();
        let events = listener.record("watched", || assert_eq!(live(), 0, "{look}"));
        let kept = std::mem::take(&mut *KEPT.lock().unwrap());
        assert!(kept.len() >= 5 * events.len(), "{look}");
        assert!(events[0].contains("segment released"), "{look}: {events:?}");
        drop(kept);
    }
}

static TRADED: SegmentPool<Kilobyte> = SegmentPool::builder().name("traded").build();
static GOODS: Mutex<Vec<Option<PoolBox<Kilobyte>>>> = Mutex::new(Vec::new());

/// Drops one box of each segment.
fn drop_scattered() {
    let mut goods = GOODS.lock().unwrap();
    let first = goods.iter().take(63).position(Option::is_some);
    let places = goods.iter_mut().skip(first.unwrap()).step_by(63);
    let dropped: Boxes = places.filter_map(Option::take).collect();
    drop(goods); // the subscriber of the next may receive events meanwhile
    drop(dropped);
}

/// Batches of one slot, until a thread that needs such slots begins to cache them. When the thread returns them to
/// their segments, it finds forty segments of its own in its pending list, releases them, and has events to emit. The
/// subscriber then frees into the remote-free buffer.
#[test]
fn a_subscriber_may_free_remotely_while_a_thread_keeps_slots() {
    let owner = Worker::start();
    let mine = fill(&TRADED, 40 * 63);
    let goods = owner.run(|| fill(&TRADED, 128 * 63));
    GOODS.lock().unwrap().extend(goods.into_iter().map(Some));
    thread::spawn(move || drop(mine)).join().unwrap();
    let listener = Listener::new(drop_scattered);
    let events = listener.record("traded", || {
        (0..8).for_each(|_| drop_scattered());
        TRADED.trim();
    });
    assert!(
        events.iter().any(|line| line.contains("segment released")),
        "{events:?}"
    );
    let goods = GOODS.lock().unwrap().iter().flatten().count();
    owner.end();
    assert_eq!(TRADED.leaks().map(|report| report.live), Some(goods as u64));
    let validation = TRADED.validate();
    assert_eq!(validation.live, goods);
}

/// As a program has one: for all threads, and without the guard against events in events that `tracing` gives others.
#[test]
fn what_a_subscriber_causes_is_not_emitted() {
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }

    in_own_process("what_a_subscriber_causes_is_not_emitted", || {
        let listener = Listener::new(|| {
            assert_eq!(DEPTH.replace(1), 0, "emitted while a subscriber ran");
            drop(fill(&SHARED, 2000));
            SHARED.trim();
            DEPTH.set(0);
        });
        tracing::subscriber::set_global_default(listener.clone()).unwrap();
        drop(fill(&SHARED, 1000));
        segment_pool::idle();
        let heard = listener.heard.lock().unwrap();
        assert!(
            heard.iter().any(|line| line == "shared: 1 heap abandoned"),
            "{heard:?}"
        );
    });
}

fn panic_always() {
    panic!("subscriber");
}

#[test]
fn a_subscriber_that_panics_hears_the_next_event() {
    let pool = SegmentPool::builder().name("panics").build();
    let listener = Listener::new(panic_always);
    let events = listener.record("panics", || {
        let boxed = pool.alloc([1; KILOBYTE]);
        assert_eq!(boxed[KILOBYTE - 1], 1);
        drop(boxed);
        segment_pool::idle();
    });
    let all = ["1 heap made", "1 segment added, 64 KiB", "1 heap abandoned"];
    assert_eq!(events, all);
}

#[test]
fn what_happens_while_a_panic_unwinds_is_emitted() {
    let listener = Listener::new(panic_always);
    let events = listener.record("unwinds", || {
        let made = panic::catch_unwind(AssertUnwindSafe(|| {
            let pool = SegmentPool::builder().name("unwinds").build();
            let _boxed = pool.alloc([1; KILOBYTE]);
            panic!("the program");
        }));
        assert_eq!(made.unwrap_err().downcast_ref(), Some(&"the program"));
    });
    let all = ["1 heap made", "1 segment added, 64 KiB", "1 pool closed"];
    assert_eq!(events, all);
}

#[test]
fn on_leak_is_called_though_the_subscriber_panics() {
    static LEAKS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let pool = SegmentPool::builder().name("leaks");
    let pool = pool.on_leak(|report| LEAKS.lock().unwrap().push(report.live));
    let pool = pool.build();
    let kept = pool.alloc([1; KILOBYTE]);
    let listener = Listener::new(panic_always);
    let events = listener.record("leaks", || drop(pool));
    assert_eq!(events, ["1 pool closed"]);
    assert_eq!(*LEAKS.lock().unwrap(), [1]);
    drop(kept);
}

/// A subscriber with its own thread-local, which was made later and so is destroyed before the pools are left.
#[test]
fn the_end_of_a_thread_is_not_emitted() {
    struct Buffer(Cell<u32>);

    impl Drop for Buffer {
        fn drop(&mut self) {}
    }

    thread_local! {
        static BUFFER: Buffer = const { Buffer(Cell::new(0)) };
    }

    in_own_process("the_end_of_a_thread_is_not_emitted", || {
        let listener = Listener::new(|| BUFFER.with(|buffer| buffer.0.set(buffer.0.get() + 1)));
        tracing::subscriber::set_global_default(listener.clone()).unwrap();
        let pool: &SegmentPool<Kilobyte> = &SHARED;
        thread::spawn(|| drop(fill(pool, 1000))).join().unwrap();
        let heard = listener.heard.lock().unwrap();
        assert!(heard[0].contains("heap made"), "{heard:?}");
        assert!(
            !heard.iter().any(|line| line.contains("abandoned")),
            "{heard:?}"
        );
        assert_eq!(pool.stats().abandonments, 1);
    });
}

/// A destructor of a thread-local drops a box when the subscriber's own thread-local is gone.
#[test]
fn a_subscriber_may_be_at_its_end_before_the_thread_is() {
    struct Buffer(Cell<u32>);

    impl Drop for Buffer {
        fn drop(&mut self) {
            self.0.set(u32::MAX);
        }
    }

    thread_local! {
        static LAST: RefCell<Boxes> = const { RefCell::new(Vec::new()) };
        static BUFFER: Buffer = const { Buffer(Cell::new(0)) };
    }

    in_own_process(
        "a_subscriber_may_be_at_its_end_before_the_thread_is",
        || {
            let count = || BUFFER.with(|buffer| buffer.0.set(buffer.0.get() + 1));
            let listener = Listener::new(count);
            let boxes = thread::spawn(|| fill(&SHARED, 100 * 63)).join().unwrap();
            tracing::subscriber::set_global_default(listener.clone()).unwrap();
            let last = thread::spawn(move || {
                LAST.set(boxes); // used first, and so dropped last
                count();
            });
            last.join().unwrap();
            let heard = mem::take(&mut *listener.heard.lock().unwrap());
            let released = heard.iter().any(|line| line.contains("released"));
            assert!(released, "{heard:?}");
            assert_eq!(SHARED.leaks(), None);
        },
    );
}
