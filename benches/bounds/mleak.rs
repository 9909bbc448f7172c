//! Rounds of ten threads, each of which makes one object of 128 bytes, leaves it in one of 1000 places, frees what
//! lay there, and ends: every object outlives its thread. The ten are alive at once, in every round, for otherwise it
//! would be chance when the most threads are, and so how much the process needs.
//!
//! If something of a thread stayed behind, the process would grow. The bound: after round 50 all that is resident of it
//! is never more than 5 % larger than then. In these first rounds each thread leaves two objects in places of its own
//! instead, so that every place is full when the measuring begins.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use segment_pool::PoolBox;

use crate::figure::{Bound, Figure};
use crate::programs::Scale;
use crate::resident::resident;
use crate::rng::Rng;

const PLACES: usize = 1000;
const THREADS: u64 = 10;
const WARM_UP: u64 = 50;

type Place = Mutex<Option<PoolBox<[u64; 16]>>>;

pub(crate) fn run(scale: Scale) -> Vec<Figure> {
    let places: Vec<Place> = (0..PLACES).map(|_| Mutex::new(None)).collect();
    (0..WARM_UP).for_each(|number| round(number, &|seed| fill_two(seed, &places)));
    let before = resident();
    let mut most = before;
    for number in WARM_UP..scale.pick(5000, 1000) {
        round(number, &|seed| leave_one(seed, &places));
        most = most.max(resident());
    }
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

/// Ten threads that do the work, each with a number of its own.
fn round(number: u64, work: &(impl Fn(u64) + Sync)) {
    let all_have_worked = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let all_have_worked = &all_have_worked;
            scope.spawn(move || {
                work(number * THREADS + thread);
                all_have_worked.wait();
            });
        }
    });
}

fn fill_two(seed: u64, places: &[Place]) {
    let first = 2 * seed as usize;
    leave(seed, &places[first]);
    leave(seed, &places[first + 1]);
}

fn leave_one(seed: u64, places: &[Place]) {
    leave(seed, &places[Rng::new(seed).below(PLACES)]);
}

fn leave(seed: u64, place: &Place) {
    let object = PoolBox::new([seed; 16]);
    let found = place
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(object);
    drop(found);
}
