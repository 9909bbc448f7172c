//! Bounded pools: no allocation fails while a slot is free, and a freed slot is found, or freed with the
//! pool.

use loom::thread;

use super::{Pool, STRIDE, Value, close, join, model, with_reclaims};
use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::bounded::{self, Look};
use crate::heap::handover;
use crate::memory::segment::SegmentRef;
use crate::slot;

/// A pool for one segment, of two slots.
fn pool() -> Pool {
    Pool::with_limit(1)
}

fn alloc(pool: Pool) -> Option<Value> {
    let slot = with_reclaims(|reclaims| bounded::alloc(pool.registry, reclaims))?;
    slot::erase(slot);
    Some(Value(slot))
}

fn free(value: Value) {
    slot::erase(value.0);
    let segment = value.segment();
    let offset = SegmentRef::offset_of(value.0, Span::of(STRIDE));
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    with_reclaims(|reclaims| unsafe {
        bounded::free(heap, segment, value.0, offset, reclaims, |_| ())
    });
}

fn free_elsewhere(value: Value) -> thread::JoinHandle<()> {
    thread::spawn(move || free(value))
}

/// Allocates both slots of the only segment.
fn fill(pool: Pool) -> [Value; 2] {
    let values = [(); 2].map(|()| alloc(pool).unwrap());
    assert!(alloc(pool).is_none());
    values
}

/// Two threads free one slot each of a full pool. After one of them has finished, an allocation succeeds.
/// Catches: an allocation that fails because the other thread is about to put the segment into the pending
/// list.
#[test]
fn a_slot_whose_free_returned_is_found() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let other = free_elsewhere(a);
        free_elsewhere(b).join().unwrap();
        let found = alloc(pool);
        assert!(found.is_some());
        other.join().unwrap();
        free(found.unwrap());
        pool.close();
    });
}

/// Two threads allocate from a pool with two free slots. Catches: an allocation that fails because the other
/// thread owns the heap temporarily; two that get the same slot.
#[test]
fn two_allocations_and_two_free_slots() {
    model(|| {
        let pool = pool();
        let other = thread::spawn(move || alloc(pool).unwrap());
        let mine = alloc(pool).unwrap();
        let theirs = other.join().unwrap();
        assert_ne!(mine, theirs);
        assert!(alloc(pool).is_none());
        free(mine);
        free(theirs);
        pool.close();
    });
}

/// Two threads allocate from a pool with one free slot. Catches: both succeed, or neither.
#[test]
fn two_allocations_and_one_free_slot() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        free(b);
        let other = thread::spawn(move || alloc(pool));
        let mine = alloc(pool);
        let theirs = other.join().unwrap();
        assert_ne!(mine.is_some(), theirs.is_some());
        free(a);
        free(mine.or(theirs).unwrap());
        pool.close();
    });
}

/// A thread allocates while another owns the heap for a look, as a snapshot does, or trims it. Catches: an
/// allocation that fails because of that.
#[test]
fn an_allocation_and_a_look() {
    for trims in [false, true] {
        model(move || {
            let pool = pool();
            let [a, b] = fill(pool);
            free(b);
            let looker = thread::spawn(move || {
                with_reclaims(|reclaims| match pool.registry.heaps().next().unwrap() {
                    _ if trims => handover::trim_abandoned(pool.registry, reclaims),
                    heap if pool.registry.adopt_temporarily(heap) => {
                        handover::abandon_adopted(heap, 0, reclaims)
                    }
                    _ => {}
                });
            });
            free(alloc(pool).unwrap());
            looker.join().unwrap();
            free(a);
            pool.close();
        });
    }
}

/// The last two values of a pool are freed while it is dropped. Catches: a slot in a list that no thread
/// empties; a free that touches the pool after it was freed; references that are released twice.
#[test]
fn a_pool_dropped_against_two_frees() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let frees = [free_elsewhere(a), free_elsewhere(b)];
        close(pool.registry);
        join(frees);
        pool.check_all_freed();
    });
}

/// A thread frees while another allocates and frees, in a pool that is otherwise full. Catches: a slot that
/// is in the lists twice, or lost between the remote list and the heap's.
#[test]
fn a_free_against_an_allocation() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let freeing = free_elsewhere(a);
        if let Some(value) = alloc(pool) {
            free(value);
        }
        freeing.join().unwrap();
        free(b);
        let values = fill(pool);
        values.into_iter().for_each(free);
        pool.close();
    });
}

/// Allocates all four slots of a pool with a limit of two segments, in one heap.
fn fill_two(pool: Pool) -> [Value; 4] {
    let values = [(); 4].map(|()| alloc(pool).unwrap());
    assert!(alloc(pool).is_none());
    values
}

/// Adopts the pool's first heap for the caller temporarily, as a look or any other operation does.
fn adopt_first(pool: Pool) -> HeapRef {
    let heap = pool.registry.heaps().next().unwrap();
    assert!(pool.registry.adopt_temporarily(heap));
    heap
}

fn park(heap: HeapRef) {
    with_reclaims(|reclaims| handover::abandon_adopted(heap, 0, reclaims));
}

/// One slot is free, in the second heap. A thread frees one in the first heap and allocates one, while that
/// heap is in use. At each moment there is a slot for this thread's allocation. Catches: an allocation that
/// searches one heap after the other. It searches the first before a slot is freed there, and the second
/// after its slot was allocated.
#[test]
fn a_slot_in_another_heap_each_time() {
    model(|| {
        let pool = Pool::with_limit(2);
        let [a1, a2] = [(); 2].map(|()| alloc(pool).unwrap());
        let first = adopt_first(pool);
        let [b1, b2] = [(); 2].map(|()| alloc(pool).unwrap());
        park(first);
        free(b1);
        let other = thread::spawn(move || {
            free(a1);
            let first = pool.registry.heaps().next().unwrap();
            let adopted = pool.registry.adopt_temporarily(first);
            let taking = thread::spawn(move || alloc(pool).unwrap());
            if adopted {
                park(first);
            }
            taking.join().unwrap()
        });
        let mine = alloc(pool).unwrap();
        let theirs = other.join().unwrap();
        [mine, theirs, a2, b2].into_iter().for_each(free);
        pool.close();
    });
}

/// The same in one heap: the freed slot waits for another thread's free, which began after the allocation.
/// Catches: an allocation that checks for frees under way before it owns the heap.
#[test]
fn a_slot_that_waits_for_a_later_free() {
    model(|| {
        let pool = Pool::with_limit(2);
        let [a1, a2, b1, b2] = fill_two(pool);
        free(b2);
        let first = adopt_first(pool);
        let freeing = free_elsewhere(a1);
        let other = thread::spawn(move || {
            free(a2);
            park(first);
            alloc(pool).unwrap()
        });
        let mine = alloc(pool).unwrap();
        let theirs = other.join().unwrap();
        freeing.join().unwrap();
        [mine, theirs, b1].into_iter().for_each(free);
        pool.close();
    });
}

/// A freed slot is in the pending list of a heap that was abandoned too soon. A look at all heaps reaches it
/// while the last slot of its segment is freed, and other segments are fully freed. Catches: a free that
/// purges the segment, which hides the slot.
#[test]
fn a_look_and_the_last_slot_of_a_segment() {
    model(|| {
        let pool = pool();
        let [a, b] = fill(pool);
        let heap = adopt_first(pool);
        free(a);
        assert!(heap.count_fully_freed(1)); // as for another segment that is about to be pushed
        assert!(heap.pending().try_abandon_with_list());
        let other = free_elsewhere(b);
        match with_reclaims(|reclaims| bounded::look_at_once(pool.registry, reclaims)) {
            Look::Found(slot) => {
                slot::erase(slot);
                free(Value(slot));
            }
            Look::Unsure => {}
            Look::Exhausted => panic!("a slot was free all the time"),
        }
        other.join().unwrap();
        pool.close();
    });
}

/// A free that has ended is completely visible. Catches: an allocation that sees no free under way, and does
/// not see the slot of the last one.
#[test]
fn finished_frees_are_visible() {
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

/// Two threads reserve two segments each, and there is room for two. Catches: both fail, each because of the
/// segments that the other counted.
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
