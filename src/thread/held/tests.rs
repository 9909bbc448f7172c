use std::collections::BTreeMap;

use super::*;
use crate::heap::registry;

/// Makes a pool and acquires a heap of it.
fn pool_with_heap() -> (RegistryRef, HeapRef) {
    let pool = RegistryRef::create(64, usize::MAX, "held").unwrap();
    (pool, pool.acquire(1).unwrap())
}

/// Leaves the heap and drops the pool.
fn end((pool, heap): (RegistryRef, HeapRef)) {
    let reclaims = crate::heap::handover::DeferredReclaims::new();
    // SAFETY: `pool_with_heap` acquired the heap.
    unsafe { crate::heap::handover::leave(heap, &reclaims) };
    // SAFETY: the handle's reference.
    unsafe { pool.release_refs(1) };
}

fn check(held: &Held, expected: &BTreeMap<usize, (RegistryRef, HeapRef)>) {
    let listed: BTreeMap<usize, HeapRef> = held
        .iter()
        .map(|heap| (registry::registry_of(heap).as_ptr().addr(), heap))
        .collect();
    assert_eq!(held.iter().count(), expected.len());
    for (addr, (pool, heap)) in expected {
        assert_eq!(held.find(*pool), Some(*heap));
        assert_eq!(listed.get(addr), Some(heap));
    }
}

#[test]
fn each_of_many_pools_is_found_while_others_come_and_go() {
    let held = Held::new();
    let mut expected = BTreeMap::new();
    let mut random = 1_u64;
    let mut gone = Vec::new();
    for step in 0..3000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let grows = step % 1000 < 500; // grows and shrinks three times
        if grows || expected.is_empty() {
            assert!(held.reserve());
            let (pool, heap) = pool_with_heap();
            held.add(heap);
            expected.insert(pool.as_ptr().addr(), (pool, heap));
        } else {
            let at = (random >> 33) as usize % expected.len();
            let addr = *expected.keys().nth(at).unwrap();
            let (pool, heap) = expected.remove(&addr).unwrap();
            held.remove(heap);
            assert_eq!(held.find(pool), None);
            gone.push((pool, heap));
        }
        if step % 50 == 0 {
            check(&held, &expected);
        }
    }
    check(&held, &expected);
    assert!(
        held.index.mapped.get().is_none(),
        "the index is small again"
    );
    assert_eq!(core::iter::from_fn(|| held.pop()).count(), expected.len());
    gone.into_iter().chain(expected.into_values()).for_each(end);
}

/// Pools whose searches begin at the same place occupy consecutive places. When one is removed, those behind it must
/// still be found.
#[test]
fn a_gap_in_a_row_of_pools_is_closed() {
    let pools: Vec<_> = (0..12).map(|_| pool_with_heap()).collect();
    for first in 0..pools.len() {
        let held = Held::new();
        let mut expected = BTreeMap::new();
        for (pool, heap) in &pools {
            assert!(held.reserve());
            held.add(*heap);
            expected.insert(pool.as_ptr().addr(), (*pool, *heap));
        }
        for (pool, heap) in pools.iter().cycle().skip(first).take(pools.len()) {
            held.remove(*heap);
            expected.remove(&pool.as_ptr().addr());
            check(&held, &expected);
        }
    }
    pools.into_iter().for_each(end);
}

#[test]
fn a_sweep_visits_every_heap_once_even_if_some_are_removed() {
    let held = Held::new();
    let pools: Vec<_> = (0..40).map(|_| pool_with_heap()).collect();
    for (_, heap) in &pools {
        assert!(held.reserve());
        held.add(*heap);
    }
    assert_eq!(held.sweep(), None, "no sweep was started");
    for round in 0..5 {
        held.begin_sweep();
        let first: Vec<_> = core::iter::from_fn(|| held.sweep())
            .take(7 * round)
            .collect();
        held.begin_sweep(); // more pools were closed
        let mut seen: Vec<_> = core::iter::from_fn(|| held.sweep()).collect();
        assert_eq!(seen.len(), held.iter().count());
        seen.sort_by_key(|heap| heap.as_ptr());
        seen.dedup();
        assert_eq!(
            seen.len(),
            held.iter().count(),
            "each once, after {first:?}"
        );
    }
    held.begin_sweep();
    let looked_at: Vec<_> = core::iter::from_fn(|| held.sweep()).take(10).collect();
    let (pool, heap) = pool_with_heap();
    assert!(held.reserve());
    held.add(heap); // at the front, where the sweep began
    let rest: Vec<_> = core::iter::from_fn(|| held.sweep()).collect();
    assert!(
        pools
            .iter()
            .all(|(_, heap)| looked_at.contains(heap) || rest.contains(heap))
    );
    held.remove(heap);
    end((pool, heap));
    held.begin_sweep();
    let mut left = 0;
    while let Some(heap) = held.sweep() {
        left += 1;
        if left % 2 == 0 {
            held.remove(heap);
        }
    }
    assert_eq!((left, held.iter().count()), (40, 20));
    while held.pop().is_some() {}
    pools.into_iter().for_each(end);
}

#[test]
fn a_thread_that_gets_no_memory_for_its_index_keeps_what_it_has() {
    let held = Held::new();
    let pools: Vec<_> = (0..most(FIRST_PLACES)).map(|_| pool_with_heap()).collect();
    for (_, heap) in &pools {
        assert!(held.reserve());
        held.add(*heap);
    }
    assert!(!os::refusal::while_refused(|| held.reserve()));
    assert!(
        pools
            .iter()
            .all(|(pool, heap)| held.find(*pool) == Some(*heap))
    );
    assert!(held.reserve());
    while held.pop().is_some() {}
    pools.into_iter().for_each(end);
}

/// The index of a thread that ends must not stay mapped, whatever its size was, even if the system has no memory for a
/// smaller one.
#[test]
fn an_index_of_any_size_is_unmapped_when_it_is_empty() {
    let pools: Vec<_> = (0..200).map(|_| pool_with_heap()).collect();
    let before = os::refusal::mappings();
    for most in 1..=pools.len() {
        let held = Held::new();
        for (_, heap) in &pools[..most] {
            assert!(held.reserve());
            held.add(*heap);
        }
        let pop_all = || while held.pop().is_some() {};
        if most % 2 == 0 {
            pop_all();
        } else {
            os::refusal::while_refused(pop_all);
        }
        assert_eq!(os::refusal::mappings(), before, "after {most} heaps");
    }
    pools.into_iter().for_each(end);
}
