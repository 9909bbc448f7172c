//! The shapes of mstress, larson and mleak, with checked contents: what ThreadSanitizer and memcheck look at.
//!
//! Without an instrumented standard library ThreadSanitizer takes its scoped threads, channels, barriers and the last
//! drop of an `Arc` for races. So threads are spawned and joined here, and what they share is a `static`.
//!
//! The argument is how much: 1 is a few seconds under memcheck.

#[path = "../../../common/calling_allocator.rs"]
mod calling_allocator;
#[path = "../../../common/mod.rs"]
mod common;

use std::env;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use calling_allocator::{CallingAllocator, act_every, act_no_more};
use common::{Checked, Parcel, Rng};
use segment_pool::{PoolBox, SegmentPool};

#[global_allocator]
static GLOBAL: CallingAllocator = CallingAllocator;
/// Its calls from one in which it does something to pools to the next.
const CALLS: usize = 97;

const THREADS: usize = 4;

/// A value whose size is known only at run time: a cookie and words that are computed from it.
type Words = PoolBox<[u64]>;

fn words(rng: &mut Rng) -> Words {
    let len = 1 << rng.below(8);
    let cookie = rng.next();
    (0..len as u64).map(|n| cookie ^ n).collect()
}

fn check(words: &Words) {
    let cookie = words[0];
    let right = (0..).zip(words.iter()).all(|(n, word)| *word == cookie ^ n);
    assert!(right, "{words:x?}");
}

fn finish(words: Option<Words>) {
    words.iter().for_each(check);
}

/// Where threads leave values for each other.
struct Shelf<T: 'static>([AtomicPtr<T>; 1000]);

impl<T> Shelf<T> {
    const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; 1000])
    }

    fn swap(&self, place: usize, value: Option<PoolBox<T>>) -> Option<PoolBox<T>> {
        let pointer = value.map_or(ptr::null_mut(), PoolBox::into_raw);
        // AcqRel: releases the value put there, acquires the one found there.
        let found = self.0[place].swap(pointer, Ordering::AcqRel);
        // SAFETY: what is not null came from `into_raw`, and the swap took it away.
        (!found.is_null()).then(|| unsafe { PoolBox::from_raw(found) })
    }
}

// --- mstress: threads start and end, and half of what they share outlives them --------------------------------------

static SHARED: Shelf<Words> = Shelf::new();

fn mstress_thread(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut kept: Vec<Words> = Vec::new();
    for _ in 0..2000 {
        if rng.below(100) < 60 {
            kept.push(words(&mut rng));
        } else if !kept.is_empty() {
            let index = rng.below(kept.len());
            check(&kept.swap_remove(index));
        }
        if rng.below(100) < 25 {
            let value = kept.pop().map(PoolBox::new);
            let found = SHARED.swap(rng.below(1000), value);
            kept.extend(found.map(PoolBox::into_inner));
        }
    }
    kept.into_iter().map(Some).for_each(finish);
}

fn mstress(rounds: u64) {
    for round in 0..rounds {
        each_thread(move |thread| mstress_thread(round * 100 + thread));
        for place in (0..1000).step_by(2) {
            finish(SHARED.swap(place, None).map(PoolBox::into_inner));
        }
    }
    (0..1000).for_each(|place| finish(SHARED.swap(place, None).map(PoolBox::into_inner)));
}

// --- larson: a thread that ends leaves its values to one that it started --------------------------------------------

struct Successor(Option<JoinHandle<Successor>>);

fn larson_thread(mut values: Vec<Words>, seed: u64, generations: u64) -> Successor {
    let mut rng = Rng::new(seed ^ generations << 32);
    for _ in 0..2000 {
        let index = rng.below(values.len());
        values[index] = words(&mut rng);
        check(&values[rng.below(values.len())]);
    }
    if generations == 0 {
        values.into_iter().map(Some).for_each(finish);
        return Successor(None);
    }
    let next = thread::spawn(move || larson_thread(values, seed, generations - 1));
    Successor(Some(next))
}

fn larson(generations: u64) {
    let first = |seed| {
        let mut rng = Rng::new(seed);
        let values = (0..300).map(|_| words(&mut rng)).collect();
        thread::spawn(move || larson_thread(values, seed, generations))
    };
    let mut alive: Vec<_> = (0..THREADS as u64).map(first).collect();
    while let Some(thread) = alive.pop() {
        alive.extend(join(thread).0);
    }
}

// --- mleak: every thread leaves a few values behind, and in the end nothing is left ---------------------------------

type Left = Checked<7>;

static POOL: SegmentPool<Left> = SegmentPool::new();
static LEFT: Shelf<Left> = Shelf::new();

fn mleak_thread(seed: u64) {
    let mut rng = Rng::new(seed);
    for _ in 0..1000 {
        let value = POOL.alloc(Left::new(seed as u32));
        let found = LEFT.swap(rng.below(1000), (rng.below(4) == 0).then_some(value));
        found.iter().for_each(|found| {
            found.verify();
        });
        match rng.below(300) {
            0 => segment_pool::flush(),
            1 => segment_pool::idle(),
            2 => POOL.trim(),
            _ => {}
        }
    }
}

fn mleak(rounds: u64) {
    for round in 0..rounds {
        each_thread(move |thread| mleak_thread(round * 100 + thread));
        let stats = POOL.stats();
        assert!(stats.segments < 30, "{stats}");
    }
    (0..1000).for_each(|place| drop(LEFT.swap(place, None)));
}

// --------------------------------------------------------------------------------------------------------------------

fn each_thread(work: impl Fn(u64) + Copy + Send + 'static) {
    let start = |thread| thread::spawn(move || work(thread));
    let threads: Vec<_> = (0..THREADS as u64).map(start).collect();
    threads.into_iter().for_each(join);
}

fn join<R>(thread: JoinHandle<R>) -> R {
    thread.join().expect("every value is what it was")
}

/// No thread has a heap, so every slot is seen.
fn assert_all_returned() {
    segment_pool::trim();
    POOL.trim();
    for (validation, stats) in [
        (segment_pool::validate(), segment_pool::stats()),
        (POOL.validate(), POOL.stats()),
    ] {
        assert_eq!((validation.live, validation.kept), (0, 0), "{validation}");
        assert_eq!(validation.free, validation.capacity, "{validation}");
        assert_eq!((stats.live(), stats.segments), (0, 0), "{stats}");
        assert!(stats.remote_frees > 0, "nobody freed another's: {stats}");
    }
}

fn main() {
    act_every(CALLS);
    let much = env::args().nth(1).map_or(1, |much| much.parse().unwrap());
    for (name, shape) in [
        ("mstress", mstress as fn(u64)),
        ("larson", larson),
        ("mleak", mleak),
    ] {
        let start = Instant::now();
        shape(much * 2);
        println!("{name}: {:?}", start.elapsed());
    }
    act_no_more();
    assert_all_returned();
}
