//! The program's global allocator is foreign code. It may use pools in any way during any allocation of this crate:
//! nothing is lost, all counters are right, and every call ends.
//!
//! Each test repeats its work, and the allocator acts in the first, the second, the third call, and so on, until the work has no
//! further call.

#![cfg(not(any(segment_pool_loom, miri)))] // Miri's mappings are the global allocator's

#[path = "common/calling_allocator.rs"]
mod calling_allocator;

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use calling_allocator::{
    CallingAllocator, DEEDS, Deed, act_at, acting_at, deeds_done, drop_all_kept,
};
use segment_pool::{Holder, PoolArc, PoolBox, SegmentPool, SlotState, Validation};

#[global_allocator]
static GLOBAL: CallingAllocator = CallingAllocator;

/// Few of these fill a segment.
type Value = [u64; 100];

static POOL: SegmentPool<Value> = SegmentPool::builder().name("watched").build();

/// Boxes of each kind that each of three threads makes, for the test to have.
const LARGE: usize = 50;
const SMALL: usize = 500;
/// Boxes of others that the test drops before each run.
const DROPPED: u64 = 3;

// --- What the allocator does ----------------------------------------------------------------------------------------

/// A box that another thread made, and a pool, for the allocator to drop.
static ABROAD: AtomicPtr<Value> = AtomicPtr::new(ptr::null_mut());
static DOOMED: AtomicPtr<SegmentPool<Value>> = AtomicPtr::new(ptr::null_mut());

fn drop_a_remote_value() {
    let found = ABROAD.swap(ptr::null_mut(), Ordering::AcqRel);
    if !found.is_null() {
        // SAFETY: out of `into_raw`, and the swap took it away.
        drop(unsafe { PoolBox::from_raw(found) });
    }
}

fn drop_a_pool() {
    let found = DOOMED.swap(ptr::null_mut(), Ordering::AcqRel);
    if !found.is_null() {
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(found) });
    }
}

const MORE_DEEDS: [(&str, Deed); 8] = [
    ("starts and ends a thread", || {
        let thread = thread::spawn(|| drop(PoolBox::new([7_u64; 50])));
        thread.join().unwrap();
    }),
    ("drops a stranger's", drop_a_remote_value),
    ("drops a pool", drop_a_pool),
    ("trims a pool", || POOL.trim()),
    ("looks for leaks", || _ = POOL.leaks()),
    ("makes and drops there", || drop(POOL.alloc([1; 100]))),
    ("validates a pool", || _ = POOL.validate()),
    ("takes a pool's snapshot", || drop(POOL.snapshot())),
];

/// Gives the allocator what it may drop.
fn provide() {
    drop_a_remote_value();
    drop_a_pool();
    let doomed = Box::new(SegmentPool::new());
    drop((0..50).map(|n| doomed.alloc([n; 100])).collect::<Vec<_>>());
    DOOMED.store(Box::into_raw(doomed), Ordering::Release);
    let make = || ABROAD.store(PoolBox::into_raw(PoolBox::new([2; 100])), Ordering::Release);
    thread::spawn(make).join().unwrap();
}

// --- The scene ------------------------------------------------------------------------------------------------------

/// Boxes of this thread and of two that ended, of `POOL` and of the default pool.
struct Scene {
    large: Vec<PoolBox<Value>>,
    small: Vec<PoolBox<u64>>,
    turn: u64,
    /// The tests of this file take turns, for they count what is in `POOL`.
    _turn: MutexGuard<'static, ()>,
}

/// More are made than stay, so that every kind of list has some.
fn some_boxes() -> (Vec<PoolBox<Value>>, Vec<PoolBox<u64>>) {
    let mut large: Vec<_> = (0..80).map(|n| POOL.alloc([n; 100])).collect();
    let mut small: Vec<_> = (0..800).map(PoolBox::new).collect();
    large.truncate(LARGE);
    small.truncate(SMALL);
    (large, small)
}

impl Scene {
    fn set() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static BOTH: Barrier = Barrier::new(2);
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut large, mut small) = some_boxes();
        let both = [(); 2].map(|()| {
            thread::spawn(|| {
                let boxes = some_boxes();
                BOTH.wait(); // or one would take the other's heap over
                boxes
            })
        });
        for thread in both {
            let (more, smaller) = thread.join().unwrap();
            large.extend(more);
            small.extend(smaller);
        }
        Self {
            large,
            small,
            turn: 0,
            _turn,
        }
    }

    /// Replaces some boxes by others of this thread, and every other time leaves them in open batches.
    fn change(&mut self) {
        for _ in 0..DROPPED {
            self.turn += 1;
            let place = self.turn as usize * 7;
            let (large, small) = (place % self.large.len(), place % self.small.len());
            self.large[large] = POOL.alloc([self.turn; 100]);
            self.small[small] = PoolBox::new(self.turn);
        }
        if self.turn % 2 == 0 {
            segment_pool::flush();
        }
    }

    /// Does the work with every deed in each of its calls of the allocator.
    fn with_every_deed(mut self, work: impl Fn()) {
        work(); // what is done once in a program is done
        for (what, deed) in DEEDS.into_iter().chain(MORE_DEEDS) {
            for call in 0.. {
                assert!(call < 10_000, "no end is seen if the allocator {what}");
                self.change();
                provide();
                if !acting_at(call, deed, &work).1 {
                    break;
                }
            }
        }
        self.end();
    }

    /// Nothing is lost.
    fn end(self) {
        drop((self.large, self.small));
        drop_a_remote_value();
        drop_a_pool();
        drop_all_kept();
        POOL.trim();
        let (stats, validation) = (POOL.stats(), POOL.validate());
        assert_eq!((stats.live(), stats.segments), (0, 0), "{stats}");
        assert_eq!(
            (validation.live, validation.capacity),
            (0, 0),
            "{validation}"
        );
        assert_adds_up(segment_pool::validate());
    }
}

fn assert_adds_up(validation: Validation) {
    assert_eq!(
        validation.free + validation.live,
        validation.capacity,
        "{validation}"
    );
}

/// Those that the test has, and those in open batches.
fn assert_all_alive(live: usize) {
    let most = 3 * LARGE + DROPPED as usize;
    assert!((3 * LARGE..=most).contains(&live), "{live}");
}

// --- Looks ----------------------------------------------------------------------------------------------------------

#[test]
fn a_validation_counts_each_slot_once() {
    Scene::set().with_every_deed(|| {
        assert_adds_up(segment_pool::validate());
        let validation = POOL.validate();
        assert_adds_up(validation);
        assert_all_alive(validation.live);
        assert_eq!(validation.heaps as u64, POOL.stats().heaps, "{validation}");
    });
}

#[test]
fn a_picture_shows_each_slot_once() {
    Scene::set().with_every_deed(|| {
        assert!(segment_pool::snapshot().count(SlotState::Live) >= 3 * SMALL);
        let snapshot = POOL.snapshot();
        assert_eq!(snapshot.count(SlotState::Live), 3 * LARGE, "{snapshot}");
        assert_eq!(snapshot.heaps.len() as u64, POOL.stats().heaps);
    });
}

/// The allocator is never called while a heap is adopted: a look from there finds every heap.
#[test]
fn a_look_within_a_look_sees_every_heap() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    const WITHIN: [Deed; 2] = [
        || SEEN.store(POOL.validate().heaps, Ordering::Relaxed),
        || {
            let heaps = POOL.snapshot().heaps.into_iter();
            let seen = heaps.filter(|heap| heap.holder != Holder::OtherThread);
            SEEN.store(seen.count(), Ordering::Relaxed);
        },
    ];
    let looks: [fn(); 2] = [|| _ = POOL.validate(), || drop(POOL.snapshot())];
    let mut scene = Scene::set();
    let heaps = POOL.stats().heaps as usize;
    for (within, look) in WITHIN
        .into_iter()
        .flat_map(|within| looks.map(|look| (within, look)))
    {
        for call in 0.. {
            scene.change();
            SEEN.store(heaps, Ordering::Relaxed);
            let ((), came) = acting_at(call, within, look);
            assert_eq!(SEEN.load(Ordering::Relaxed), heaps);
            if !came {
                break;
            }
        }
    }
    scene.end();
}

#[test]
fn numbers_and_texts_come_out() {
    Scene::set().with_every_deed(|| {
        let report = segment_pool::report();
        assert!(report.classes[0].live() >= 3 * SMALL as u64, "{report}");
        assert!(report.to_string().starts_with("pool default"));
        assert!(segment_pool::memory().to_string().contains("mapped"));
        assert!(segment_pool::stats().to_string().contains("allocations"));
        let report = POOL.report();
        assert_eq!(report.classes.len(), 1, "{report}");
        assert!(format!("{POOL:?}").contains("watched"));
        assert!(POOL.snapshot().to_string().contains("watched"));
        assert!(POOL.validate().to_string().contains("heaps"));
        let leaks = POOL.leaks().unwrap();
        assert_eq!(
            (leaks.live, leaks.in_open_batches),
            (3 * LARGE as u64, 0),
            "{leaks}"
        );
    });
}

// --- Pools and values -----------------------------------------------------------------------------------------------

#[test]
fn pools_are_closed_and_dropped() {
    Scene::set().with_every_deed(|| {
        let make =
            |pool: &SegmentPool<Value>| (0..80).map(|n| pool.alloc([n; 100])).collect::<Vec<_>>();
        let closed = SegmentPool::new();
        let alive = make(&closed);
        assert_eq!(closed.close().unwrap_err().live, 80);
        let dropped = SegmentPool::builder()
            .on_leak(|leaks| assert_eq!(leaks.live, 40))
            .build();
        let mut boxes = make(&dropped);
        boxes.truncate(40);
        drop(dropped);
        assert!(
            alive
                .iter()
                .chain(&boxes)
                .zip(0..)
                .all(|(boxed, n)| boxed[0] == n % 80)
        );
    });
}

#[test]
fn values_come_and_go() {
    Scene::set().with_every_deed(|| {
        let boxes: Vec<_> = (0..600_u64).map(|n| PoolBox::new([n; 12])).collect();
        assert!(boxes.iter().zip(0..).all(|(boxed, n)| boxed[11] == n));
        let pool = SegmentPool::<Value>::builder().max_segments(4).build();
        pool.reserve(50).unwrap();
        pool.prefault(10).unwrap();
        let local = pool.local();
        let values: Vec<_> = (0..1000)
            .map_while(|n| local.try_alloc([n; 100]).ok())
            .collect();
        assert!((100..350).contains(&values.len()));
        drop(local);
        drop(pool);
        let slice = PoolBox::<[u64]>::from((0..500).collect::<Vec<_>>());
        assert_eq!(PoolBox::into_vec(slice), (0..500).collect::<Vec<_>>());
        let text = PoolArc::<str>::from(String::from("text"));
        assert_eq!(PoolBox::<str>::from(&*text).to_string(), "text");
    });
}

// --- Threads --------------------------------------------------------------------------------------------------------

fn use_pools() {
    let boxes: Vec<_> = (0..100)
        .map(|n| (POOL.alloc([n; 100]), PoolBox::new(n)))
        .collect();
    assert!(
        boxes
            .iter()
            .zip(0..)
            .all(|((large, small), n)| (large[9], **small) == (n, n))
    );
}

#[test]
fn threads_start() {
    Scene::set().with_every_deed(|| thread::spawn(use_pools).join().unwrap());
}

/// Also in the destructors of thread-local values, before and after the pool's own.
#[test]
fn threads_work_and_end() {
    thread_local! {
        static LATE: Late = const { Late };
    }
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            use_pools();
        }
    }
    let mut scene = Scene::set();
    for (_, deed) in DEEDS.into_iter().chain(MORE_DEEDS) {
        for first in [true, false] {
            for call in 0.. {
                scene.change();
                provide();
                let before = deeds_done();
                let life = move || {
                    act_at(call, deed); // until it is done, in the end of the thread too
                    if first {
                        LATE.with(|_| ());
                    }
                    use_pools();
                    LATE.with(|_| ());
                };
                thread::spawn(life).join().unwrap();
                if deeds_done() == before {
                    break;
                }
            }
        }
    }
    scene.end();
}
