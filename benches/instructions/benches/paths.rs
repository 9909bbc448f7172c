//! How many instructions each path takes, counted by callgrind: the same number in every run. `../counts.txt` has what
//! they took when somebody last looked.
//!
//! Each benchmark has a process to itself. Values are 16 bytes, or where slots are linked from the deferred list 64, and what is measured is the function's body: what
//! `setup` does is not, nor is the end of what the function returns. Other threads are not counted.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;

use gungraun::{library_benchmark, library_benchmark_group, main};
use segment_pool::{PoolBox, SegmentPool};

type Value = [u64; 2];
type Boxes = Vec<PoolBox<Value>>;

/// A cache line.
type Line = [u64; 8];

/// More than any list or batch holds, and less than a segment.
const MANY: usize = 1024;

fn boxes(count: usize) -> Boxes {
    (0..count as u64).map(|n| PoolBox::new([n, n])).collect()
}

/// Boxes of a thread that sleeps from then on.
fn boxes_of_another(count: usize) -> Boxes {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        sender.send(boxes(count)).unwrap();
        loop {
            thread::park();
        }
    });
    receiver.recv().unwrap()
}

// --- At home --------------------------------------------------------------------------------------------------------

fn with_free_slots() -> Value {
    drop(boxes(8));
    black_box([1, 2])
}

#[library_benchmark(setup = with_free_slots)]
#[bench::value()]
fn local_new(value: Value) -> PoolBox<Value> {
    PoolBox::new(value)
}

fn one() -> PoolBox<Value> {
    boxes(8).pop().unwrap()
}

#[library_benchmark(setup = one)]
#[bench::value()]
fn local_drop(boxed: PoolBox<Value>) {
    drop(boxed);
}

fn room() -> Boxes {
    drop(PoolBox::new([1_u64; 2]));
    Vec::with_capacity(MANY)
}

// From a segment that was never used.
#[library_benchmark(setup = room)]
#[bench::slots_1024()]
fn refill(mut boxes: Boxes) -> Boxes {
    boxes.extend((0..MANY as u64).map(|n| PoolBox::new([n, n])));
    boxes
}

fn full() -> Boxes {
    boxes(MANY)
}

// Stashed, and in the end brought home.
#[library_benchmark(setup = full)]
#[bench::slots_1024()]
fn spill(boxes: Boxes) {
    drop(boxes);
}

/// Pools of which this thread has used each.
fn pools(count: usize) -> Vec<SegmentPool<Value>> {
    let pools: Vec<_> = (0..count).map(|_| SegmentPool::new()).collect();
    pools.iter().for_each(|pool| drop(pool.alloc([1, 2])));
    pools
}

/// A value of each pool by turns, 4096 in all: what one takes must not depend on how many pools there are.
#[inline(always)]
fn by_turns(pools: &[SegmentPool<Value>]) {
    for _ in 0..4096 / pools.len() {
        pools.iter().for_each(|pool| drop(pool.alloc([1, 2])));
    }
}

#[library_benchmark]
#[bench::values_4096(pools(8))]
fn pools_8(pools: Vec<SegmentPool<Value>>) -> Vec<SegmentPool<Value>> {
    by_turns(&pools);
    pools
}

#[library_benchmark]
#[bench::values_4096(pools(4096))]
fn pools_4096(pools: Vec<SegmentPool<Value>>) -> Vec<SegmentPool<Value>> {
    by_turns(&pools);
    pools
}

/// A bounded pool with a free slot at hand.
fn bounded() -> SegmentPool<Value> {
    let pool = SegmentPool::builder().max_segments(1).build();
    drop(pool.alloc([1, 2]));
    pool
}

// One value of it, made and dropped.
#[library_benchmark(setup = bounded)]
#[bench::value()]
fn bounded_pool(pool: SegmentPool<Value>) -> SegmentPool<Value> {
    drop(pool.alloc([1, 2]));
    pool
}

/// One with a bound of values, likewise.
fn counted() -> SegmentPool<Value> {
    let pool = SegmentPool::builder().max_values(8).build();
    drop(pool.alloc([1, 2]));
    pool
}

// One value of it, made and dropped.
#[library_benchmark(setup = counted)]
#[bench::value()]
fn counted_pool(pool: SegmentPool<Value>) -> SegmentPool<Value> {
    drop(pool.alloc([1, 2]));
    pool
}

// --- Elsewhere ------------------------------------------------------------------------------------------------------

fn one_of_another() -> PoolBox<Value> {
    let mut boxes = boxes_of_another(8);
    boxes.truncate(4); // they open the batch
    let last = boxes.pop().unwrap();
    std::mem::forget(boxes);
    last
}

#[library_benchmark(setup = one_of_another)]
#[bench::value()]
fn remote_drop(boxed: PoolBox<Value>) {
    drop(boxed);
}

fn many_of_another() -> Boxes {
    let mut boxes = boxes_of_another(MANY + 1);
    boxes.pop();
    boxes
}

#[library_benchmark(setup = many_of_another)]
#[bench::slots_1024()]
fn batch_push(boxes: Boxes) {
    drop(boxes);
}

/// Boxes that were freed by a thread that has ended, and a place for others.
fn freed_elsewhere<T: Clone + Send + 'static>(value: T) -> (T, Vec<PoolBox<T>>) {
    let boxes: Vec<_> = (0..MANY).map(|_| PoolBox::new(value.clone())).collect();
    thread::spawn(move || drop(boxes)).join().unwrap();
    (value, Vec::with_capacity(MANY))
}

/// As many as are free again.
#[inline(always)]
fn fill<T: Clone>(value: &T, mut boxes: Vec<PoolBox<T>>) -> Vec<PoolBox<T>> {
    boxes.extend((0..MANY).map(|_| PoolBox::new(value.clone())));
    boxes
}

#[library_benchmark]
#[bench::slots_1024(freed_elsewhere(Value::default()))]
fn collect((value, boxes): (Value, Boxes)) -> Boxes {
    fill(&value, boxes)
}

#[library_benchmark]
#[bench::slots_1024(freed_elsewhere(Line::default()))]
fn deferred((value, boxes): (Line, Vec<PoolBox<Line>>)) -> Vec<PoolBox<Line>> {
    fill(&value, boxes)
}

library_benchmark_group!(
    name = paths,
    benchmarks = [
        local_new,
        local_drop,
        refill,
        spill,
        pools_8,
        pools_4096,
        bounded_pool,
        counted_pool,
        remote_drop,
        batch_push,
        collect,
        deferred
    ]
);
main!(library_benchmark_groups = paths);
