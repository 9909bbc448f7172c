//! Any type can be stored: whatever its size and alignment, and in whichever pool, a value keeps its contents and its
//! address, does not overlap others, and is dropped once.

#![cfg(not(segment_pool_loom))]

mod common;

use std::any::Any;
use std::cell::Cell;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{address, on_a_large_stack};
use segment_pool::{PoolBox, SegmentPool};

/// Forgets an array's length.
fn slice<T, const N: usize>(boxed: PoolBox<[T; N]>) -> PoolBox<[T]> {
    let pointer: *mut [T; N] = PoolBox::into_raw(boxed);
    // SAFETY: coerced from the pointer of a box, used once.
    unsafe { PoolBox::from_raw(pointer) }
}

/// Panics unless every value is filled with its own number, and no two share a byte.
fn assert_whole_and_apart(values: &[&[u8]]) {
    for (number, &bytes) in values.iter().enumerate() {
        let whole = bytes == vec![number as u8; bytes.len()];
        assert!(whole, "value {number} of {} bytes changed", bytes.len());
    }
    let mut ranges: Vec<_> = values.iter().map(|bytes| bytes.as_ptr_range()).collect();
    ranges.sort_by_key(|range| range.start);
    for pair in ranges.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:?} overlap");
    }
}

// --- Sizes ----------------------------------------------------------------------------------------------------------

/// Values of all sizes at once, each filled with its number.
#[derive(Default)]
struct Crowd(Vec<PoolBox<[u8]>>);

impl Crowd {
    /// Three values of this size from the default pool, and three from one that is dropped before them.
    fn add<const BYTES: usize>(&mut self) {
        let pool = SegmentPool::new();
        for _ in 0..3 {
            let fill = self.0.len() as u8;
            self.0.push(slice(PoolBox::new([fill; BYTES])));
            self.0.push(slice(pool.alloc([fill + 1; BYTES])));
        }
    }

    /// Adds values of three sizes, of which a class may hold the first two.
    fn add_around<const BELOW: usize, const SIZE: usize, const ABOVE: usize>(&mut self) {
        self.add::<BELOW>();
        self.add::<SIZE>();
        self.add::<ABOVE>();
    }

    fn assert_whole_and_apart(&self) {
        let values: Vec<&[u8]> = self.0.iter().map(|boxed| &**boxed).collect();
        assert_whole_and_apart(&values);
    }

    /// Moves the boxes and drops every other one.
    fn thin_out(self) -> Self {
        let addresses: Vec<_> = self.0.iter().map(|boxed| boxed.as_ptr()).collect();
        let moved: Vec<_> = self.0.into_iter().map(Some).collect();
        let still = moved.iter().flatten().map(|boxed| boxed.as_ptr());
        assert!(still.eq(addresses), "values stay where they are");
        let odd = moved.into_iter().skip(1).step_by(2);
        Self(odd.flatten().collect())
    }

    fn assert_odd_ones_whole(&self) {
        for (index, bytes) in self.0.iter().enumerate() {
            let fill = (2 * index + 1) as u8;
            assert!(bytes.iter().all(|&byte| byte == fill), "value {index}");
        }
    }
}

macro_rules! ten_sizes {
    ($crowd:ident, $($from:literal)*) => {$(
        $crowd.add::<{ $from + 1 }>();
        $crowd.add::<{ $from + 2 }>();
        $crowd.add::<{ $from + 3 }>();
        $crowd.add::<{ $from + 4 }>();
        $crowd.add::<{ $from + 5 }>();
        $crowd.add::<{ $from + 6 }>();
        $crowd.add::<{ $from + 7 }>();
        $crowd.add::<{ $from + 8 }>();
        $crowd.add::<{ $from + 9 }>();
        $crowd.add::<{ $from + 10 }>();
    )*};
}

#[test]
fn every_small_size_lives_beside_every_other() {
    let mut crowd = Crowd::default();
    ten_sizes!(crowd, 0 10 20 30 40 50 60 70 80 90);
    ten_sizes!(crowd, 100 110 120 130 140 150 160 170 180 190);
    ten_sizes!(crowd, 200 210 220 230 240 250 260 270 280 290);
    crowd.assert_whole_and_apart();
    crowd.thin_out().assert_odd_ones_whole();
}

macro_rules! eighths_of_doublings {
    ($crowd:ident, $($doubling:literal)*) => {$(
        eighths_of_doublings!(@ $crowd, $doubling, 9 10 11 12 13 14 15 16);
    )*};
    (@ $crowd:ident, $doubling:literal, $($eighth:literal)*) => {$(
        $crowd.add_around::<
            { ($eighth << ($doubling - 3)) - 1 },
            { $eighth << ($doubling - 3) },
            { ($eighth << ($doubling - 3)) + 1 },
        >();
    )*};
}

#[test]
fn sizes_around_the_borders_of_classes_live_beside_each_other() {
    on_a_large_stack(|| {
        let mut crowd = Crowd::default();
        eighths_of_doublings!(crowd, 8 9 10 11 12 13 14 15 16);
        crowd.assert_whole_and_apart();
        crowd.thin_out().assert_odd_ones_whole();
    });
}

#[test]
fn sizes_beyond_every_class_and_arena_live_beside_each_other() {
    on_a_large_stack(|| {
        let mut crowd = Crowd::default();
        crowd.add::<8193>();
        crowd.add::<{ (128 << 10) + 1 }>();
        crowd.add::<1_000_000>();
        crowd.add_around::<{ (4 << 20) - 1 }, { 4 << 20 }, { (4 << 20) + 1 }>();
        crowd.add::<5_000_001>();
        crowd.assert_whole_and_apart();
        crowd.thin_out().assert_odd_ones_whole();
    });
}

// --- Alignments -----------------------------------------------------------------------------------------------------

/// A type whose values are filled with one byte.
trait Filled: Sized {
    fn filled(fill: u8) -> Self;
    fn bytes(&self) -> &[u8];
}

fn assert_aligned<T: Filled>() {
    let pool = SegmentPool::new();
    let pair = |fill| {
        let default = PoolBox::new(T::filled(fill));
        [default, pool.alloc(T::filled(fill + 1))]
    };
    let boxes: Vec<PoolBox<T>> = (0..16).step_by(2).flat_map(pair).collect();
    for boxed in &boxes {
        assert_eq!(
            address(&**boxed) % align_of::<T>(),
            0,
            "{}",
            align_of::<T>()
        );
    }
    let values: Vec<&[u8]> = boxes.iter().map(|boxed| boxed.bytes()).collect();
    assert_whole_and_apart(&values);
    drop(boxes);
    assert_eq!(pool.validate().live, 0);
}

/// Checks types of an alignment: of no size, as large as aligned, and larger.
macro_rules! assert_alignments {
    ($($align:literal)*) => {$({
        #[repr(C, align($align))]
        struct Value<const BYTES: usize>([u8; BYTES]);

        impl<const BYTES: usize> Filled for Value<BYTES> {
            fn filled(fill: u8) -> Self {
                Self([fill; BYTES])
            }

            fn bytes(&self) -> &[u8] {
                &self.0
            }
        }

        assert_eq!(align_of::<Value<0>>(), $align);
        assert_aligned::<Value<0>>();
        assert_aligned::<Value<1>>();
        assert_aligned::<Value<{ $align + 1 }>>();
        assert_aligned::<Value<{ 5 * $align }>>();
    })*};
}

#[test]
fn alignments_up_to_a_page_are_kept() {
    assert_alignments!(1 2 4 8 16 32 64 128 256 512 1024 2048 4096);
}

#[test]
fn alignments_beyond_a_page_are_kept() {
    on_a_large_stack(|| {
        assert_alignments!(8192 16384 32768 65536 131072);
    });
}

// --- No size --------------------------------------------------------------------------------------------------------

thread_local! {
    static DROPPED: Cell<usize> = const { Cell::new(0) };
}

struct Nothing;

impl Drop for Nothing {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

#[repr(align(1024))]
struct WideNothing {
    _nothing: Nothing,
}

fn assert_takes_no_memory<T: 'static>(make: fn() -> T) {
    let pool = SegmentPool::new();
    let mut boxes: Vec<_> = (0..100).map(|_| pool.alloc(make())).collect();
    boxes.extend((0..100).map(|_| PoolBox::new(make())));
    assert_eq!(pool.stats(), SegmentPool::<T>::new().stats());
    let aligned = boxes.iter().all(|b| address(&**b) % align_of::<T>() == 0);
    assert!(aligned);
    assert_eq!(DROPPED.replace(0), 0);
    drop(boxes);
    assert_eq!(DROPPED.replace(0), 200);
    let inner = PoolBox::into_inner(PoolBox::new(make()));
    assert_eq!(DROPPED.get(), 0, "taken out, not dropped");
    drop(inner);
    assert_eq!(DROPPED.replace(0), 1);
}

#[test]
fn values_of_no_size_take_no_memory_and_are_dropped_once() {
    assert_takes_no_memory(|| Nothing);
    assert_takes_no_memory(|| [Nothing; 1]);
    assert_takes_no_memory(|| WideNothing { _nothing: Nothing });
}

#[test]
fn a_value_of_no_size_forgets_its_type_and_is_dropped_elsewhere() {
    let pointer: *mut Nothing = PoolBox::into_raw(PoolBox::new(Nothing));
    // SAFETY: coerced from the pointer of a box, used once.
    let erased: PoolBox<dyn Any + Send> = unsafe { PoolBox::from_raw(pointer) };
    let there = thread::spawn(move || {
        assert!(erased.is::<Nothing>());
        drop(erased);
        DROPPED.get()
    });
    assert_eq!((there.join().unwrap(), DROPPED.get()), (1, 0));
}

// --- Conversions ----------------------------------------------------------------------------------------------------

/// Counts how often values are dropped.
#[derive(Default, Clone)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed) // Relaxed: the threads that count are joined
    }
}

struct Counted {
    name: String,
    drops: Drops,
}

impl Counted {
    fn new(drops: &Drops) -> Self {
        Self {
            name: "counted".to_owned(),
            drops: drops.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_eq!(self.name, "counted");
        self.drops.0.fetch_add(1, Ordering::Relaxed); // Relaxed: as in `count`
    }
}

/// A pool and how often its values were dropped.
fn counted_pool() -> (SegmentPool<Counted>, Drops) {
    (SegmentPool::new(), Drops::default())
}

#[test]
fn a_raw_pointer_becomes_a_box_again() {
    let (pool, drops) = counted_pool();
    let pointer = PoolBox::into_raw(pool.alloc(Counted::new(&drops)));
    assert_eq!((drops.count(), pool.validate().live), (0, 1));
    // SAFETY: from `into_raw`, used once.
    let boxed = unsafe { PoolBox::from_raw(pointer) };
    assert_eq!(address(&*boxed), pointer.addr());
    drop(boxed);
    assert_eq!((drops.count(), pool.validate().live), (1, 0));
}

#[test]
fn into_inner_frees_the_slot_and_leaves_the_drop_to_the_caller() {
    let (pool, drops) = counted_pool();
    let value = PoolBox::into_inner(pool.alloc(Counted::new(&drops)));
    assert_eq!((drops.count(), pool.validate().live), (0, 0));
    drop(value);
    assert_eq!(drops.count(), 1);
    let pool = SegmentPool::new();
    let boxed = pool.alloc([7_u64; 30]);
    let there = thread::spawn(|| PoolBox::into_inner(boxed));
    assert_eq!(there.join().unwrap(), [7; 30]);
    assert_eq!(pool.validate().live, 0, "freed on the other thread");
}

#[test]
fn a_leaked_value_lives_and_keeps_its_slot() {
    let (pool, drops) = counted_pool();
    let leaked: &'static mut Counted = PoolBox::leak(pool.alloc(Counted::new(&drops)));
    leaked.name.make_ascii_uppercase();
    drop(pool.alloc(Counted::new(&drops)));
    assert_eq!((drops.count(), pool.validate().live), (1, 1));
    drop(pool);
    assert_eq!(leaked.name, "COUNTED");
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_forgotten_box_keeps_its_slot() {
    let pool = SegmentPool::new();
    std::mem::forget(pool.alloc(1_u8));
    assert_eq!(pool.validate().live, 1);
}

#[test]
fn a_trait_object_is_dropped_and_its_slot_freed() {
    let (pool, drops) = counted_pool();
    let erased = || {
        let pointer: *mut Counted = PoolBox::into_raw(pool.alloc(Counted::new(&drops)));
        // SAFETY: coerced from the pointer of a box, used once.
        unsafe { PoolBox::<dyn Any + Send>::from_raw(pointer) }
    };
    let here: Vec<_> = (0..100).map(|_| erased()).collect();
    let there: Vec<_> = (0..100).map(|_| erased()).collect();
    assert!(here.iter().all(|any| any.is::<Counted>()));
    assert_eq!(pool.validate().live, 200);
    drop(here);
    thread::spawn(|| drop(there)).join().unwrap();
    assert_eq!((drops.count(), pool.validate().live), (200, 0));
}

#[test]
fn a_trait_object_becomes_its_type_again() {
    let pointer: *mut u32 = PoolBox::into_raw(PoolBox::new(17));
    // SAFETY: coerced from the pointer of a box, used once.
    let number: PoolBox<dyn Display> = unsafe { PoolBox::from_raw(pointer) };
    assert_eq!(number.to_string(), "17");
    let pointer = PoolBox::into_raw(number).cast::<u32>();
    // SAFETY: the pointer of the box above, which was one of a `u32`.
    assert_eq!(*unsafe { PoolBox::from_raw(pointer) }, 17);
}

#[test]
fn a_slice_is_dropped_item_by_item_and_its_slot_freed() {
    let pool = SegmentPool::new();
    let drops = Drops::default();
    let trio = || slice(pool.alloc([0; 3].map(|_| Counted::new(&drops))));
    let (here, there) = (trio(), trio());
    assert_eq!((here.len(), pool.validate().live), (3, 2));
    drop(here);
    thread::spawn(|| drop(there)).join().unwrap();
    assert_eq!((drops.count(), pool.validate().live), (6, 0));
    assert!(slice(PoolBox::new([0_u64; 0])).is_empty());
}

#[test]
fn a_value_stays_where_it_is_while_its_box_moves() {
    let pool = SegmentPool::new();
    for boxed in [
        PoolBox::new(String::from("still")),
        pool.alloc("still".into()),
    ] {
        let at = address(&*boxed);
        let nested = PoolBox::new(Some(boxed));
        let there = thread::spawn(move || {
            let boxed = PoolBox::into_inner(nested).unwrap();
            (address(&*boxed), boxed)
        });
        let (there, boxed) = there.join().unwrap();
        assert_eq!((there, address(&*boxed), boxed.as_str()), (at, at, "still"));
    }
}

#[test]
fn more_pools_than_a_thread_remembers_are_kept_apart() {
    let pools: Vec<SegmentPool<usize>> = (0..50).map(|_| SegmentPool::new()).collect();
    let mut boxes = Vec::new();
    for round in 0..100 {
        for (number, pool) in pools.iter().enumerate() {
            boxes.push(pool.alloc(number * 1000 + round));
        }
    }
    let numbers = boxes.iter().map(|boxed| **boxed);
    assert!(numbers.eq((0..100).flat_map(|r| (0..50).map(move |n| n * 1000 + r))));
    assert!(pools.iter().all(|pool| pool.validate().live == 100));
    drop(boxes);
    assert!(pools.iter().all(|pool| pool.stats().local_frees == 100));
    assert!(pools.iter().all(|pool| pool.validate().live == 0));
}
