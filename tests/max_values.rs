//! At most so many values of a pool, exactly: one more is refused, and as soon as one is dropped, wherever, the next is served.

#![cfg(not(segment_pool_loom))]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use common::{Checked, Parcel, Worker};
use segment_pool::{AllocErrorKind, Counted, PoolArc, PoolBox, SegmentPool, coerce, flush, idle};

type Contents = Checked<8>;
type Pool = SegmentPool<Contents>;

const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };

fn at_bound<T: Default>(pool: &SegmentPool<T>) -> bool {
    pool.try_alloc(T::default())
        .is_err_and(|refused| refused.kind() == AllocErrorKind::LimitReached)
}

// --- The bound ---------------------------------------------------------------------------------------------------------------

#[test]
fn one_more_than_the_bound_is_refused_and_the_value_comes_back() {
    static POOL: Pool = SegmentPool::builder().name("few").max_values(3).build();
    let mut boxes: Vec<_> = (0..3).map(|n| POOL.alloc(Contents::new(n))).collect();
    let refused = POOL.try_alloc(Contents::new(7)).unwrap_err();
    assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
    let said = (refused.pool_name(), refused.bound(), refused.in_use());
    assert_eq!(said, (Some("few"), Some(3), Some(3)));
    let text = refused.to_string();
    assert!(
        text.ends_with("the pool few has reached its limit: 3 values of at most 3 are in use"),
        "{text}"
    );
    assert_eq!(refused.into_inner().verify(), 7);
    boxes.pop();
    assert_eq!(POOL.try_alloc(Contents::new(8)).unwrap().verify(), 8);
    assert_eq!(POOL.stats().refusals, 1);
}

#[test]
fn alloc_at_the_bound_panics_and_says_what_else_there_is() {
    static POOL: SegmentPool<String> = SegmentPool::builder().name("names").max_values(1).build();
    let _one = POOL.alloc("one".to_owned());
    for alloc in [
        || drop(POOL.alloc("two".to_owned())),
        || drop(POOL.alloc_with(|| "two".to_owned())),
        || drop(POOL.alloc_uninit()),
        || drop(POOL.local().alloc("two".to_owned())),
    ] {
        let panic = catch_unwind(alloc).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        for part in [
            "names",
            "1 values of at most 1",
            "`try_alloc`",
            "`alloc_blocking`",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert_eq!(POOL.stats().in_use, 1);
}

#[test]
fn a_bound_of_memory_panics_likewise() {
    static POOL: SegmentPool<[u8; 100_000]> = SegmentPool::builder().max_segments(1).build();
    let all: Vec<_> = (0..)
        .map_while(|_| POOL.try_alloc([0; 100_000]).ok())
        .collect();
    let refused = POOL.try_alloc([0; 100_000]).unwrap_err();
    assert_eq!(refused.bound(), Some(all.len()));
    assert!(catch_unwind(|| POOL.alloc([0; 100_000])).is_err());
}

#[test]
fn a_bound_of_nothing_is_refused_where_it_is_written() {
    let none = || SegmentPool::<u64>::builder().max_values(0).build();
    assert!(catch_unwind(none).is_err());
    let nothing = || SegmentPool::<()>::builder().max_values(0).build();
    assert!(catch_unwind(nothing).is_err());
}

#[test]
fn the_least_of_several_bounds_counts() {
    type Big = [u8; 100_000];
    static VALUES: SegmentPool<Big> = SegmentPool::builder().max_segments(2).max_values(5).build();
    static MEMORY: SegmentPool<Big> = SegmentPool::builder()
        .max_segments(1)
        .max_values(500)
        .build();
    let fill = |pool: &SegmentPool<Big>| -> Vec<_> {
        (0..)
            .map_while(|_| pool.try_alloc([0; 100_000]).ok())
            .collect()
    };
    for _ in 0..3 {
        assert_eq!(fill(&VALUES).len(), 5);
        assert_eq!(fill(&MEMORY).len(), SegmentPool::<Big>::SLOTS_PER_SEGMENT);
    }
    assert_eq!(VALUES.reserve(6), Err(AllocErrorKind::LimitReached));
}

#[test]
fn a_bound_beyond_memory_is_none_that_hurts() {
    let pool = SegmentPool::<u64>::builder()
        .max_values(usize::MAX - 1)
        .build();
    let boxes: Vec<_> = (0..1000).map(|n| pool.alloc(n)).collect();
    assert_eq!(pool.stats().in_use, 1000);
    drop(boxes);
    assert_eq!(pool.stats().in_use, 0);
}

// --- What counts -------------------------------------------------------------------------------------------------------------

/// Makes two values of a pool with a bound of two, in every way, and gives them up in every way.
fn both_count<T: Default + Send + 'static>() {
    let pool = SegmentPool::<T>::builder().max_values(2).build();
    let check = |make: &dyn Fn() -> PoolBox<T>, give_up: &dyn Fn(PoolBox<T>)| {
        let two = [make(), make()];
        assert!(at_bound(&pool));
        assert!(pool.try_alloc_uninit().is_err());
        assert!(pool.local().try_alloc(T::default()).is_err());
        let _ = two.map(give_up);
        assert_eq!(pool.stats().in_use, 0);
    };
    let local = pool.local();
    let makes: [&dyn Fn() -> PoolBox<T>; 6] = [
        &|| pool.alloc(T::default()),
        &|| pool.alloc_with(T::default),
        &|| PoolBox::write(pool.alloc_uninit(), T::default()),
        &|| pool.try_alloc(T::default()).ok().unwrap(),
        &|| local.alloc(T::default()),
        &|| pool.alloc_blocking(T::default()).ok().unwrap(),
    ];
    let gives: [&dyn Fn(PoolBox<T>); 6] = [
        &|boxed| drop(boxed),
        &|boxed| drop(PoolBox::into_inner(boxed)),
        &|boxed| thread::spawn(move || drop(boxed)).join().unwrap(),
        &|boxed| {
            // SAFETY: the pointer is one of a box.
            drop(unsafe { PoolBox::from_raw(PoolBox::into_raw(boxed)) });
        },
        &|boxed| drop(PoolBox::into_pin(boxed)),
        &|boxed| {
            let moved = PoolArc::<T>::from(boxed); // to the default pool, if it is not the same storage
            drop(moved);
        },
    ];
    for make in makes {
        for give in gives {
            check(make, give);
        }
    }
    check(makes[0], &|boxed| {
        let any: PoolBox<dyn std::any::Any + Send> = coerce!(boxed => dyn std::any::Any + Send);
        drop(any);
    });
    let unmade = pool.alloc_uninit();
    let panics = || pool.alloc_with(|| panic!("no value"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(pool.stats().in_use, 1);
    drop(unmade);
    drop(local);
    pool.close().unwrap();
}

struct Large(#[expect(dead_code, reason = "is large")] [u8; 200_000]);

impl Default for Large {
    fn default() -> Self {
        Self([7; 200_000])
    }
}

#[derive(Default)]
#[repr(align(8192))]
struct Aligned;

#[test]
fn values_of_every_kind_count_however_made_and_given_up() {
    both_count::<u64>();
    both_count::<[u64; 30]>();
    with_room(both_count::<Large>);
    both_count::<()>();
    both_count::<Aligned>();
}

/// On a stack for large values, which unoptimised code copies much.
fn with_room(work: fn()) {
    let thread = thread::Builder::new().stack_size(64 << 20).spawn(work);
    thread.unwrap().join().unwrap();
}

#[test]
fn an_array_of_nothing_that_became_a_slice_counts() {
    let pool = SegmentPool::<[u64; 0]>::builder().max_values(1).build();
    let slice: PoolBox<[u64]> = coerce!(pool.alloc([]) => [u64]);
    assert!(pool.try_alloc([]).is_err());
    drop(slice.into_iter());
    assert!(pool.try_alloc([]).is_ok());
    let units = SegmentPool::<[(); 3]>::builder().max_values(1).build();
    let slice: PoolBox<[()]> = coerce!(units.alloc([(); 3]) => [()]);
    assert!(units.try_alloc([(); 3]).is_err());
    assert_eq!(slice.into_iter().count(), 3);
    assert!(units.try_alloc([(); 3]).is_ok());
}

#[test]
fn shared_values_count_until_the_last_handle_is_gone() {
    let pool = SegmentPool::<Counted<u64>>::builder().max_values(1).build();
    let shared = PoolArc::new_in(7, &pool);
    let (other, weak) = (shared.clone(), PoolArc::downgrade(&shared));
    assert_eq!(PoolArc::try_new_in(8, &pool).unwrap_err().bound(), Some(1));
    drop(shared);
    drop(other);
    assert!(
        PoolArc::try_new_in(8, &pool).is_err(),
        "a weak handle keeps the slot"
    );
    drop(weak);
    assert_eq!(*PoolArc::try_new_in(8, &pool).unwrap(), 8);
}

#[test]
fn a_value_that_is_leaked_counts_for_ever() {
    let pool = SegmentPool::<()>::builder().max_values(2).build();
    std::mem::forget(pool.alloc(()));
    let last = pool.alloc(());
    assert!(at_bound(&pool));
    drop(last);
    assert_eq!(pool.stats().in_use, 1);
}

#[test]
fn values_outlive_their_pool() {
    fn outlive<T: Default + Send + 'static>() {
        let pool = SegmentPool::<T>::builder().max_values(2).build();
        let [here, there] = [pool.alloc(T::default()), pool.alloc(T::default())];
        drop(pool);
        thread::spawn(move || drop(there)).join().unwrap();
        drop(here);
    }
    outlive::<u64>();
    with_room(outlive::<Large>);
    outlive::<()>();
    outlive::<Aligned>();
}

// --- Many threads ------------------------------------------------------------------------------------------------------------

/// Whoever drops sleeps from then on, idles, flushes, or ends.
#[test]
fn whoever_drops_the_next_request_of_any_thread_is_served() {
    static POOL: Pool = SegmentPool::builder().max_values(4).build();
    let (asker, sleeper) = (Worker::start(), Worker::start());
    for round in 0..200 {
        let mut boxes: Vec<_> = (0..3).map(|n| POOL.alloc(Contents::new(n))).collect();
        boxes.push(asker.run(|| POOL.alloc(Contents::new(3))));
        assert!(asker.run(|| POOL.try_alloc(Contents::new(4)).is_err()));
        let dropped = boxes.swap_remove(round % 4);
        match round % 5 {
            0 => sleeper.run(move || drop(dropped)),
            1 => thread::spawn(move || drop(dropped)).join().unwrap(),
            2 => asker.run(move || drop(dropped)),
            3 => sleeper.run(move || (drop(dropped), flush()).1),
            _ => sleeper.run(move || (drop(dropped), idle()).1),
        }
        let next = asker.run(|| POOL.try_alloc(Contents::new(5)));
        assert_eq!(next.unwrap().verify(), 5, "round {round}");
        drop(boxes);
    }
    assert_eq!(POOL.stats().in_use, 0);
}

/// Workers drop what they are sent and then block; others hold a value each; the producer is never refused below the bound.
#[test]
fn twenty_workers_that_block_and_eight_that_hold_refuse_nobody() {
    const BOUND: usize = 8 + 16;
    static POOL: Pool = SegmentPool::builder().max_values(BOUND).build();
    let holders: Vec<_> = (0..8)
        .map(|n| {
            let worker = Worker::start();
            let held = worker.run(move || POOL.alloc(Contents::new(n)));
            (worker, held)
        })
        .collect();
    let (done, freed) = mpsc::channel();
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let (sender, receiver) = mpsc::channel::<PoolBox<Contents>>();
            let done = done.clone();
            thread::spawn(move || {
                for boxed in receiver {
                    drop(boxed);
                    done.send(()).unwrap();
                }
            });
            sender
        })
        .collect();
    let mut out = 0;
    for n in 0..ROUNDS {
        if out == 16 {
            freed.recv().unwrap();
            out -= 1;
        }
        let boxed = POOL.try_alloc(Contents::new(n as u32)).unwrap();
        workers[n % workers.len()].send(boxed).unwrap();
        out += 1;
    }
    drop(holders);
}

/// Threads take and drop at random; each knows how many are alive at the most.
#[test]
fn the_bound_is_never_exceeded() {
    const BOUND: usize = 5;
    const THREADS: usize = 4;
    static POOL: Pool = SegmentPool::builder().max_values(BOUND).build();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let start = Barrier::new(THREADS);
    let work = |seed: usize| {
        let mut held = Vec::new();
        start.wait();
        for n in 0..ROUNDS {
            if (n * 7 + seed * 13) % 5 < 3 {
                if let Ok(boxed) = POOL.try_alloc(Contents::new(n as u32)) {
                    assert!(ALIVE.fetch_add(1, Ordering::SeqCst) < BOUND);
                    held.push(boxed);
                }
            } else if let Some(boxed) = held.pop() {
                ALIVE.fetch_sub(1, Ordering::SeqCst);
                drop(boxed);
            }
        }
        ALIVE.fetch_sub(held.len(), Ordering::SeqCst);
    };
    thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || work(seed));
        }
    });
    assert_eq!(POOL.stats().in_use, 0);
}

// --- At run time -------------------------------------------------------------------------------------------------------------

#[test]
fn a_bound_that_is_lowered_keeps_the_values_and_one_that_is_raised_serves() {
    let pool = SegmentPool::<u64>::builder().max_values(4).build();
    let mut boxes: Vec<_> = (0..4).map(|n| pool.alloc(n)).collect();
    pool.set_max_values(2);
    assert_eq!(boxes.iter().map(|boxed| **boxed).sum::<u64>(), 6);
    boxes.truncate(2);
    assert!(pool.try_alloc(9).is_err());
    boxes.pop();
    boxes.push(pool.try_alloc(9).unwrap());
    pool.set_max_values(3);
    boxes.push(pool.try_alloc(10).unwrap());
    assert!(pool.try_alloc(11).is_err());
    assert_eq!(pool.stats().bound, Some(3));
}

#[test]
fn a_bound_of_nothing_or_for_a_pool_without_one_panics() {
    let (bounded, unbounded) = (
        SegmentPool::<u64>::builder().max_values(4).build(),
        SegmentPool::<u64>::new(),
    );
    assert!(catch_unwind(AssertUnwindSafe(|| bounded.set_max_values(0))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| unbounded.set_max_values(4))).is_err());
}
