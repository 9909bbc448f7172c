//! A thread's operations on several heaps: it idles and resumes, caches remote slots, defers reclaims,
//! exchanges boxes.

use loom::thread;

use super::{
    Pool, alloc, churn, close, end, free_all_remotely, join, model, park_for_now, push,
    readopt_and_end, with_reclaims,
};
use crate::heap::handover::{self, DeferredReclaims};
use crate::heap::remote_buffer::RemoteBuffer;

/// A pushing thread abandons a heap while another's segment is pending there, in a pool that no other thread
/// will visit any more. It visits the heap again. Catches: a forgotten deferral; a leaked reference of a
/// deferral.
#[test]
fn an_unfinished_visit_is_repeated() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b, c) = (alloc(heap), alloc(heap), alloc(heap));
        b.free_local(heap);
        end(heap);
        close(pool.registry);
        join([a, c].map(push));
        pool.check_all_freed();
    });
}

/// A deferred reclaim is due while another thread adopts the heap. Catches: a visit to a heap that another
/// thread owns; a deferral that is dropped although no thread serves the heap.
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

/// A thread caches a slot of another's segment and ends, while the owner ends too. The slot is returned to
/// its segment. Catches: a cached remote slot returned to a segment of another owner, or dropped.
#[test]
fn cached_remote_slot_is_returned_when_both_threads_end() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let mine = pool.acquire(2);
        let caching = thread::spawn(move || {
            churn(mine);
            a.free_local(mine); // as with a pool-wide cache scope
            end(mine);
        });
        b.free_local(heap);
        end(heap);
        caching.join().unwrap();
        pool.close();
    });
}

/// The caching thread hands a cached remote slot out again, and a third thread frees it while the owner ends.
/// Catches: a slot that counts as one of the caching thread's segments.
#[test]
fn cached_remote_slot_is_reused_and_freed_by_another_thread() {
    model(|| {
        let pool = Pool::new();
        let [heap, mine] = [1, 2].map(|token| pool.acquire(token));
        let a = alloc(heap);
        churn(mine);
        let owner = thread::spawn(move || end(heap));
        a.free_local(mine); // as with a pool-wide cache scope
        let again = alloc(mine);
        assert_eq!(again, a);
        let pusher = push(again);
        end(mine);
        join([owner, pusher]);
        pool.close();
    });
}

/// An idle thread resumes while a box of its heap is dropped. It adopts its heap again, or the pushing thread
/// owns it temporarily. Catches: an adoption that misses the writes of the pushing thread; a reference
/// released with the heap.
#[test]
fn parked_heap_readopted_against_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        b.free_local(heap);
        let pusher = push(a);
        park_for_now(heap);
        readopt_and_end(pool, heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// An idle thread resumes while another one adopts its heap. Catches: a parked heap with two owners; a thread
/// that uses a heap it lost.
#[test]
fn parked_heap_readopted_against_adopt() {
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
        readopt_and_end(pool, heap);
        other.join().unwrap();
        pool.close();
    });
}

/// The pool is dropped while an idle thread resumes. Catches: a pool freed while a thread has a reference for
/// a parked heap; a parked heap that no thread collects and releases.
#[test]
fn parked_heap_readopted_against_pool_drop() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        churn(heap);
        park_for_now(heap);
        let dropper = thread::spawn(move || close(pool.registry));
        readopt_and_end(pool, heap);
        dropper.join().unwrap();
        pool.check_all_freed();
    });
}

/// Two threads free each other's boxes and end. Catches: a thread that serves a heap after it abandoned its
/// own; two heaps that wait for each other.
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

/// A thread alternates frees of boxes of two segments, so that its remote-free buffer sends small batches,
/// while the owner collects and ends. Catches: a displaced batch that is dropped, or sent to the segment that
/// displaces it.
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

/// A thread adopts the heap of a segment for which it has an open batch, while another thread pushes there;
/// then it fills the batch. Catches: a batch that its sender, now the owner, does not serve.
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
            let adopted = pool.acquire(2); // unless the pushing thread owns it
            b.free_into(&remote_buffer, reclaims);
            end(adopted);
        });
        pusher.join().unwrap();
        pool.close();
    });
}

/// A thread that has ended allocates once more from a heap that it adopts for this, while a box of that heap
/// is dropped. Catches: an adopted heap that is left with its reference.
#[test]
fn late_allocation_adopts_a_heap_against_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let a = alloc(heap);
        end(heap);
        let pusher = push(a);
        let adopted = pool.acquire(2);
        let late = alloc(adopted);
        park_for_now(adopted);
        unsafe { pool.registry.release_refs(1) };
        late.free_remotely();
        pusher.join().unwrap();
        with_reclaims(|reclaims| handover::trim_abandoned(pool.registry, reclaims));
        pool.close();
    });
}

/// A thread past its end returns a cached remote slot to a segment of an abandoned heap, while another thread
/// pushes there. It defers nothing. Catches: a deferral of a thread that may have no later step.
#[test]
fn a_thread_past_its_end_defers_nothing() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let [a, b, c] = [alloc(heap), alloc(heap), alloc(heap)];
        b.free_local(heap);
        let mine = pool.acquire(2);
        churn(mine);
        end(heap);
        let pusher = push(c);
        a.free_local(mine); // as with a pool-wide cache scope
        let reclaims = DeferredReclaims::new();
        reclaims.close();
        handover::trim(mine, &reclaims); // as `spill` and `collect` do, it reroutes slots of other heaps
        assert!(reclaims.is_empty());
        end(mine);
        pusher.join().unwrap();
        pool.close();
    });
}
