//! Two threads allocate and hand over; one that never allocates keeps 100 000 objects of 64 bytes alive and frees one
//! for each that comes: the oldest, or any.
//!
//! What it frees must find its way to the producers, or the pool grows. The bound is a quarter above the live bytes,
//! and 2 MiB for each thread.

use std::hint::black_box;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use segment_pool::PoolBox;

use crate::figure::{Bound, Figure};
use crate::programs::Scale;
use crate::resident::{peak, resident};
use crate::rng::Rng;

const LIVE: usize = 100_000;
const THREADS: usize = 3;
const IN_FLIGHT: usize = 1024;

type Object = PoolBox<[u64; 8]>;

pub(crate) fn in_order(scale: Scale) -> Vec<Figure> {
    let mut next = (0..LIVE).cycle();
    vec![measure(
        "free-only thread, in order: peak growth",
        scale,
        || next.next().expect("a cycle has no end"),
    )]
}

pub(crate) fn at_random(scale: Scale) -> Vec<Figure> {
    let mut rng = Rng::new(1);
    vec![measure(
        "free-only thread, at random: peak growth",
        scale,
        || rng.below(LIVE),
    )]
}

/// `place` says which object to free next.
fn measure(name: &'static str, scale: Scale, place: impl FnMut() -> usize + Send) -> Figure {
    let (to, from) = bounded(IN_FLIGHT);
    let mut live: Vec<Option<Object>> = Vec::new();
    live.resize_with(LIVE, || black_box(None));
    let before = resident();
    thread::scope(|scope| {
        for seed in 0..2 {
            let to = to.clone();
            scope.spawn(move || produce(seed, &to));
        }
        drop(to);
        let count = scale.pick(20_000_000, 3_000_000);
        scope.spawn(move || replace(&mut live, &from, place, count));
    });
    let bytes = LIVE * size_of::<[u64; 8]>();
    Figure {
        name,
        value: (peak() - before) as f64 / 1024.0,
        bound: Bound::AtMost((bytes * 5 / 4 + (THREADS << 21)) as f64 / 1024.0),
        unit: "KiB",
    }
}

/// Until nobody receives any more.
fn produce(seed: u64, to: &Sender<Object>) {
    while to.send(PoolBox::new([seed; 8])).is_ok() {}
}

fn replace(
    live: &mut [Option<Object>],
    from: &Receiver<Object>,
    mut place: impl FnMut() -> usize,
    count: usize,
) {
    // First each place once, so that all are alive from then on.
    live.fill_with(|| from.recv().ok());
    for _ in LIVE..count {
        live[place()] = from.recv().ok();
    }
    assert!(live.iter().all(Option::is_some), "the producers went on");
}
