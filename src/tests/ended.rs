//! What a thread does after its end, from destructors of other thread-local values: nothing is left for later, which never comes.

use crate::boxed::PoolBox;
use crate::heap::HeapRef;
use crate::pool::SegmentPool;
use crate::thread::tests::Thread;

type Value = [u64; 8];
type Values = Vec<PoolBox<Value>>;

/// So many values of a heap that the caller owns.
fn values_of(heap: HeapRef, count: usize) -> Values {
    let take = |_| {
        let slot = heap.bin(0).take().or_else(|| {
            assert!(heap.refill(0) || heap.refill_from_new(0));
            heap.bin(0).take()
        });
        // SAFETY: a slot for such a value, in which nothing need be valid.
        let slot = unsafe {
            PoolBox::from_non_null(slot.unwrap().cast::<core::mem::MaybeUninit<Value>>())
        };
        PoolBox::write(slot, [7; 8])
    };
    (0..count).map(take).collect()
}

/// A heap that nobody has, and in whose inbox thousands of slots wait.
fn heap_left_too_soon(pool: &SegmentPool<Value>) -> HeapRef {
    let registry = pool.registry_or_create().unwrap();
    let heap = registry.acquire(1 << 40).unwrap();
    let values = values_of(heap, 8000);
    let freeing = Thread::start();
    freeing.run(|| drop(values));
    freeing.end();
    heap.set_owner(0);
    registry.count_abandoned();
    assert!(heap.inbox().try_abandon_with_list());
    // SAFETY: the reference of the holder.
    unsafe { registry.give_up(1) };
    heap
}

/// The thread owes a heap a visit when its own end is past, and then the lists of a handle overflow, which is the last thing it
/// does.
#[test]
fn a_handle_that_overflows_leaves_no_visit_owed() {
    let pool = SegmentPool::<Value>::new();
    let late = Thread::start();
    let (handle, values) = late.run(|| {
        let handle = pool.local();
        let values: Values = (0..600).map(|n| handle.alloc([n; 8])).collect();
        (handle, values)
    });
    let heap = heap_left_too_soon(&pool);
    late.end();
    late.owe_a_visit(heap);
    late.run(|| drop(values));
    assert_eq!(late.referenced().count(), 0, "it was made, to the end");
    late.run(|| drop(handle));
    late.run(|| drop(pool));
}
