//! One thread allocates and frees: what a pool costs when nothing crosses threads.
//!
//! Each workload is measured for `PoolBox`, for `Box`, and for the limit (`common/bare.rs`), with payloads of 16 and of
//! 64 bytes. An object costs an allocation, the writing of it, and a free. What the rows do is told in README.md.

#[path = "common/bare.rs"]
mod bare;
mod common;

use bare::Bare;
use common::{Pointer, XorShift, object};
use criterion::{
    Bencher, BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime,
};
use segment_pool::PoolBox;
use std::time::Duration;

/// How many objects the rows in a given order have.
const OBJECTS: usize = 1000;

/// One group of rows: the same work for any pointer and any payload.
trait Workload {
    /// What is kept from sample to sample, and made outside the timing.
    type State<P>;

    fn set_up<P: Pointer<W>, const W: usize>(&self) -> Self::State<P>;

    fn run<P: Pointer<W>, const W: usize>(
        &self,
        state: &mut Self::State<P>,
        bencher: &mut Bencher<'_>,
    );
}

/// One object, freed at once: the two fast paths and nothing else.
struct NewDrop;

impl Workload for NewDrop {
    type State<P> = u64;

    fn set_up<P: Pointer<W>, const W: usize>(&self) -> u64 {
        0
    }

    fn run<P: Pointer<W>, const W: usize>(&self, count: &mut u64, bencher: &mut Bencher<'_>) {
        bencher.iter(|| {
            *count += 1;
            drop(object::<P, W>(*count));
        });
    }
}

/// Many objects, then all are freed in the given order.
struct FreeInOrder(Vec<usize>);

impl Workload for FreeInOrder {
    type State<P> = Vec<Option<P>>;

    fn set_up<P: Pointer<W>, const W: usize>(&self) -> Vec<Option<P>> {
        self.0.iter().map(|_| None).collect()
    }

    fn run<P: Pointer<W>, const W: usize>(
        &self,
        slots: &mut Vec<Option<P>>,
        bencher: &mut Bencher<'_>,
    ) {
        bencher.iter(|| {
            for (n, slot) in slots.iter_mut().enumerate() {
                *slot = Some(object(n as u64));
            }
            for &n in &self.0 {
                slots[n] = None;
            }
        });
    }
}

/// So many live objects; a random one is freed and another takes its place.
struct Churn(usize);

impl Workload for Churn {
    type State<P> = (Vec<Option<P>>, XorShift);

    fn set_up<P: Pointer<W>, const W: usize>(&self) -> Self::State<P> {
        let live = (0..self.0 as u64).map(|n| Some(object(n))).collect();
        (live, XorShift::new(1))
    }

    fn run<P: Pointer<W>, const W: usize>(
        &self,
        state: &mut Self::State<P>,
        bencher: &mut Bencher<'_>,
    ) {
        let (slots, random) = state;
        let slots = &mut slots[..];
        bencher.iter(|| {
            let n = random.below(slots.len());
            slots[n] = None;
            slots[n] = Some(object(n as u64));
        });
    }
}

/// Measures every implementation with every payload.
fn rows(criterion: &mut Criterion, name: &str, elements: usize, workload: &impl Workload) {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50);
    group.throughput(Throughput::Elements(elements as u64));
    implementations::<2>(&mut group, workload);
    implementations::<8>(&mut group, workload);
    group.finish();
}

fn implementations<const W: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    workload: &impl Workload,
) {
    row::<PoolBox<_>, W>(group, workload);
    row::<Box<_>, W>(group, workload);
    row::<Bare<_>, W>(group, workload);
}

fn row<P: Pointer<W>, const W: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    workload: &impl Workload,
) {
    let id = BenchmarkId::new(P::NAME, W * size_of::<u64>());
    let mut state = None; // made when it is needed: a filter may leave this row out
    group.bench_function(id, |bencher| {
        let state = state.get_or_insert_with(|| workload.set_up::<P, W>());
        workload.run(state, bencher);
    });
}

fn shuffled(len: usize) -> Vec<usize> {
    let mut random = XorShift::new(1);
    let mut order: Vec<_> = (0..len).collect();
    for n in (1..len).rev() {
        order.swap(n, random.below(n + 1));
    }
    order
}

fn main() {
    let criterion = &mut Criterion::default().configure_from_args();
    let lifo = FreeInOrder((0..OBJECTS).rev().collect());
    let fifo = FreeInOrder((0..OBJECTS).collect());
    let random = FreeInOrder(shuffled(OBJECTS));

    rows(criterion, "new+drop", 1, &NewDrop);
    rows(criterion, "1000 LIFO", OBJECTS, &lifo);
    rows(criterion, "1000 FIFO", OBJECTS, &fifo);
    rows(criterion, "1000 random", OBJECTS, &random);
    rows(criterion, "churn 1k", 1, &Churn(1_000));
    rows(criterion, "churn 1M", 1, &Churn(1_000_000));
    criterion.final_summary();
}
