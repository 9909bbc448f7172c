//! What the documentation promises of types and of memory, checked where a compiler or a counter can check it.

#![cfg(not(segment_pool_loom))]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, RwLockReadGuard};

use segment_pool::{AllocError, PoolBox, SegmentPool, Stats, Validation};
use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};

// --- Sizes and niches -----------------------------------------------------------------------------------------------

assert_eq_size!(PoolBox<()>, PoolBox<u8>, PoolBox<[u64; 1000]>, usize);
assert_eq_size!(Option<PoolBox<()>>, Option<PoolBox<[u8; 1 << 20]>>, usize);
assert_eq_size!(PoolBox<[u8]>, Option<PoolBox<[u8]>>, Box<[u8]>);
assert_eq_size!(PoolBox<str>, Option<PoolBox<str>>, Box<str>);
assert_eq_size!(
    PoolBox<dyn Debug>,
    Option<PoolBox<dyn Debug>>,
    Box<dyn Debug>
);

#[test]
fn none_is_null() {
    assert_eq!(size_of::<Option<PoolBox<u8>>>(), size_of::<usize>());
    // SAFETY: both are a nullable pointer's size, which the assertion above says.
    let bits = unsafe { std::mem::transmute::<Option<PoolBox<u8>>, usize>(None) };
    assert_eq!(bits, 0);
}

// --- Send, Sync and their like --------------------------------------------------------------------------------------

/// Neither `Send` nor `Sync`.
type Neither = PhantomData<*const u8>;

// Both.
assert_impl_all!(PoolBox<u8>: Send, Sync);
assert_impl_all!(PoolBox<Arc<Mutex<Cell<u8>>>>: Send, Sync);
assert_impl_all!(PoolBox<dyn Debug + Send + Sync>: Send, Sync);
assert_impl_all!(PoolBox<[String]>: Send, Sync);
// Sent only.
assert_impl_all!(PoolBox<Cell<u8>>: Send);
assert_not_impl_any!(PoolBox<Cell<u8>>: Sync);
assert_impl_all!(PoolBox<RefCell<u8>>: Send);
assert_not_impl_any!(PoolBox<RefCell<u8>>: Sync);
assert_impl_all!(PoolBox<dyn Debug + Send>: Send);
assert_not_impl_any!(PoolBox<dyn Debug + Send>: Sync);
// Shared only.
assert_impl_all!(PoolBox<MutexGuard<'static, u8>>: Sync);
assert_not_impl_any!(PoolBox<MutexGuard<'static, u8>>: Send);
assert_impl_all!(PoolBox<RwLockReadGuard<'static, u8>>: Sync);
assert_not_impl_any!(PoolBox<RwLockReadGuard<'static, u8>>: Send);
assert_impl_all!(PoolBox<dyn Debug + Sync>: Sync);
assert_not_impl_any!(PoolBox<dyn Debug + Sync>: Send);
// Neither.
assert_not_impl_any!(PoolBox<Rc<u8>>: Send, Sync);
assert_not_impl_any!(PoolBox<Neither>: Send, Sync);
assert_not_impl_any!(PoolBox<&'static Cell<u8>>: Send, Sync);
assert_not_impl_any!(PoolBox<dyn Debug>: Send, Sync);
// A pool holds no values, so it is both whatever they are.
assert_impl_all!(SegmentPool<Neither>: Send, Sync);
assert_impl_all!(SegmentPool<Rc<u8>>: Send, Sync, Unpin, Default, Debug);
// The rest.
assert_impl_all!(PoolBox<std::marker::PhantomPinned>: Unpin);
assert_impl_all!(PoolBox<u8>: UnwindSafe, RefUnwindSafe, Debug, Display);
assert_not_impl_any!(PoolBox<u8>: Copy);
assert_impl_all!(AllocError<Vec<u8>>: Error, Send, Sync, Clone);
assert_not_impl_any!(AllocError<Neither>: Send, Sync);
assert_impl_all!(Stats: Copy, Debug, Display, Default, Send, Sync);
assert_impl_all!(Validation: Copy, Debug, Display, Default, Send, Sync);

// --- Variance and lifetimes -----------------------------------------------------------------------------------------

/// Covariant: it compiles.
fn shrink<'short>(boxed: PoolBox<&'static str>) -> PoolBox<&'short str> {
    boxed
}

#[test]
fn a_box_may_hold_what_lives_shorter() {
    let local = String::from("local");
    let mut shorter = shrink(PoolBox::new("static"));
    assert_eq!(*shorter, "static");
    *shorter = &local;
    assert_eq!(*shorter, "local");
}

#[test]
fn a_box_and_a_pool_may_hold_references() {
    let numbers = vec![1, 2, 3];
    let pool = SegmentPool::new();
    let boxes = [PoolBox::new(&numbers), pool.alloc(&numbers)];
    let there = std::thread::scope(|scope| {
        let sums = || boxes.iter().map(|b| b.iter().sum::<i32>()).sum::<i32>();
        scope.spawn(sums).join().unwrap()
    });
    assert_eq!(there, 12);
}

#[test]
fn a_pool_may_be_a_constant_or_a_static() {
    const fn make() -> SegmentPool<u8> {
        SegmentPool::new()
    }
    static POOL: SegmentPool<u8> = make();
    assert_eq!(POOL.stats(), Stats::default());
    assert_eq!(*POOL.alloc(3), 3);
    assert_eq!(POOL.stats().allocations, 1);
}

// --- Overhead -------------------------------------------------------------------------------------------------------

/// The share of a segment that holds no slots: its header and its tail, in a hundredth of a per cent.
fn overhead<const BYTES: usize>() -> usize {
    let pool = SegmentPool::new();
    let _in_use = pool.alloc([0_u8; BYTES]);
    let (stats, validation) = (pool.stats(), pool.validate());
    assert_eq!((stats.segments, validation.segments), (1, 1));
    let segment = stats.segment_bytes as usize;
    let slots = validation.capacity * BYTES; // whole units, so a stride is a size
    assert!(slots < segment);
    (segment - slots) * 10_000 / segment
}

/// The overhead of sizes that are as many units.
macro_rules! overheads {
    ($unit:literal: $($units:literal)*) => {
        [$(($unit * $units, overhead::<{ $unit * $units }>())),*]
    };
}

/// One per cent. One or two sizes whose slots divide a segment badly exceed it by less than a quarter of a per cent.
#[test]
#[cfg_attr(
    feature = "hardened",
    ignore = "there each slot has a canary, and a byte elsewhere"
)]
fn small_slots_lose_at_most_a_hundredth_to_header_and_tail() {
    let overheads = overheads!(8:
        2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
    );
    let above: Vec<_> = overheads.iter().filter(|(_, lost)| *lost > 100).collect();
    println!("more than 1 %, in 1/100 %: {above:?}");
    assert!(above.len() <= 2, "{above:?}");
    assert!(above.iter().all(|(_, lost)| *lost < 125), "{above:?}");
}

#[test]
#[cfg_attr(
    feature = "hardened",
    ignore = "there each slot has a canary, and a byte elsewhere"
)]
fn large_slots_lose_at_most_a_twenty_fifth_to_header_and_tail() {
    let of_64 = overheads!(64: 9 10 11 12 13 14 15 16 17 18 20 24 28 32 40 48 56 63 64 65 80 96 112 127 128);
    let of_1024 =
        overheads!(1024: 9 10 11 12 13 14 15 16 17 18 20 22 24 26 28 31 32 40 48 56 63 64);
    for (size, lost) in of_64.into_iter().chain(of_1024) {
        assert!(lost <= 400, "{size} bytes: {lost} hundredths of a per cent");
    }
}

#[test]
#[cfg_attr(
    feature = "hardened",
    ignore = "there each slot has a canary, and a byte elsewhere"
)]
fn the_largest_slots_lose_at_most_a_twenty_fifth_too() {
    let thread = std::thread::Builder::new().stack_size(32 << 20);
    let overheads = thread.spawn(|| overheads!(1024: 65 80 96 100 112 120 127 128));
    for (size, lost) in overheads.unwrap().join().unwrap() {
        assert!(lost <= 400, "{size} bytes: {lost} hundredths of a per cent");
    }
}

/// Also in the default pool, whose heap another test may have used before, so it may not be at the start of a segment.
#[test]
#[cfg_attr(
    feature = "hardened",
    ignore = "there each slot has a canary, and a byte elsewhere"
)]
fn no_slot_has_a_header() {
    let boxes: Vec<_> = (0..4000_usize).map(|n| PoolBox::new([n; 2])).collect();
    let mut addresses: Vec<_> = boxes.iter().map(|b| (&raw const **b).addr()).collect();
    addresses.sort_unstable();
    let neighbours = addresses.windows(2).filter(|pair| pair[1] - pair[0] == 16);
    assert!(neighbours.count() >= 3980, "16 bytes from one to the next");
}

// --- What is counted, and where values lie --------------------------------------------------------------------------

#[test]
fn a_value_with_a_dedicated_mapping_is_counted_as_large_and_one_without_size_is_not() {
    #[repr(align(8192))]
    struct Aligned(#[expect(dead_code)] u8);
    let (large, aligned, nothing) = (SegmentPool::new(), SegmentPool::new(), SegmentPool::new());
    let boxes = (
        large.alloc([0_u8; (128 << 10) + 1]),
        aligned.alloc(Aligned(7)),
        nothing.alloc(()),
    );
    for stats in [large.stats(), aligned.stats()] {
        assert_eq!((stats.large, stats.live(), stats.segments), (1, 1, 0));
        assert!(stats.large_bytes > 0);
    }
    assert_eq!(nothing.stats(), Stats::default());
    drop(boxes);
    assert_eq!((large.stats().large, aligned.stats().large), (0, 0));
}

/// The segments, 64 KiB for values of this size, that boxes lie in.
fn segments<T>(boxes: &[PoolBox<T>]) -> BTreeSet<usize> {
    boxes
        .iter()
        .map(|b| (&raw const **b).addr() >> 16)
        .collect()
}

#[test]
fn a_pools_values_share_segments_with_no_others() {
    type Value = [u64; 5];
    let pools = [SegmentPool::new(), SegmentPool::new()];
    let (mut ours, mut others, mut remote_frees) = (vec![], vec![], vec![]);
    for n in 0..5000 {
        let value: Value = [n; 5];
        ours.push(pools[0].alloc(value));
        others.push(pools[1].alloc(value));
        remote_frees.push(PoolBox::new(value));
    }
    let lie = [&ours, &others, &remote_frees].map(|boxes| segments(boxes));
    assert!(
        lie[0].is_disjoint(&lie[1]) && lie[0].is_disjoint(&lie[2]) && lie[1].is_disjoint(&lie[2])
    );
}

/// 131 bytes take 136 in their own pool, and 144 in the default pool.
#[test]
#[cfg_attr(feature = "hardened", ignore = "there each slot has a canary")]
fn a_pool_of_one_type_packs_by_eight_bytes() {
    let pool = SegmentPool::new();
    let boxes: Vec<_> = (0..400).map(|n| pool.alloc([n as u8; 131])).collect();
    let mut addresses: Vec<_> = boxes.iter().map(|b| (&raw const **b).addr()).collect();
    addresses.sort_unstable();
    assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] == 136));
}
