//! The system has no memory, and free slots or free segments are within reach of the calling thread: the first request
//! gets them.
//!
//! Logical threads take turns on one real thread. Each segment of these values is a whole arena, so every new segment
//! is a mapping.

use core::mem::MaybeUninit;

use super::in_own_process;
use crate::boxed::PoolBox;
use crate::ground::error::AllocErrorKind;
use crate::ground::os::refusal::{refused_until_unmapped, while_refused};
use crate::pool::SegmentPool;
use crate::thread::tests::Thread;
use crate::{flush, idle, trim};

type Value = [u8; 60_000];
/// The values are never written, so they take no memory.
type Values = Vec<PoolBox<MaybeUninit<Value>>>;

/// Allocates as many values as possible while the system has no memory.
fn fill(pool: &SegmentPool<Value>) -> Values {
    while_refused(|| core::iter::from_fn(|| pool.try_alloc_uninit().ok()).collect())
}

fn end(threads: impl IntoIterator<Item = Thread>) {
    threads.into_iter().for_each(|thread| thread.end());
}

/// Forty threads have ended, and each left free slots in a segment with one live value. A normal refill visits fewer
/// heaps.
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
                kept.push(other.run(|| pool.alloc_uninit())); // one after the other, so each has its own heap
            }
            end(others);
            let found = mine.run(|| fill(&pool));
            assert_eq!(found.len(), 40 * (a_segment - 1));
            mine.run(|| drop((found, kept, pool)));
            mine.end();
        },
    );
}

/// Allocates all slots of a first segment.
fn fill_a_segment(pool: &SegmentPool<Value>) -> Values {
    let mut values = vec![pool.alloc_uninit()];
    values.extend(fill(pool));
    values
}

/// A thread's own list is empty, but other threads have freed its slots.
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

/// The free slots are in this thread's open batches, and their heap is abandoned.
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

/// The lists of an idle thread contain slots of another thread's segments. Both heaps are abandoned, and nine more
/// heaps are listed between them.
#[test]
fn remote_slots_in_the_lists_of_an_idle_thread() {
    in_own_process(
        "tests::out_of_memory::remote_slots_in_the_lists_of_an_idle_thread",
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

/// Values of one size were dropped, but their segments are in this thread's lists and in an idle arena. Memory for
/// another size, for a value with a dedicated mapping, and for a pool must all come from there.
#[test]
fn memory_of_values_of_another_size() {
    let requests: [(&str, Request); 4] = [
        ("another span", || {
            PoolBox::<[u8; 100_000]>::try_new_uninit().map(drop)
        }),
        ("a dedicated mapping", || {
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
