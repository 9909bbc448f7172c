//! Rounds of ten threads, each of which makes one object of 128 bytes, leaves it in one of 1000 places, frees what
//! lay there, and ends: every object outlives its thread.
//!
//! If something of a thread stayed behind, the process would grow. The bound: after round 50 all that is resident of it
//! is never more than 5 % larger than then. Part of that is not the pool's: less than half of the places are full at
//! round 50, and the objects of the others, some 75 KiB, come later. And how many threads
//! of a round are alive at once, and so how many heaps there are, is chance: it may rise after round 50.

use std::sync::{Mutex, PoisonError};
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
    let mut before = 0;
    for round in 0..WARM_UP {
        before = exchange(round, &places);
    }
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

/// A round; what is resident after it.
fn exchange(round: usize, places: &[Place]) -> usize {
    let seeds: Vec<usize> = (round * THREADS..(round + 1) * THREADS).collect();
    all_at_once(&seeds, |&seed| {
        leave(seed, &places[Rng::new(seed as u64).below(PLACES)]);
    });
    resident()
}

/// Does the work for each in a thread of its own. A scope alone does not wait until its threads have ended.
fn all_at_once<A: Sync>(args: &[A], work: impl Fn(&A) + Sync) {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = args
            .iter()
            .map(|arg| scope.spawn(move || work(arg)))
            .collect();
        for thread in threads {
            thread.join().expect("a thread of the round ends");
        }
    });
}

fn leave(n: usize, place: &Place) {
    let object = PoolBox::new([n as u64; 16]);
    let found = place
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(object);
    drop(found);
}
