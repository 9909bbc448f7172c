//! Bounded pools: a bound refuses nobody while a slot is free, and what is freed is found, or goes with the pool.

use loom::thread;

use super::{Pool, STRIDE, Value, close, join, model, with_reclaims};
use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::bounded::{self, Look};
use crate::heap::handover;
use crate::memory::segment::SegmentRef;
use crate::slot;

/// For one segment, of two slots.
fn pool() -> Pool {
    Pool::with_limit(1)
}

fn take(pool: Pool) -> Option<Value> {
    let slot = with_reclaims(|reclaims| bounded::alloc(pool.registry, reclaims))?;
    slot::erase(slot);
    Some(Value(slot))
}

fn give(value: Value) {
    slot::erase(value.0);
    let segment = value.segment();
    let offset = SegmentRef::offset_of(value.0, Span::of(STRIDE));
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    with_reclaims(|reclaims| unsafe { bounded::free(heap, segment, value.0, offset, reclaims) });
}

fn giver(value: Value) -> thread::JoinHandle<()> {
    thread::spawn(move || give(value))
}

/// Takes both slots of the only segment.
fn fill(pool: Pool) -> [Value; 2] {
    let values = [(); 2].map(|()| take(pool).unwrap());
    assert!(take(pool).is_none());
    values
}

/// Two threads free a slot each of a full pool. When one of them is done, a request is served. Catches: a request that fails
/// because the other thread is about to put the segment into the pending list.
#[test]
fn a_slot_whose_free_returned_is_found() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let other = giver(a);
        giver(b).join().unwrap();
        let found = take(pool);
        assert!(found.is_some());
        other.join().unwrap();
        give(found.unwrap());
        pool.close();
    });
}

/// Two threads ask a pool with two free slots. Catches: a request that fails because the other has the heap for a moment; two
/// that get the same slot.
#[test]
fn two_requests_and_two_free_slots() {
    model(|| {
        let pool = pool();
        let other = thread::spawn(move || take(pool).unwrap());
        let mine = take(pool).unwrap();
        let theirs = other.join().unwrap();
        assert_ne!(mine, theirs);
        assert!(take(pool).is_none());
        give(mine);
        give(theirs);
        pool.close();
    });
}

/// Two threads ask a pool with one free slot. Catches: both are served, or none.
#[test]
fn two_requests_and_one_free_slot() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        give(b);
        let other = thread::spawn(move || take(pool));
        let mine = take(pool);
        let theirs = other.join().unwrap();
        assert_ne!(mine.is_some(), theirs.is_some());
        give(a);
        give(mine.or(theirs).unwrap());
        pool.close();
    });
}

/// A thread asks while another looks at the heap, as a snapshot does, or trims it. Catches: a request that fails because of that.
#[test]
fn a_request_and_a_look() {
    for trims in [false, true] {
        model(move || {
            let pool = pool();
            let [a, b] = fill(pool);
            give(b);
            let looker = thread::spawn(move || {
                with_reclaims(|reclaims| match pool.registry.heaps().next().unwrap() {
                    _ if trims => handover::trim_abandoned(pool.registry, reclaims),
                    heap if pool.registry.adopt_temporarily(heap) => {
                        handover::abandon_adopted(heap, 0, reclaims)
                    }
                    _ => {}
                });
            });
            give(take(pool).unwrap());
            looker.join().unwrap();
            give(a);
            pool.close();
        });
    }
}

/// The last two values of a pool are freed while it is dropped. Catches: a slot in a list that nobody comes to empty; a free
/// that touches the pool when it is gone; references that are given up twice.
#[test]
fn a_pool_dropped_against_two_frees() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let frees = [giver(a), giver(b)];
        close(pool.registry);
        join(frees);
        pool.check_ledger();
    });
}

/// A thread frees while another takes and frees, from a pool that is full but for that. Catches: a slot that is in the lists
/// twice, or lost between the remote list and the heap's.
#[test]
fn a_free_against_a_request() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let freeing = giver(a);
        if let Some(value) = take(pool) {
            give(value);
        }
        freeing.join().unwrap();
        give(b);
        let values = fill(pool);
        values.into_iter().for_each(give);
        pool.close();
    });
}

/// Takes all four slots of a pool with a bound of two segments, in one heap.
fn fill_two(pool: Pool) -> [Value; 4] {
    let values = [(); 4].map(|()| take(pool).unwrap());
    assert!(take(pool).is_none());
    values
}

/// The pool's first heap, which the caller has for a moment, as a look or any other operation does.
fn borrow_first(pool: Pool) -> HeapRef {
    let heap = pool.registry.heaps().next().unwrap();
    assert!(pool.registry.adopt_temporarily(heap));
    heap
}

fn park(heap: HeapRef) {
    with_reclaims(|reclaims| handover::abandon_adopted(heap, 0, reclaims));
}

/// One slot is free, in the second heap. A thread frees one in the first heap and takes one, while that heap is in use. At each
/// moment there is a slot for this thread's request. Catches: a request that looks into the heaps one after the other, and comes to
/// the second when its slot is taken, after it was in the first before that had one.
#[test]
fn a_slot_in_another_heap_each_time() {
    model(|| {
        let pool = Pool::with_limit(2);
        let [a1, a2] = [(); 2].map(|()| take(pool).unwrap());
        let first = borrow_first(pool);
        let [b1, b2] = [(); 2].map(|()| take(pool).unwrap());
        park(first);
        give(b1);
        let other = thread::spawn(move || {
            give(a1);
            let first = pool.registry.heaps().next().unwrap();
            let borrowed = pool.registry.adopt_temporarily(first);
            let taking = thread::spawn(move || take(pool).unwrap());
            if borrowed {
                park(first);
            }
            taking.join().unwrap()
        });
        let mine = take(pool).unwrap();
        let theirs = other.join().unwrap();
        [mine, theirs, a2, b2].into_iter().for_each(give);
        pool.close();
    });
}

/// The same in one heap: the slot that was freed waits for another thread's free, which began after the request. Catches: a request
/// that asks whether frees are under way before it has the heap.
#[test]
fn a_slot_that_waits_for_a_later_free() {
    model(|| {
        let pool = Pool::with_limit(2);
        let [a1, a2, b1, b2] = fill_two(pool);
        give(b2);
        let first = borrow_first(pool);
        let freeing = giver(a1);
        let other = thread::spawn(move || {
            give(a2);
            park(first);
            take(pool).unwrap()
        });
        let mine = take(pool).unwrap();
        let theirs = other.join().unwrap();
        freeing.join().unwrap();
        [mine, theirs, b1].into_iter().for_each(give);
        pool.close();
    });
}

/// A slot that was freed waits in the pending list of a heap that was left too soon. A look at all heaps comes to it while the last slot of
/// its segment is freed, and other segments were completed. Catches: a free that purges the segment, and hides the slot.
#[test]
fn a_look_and_the_last_slot_of_a_segment() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let heap = borrow_first(pool);
        give(a);
        assert!(heap.count_fully_freed(1)); // as for another segment that is about to be pushed
        assert!(heap.pending().try_abandon_with_list());
        let other = giver(b);
        match with_reclaims(|reclaims| bounded::look_at_once(pool.registry, reclaims)) {
            Look::Found(slot) => {
                slot::erase(slot);
                give(Value(slot));
            }
            Look::Unsure => {}
            Look::Exhausted => panic!("a slot was free all the time"),
        }
        other.join().unwrap();
        pool.close();
    });
}

/// A free that ended is seen whole. Catches: a request that finds no free under way, and no slot of the last one.
#[test]
fn no_free_under_way_means_that_they_are_seen() {
    model(|| {
        let pool = pool();
        let freed = loom::sync::Arc::new(loom::cell::UnsafeCell::new(false));
        pool.registry.core().begin_free();
        let other = {
            let freed = freed.clone();
            thread::spawn(move || {
                freed.with_mut(|freed| unsafe { *freed = true });
                pool.registry.core().end_free();
            })
        };
        if !pool.registry.core().has_frees_under_way() {
            assert!(freed.with(|freed| unsafe { *freed }));
        }
        other.join().unwrap();
        pool.close();
    });
}

/// Two threads reserve two segments each, and there is room for two. Catches: both fail, each because of what the other counted.
#[test]
fn two_reservations_and_room_for_one() {
    model(|| {
        let pool = Pool::with_limit(2);
        let reserve = move || {
            let add = |heap: HeapRef| heap.add_segments(0, 2, false);
            with_reclaims(|reclaims| bounded::with_heap(pool.registry, reclaims, add)).unwrap()
        };
        let other = thread::spawn(reserve);
        let mine = reserve();
        assert_ne!(mine.is_ok(), other.join().unwrap().is_ok());
        pool.close();
    });
}
