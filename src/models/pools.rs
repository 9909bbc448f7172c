//! Pools: created, limited, trimmed and dropped while threads use them.

use core::ptr::NonNull;

use loom::sync::Arc;
use loom::thread;

use super::{
    Pool, STRIDE, alloc, churn, close, end, join, model, park, push, try_alloc, with_reclaims,
};
use crate::heap::handover;
use crate::heap::registry::{Closings, Handle, RegistryRef};
use crate::memory::arena::Arenas;

/// The handle, the last thread and the last box are dropped at once, on three threads. Exactly one of them
/// frees the pool, after everything else. Catches: a reference released too early, or not at all; an access
/// to the pool after that.
#[test]
fn pool_dropped_from_three_sides() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let pusher = push(alloc(heap));
        let dropper = thread::spawn(move || close(pool.registry));
        end(heap);
        join([pusher, dropper]);
        pool.check_all_freed();
    });
}

/// A pool is dropped while a thread steals and another pushes. Catches: a steal that moves segments into a
/// heap of a freed pool; references of moved segments counted twice or not at all.
#[test]
fn pool_dropped_against_steal_and_push() {
    model(|| {
        let pool = Pool::new();
        let old = pool.acquire(1);
        let (a, b) = (alloc(old), alloc(old));
        b.free_local(old);
        let mine = pool.acquire(2);
        end(old);
        let pusher = push(a);
        let thief = thread::spawn(move || {
            churn(mine);
            end(mine);
        });
        close(pool.registry);
        join([thief, pusher]);
        pool.check_all_freed();
    });
}

/// A thread ends while its pool is dropped. Catches: a reference released twice; the closing thread collects
/// and releases a heap that its owner still uses.
#[test]
fn pool_dropped_against_thread_end() {
    for allocates in [true, false] {
        model(move || {
            let pool = Pool::new();
            let heap = pool.acquire(1);
            if allocates {
                churn(heap);
            }
            let dropper = thread::spawn(move || close(pool.registry));
            end(heap);
            dropper.join().unwrap();
            pool.check_all_freed();
        });
    }
}

/// A thread parks its heap, with a free slot in its list, while the pool is dropped and the last box too.
/// Some thread empties the list. Catches: a signal that an owner or a pushing thread can miss when it
/// abandons the heap.
#[test]
fn pool_dropped_against_park_and_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        b.free_local(heap);
        let pusher = push(a);
        let sleeper = thread::spawn(move || park(heap));
        close(pool.registry);
        join([sleeper, pusher]);
        pool.check_all_freed();
    });
}

/// A third thread drops a box after its owner has ended and its pool was dropped. Catches: a heap freed while
/// a box of it is live.
#[test]
fn box_dropped_after_owner_end_and_pool_drop() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let owner = thread::spawn(move || {
            let a = alloc(heap);
            end(heap);
            a
        });
        let third = push(owner.join().unwrap());
        close(pool.registry);
        third.join().unwrap();
        pool.check_all_freed();
    });
}

/// Two threads drop the last two boxes of a dropped pool at once. Catches: a pool freed by both, or by
/// neither.
#[test]
fn last_two_boxes_of_a_dropped_pool() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let boxes = [alloc(heap), alloc(heap)];
        end(heap);
        close(pool.registry);
        join(boxes.map(push));
        pool.check_all_freed();
    });
}

/// Two threads use a pool for the first time at once. One registry is created, or one of two is discarded.
/// Catches: a registry published or seen before it is initialised; two registries that are both used.
#[test]
fn pool_first_used_by_two_threads() {
    model(|| {
        let handle: &'static Handle = Box::leak(Box::new(Handle::new()));
        let arenas = NonNull::from(Box::leak(Box::new(Arenas::new())));
        let work = move || {
            let create = || RegistryRef::create_in(arenas, STRIDE, usize::MAX);
            let registry = handle.get_or_create(create).unwrap();
            let heap = registry.acquire(1).unwrap();
            churn(heap);
            end(heap);
            registry
        };
        let other = thread::spawn(work);
        let registry = work();
        assert_eq!(other.join().unwrap(), registry);
        Pool { arenas, registry }.close();
    });
}

/// Two threads at the limit of a pool: one of them gets the segment. Catches: a limit that both exceed, or at
/// which both fail; a failed allocation that counts as a segment.
#[test]
fn limit_reached_by_two_threads() {
    model(|| {
        let pool = Pool::with_limit(1);
        let [mine, theirs] = [1, 2].map(|token| pool.acquire(token));
        let other = thread::spawn(move || try_alloc(theirs));
        let value = try_alloc(mine);
        let other = other.join().unwrap();
        assert_ne!(value.is_some(), other.is_some());
        let (winner, loser) = if value.is_some() {
            (mine, theirs)
        } else {
            (theirs, mine)
        };
        value.or(other).unwrap().free_local(winner);
        end(winner);
        churn(loser); // there is room again
        end(loser);
        pool.close();
    });
}

/// A pool is trimmed while a box of one of its abandoned heaps is dropped. Catches: a heap that both own; a
/// reference that trimming does not count.
#[test]
fn trim_of_abandoned_heaps_against_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        b.free_local(heap);
        park(heap);
        let pusher = push(a);
        with_reclaims(|reclaims| handover::trim_abandoned(pool.registry, reclaims));
        pusher.join().unwrap();
        pool.close();
    });
}

/// A thread trims its heap while another drops the last box of a segment, and the pool is dropped. Catches: a
/// segment's reference released by both, or while the heap is still in use.
#[test]
fn pool_dropped_against_trim_and_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let pusher = push(alloc(heap));
        let owner = thread::spawn(move || {
            with_reclaims(|reclaims| handover::trim(heap, reclaims));
            end(heap);
        });
        close(pool.registry);
        join([pusher, owner]);
        pool.check_all_freed();
    });
}

/// Memory moves from one pool to another: a free releases a segment while the other pool claims one. Catches:
/// a header written while the last pushing thread still reads the old one.
#[test]
fn segment_goes_from_one_pool_to_another() {
    model(|| {
        let pool = Pool::new();
        let other = Pool::create_in(pool.arenas, usize::MAX);
        let [heap, others] = [pool.acquire(1), other.acquire(2)];
        let a = alloc(heap);
        end(heap);
        let pusher = push(a);
        churn(others);
        end(others);
        pusher.join().unwrap();
        close(other.registry);
        pool.close();
    });
}

/// A pool is dropped while a thread ends that has claimed a segment in advance and never used it. Catches: a
/// segment that is not released because no slot was ever returned to it.
#[test]
fn pool_dropped_with_a_segment_never_used() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        assert!(heap.add_segments(0, 1, false).is_ok());
        let dropper = thread::spawn(move || close(pool.registry));
        end(heap);
        dropper.join().unwrap();
        pool.check_all_freed();
    });
}

/// A thread that reads a new number of closings checks which of its pools are closed, and then does not check
/// again. Catches: a number that is visible before the pool is visible as closed.
#[test]
fn a_new_closing_count_shows_the_closed_pool() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let closings = Arc::new(Closings::new());
        let counted = Arc::clone(&closings);
        let closer = thread::spawn(move || {
            close(pool.registry);
            counted.add();
        });
        assert!(closings.count() == 0 || pool.registry.is_closed());
        end(heap);
        closer.join().unwrap();
        pool.check_all_freed();
    });
}

/// In a pool for one segment, a thread releases it and requests it again while another thread requests it.
/// Catches: both fail, because one saw the count of the other, which was about to be reverted.
#[test]
fn room_below_a_limit_goes_to_one_thread() {
    model(|| {
        let pool = Pool::with_limit(1);
        let core = pool.registry.core();
        assert!(core.admit(1));
        let other = thread::spawn(move || pool.registry.core().admit(1));
        core.dismiss(1);
        let admitted = [core.admit(1), other.join().unwrap()].map(usize::from);
        let admitted: usize = admitted.iter().sum();
        assert!(admitted > 0);
        core.dismiss(admitted);
        // SAFETY: the references of the segments that were admitted, including the first one.
        unsafe { pool.registry.release_refs(1 + admitted) };
        pool.close();
    });
}

/// In a pool for two segments, two threads reserve two each. Catches: both fail, because each had counted one
/// that the other needed.
#[test]
fn one_of_two_reservations_at_a_limit_is_granted() {
    model(|| {
        let pool = Pool::with_limit(2);
        let other = thread::spawn(move || pool.registry.core().admit(2));
        let granted = [pool.registry.core().admit(2), other.join().unwrap()];
        assert_ne!(granted[0], granted[1]);
        pool.registry.core().dismiss(2);
        // SAFETY: the references of the segments that were admitted.
        unsafe { pool.registry.release_refs(2) };
        pool.close();
    });
}
