//! What a bound costs: a value is made and dropped in a pool without one, with one of values, and with one of memory.
//!
//! By one thread; by as many at once as the row says, each of which has a few values; and at the bound, where a request is refused. The
//! time is per value. What the rows do is told in README.md.

#[path = "common/race.rs"]
#[allow(dead_code, reason = "nobody waits here")]
mod race;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use race::{Body, race};
use segment_pool::SegmentPool;

type Value = [u64; 8];
type Pool = SegmentPool<Value>;

const BOUND: usize = 1000;

fn pools() -> [(&'static str, Pool); 3] {
    [
        ("unbounded", Pool::new()),
        ("max_values", Pool::builder().max_values(BOUND).build()),
        ("max_segments", Pool::builder().max_segments(1).build()),
    ]
}

fn value(pool: &Pool) {
    drop(black_box(pool.alloc(black_box([7; 8]))));
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool new+drop");
    for (name, pool) in &pools() {
        group.bench_function(BenchmarkId::new(*name, 64), |bencher| {
            bencher.iter(|| value(pool));
        });
    }
    group.finish();
}

fn many_threads(criterion: &mut Criterion, threads: u64) {
    let mut group = criterion.benchmark_group(format!("pool new+drop, {threads} threads"));
    for (name, pool) in &pools() {
        group.bench_function(BenchmarkId::new(*name, 64), |bencher| {
            bencher.iter_custom(|count| {
                let share = count.div_ceil(threads);
                let work =
                    |_| -> Body<'_> { Box::new(move || (0..share).for_each(|_| value(pool))) };
                race((0..threads).map(work).collect(), |_| {})
            });
        });
    }
    group.finish();
}

fn refused(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool refused");
    for (name, pool) in pools().iter().skip(1) {
        let all: Vec<_> = (0..).map_while(|n| pool.try_alloc([n; 8]).ok()).collect();
        group.bench_function(BenchmarkId::new(*name, 64), |bencher| {
            bencher.iter(|| black_box(pool.try_alloc(black_box([7; 8]))).is_err());
        });
        drop(all);
    }
    group.finish();
}

fn main() {
    let criterion = &mut Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    one_thread(criterion);
    many_threads(criterion, 2);
    many_threads(criterion, 4);
    refused(criterion);
    criterion.final_summary();
}
