//! A busy thread makes objects faster than its own come back, so that it takes segments out of the heaps that ended
//! threads left, while 100 000 short threads come and go, eight at a time. Each frees what the busy one made, makes some
//! of its own, and leaves half of them to the next.
//!
//! The busy thread and each short one may have a heap, and may have another one for a moment, which it serves or takes
//! segments from: that is the bound.

use std::sync::Mutex;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use segment_pool::{PoolBox, SegmentPool};

use crate::figure::{Bound, Figure};
use crate::programs::Scale;

const AT_ONCE: usize = 8;
const WAVE: u64 = 500;

type Objects = Vec<PoolBox<[u64; 8]>>;

static POOL: SegmentPool<[u64; 8]> = SegmentPool::new();

pub(crate) fn run(scale: Scale) -> Vec<Figure> {
    let (to, from) = bounded(64);
    let left = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(move || make_waves(&to));
        let from = from;
        spawn_short_threads(scale.pick(100_000, 10_000), &from, &left);
    });
    drop(left);
    let stats = POOL.stats();
    eprintln!("{stats}");
    let living = AT_ONCE + 1;
    vec![Figure {
        name: "busy thief, short threads: heaps",
        value: stats.heaps as f64,
        bound: Bound::AtMost(2.0 * living as f64),
        unit: "heaps",
    }]
}

/// Until nobody receives any more.
fn make_waves(to: &Sender<Objects>) {
    while to.send(make(WAVE)).is_ok() {}
}

fn make(count: u64) -> Objects {
    (0..count).map(|n| POOL.alloc([n; 8])).collect()
}

/// One after the other in each of the threads that spawn them.
fn spawn_short_threads(count: usize, from: &Receiver<Objects>, left: &Mutex<Objects>) {
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                for _ in 0..count / AT_ONCE {
                    thread::scope(|short| short.spawn(|| live_shortly(from, left)).join())
                        .expect("a short thread ends");
                }
            });
        }
    });
}

fn live_shortly(from: &Receiver<Objects>, left: &Mutex<Objects>) {
    drop(from.recv());
    let mut own = make(40);
    let leave = own.split_off(20);
    let found = left
        .lock()
        .map(|mut left| std::mem::replace(&mut *left, leave));
    drop((own, found));
}
