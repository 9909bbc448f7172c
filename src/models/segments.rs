//! Segments with slots in memory: freed remotely, collected, handed out again, purged.

use loom::thread;

use super::{Pool, alloc, churn, end, free_both_remotely, join, model, push, with_reclaims};
use crate::heap::handover;

/// Two threads push to a segment, with a collect between: the second push's write of the pending link comes
/// after the owner's read of it. Catches: Release instead of AcqRel on the push; Acquire instead of AcqRel on
/// the take.
#[test]
fn segment_pushed_twice_and_collected_between() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let pushers = [alloc(heap), alloc(heap)].map(push);
        churn(heap); // collects the slots that are there, or takes a new segment
        join(pushers);
        end(heap);
        pool.close();
    });
}

/// The second fully freed segment of a heap is purged by the thread that fully frees it, while the owner
/// collects. QUEUED is off before (both slots in one batch) or on (one after the other). Catches: an owner
/// that unpacks a purged list; a purged segment that is queued never again, or twice.
#[test]
fn purge_against_collect() {
    for at_once in [true, false] {
        model(move || {
            let pool = Pool::new();
            let heap = pool.acquire(1);
            let [a, b, c, d] = [alloc(heap), alloc(heap), alloc(heap), alloc(heap)];
            free_both_remotely(a, b); // fully frees the first segment, within the allowance
            let pusher = thread::spawn(move || {
                if at_once {
                    free_both_remotely(c, d);
                } else {
                    c.free_remotely();
                    d.free_remotely();
                }
            });
            churn(heap);
            end(heap);
            pusher.join().unwrap();
            pool.close();
        });
    }
}

/// A batch of two, a batch node and the slot it names, against a collect: where one slot arrives, the other
/// does. Catches: a batch node published before it was written; a named slot that is lost or handed out
/// twice.
#[test]
fn batch_of_two_against_collect() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let pusher = thread::spawn(move || free_both_remotely(a, b));
        let (c, d) = (alloc(heap), alloc(heap)); // both from the batch, one of them, or none
        assert_ne!(c, d);
        if [a, b].contains(&c) {
            assert!([a, b].contains(&d));
        }
        pusher.join().unwrap();
        c.free_local(heap);
        d.free_local(heap);
        end(heap);
        pool.close();
    });
}

/// A slot is freed by one thread, handed out again by its owner, and freed by another thread. Catches: a slot
/// handed out before the writes of its last user and of the free are visible; a slot on two lists.
#[test]
fn slot_freed_remotely_reused_and_freed_again() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let first = push(a);
        let c = alloc(heap); // `a` again, or a slot of a new segment
        assert_ne!(c, b);
        let second = push(c);
        join([first, second]);
        b.free_local(heap);
        end(heap);
        pool.close();
    });
}

/// One slot of a segment is freed by its owner while another thread frees the other. Catches: a segment that
/// counts as empty while a slot is on its remote list.
#[test]
fn local_free_against_remote_free() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let pusher = push(a);
        b.free_local(heap);
        with_reclaims(|reclaims| handover::trim(heap, reclaims));
        churn(heap);
        pusher.join().unwrap();
        end(heap);
        pool.close();
    });
}

/// Two threads fully free a segment that will be purged, one slot each, while the owner ends. Catches: a
/// purge begun by a push that did not free the last slot; two purges; an owner that abandons the heap before
/// the purged segment was queued again.
#[test]
fn purge_by_one_of_two_pushers_against_thread_end() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let [a, b, c, d] = [alloc(heap), alloc(heap), alloc(heap), alloc(heap)];
        free_both_remotely(a, b);
        let pushers = [c, d].map(push);
        end(heap);
        join(pushers);
        pool.close();
    });
}
