//! The work of a single call is bounded: threads allocate and drop millions of objects of 64 bytes, for themselves and for each
//! other, and the test counts the slots that each call touches.
//!
//! It needs the counter, and should be optimised:
//! `RUSTFLAGS="--cfg slots_touched" cargo test --release --test work -- --nocapture`
//!
//! # The bound
//!
//! A touch is one read or write of a free slot's bytes. With slots of 64 bytes a magazine has M = 256 of them,
//! a free list at most F = M + M/8 = 288, a segment C = 1020, a batch at least one.
//!
//! ```text
//! RECEIVE  2             read the batch node, link the slot: for each slot of a remote list
//! DRAIN    2 (2 M + 1)   remove two of the full magazines, read and write the link of each slot
//! SPILL    M/8 + 2 + DRAIN    cut the free list behind the part that stays, push the magazine, return others
//! COLLECT  (1024 + C) RECEIVE + ((1024 + C) / M + 1) SPILL     until 1024 slots were collected, including the whole last list
//! DONATE   4 (2 M + 1) + 2 F  return four magazines, and possibly the free list, of an abandoned heap
//! STEAL    8 DONATE      for each heap that is visited
//! REFILL   COLLECT + STEAL + 2 M    and cut or link a run
//! DROP     1 + SPILL + COLLECT      or, on a remote thread, write the nodes of a batch, and SERVE
//! SERVE    (1024 + C) RECEIVE for each of up to 5 heaps: the acquired one, and 4 deferred reclaims
//! ```
//!
//! So a call touches at most COLLECT + STEAL + SERVE slots and little more. The test asserts less than `MOST`, the sum;
//! the histogram shows how much less.

#![cfg(all(slots_touched, not(segment_pool_loom)))]

mod common;

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Rng, shuffled};
use segment_pool::{PoolBox, slots_touched};

const MAGAZINE: u64 = 256;
const CAPACITY: u64 = 1020;
const COLLECTED: u64 = 1024 + CAPACITY;
const DRAIN: u64 = 2 * (2 * MAGAZINE + 1);
const SPILL: u64 = MAGAZINE / 8 + 2 + DRAIN;
const COLLECT: u64 = COLLECTED * 2 + (COLLECTED / MAGAZINE + 1) * SPILL;
const DONATE: u64 = 4 * (2 * MAGAZINE + 1) + 2 * (MAGAZINE + MAGAZINE / 8);
const SERVE: u64 = 5 * COLLECTED * 2;
const MOST: u64 = COLLECT + 8 * DONATE + SERVE + SPILL + 2 * MAGAZINE;

/// Objects of the whole program.
const OBJECTS: usize = if cfg!(debug_assertions) {
    1_000_000
} else {
    10_000_000
};
/// Objects of each story.
const SHARE: usize = OBJECTS / STORIES.len();

type Contents = [u64; 8];
type Object = PoolBox<Contents>;

// --- Measuring ------------------------------------------------------------------------------------------------------

/// How many calls had a figure below each power of two.
#[derive(Debug, Clone, Default)]
struct Histogram {
    counts: [u64; 32],
    most: u64,
}

impl Histogram {
    fn add(&mut self, figure: u64) {
        self.counts[(u64::BITS - figure.leading_zeros()) as usize] += 1;
        self.most = self.most.max(figure);
    }

    fn steal(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.most = self.most.max(other.most);
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bits, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            writeln!(f, "  < {:>10}  {count:>12}", 1_u64 << bits)?;
        }
        write!(f, "  at most {:>6}", self.most)
    }
}

/// What the calls of one thread touched, and how long they took.
#[derive(Debug, Clone, Default)]
struct Meter {
    made: u64,
    touches: Histogram,
    nanos: Histogram,
}

impl Meter {
    fn measure<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let (start, before) = (Instant::now(), slots_touched());
        let result = call();
        let (touched, took) = (slots_touched() - before, start.elapsed());
        self.touches.add(touched);
        self.nanos.add(took.as_nanos() as u64);
        result
    }

    fn make(&mut self, n: usize) -> Object {
        self.made += 1;
        self.measure(|| PoolBox::new([n as u64; 8]))
    }

    fn make_many(&mut self, count: usize) -> Vec<Object> {
        (0..count).map(|n| self.make(n)).collect()
    }

    fn free(&mut self, object: Object) {
        self.measure(|| drop(object));
    }

    fn free_all(&mut self, objects: impl IntoIterator<Item = Object>) {
        objects.into_iter().for_each(|object| self.free(object));
    }

    fn steal(&mut self, other: &Self) {
        self.made += other.made;
        self.touches.steal(&other.touches);
        self.nanos.steal(&other.nanos);
    }
}

/// The meters of a story's threads, added up.
#[derive(Default)]
struct Sum(Mutex<Meter>);

impl Sum {
    /// Runs the work on this thread with a meter.
    fn run<R>(&self, work: impl FnOnce(&mut Meter) -> R) -> R {
        let mut meter = Meter::default();
        let result = work(&mut meter);
        self.0.lock().unwrap().steal(&meter);
        result
    }

    /// Runs the work on its own thread, which has ended afterwards.
    fn run_elsewhere<R: Send>(&self, work: impl FnOnce(&mut Meter) -> R + Send) -> R {
        thread::scope(|scope| scope.spawn(|| self.run(work)).join().unwrap())
    }
}

/// The objects in random order.
fn shuffle(objects: Vec<Object>) -> Vec<Object> {
    let mut objects: Vec<_> = objects.into_iter().map(Some).collect();
    let order = shuffled(objects.len(), 1);
    order
        .iter()
        .map(|&index| objects[index].take().unwrap())
        .collect()
}

// --- Stories: `count` objects each ----------------------------------------------------------------------------------

fn local_in_every_order(sum: &Sum, count: usize) {
    sum.run_elsewhere(|meter| {
        for order in [|v| v, |v: Vec<_>| v.into_iter().rev().collect(), shuffle] {
            let objects = meter.make_many(count / 3);
            meter.free_all(order(objects));
        }
    });
}

/// A thread makes everything, another drops it in some order, and the first drops and makes some more: so it must collect.
fn elsewhere_while_the_owner_waits(sum: &Sum, count: usize, order: fn(Vec<Object>) -> Vec<Object>) {
    sum.run_elsewhere(|owner| {
        let mut objects = owner.make_many(count / 2);
        let own = objects.split_off(count / 4);
        sum.run_elsewhere(|other| other.free_all(order(objects)));
        owner.free_all(shuffle(own));
        let again = owner.make_many(count / 2);
        owner.free_all(again);
    });
}

fn elsewhere_in_order(sum: &Sum, count: usize) {
    elsewhere_while_the_owner_waits(sum, count, |objects| objects);
}

fn elsewhere_at_random(sum: &Sum, count: usize) {
    elsewhere_while_the_owner_waits(sum, count, shuffle);
}

/// Threads end, and several others drop at random what they left, all at once.
fn after_the_owners_ended(sum: &Sum, count: usize) {
    let made = (0..8).flat_map(|_| sum.run_elsewhere(|owner| owner.make_many(count / 8)));
    let mut objects = shuffle(made.collect());
    let all_are_there = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            let part = objects.split_off(objects.len().saturating_sub(count / 4));
            let all_are_there = &all_are_there;
            scope.spawn(move || {
                all_are_there.wait();
                sum.run(|other| other.free_all(part));
            });
        }
    });
}

/// One thread makes, another drops.
fn a_stream(sum: &Sum, count: usize) {
    let (to, from): (SyncSender<Object>, Receiver<Object>) = mpsc::sync_channel(10_000);
    thread::scope(|scope| {
        scope.spawn(|| sum.run(|other| other.free_all(from)));
        sum.run(|owner| (0..count).for_each(|n| to.send(owner.make(n)).unwrap()));
        drop(to);
    });
}

/// Four threads exchange what they make for what lies in a random place of a table.
fn a_table_for_all(sum: &Sum, count: usize) {
    let places: Vec<AtomicPtr<Contents>> = (0..50_000).map(|_| AtomicPtr::default()).collect();
    let exchange = |seed| {
        sum.run(|meter| {
            let mut rng = Rng::new(seed);
            for n in 0..count / 4 {
                let place = &places[rng.below(places.len())];
                let found = place.swap(PoolBox::into_raw(meter.make(n)), Ordering::AcqRel);
                if !found.is_null() {
                    // SAFETY: what lies in a place was put there by `into_raw`, and the swap took it out.
                    meter.free(unsafe { PoolBox::from_raw(found) });
                }
            }
        });
    };
    thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || exchange(seed)))));
    let left = places.into_iter().map(AtomicPtr::into_inner);
    for object in left.filter(|object| !object.is_null()) {
        // SAFETY: as above, and no other thread is left.
        sum.run(|meter| meter.free(unsafe { PoolBox::from_raw(object) }));
    }
}

/// Short threads leave half of what they make to the next one, and a long one takes over their segments.
fn threads_come_and_go(sum: &Sum, count: usize) {
    let mut left = Vec::new();
    let mut kept = Vec::new();
    let of_each = count / 200;
    sum.run(|long| {
        for _ in 0..100 {
            let found = mem::take(&mut left);
            left = sum.run_elsewhere(|short| {
                short.free_all(found);
                let objects = shuffle(short.make_many(of_each));
                let (freed, left) = halves(objects);
                short.free_all(freed);
                left
            });
            let (freed, more) = halves(long.make_many(of_each));
            long.free_all(freed);
            kept.extend(more);
        }
        long.free_all(left);
        long.free_all(shuffle(kept));
    });
}

fn halves(mut objects: Vec<Object>) -> (Vec<Object>, Vec<Object>) {
    let second = objects.split_off(objects.len() / 2);
    (objects, second)
}

/// Threads idle with full lists while another one needs slots, again and again.
fn parked_heaps_are_looked_through(sum: &Sum, count: usize) {
    let (all_idle, done) = (Barrier::new(17), Barrier::new(17));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                sum.run(|sleeper| {
                    let (freed, kept) = halves(shuffle(sleeper.make_many(count / 32)));
                    sleeper.free_all(freed);
                    segment_pool::idle();
                    all_idle.wait();
                    done.wait();
                    sleeper.free_all(kept);
                });
            });
        }
        sum.run(|borrower| {
            let own = borrower.make(0);
            all_idle.wait();
            let objects = borrower.make_many(count / 2);
            borrower.free_all(objects);
            borrower.free(own);
        });
        done.wait();
    });
}

/// Two threads make a large heap each, then drop the other's half of it while they reuse their own.
fn two_free_for_each_other(sum: &Sum, count: usize) {
    let (to_left, from_right) = mpsc::channel();
    let (to_right, from_left) = mpsc::channel();
    let work = |to: mpsc::Sender<_>, from: mpsc::Receiver<_>| {
        sum.run(|meter| {
            for _ in 0..4 {
                let (own, others) = halves(shuffle(meter.make_many(count / 8)));
                to.send(others).unwrap();
                let theirs: Vec<Object> = from.recv().unwrap();
                for (own, other) in own.into_iter().zip(theirs) {
                    meter.free(other);
                    meter.free(own);
                }
            }
        });
    };
    thread::scope(|scope| {
        scope.spawn(move || work(to_left, from_left));
        work(to_right, from_right);
    });
}

/// Many short segments wait in a pending list while its owner reuses its own list, and then spills.
fn an_owner_that_drops_more_than_it_makes(sum: &Sum, count: usize) {
    sum.run_elsewhere(|owner| {
        let (own, others) = halves(shuffle(owner.make_many(count)));
        let (to, from): (SyncSender<Vec<Object>>, _) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            let from: Receiver<Vec<Object>> = from;
            scope.spawn(move || sum.run(|other| from.into_iter().for_each(|o| other.free_all(o))));
            let mut others = others.into_iter();
            for (n, own) in own.into_iter().enumerate() {
                if n % 20_000 == 0 {
                    to.send(others.by_ref().take(20_000).collect()).unwrap();
                }
                owner.free(own);
            }
            drop(to);
        });
    });
}

/// A thread caches slots of a thread that has ended, at first those it needs itself, then as many as its lists hold.
/// Then it drops so many of its own that the lists are spilled, and the cached slots must be returned.
fn cached_slots_are_returned(sum: &Sum, count: usize) {
    let theirs = shuffle(sum.run_elsewhere(|owner| owner.make_many(count / 2)));
    sum.run_elsewhere(|keeper| {
        let mut own = keeper.make_many(count / 4);
        let (replaced, others) = halves(theirs);
        for other in replaced {
            keeper.free(other);
            own.push(keeper.make(0));
        }
        keeper.free_all(others);
        keeper.free_all(shuffle(own));
    });
}

type Story = (&'static str, fn(&Sum, usize));

const STORIES: &[Story] = &[
    ("local, in every order", local_in_every_order),
    ("elsewhere, in order", elsewhere_in_order),
    ("elsewhere, at random", elsewhere_at_random),
    ("after the owners ended", after_the_owners_ended),
    ("a stream", a_stream),
    ("a table for all", a_table_for_all),
    ("threads come and go", threads_come_and_go),
    (
        "parked heaps are looked through",
        parked_heaps_are_looked_through,
    ),
    ("two free for each other", two_free_for_each_other),
    (
        "an owner that drops more than it makes",
        an_owner_that_drops_more_than_it_makes,
    ),
    ("cached slots are returned", cached_slots_are_returned),
];

/// Times are shown and not asserted: they are the machine's as much as the pool's.
#[test]
fn no_call_touches_many_slots() {
    let mut all = Meter::default();
    let mut too_many = Vec::new();
    for &(name, story) in STORIES {
        let sum = Sum::default();
        story(&sum, SHARE);
        let meter = sum.0.into_inner().unwrap();
        let longest = Duration::from_nanos(meter.nanos.most);
        println!(
            "{name}: {} made, at most {} touches, {longest:.0?}",
            meter.made, meter.touches.most
        );
        if meter.touches.most > MOST {
            too_many.push((name, meter.touches.most));
        }
        all.steal(&meter);
    }
    println!("{} made, touches per call:\n{}", all.made, all.touches);
    println!("nanoseconds per call:\n{}", all.nanos);
    assert!(too_many.is_empty(), "more than {MOST}: {too_many:?}");
    assert!(
        all.made as usize >= OBJECTS * 9 / 10,
        "the stories made {}",
        all.made
    );
}
