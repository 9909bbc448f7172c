//! Rounds of ten threads, each of which makes one object of 128 bytes, leaves it in one of 1000 places, frees what
//! lay there, and ends: every object outlives its thread.
//!
//! If something of a thread stayed behind, the process would grow. The bound: after round 50 all that is resident of it
//! is never more than 5 % larger than then. In these first rounds twenty threads are alive at once, each of which
//! leaves an object in a place of its own: so the places are full, and there are as many heaps as ten threads can ever
//! need, one each and one each that they serve for a moment. What the process has then depends on chance no more.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use segment_pool::PoolBox;

use crate::figure::{Bound, Figure};
use crate::programs::Scale;
use crate::resident::resident;
use crate::rng::Rng;

const PLACES: usize = 1000;
const THREADS: usize = 10;
const WARM_UP: usize = 50;

type Place = Mutex<Option<PoolBox<[u64; 16]>>>;

pub(crate) fn run(scale: Scale) -> Vec<Figure> {
    let places: Vec<Place> = (0..PLACES).map(|_| Mutex::new(None)).collect();
    let before = (0..WARM_UP).map(|round| fill(round, &places)).last();
    let before = before.expect("there is a first round");
    let rounds = WARM_UP..scale.pick(5000, 1000);
    let most = rounds.map(|round| exchange(round, &places)).max();
    let most = most.expect("there are more rounds").max(before);
    eprintln!(
        "   {} KiB after round {WARM_UP}, {} KiB at the most",
        before >> 10,
        most >> 10
    );
    vec![Figure {
        name: "mleak: growth after round 50",
        value: (most - before) as f64 * 100.0 / before as f64,
        bound: Bound::AtMost(5.0),
        unit: "%",
    }]
}

/// A round of the first ones; what is resident after it.
fn fill(round: usize, places: &[Place]) -> usize {
    let threads = PLACES / WARM_UP;
    let all_have_one = Barrier::new(threads);
    thread::scope(|scope| {
        for place in &places[round * threads..][..threads] {
            scope.spawn(|| {
                leave(round, place);
                all_have_one.wait();
            });
        }
    });
    resident()
}

/// A round of the others; what is resident after it.
fn exchange(round: usize, places: &[Place]) -> usize {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let seed = round * THREADS + thread;
            let place = &places[Rng::new(seed as u64).below(PLACES)];
            scope.spawn(move || leave(seed, place));
        }
    });
    resident()
}

fn leave(n: usize, place: &Place) {
    let object = PoolBox::new([n as u64; 16]);
    let found = place
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(object);
    drop(found);
}
