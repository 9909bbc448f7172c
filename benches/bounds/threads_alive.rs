//! A thousand threads are alive, each with one live object of 64 bytes.
//!
//! The same threads without an object, in a process of their own, say what the pool takes of each: at most 16 KiB.

use std::sync::Barrier;
use std::thread;

use segment_pool::{PoolBox, SegmentPool};

use crate::figure::{Bound, Figure};
use crate::programs::{Scale, child};
use crate::resident::resident;

type Contents = [u64; 8];

/// What each thread holds.
type Make = fn() -> Option<PoolBox<Contents>>;

static POOL: SegmentPool<Contents> = SegmentPool::new();

const KINDS: [(&str, Make); 3] = [
    ("threads_with_nothing", || None),
    ("threads_with_a_box", || Some(PoolBox::new([7; 8]))),
    ("threads_with_a_pools_box", || Some(POOL.alloc([7; 8]))),
];

pub(crate) fn run(scale: Scale) -> Vec<Figure> {
    let [nothing, boxed, pools] = KINDS.map(|(name, _)| ask_child(name, scale));
    let figure = |name, with: f64| Figure {
        name,
        value: (with - nothing) / threads(scale) as f64 / 1024.0,
        bound: Bound::AtMost(16.0),
        unit: "KiB",
    };
    vec![
        figure("1000 threads alive: each, default pool", boxed),
        figure("1000 threads alive: each, SegmentPool", pools),
    ]
}

fn threads(scale: Scale) -> usize {
    scale.pick(1000, 300)
}

fn ask_child(name: &str, scale: Scale) -> f64 {
    let output = child(name, scale).output().expect("the program starts");
    let figure = String::from_utf8_lossy(&output.stdout).into_owned();
    figure.trim().parse().expect("the program prints a number")
}

/// What the children of this program print: bytes resident while the threads are alive.
pub(crate) fn raw_figure(name: &str, scale: Scale) -> Option<usize> {
    let (_, make) = KINDS.iter().find(|(kind, _)| *kind == name)?;
    Some(resident_with(threads(scale), *make))
}

fn resident_with(threads: usize, make: Make) -> usize {
    let (made, measured) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _held = make();
                made.wait();
                measured.wait();
            });
        }
        made.wait();
        let bytes = resident();
        measured.wait();
        bytes
    })
}
