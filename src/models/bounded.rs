//! Bounded pools: a bound refuses nobody while a slot is free, and what is freed is found, or goes with the pool.

use loom::thread;

use super::{Pool, STRIDE, Value, close, join, model, with_debts};
use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::bounded;
use crate::heap::handover;
use crate::memory::segment::SegmentRef;
use crate::slot;

/// For one segment, of two slots.
fn pool() -> Pool {
    Pool::with_limit(1)
}

fn take(pool: Pool) -> Option<Value> {
    let slot = with_debts(|debts| bounded::take(pool.registry, debts))?;
    slot::erase(slot);
    Some(Value(slot))
}

fn give(value: Value) {
    slot::erase(value.0);
    let segment = value.segment();
    let offset = SegmentRef::offset_of(value.0, Span::of(STRIDE));
    let heap = unsafe { HeapRef::from_id(segment.heap_to_enter()) };
    with_debts(|debts| unsafe { bounded::give(heap, segment, value.0, offset, debts) });
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
/// because the other thread is about to put the segment into the inbox.
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
                with_debts(|debts| match pool.registry.heaps().next().unwrap() {
                    _ if trims => handover::trim_abandoned(pool.registry, debts),
                    heap if pool.registry.borrow_one(heap) => handover::park(heap, 0, debts),
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
