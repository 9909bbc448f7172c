//! Rounds of ten threads, each of which makes one object of 128 bytes, leaves it in one of 1000 places, frees what
//! lay there, and ends: every object outlives its thread.
//!
//! If something of a thread stayed behind, the process would grow. The bound: after round 50 all that is resident of it
//! is never more than 5 % larger than then. In these first rounds the ten threads are alive at once, and each leaves
//! two objects in places of their own: so the places are full and there are ten heaps when the measuring begins, and
//! what the process has then does not depend on chance.

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
    let mut before = 0;
    for round in 0..WARM_UP {
        before = fill(round, &places);
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

/// A round of the first ones; what is resident after it.
fn fill(round: usize, places: &[Place]) -> usize {
    let all_have_left_theirs = Barrier::new(THREADS);
    let pairs: Vec<_> = places.chunks(PLACES / WARM_UP / THREADS).collect();
    all_at_once(&pairs[round * THREADS..][..THREADS], |pair| {
        pair.iter().for_each(|place| leave(round, place));
        all_have_left_theirs.wait();
    });
    resident()
}

/// A round of the others; what is resident after it.
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
