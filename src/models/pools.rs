//! Pools: made, limited, trimmed and dropped while threads are at work.

use core::ptr::NonNull;

use loom::sync::Arc;
use loom::thread;

use super::{
    Pool, STRIDE, alloc, churn, close, end, join, model, park, push, try_alloc, with_reclaims,
};
use crate::heap::handover;
use crate::heap::registry::{Closings, Handle, RegistryRef};
use crate::memory::arena::Arenas;

/// The handle, the last thread and the last box go at once, on three threads: the pool is freed by exactly one of
/// them, after everything else. Catches: a reference given up too early, or not at all; touching the pool after.
#[test]
fn pool_dropped_from_three_sides() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let pusher = push(alloc(heap));
        let dropper = thread::spawn(move || close(pool.registry));
        end(heap);
        join([pusher, dropper]);
        pool.check_ledger();
    });
}

/// A pool is dropped while a thread steals and another pushes. Catches: a steal that moves segments into a heap whose
/// pool is gone, references of moved segments counted twice or not at all.
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
        pool.check_ledger();
    });
}

/// A thread ends while its pool is dropped. Catches: a reference given up twice, the closing thread settling a heap
/// that its owner still uses.
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
            pool.check_ledger();
        });
    }
}

/// A thread parks its heap, with a free slot in its list, while the pool is dropped and the last box goes: somebody
/// empties the list. Catches: a signal that an owner or a pusher can leave without seeing.
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
        pool.check_ledger();
    });
}

/// A box is dropped by a third thread after its owner has ended and its pool was dropped. Catches: a heap freed while
/// a box of it lives.
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
        pool.check_ledger();
    });
}

/// Two boxes of a pool that was dropped go at once, on two threads. Catches: two that free the pool, or none.
#[test]
fn last_two_boxes_of_a_dropped_pool() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let boxes = [alloc(heap), alloc(heap)];
        end(heap);
        close(pool.registry);
        join(boxes.map(push));
        pool.check_ledger();
    });
}

/// Two threads use a pool for the first time at once: one registry is made, or one of two is thrown away. Catches: a
/// registry published before it is made, or seen before; two that are both used.
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

/// Two threads at the limit of a pool: one of them gets the segment. Catches: a limit that both pass, or that refuses
/// both; a refusal that is counted as a segment.
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

/// A pool is trimmed while a box of one of its abandoned heaps is dropped. Catches: a heap that both have, a reference
/// that trimming does not count.
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

/// A thread trims its heap while the last box of a segment is dropped elsewhere and the pool is dropped. Catches: a
/// segment's reference given up by two, or while the heap is still in use.
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
        pool.check_ledger();
    });
}

/// Memory goes from one pool to another: a segment is released by a free and claimed elsewhere at once. Catches: a
/// header written while the last pusher still looks at the old one.
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

/// A pool is dropped while a thread ends that has mapped a segment ahead and never used it. Catches: a segment that is
/// not released because nothing of it ever came home.
#[test]
fn pool_dropped_with_a_segment_never_used() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        assert!(heap.add_segments(0, 1, false).is_ok());
        let dropper = thread::spawn(move || close(pool.registry));
        end(heap);
        dropper.join().unwrap();
        pool.check_ledger();
    });
}

/// A thread that sees a new number of closings looks which of its pools are closed, and then does not look again. Catches: a
/// number that is seen before the pool is seen closed.
#[test]
fn closing_is_seen_by_who_sees_the_number() {
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
        pool.check_ledger();
    });
}

/// In a pool for one segment, a thread gives it up and asks again while another asks. Catches: both refused, because the one
/// saw what the other had counted and was about to take off again.
#[test]
fn room_below_a_limit_is_somebodys() {
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
        // SAFETY: the references of the segments that were admitted.
        unsafe { pool.registry.release_refs(1 + admitted) };
        pool.close();
    });
}

/// In a pool for two segments two threads reserve two each. Catches: both refused, because each had counted one that the
/// other needed.
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
