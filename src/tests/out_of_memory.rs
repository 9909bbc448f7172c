//! The system refuses memory, and free slots or free segments are within the asking thread's reach: the first request gets them.
//!
//! Threads take turns on one real one. Each segment of these values is an arena of its own, so every new one is a mapping.

use core::mem::MaybeUninit;

use super::in_own_process;
use crate::boxed::PoolBox;
use crate::ground::error::AllocErrorKind;
use crate::ground::os::refusal::{refused_until_unmapped, while_refused};
use crate::pool::SegmentPool;
use crate::thread::tests::Thread;
use crate::{flush, idle, trim};

type Value = [u8; 60_000];
/// Nothing is written to them, so they cost no memory.
type Values = Vec<PoolBox<MaybeUninit<Value>>>;

/// As many as there are while the system refuses memory.
fn fill(pool: &SegmentPool<Value>) -> Values {
    while_refused(|| core::iter::from_fn(|| pool.try_alloc_uninit().ok()).collect())
}

fn end(threads: impl IntoIterator<Item = Thread>) {
    threads.into_iter().for_each(|thread| thread.end());
}

/// Forty threads have ended, and each left slots in a segment where one value lives on. More than a refill looks into.
#[test]
fn slots_of_many_threads_that_ended() {
    in_own_process(
        "tests::out_of_memory::slots_of_many_threads_that_ended",
        || {
            let pool = SegmentPool::<Value>::new();
            let mine = Thread::start();
            let mut kept = mine.run(|| fill_a_segment(&pool));
            let a_segment = kept.len();
            let others: Vec<_> = (0..40).map(|_| Thread::start()).collect();
            for other in &others {
                kept.push(other.run(|| pool.alloc_uninit())); // one after the other: each has a heap of its own
            }
            end(others);
            let found = mine.run(|| fill(&pool));
            assert_eq!(found.len(), 40 * (a_segment - 1));
            mine.run(|| drop((found, kept, pool)));
            mine.end();
        },
    );
}

/// All slots of a first segment.
fn fill_a_segment(pool: &SegmentPool<Value>) -> Values {
    let mut values = vec![pool.alloc_uninit()];
    values.extend(fill(pool));
    values
}

/// A thread's own list is empty, but others have freed its slots.
#[test]
fn slots_that_other_threads_freed() {
    in_own_process(
        "tests::out_of_memory::slots_that_other_threads_freed",
        || {
            let pool = SegmentPool::<Value>::new();
            let (mine, other) = (Thread::start(), Thread::start());
            let mut values = mine.run(|| fill_a_segment(&pool));
            let freed = values.split_off(10);
            let count = freed.len();
            other.run(|| {
                drop(freed);
                flush();
            });
            let found = mine.run(|| fill(&pool));
            assert_eq!(found.len(), count);
            mine.run(|| drop((values, found, pool)));
            end([mine, other]);
        },
    );
}

/// The free slots are in this thread's open batches, and their heap is nobody's.
#[test]
fn slots_that_this_thread_has_in_open_batches() {
    in_own_process(
        "tests::out_of_memory::slots_that_this_thread_has_in_open_batches",
        || {
            let pool = SegmentPool::<Value>::new();
            let (mine, other) = (Thread::start(), Thread::start());
            let own = mine.run(|| fill_a_segment(&pool));
            let mut values = other.run(|| fill_a_segment(&pool));
            other.end();
            let freed = values.split_off(values.len() - 5);
            let found = mine.run(|| {
                drop(freed);
                fill(&pool)
            });
            assert_eq!(found.len(), 5);
            mine.run(|| drop((own, values, found, pool)));
            mine.end();
        },
    );
}

/// The lists of an idle thread hold slots of another's segments. Both heaps are nobody's, and nine more lie between them.
#[test]
fn slots_that_an_idle_thread_kept() {
    in_own_process(
        "tests::out_of_memory::slots_that_an_idle_thread_kept",
        || {
            let pool = SegmentPool::<Value>::new();
            let (mine, maker, keeper) = (Thread::start(), Thread::start(), Thread::start());
            maker.run(|| drop(pool.alloc_uninit()));
            let others: Vec<_> = (0..9).map(|_| Thread::start()).collect();
            for other in &others {
                other.run(|| {
                    drop(pool.alloc_uninit());
                    trim();
                });
            }
            let own = mine.run(|| fill_a_segment(&pool));
            let keepers = keeper.run(|| fill_a_segment(&pool));
            others.iter().for_each(|other| other.run(idle));
            let mut kept = 0;
            for _ in 0..40 {
                let values = maker.run(|| fill(&pool));
                kept = keeper.run(|| {
                    drop(values);
                    flush();
                    pool.validate().kept
                });
            }
            assert!(kept > 0);
            let rest = maker.run(|| fill(&pool));
            keeper.run(idle);
            maker.run(idle);
            let found = mine.run(|| fill(&pool));
            assert!(!found.is_empty());
            mine.run(|| drop((own, keepers, rest, found, pool)));
            end(others.into_iter().chain([mine, maker, keeper]));
        },
    );
}

type Request = fn() -> Result<(), AllocErrorKind>;

/// Values of one size are gone, but their segments are in this thread's lists and in an idle arena. Memory for another size,
/// a value with a dedicated mapping, a pool: all of it must come from there.
#[test]
fn memory_of_values_of_another_size() {
    let requests: [(&str, Request); 4] = [
        ("another span", || {
            PoolBox::<[u8; 100_000]>::try_new_uninit().map(drop)
        }),
        ("a mapping of its own", || {
            PoolBox::<[u8; 3_000_000]>::try_new_uninit().map(drop)
        }),
        ("a pool", || {
            SegmentPool::<[u8; 100_000]>::new()
                .try_alloc_uninit()
                .map(drop)
        }),
        ("segments ahead", || {
            SegmentPool::<[u8; 100_000]>::new().reserve(1)
        }),
    ];
    in_own_process(
        "tests::out_of_memory::memory_of_values_of_another_size",
        || {
            for (what, request) in requests {
                let mine = Thread::start();
                mine.run(|| {
                    drop(
                        (0..300_u64)
                            .map(|n| PoolBox::new([n; 1000]))
                            .collect::<Vec<_>>(),
                    );
                    assert_eq!(refused_until_unmapped(request), Ok(()), "{what}");
                });
                mine.end();
            }
        },
    );
}
