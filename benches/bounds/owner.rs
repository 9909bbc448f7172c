//! A million objects are made by a thread that never comes to collect: it sleeps for ever, or it makes and drops one
//! box in a loop and never runs dry. Another thread frees all of them, in the order of making or at random.
//!
//! At least 90 % of what became resident with them must be back with the operating system.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Sender, bounded};
use segment_pool::PoolBox;

use crate::figure::{Bound, Figure};
use crate::programs::Scale;
use crate::resident::resident;
use crate::rng::shuffled;

const OBJECTS: usize = 1_000_000;

type Table = Vec<Option<PoolBox<[u64; 8]>>>;

pub(crate) fn sleeping_in_order(_: Scale) -> Vec<Figure> {
    vec![measure(
        "sleeping owner, freed in order: back",
        in_order(),
        &Sleep::new(),
    )]
}

pub(crate) fn sleeping_at_random(_: Scale) -> Vec<Figure> {
    vec![measure(
        "sleeping owner, freed at random: back",
        shuffled(OBJECTS),
        &Sleep::new(),
    )]
}

pub(crate) fn busy_in_order(_: Scale) -> Vec<Figure> {
    vec![measure(
        "busy owner, freed in order: back",
        in_order(),
        &Busy::new(),
    )]
}

pub(crate) fn busy_at_random(_: Scale) -> Vec<Figure> {
    vec![measure(
        "busy owner, freed at random: back",
        shuffled(OBJECTS),
        &Busy::new(),
    )]
}

fn in_order() -> Vec<usize> {
    (0..OBJECTS).collect()
}

/// What an owner does while its objects are freed.
trait Pastime: Sync {
    fn until_called(&self);
    fn call(&self);
}

/// Waits for a barrier.
struct Sleep(Barrier);

impl Sleep {
    fn new() -> Self {
        Self(Barrier::new(2))
    }
}

impl Pastime for Sleep {
    fn until_called(&self) {
        self.0.wait();
    }

    fn call(&self) {
        self.0.wait();
    }
}

/// Makes and drops one box after the other.
struct Busy(AtomicBool);

impl Busy {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }
}

impl Pastime for Busy {
    fn until_called(&self) {
        while !self.0.load(Ordering::Relaxed) {
            black_box(PoolBox::new([1_u64; 8]));
        }
    }

    fn call(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn measure(name: &'static str, order: Vec<usize>, pastime: &dyn Pastime) -> Figure {
    let mut table = Table::new();
    table.resize_with(order.len(), || black_box(None));
    let before = resident();
    let (full, left) = thread::scope(|scope| {
        let (sender, receiver) = bounded(1);
        scope.spawn(move || own(table, &sender, pastime));
        let mut table: Table = receiver.recv().expect("the owner sends");
        let full = resident();
        order.iter().for_each(|&index| table[index] = None);
        segment_pool::flush();
        let left = resident();
        pastime.call();
        (full, left)
    });
    Figure {
        name,
        value: full.saturating_sub(left) as f64 * 100.0 / (full - before) as f64,
        bound: Bound::AtLeast(90.0),
        unit: "%",
    }
}

/// Makes the objects and sends them away.
fn own(mut table: Table, sender: &Sender<Table>, pastime: &dyn Pastime) {
    for (n, place) in table.iter_mut().enumerate() {
        *place = Some(PoolBox::new([n as u64; 8]));
    }
    sender.send(table).expect("the other thread waits");
    pastime.until_called();
}
