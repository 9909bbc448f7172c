//! Unmapping fails, at each place in the source that unmaps something, during the life of each request.
//!
//! Such a range is kept. The same request, made again, must be served from kept ranges. When unmapping works again, no
//! range stays kept.

use std::collections::BTreeSet;

use super::in_own_process;
use super::refusal::{Place, Request, World, place_of, places_in_source, requests};
use crate::boxed::PoolBox;
use crate::ground::error::AllocErrorKind;
use crate::ground::layout::Span;
use crate::ground::os::refusal::{interrupt_after, once_kept, refused_after, while_kept};
use crate::ground::os::{kept_bytes, unmap_kept};
use crate::heap::registry;
use crate::idle;
use crate::pool::SegmentPool;
use crate::thread::tests::Thread;

/// A segment of such values takes a whole arena.
type Large = [u8; 100_000];

/// Makes a request on a new thread with no memory, and releases everything.
fn live(request: Request) {
    let world = World::new();
    let thread = Thread::start();
    let answer = thread.run(|| request(&world));
    assert!(answer.is_ok(), "the system has memory");
    thread.run(|| drop((answer, world)));
    thread.end();
    registry::trim_arenas();
    registry::tests::start_anew();
}

/// The address space of the process in bytes, if the system reports it and AddressSanitizer does not reserve some.
fn address_space() -> usize {
    if !cfg!(all(target_os = "linux", not(asan_slots))) {
        return 0;
    }
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').next().unwrap().parse().unwrap();
    pages * crate::ground::os::page_bytes()
}

#[test]
fn kept_ranges_are_reused_and_finally_unmapped() {
    let name = "tests::kept::kept_ranges_are_reused_and_finally_unmapped";
    in_own_process(name, || {
        let before = address_space();
        for (name, request) in requests() {
            while_kept(|| live(request));
            let kept = kept_bytes();
            assert!(kept > 0, "{name} unmaps something");
            assert_eq!(crate::memory().kept_bytes, kept as u64);
            while_kept(|| live(request));
            assert_eq!(kept_bytes(), kept, "{name} is served from kept ranges");
            unmap_kept();
            assert_eq!(kept_bytes(), 0, "{name}");
        }
        assert!(address_space() < before + (2 << 20), "nothing is lost");
    });
}

#[test]
fn each_unmapping_retries_two_kept_ranges() {
    let name = "tests::kept::each_unmapping_retries_two_kept_ranges";
    in_own_process(name, || {
        let [last, values @ ..] = [(); 6].map(|()| PoolBox::<[u8; 140_000]>::new_uninit());
        while_kept(|| drop(values));
        let each = kept_bytes() / 5;
        assert!(each >= 140_000);
        drop(last);
        assert_eq!(kept_bytes(), 3 * each);
        drop(PoolBox::<[u8; 140_001]>::new_uninit()); // this takes one of them, and unmaps it
        assert_eq!(kept_bytes(), 0);
    });
}

/// Makes each unmapping of `work` fail in turn.
fn keep_each(places: &mut BTreeSet<Place>, work: impl Fn()) {
    for unmapped in 0.. {
        let ((), place) = once_kept(unmapped, &work);
        unmap_kept();
        assert_eq!(kept_bytes(), 0, "{place:?} was kept");
        match place {
            Some(place) => _ = places.insert(place_of(place)),
            None => return,
        }
    }
}

/// The table of arenas has room for 128 arenas of a span, and none for this one. The arena is mapped, and then either
/// there is no memory for a larger table, or another thread makes one first.
fn with_a_full_table(work: impl FnOnce(&SegmentPool<Large>)) {
    let pool = SegmentPool::<Large>::new();
    let thread = Thread::start();
    thread.run(|| {
        let in_an_arena = Span::Large.bytes() / size_of::<Large>();
        pool.reserve(128 * in_an_arena).unwrap();
        work(&pool);
        drop(pool);
    });
    thread.end();
    registry::trim_arenas();
    registry::tests::start_anew();
}

fn fail_a_larger_table(pool: &SegmentPool<Large>) {
    let (reserved, failed) = refused_after(1, || pool.reserve(1));
    assert_eq!(reserved, Err(AllocErrorKind::OutOfMemory));
    assert!(failed.is_some());
}

fn let_another_thread_make_the_table_larger(pool: &SegmentPool<Large>) {
    let other = || drop(PoolBox::<Large>::new_uninit());
    interrupt_after(1, move || std::thread::spawn(other).join().unwrap());
    pool.reserve(1).unwrap();
}

/// With this many pools, a thread's index of its heaps uses a dedicated mapping until the thread idles.
fn use_many_pools() {
    let pools: Vec<_> = (0..30).map(|_| SegmentPool::<u64>::new()).collect();
    let thread = Thread::start();
    thread.run(|| {
        pools.iter().for_each(|pool| drop(pool.alloc(7)));
        idle();
        drop(pools);
    });
    thread.end();
}

/// Cuts mappings. The gaps of the address space, which differ from process to process, have room for a few mappings that
/// are aligned as they come. When those are full the mappings are neighbours, and the odd pages between them
/// leave most of them unaligned. No mapping is large enough for the system to align it for huge pages.
fn cut_mappings() {
    const ALIGN: usize = 1 << 19;
    #[repr(align(524_288))]
    struct Aligned(#[expect(dead_code, reason = "only its layout counts")] u8);

    let pair = |_| {
        let aligned = PoolBox::<Aligned>::new_uninit();
        (aligned, PoolBox::<[u8; 2 * ALIGN + 140_000]>::new_uninit())
    };
    drop((0..16).map(pair).collect::<Vec<_>>());
}

#[test]
fn every_unmapping_may_fail() {
    let name = "tests::kept::every_unmapping_may_fail";
    in_own_process(name, || {
        let mut places = BTreeSet::new();
        let before = address_space();
        for (_, request) in requests() {
            keep_each(&mut places, || live(request));
        }
        keep_each(&mut places, cut_mappings);
        assert!(address_space() < before + (2 << 20), "nothing is lost");
        keep_each(&mut places, use_many_pools);
        keep_each(&mut places, || with_a_full_table(fail_a_larger_table));
        keep_each(&mut places, || {
            with_a_full_table(let_another_thread_make_the_table_larger);
        });
        println!("kept: {places:?}");
        let mut unmaps = places_in_source("src", &["os::unmap(", "os::may_map("]);
        unmaps.extend(places_in_source("src/ground/os", &["unsafe { unmap("]));
        let missed: Vec<_> = unmaps.difference(&places).collect();
        assert!(missed.is_empty(), "never kept: {missed:?}");
        assert!(unmaps.len() > 8);
    });
}
