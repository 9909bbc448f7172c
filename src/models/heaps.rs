//! Heaps: created, abandoned, adopted, served by pushing threads, stolen from.

use loom::thread;

use super::{
    Pool, alloc, churn, end, free_both_remotely, join, model, park, push, try_alloc, with_reclaims,
};
use crate::heap::handover;

/// The owner ends while another thread frees its last slots. The slots are not lost, and the empty segment is
/// released once, and the pool with it. Catches: a lost wake-up between abandon and push; a release of a
/// queued segment; references released before the heap is abandoned.
#[test]
fn thread_end_against_remote_free() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let pusher = thread::spawn(move || {
            a.free_remotely();
            b.free_remotely();
        });
        end(heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// A slot is in the deferred list of a heap that is parked, pushed to, adopted and closed. Catches: a
/// deferred list that the pushing thread empties during its temporary ownership; a deferred list that is left
/// behind with the heap.
#[test]
fn deferred_slot_in_a_parked_heap_against_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        free_both_remotely(a, b);
        let a = alloc(heap); // defers both and allocates one
        park(heap);
        let pusher = push(a);
        end(pool.acquire(2));
        pusher.join().unwrap();
        pool.close();
    });
}

/// Two threads free one slot each of a heap whose owner has ended. Both may acquire it, one after the other,
/// or one serves both slots. Catches: two owners at once; a segment released while the other pushing thread
/// still needs it.
#[test]
fn two_pushers_acquire_an_abandoned_heap() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        end(heap);
        let pusher = push(a);
        b.free_remotely();
        pusher.join().unwrap();
        pool.close();
    });
}

/// The owner serves one segment and ends; then a push to another segment acquires the heap. Catches: a push
/// to the pending list that does not acquire, so that the temporary owner races with the last accesses of the
/// owner.
#[test]
fn visit_after_the_owner_served_another_segment() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b, c) = (alloc(heap), alloc(heap), alloc(heap));
        b.free_local(heap);
        let pushers = [a, c].map(push);
        end(heap);
        join(pushers);
        pool.close();
    });
}

/// A thread without a heap adopts one while a free of one of its slots arrives. Catches: an adoption that
/// misses the writes of the pushing thread during its temporary ownership.
#[test]
fn adopt_against_remote_free() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        end(heap);
        let pusher = thread::spawn(move || free_both_remotely(a, b));
        let heap = pool.acquire(2);
        churn(heap);
        end(heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// A thread steals a segment from an abandoned heap while another frees a slot of it. The free reaches the
/// old heap or the new one, as a misrouted segment or not, and everything is released. Catches: the heap word
/// stored after the old heap was abandoned; a misrouted segment treated as a member; a misrouted segment
/// dropped; a heap entered without acquiring its initialisation.
#[test]
fn steal_against_a_push_that_read_the_old_heap() {
    model(|| {
        let pool = Pool::new();
        let old = pool.acquire(1);
        let (a, b) = (alloc(old), alloc(old));
        b.free_local(old);
        let pusher = push(a);
        let mine = pool.acquire(2); // created concurrently with the push
        end(old);
        churn(mine); // steals the old heap's segment, or claims one
        end(mine);
        pusher.join().unwrap();
        pool.close();
    });
}

/// A segment moves twice while a push to the first heap is under way. It is rerouted until it arrives.
/// Catches: a reroute to the segment's previous heap; QUEUED turned off on the way.
#[test]
fn two_reroutes_of_one_segment() {
    model(|| {
        let pool = Pool::new();
        let first = pool.acquire(1);
        let (a, b) = (alloc(first), alloc(first));
        b.free_local(first);
        let second = pool.acquire(2);
        let third = pool.acquire(3);
        end(first);
        let pusher = push(a);
        churn(second);
        end(second);
        churn(third);
        end(third);
        pusher.join().unwrap();
        pool.close();
    });
}

/// Two threads create the first heaps of a pool at once, unless one finds the other's. Catches: a heap lost
/// from the list, which would never be freed; a heap listed or seen before it is initialised.
#[test]
fn two_threads_make_heaps_at_once() {
    model(|| {
        let pool = Pool::new();
        let work = move |token| {
            let heap = pool.acquire(token);
            churn(heap);
            end(heap);
        };
        let other = thread::spawn(move || work(1));
        work(2);
        other.join().unwrap();
        pool.close();
    });
}

/// Two threads without a heap adopt the same one, which has a free slot, at once. Catches: a heap with two
/// owners.
#[test]
fn two_threads_adopt_at_once() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        a.free_local(heap);
        end(heap);
        let work = move |token| {
            let heap = pool.acquire(token);
            churn(heap);
            end(heap);
        };
        let other = thread::spawn(move || work(2));
        work(3);
        other.join().unwrap();
        b.free_remotely();
        pool.close();
    });
}

/// Two threads that have heaps steal from the same abandoned one at once. Catches: a segment in two heaps.
#[test]
fn two_threads_steal_from_one_heap() {
    model(|| {
        let pool = Pool::new();
        let [victim, mine, theirs] = [1, 2, 3].map(|token| pool.acquire(token));
        let (a, b) = (alloc(victim), alloc(victim));
        a.free_local(victim);
        end(victim);
        let other = thread::spawn(move || {
            churn(theirs);
            end(theirs);
        });
        churn(mine);
        end(mine);
        other.join().unwrap();
        b.free_remotely();
        pool.close();
    });
}

/// A thread steals from a heap while another adopts it and a free arrives there. Catches: segments stolen
/// from a heap that another thread owns.
#[test]
fn steal_against_adopt_and_push() {
    model(|| {
        let pool = Pool::new();
        let [victim, mine] = [1, 2].map(|token| pool.acquire(token));
        let (a, b) = (alloc(victim), alloc(victim));
        a.free_local(victim);
        end(victim);
        let adopter = thread::spawn(move || {
            let heap = pool.acquire(3);
            churn(heap);
            end(heap);
        });
        let pusher = push(b);
        churn(mine);
        end(mine);
        join([adopter, pusher]);
        pool.close();
    });
}

/// A pool at its limit: a thread searches the abandoned heaps for a slot while one is freed there. Catches: a
/// segment mapped beyond the limit; a victim abandoned with a non-empty pending list and no later visit.
#[test]
fn refill_at_the_limit_against_push() {
    model(|| {
        let pool = Pool::with_limit(1);
        let [victim, mine] = [1, 2].map(|token| pool.acquire(token));
        let (a, b) = (alloc(victim), alloc(victim));
        end(victim);
        let pusher = push(a);
        let slot = with_reclaims(|reclaims| handover::refill_from_others(mine, 0, reclaims));
        pusher.join().unwrap();
        assert!(slot.is_none_or(|slot| slot == a.0));
        slot.inspect(|slot| super::Value(*slot).free_local(mine));
        assert!(
            try_alloc(mine)
                .map(|value| value.free_local(mine))
                .is_some()
        );
        b.free_remotely();
        end(mine);
        pool.close();
    });
}

/// A misrouted segment is in the pending list of an abandoned heap when a thread adopts the heap again.
/// Catches: an adopter that serves a misrouted segment as its own; an adopter that reroutes it to itself
/// while it still owns the heap.
#[test]
fn misrouted_segment_found_by_an_adopter() {
    model(|| {
        let pool = Pool::new();
        let [old, mine] = [1, 2].map(|token| pool.acquire(token));
        let (a, b) = (alloc(old), alloc(old));
        b.free_local(old);
        let pusher = push(a);
        end(old);
        churn(mine);
        let adopted = pool.acquire(3); // the old heap, unless the pushing thread owns it
        churn(adopted);
        end(adopted);
        end(mine);
        pusher.join().unwrap();
        pool.close();
    });
}
