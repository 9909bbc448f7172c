//! What a thread does with several heaps: idles and comes back, keeps slots, owes visits, exchanges boxes.

use loom::thread;

use super::{
    Pool, alloc, churn, close, end, free_all_remotely, join, model, park_for_now, push,
    take_back_and_end, with_reclaims,
};
use crate::heap::handover::{self, DeferredReclaims};
use crate::heap::remote_buffer::RemoteBuffer;

/// A pusher leaves a heap while another's segment waits there, in a pool that nobody will look at any more: it comes
/// back. Catches: a debt forgotten, or its reference.
#[test]
fn an_unfinished_visit_is_made_up_for() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b, c) = (alloc(heap), alloc(heap), alloc(heap));
        b.free_local(heap);
        end(heap);
        close(pool.registry);
        join([a, c].map(push));
        pool.check_ledger();
    });
}

/// A debt is due while another thread adopts the heap. Catches: a visit to a heap that another thread owns, a debt
/// that is given up although nobody serves.
#[test]
fn deferred_reclaim_against_adopt() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b, c) = (alloc(heap), alloc(heap), alloc(heap));
        b.free_local(heap);
        end(heap);
        let pushers = [a, c].map(push);
        let adopted = pool.acquire(2);
        end(adopted);
        join(pushers);
        pool.close();
    });
}

/// A thread keeps a slot of another's segment in its own list and ends, while the owner ends, too: the slot goes home.
/// Catches: a foreign slot brought home to a segment of another owner, or dropped.
#[test]
fn kept_slot_goes_home_when_both_end() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let mine = pool.acquire(2);
        let keeper = thread::spawn(move || {
            churn(mine);
            a.free_local(mine); // what a pool-wide cache scope does
            end(mine);
        });
        b.free_local(heap);
        end(heap);
        keeper.join().unwrap();
        pool.close();
    });
}

/// A kept slot is handed out again, by the keeper, and freed by a third thread while the owner ends. Catches: a slot
/// that counts as the keeper's segment's.
#[test]
fn kept_slot_is_reused_and_freed_elsewhere() {
    model(|| {
        let pool = Pool::new();
        let [heap, mine] = [1, 2].map(|token| pool.acquire(token));
        let a = alloc(heap);
        churn(mine);
        let owner = thread::spawn(move || end(heap));
        a.free_local(mine); // what a pool-wide cache scope does
        let again = alloc(mine);
        assert_eq!(again, a);
        let pusher = push(again);
        end(mine);
        join([owner, pusher]);
        pool.close();
    });
}

/// An idle thread comes back while a box of its heap is dropped: it has its heap again, or the pusher has it for a
/// moment. Catches: a heap taken back without what the pusher did, a reference given up with the heap.
#[test]
fn parked_heap_taken_back_against_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        b.free_local(heap);
        let pusher = push(a);
        park_for_now(heap);
        take_back_and_end(pool, heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// An idle thread comes back while another one adopts its heap. Catches: a parked heap with two owners, a thread that
/// relies on a heap it lost.
#[test]
fn parked_heap_taken_back_against_adopt() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        churn(heap);
        let other = thread::spawn(move || {
            let heap = pool.acquire(2);
            churn(heap);
            end(heap);
        });
        park_for_now(heap);
        take_back_and_end(pool, heap);
        other.join().unwrap();
        pool.close();
    });
}

/// The pool is dropped while an idle thread comes back. Catches: a pool freed while a thread keeps a reference for a
/// parked heap, a parked heap that nobody collects and releases.
#[test]
fn parked_heap_taken_back_against_pool_drop() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        churn(heap);
        park_for_now(heap);
        let dropper = thread::spawn(move || close(pool.registry));
        take_back_and_end(pool, heap);
        dropper.join().unwrap();
        pool.check_ledger();
    });
}

/// Two threads free each other's boxes and end. Catches: a thread that serves a heap after it left its own, two heaps
/// that wait for each other.
#[test]
fn boxes_exchanged_by_two_threads_that_end() {
    model(|| {
        let pool = Pool::new();
        let [mine, theirs] = [1, 2].map(|token| pool.acquire(token));
        let (a, b) = (alloc(mine), alloc(theirs));
        let other = thread::spawn(move || {
            a.free_remotely();
            end(theirs);
        });
        b.free_remotely();
        end(mine);
        other.join().unwrap();
        pool.close();
    });
}

/// A thread frees boxes of two segments by turns, so that its remote-free buffer sends thin batches, while the owner collects and
/// ends. Catches: a displaced batch that is dropped, or sent to the segment that displaces it.
#[test]
fn batch_displaced_from_the_remote_buffer() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let [a, b, c] = [alloc(heap), alloc(heap), alloc(heap)];
        let pusher = thread::spawn(move || free_all_remotely([a, c, b]));
        churn(heap);
        end(heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// A thread adopts the heap for whose segment it has a batch open, while another pushes there, and fills the batch.
/// Catches: a batch that its sender, now the owner, leaves unserved.
#[test]
fn batch_left_open_while_its_heap_is_adopted() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let [a, b, c] = [alloc(heap), alloc(heap), alloc(heap)];
        end(heap);
        let pusher = push(c);
        let remote_buffer = RemoteBuffer::new();
        with_reclaims(|reclaims| {
            a.free_into(&remote_buffer, reclaims);
            let adopted = pool.acquire(2); // unless the pusher has it
            b.free_into(&remote_buffer, reclaims);
            end(adopted);
        });
        pusher.join().unwrap();
        pool.close();
    });
}

/// A thread that has ended allocates once more, by a heap that it borrows, while a box of that heap is dropped.
/// Catches: a borrowed heap that is left with its reference.
#[test]
fn late_allocation_borrows_a_heap_against_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let a = alloc(heap);
        end(heap);
        let pusher = push(a);
        let borrowed = pool.acquire(2);
        let late = alloc(borrowed);
        park_for_now(borrowed);
        unsafe { pool.registry.release_refs(1) };
        late.free_remotely();
        pusher.join().unwrap();
        with_reclaims(|reclaims| handover::trim_abandoned(pool.registry, reclaims));
        pool.close();
    });
}

/// A thread past its end brings a kept slot home to an abandoned heap, while another pushes there: it owes nothing after.
/// Catches: a debt of a thread that need take no further step.
#[test]
fn a_thread_past_its_end_owes_nothing() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let [a, b, c] = [alloc(heap), alloc(heap), alloc(heap)];
        b.free_local(heap);
        let mine = pool.acquire(2);
        churn(mine);
        end(heap);
        let pusher = push(c);
        a.free_local(mine); // what a pool-wide cache scope does
        let reclaims = DeferredReclaims::new();
        reclaims.close();
        handover::trim(mine, &reclaims); // as `spill` and `collect` do, it passes on what is another's
        assert!(reclaims.is_empty());
        end(mine);
        pusher.join().unwrap();
        pool.close();
    });
}
