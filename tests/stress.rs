//! Ten million values with checked contents go to and fro between eight threads that start and end all the time; in
//! the end every slot is accounted for.
//!
//! Values change hands over shelves, where a thread swaps its value with the content of a place, and over a channel.
//! Each thread's operations follow from its seed; the interleaving of threads does not. The test has its own process,
//! so the default pool's validation is exact.

#![cfg(not(segment_pool_loom))]

mod common;

use std::array;
use std::collections::VecDeque;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use common::{Checked, Parcel, Rng, parcel};
use crossbeam_channel::{Receiver, Sender};
use segment_pool::{PoolBox, SegmentPool, Validation};

/// Values in all.
const VALUES: usize = if cfg!(debug_assertions) {
    1_000_000
} else {
    10_000_000
};
/// Threads that live one after the other, or at the same time.
const LIVES: usize = 2000;
const AT_ONCE: usize = 8;
/// Words of the values from their own pool.
const OWN_POOL: usize = 6;
/// Words of the values with a dedicated mapping, which no validation sees.
const DEDICATED_MAPPING: usize = 16_500;

static POOL: SegmentPool<Checked<OWN_POOL>> = SegmentPool::new();

/// Places for values of one size.
struct Shelf<const WORDS: usize>([AtomicPtr<Checked<WORDS>>; 256]);

type Place<const WORDS: usize> = Option<PoolBox<Checked<WORDS>>>;

impl<const WORDS: usize> Shelf<WORDS> {
    const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; 256])
    }

    fn swap(&self, place: usize, value: Place<WORDS>) -> Place<WORDS> {
        let pointer = value.map_or(ptr::null_mut(), PoolBox::into_raw);
        // AcqRel: releases the value put there, acquires the one found there.
        let found = self.0[place % 256].swap(pointer, Ordering::AcqRel);
        // SAFETY: what is not null came from `into_raw`, and the swap took it away.
        (!found.is_null()).then(|| unsafe { PoolBox::from_raw(found) })
    }

    fn clear(&self) -> Vec<PoolBox<dyn Parcel>> {
        let values = (0..256).filter_map(|place| self.swap(place, None));
        values.map(parcel).collect()
    }
}

/// The shelves, one for each size, as a list of the statics behind them.
macro_rules! shelves {
    ($($name:ident: $words:expr,)*) => {
        $(static $name: Shelf<{ $words }> = Shelf::new();)*

        fn clear_shelves() -> Vec<PoolBox<dyn Parcel>> {
            [$($name.clear()),*].into_iter().flatten().collect()
        }
    };
}

shelves! {
    W1: 1,
    W2: 2,
    W3: 3,
    W6: OWN_POOL,
    W8: 8,
    W25: 25,
    W128: 128,
    W500: 500,
    W2500: 2500,
    W16500: DEDICATED_MAPPING,
}

/// What a thread made.
#[derive(Default, Clone, Copy)]
struct Made {
    in_default_pool: u64,
    in_own_pool: u64,
    in_dedicated_mapping: u64,
}

impl Made {
    fn plus(self, other: Self) -> Self {
        Self {
            in_default_pool: self.in_default_pool + other.in_default_pool,
            in_own_pool: self.in_own_pool + other.in_own_pool,
            in_dedicated_mapping: self.in_dedicated_mapping + other.in_dedicated_mapping,
        }
    }

    /// The count for values of this size.
    fn count(&mut self, words: usize) -> &mut u64 {
        match words {
            OWN_POOL => &mut self.in_own_pool,
            DEDICATED_MAPPING => &mut self.in_dedicated_mapping,
            _ => &mut self.in_default_pool,
        }
    }

    fn of(values: &[PoolBox<dyn Parcel>]) -> Self {
        let mut made = Self::default();
        for value in values {
            value.verify();
            *made.count(size_of_val(&**value) / 8) += 1;
        }
        made
    }
}

type Channel = (Sender<PoolBox<dyn Parcel>>, Receiver<PoolBox<dyn Parcel>>);

/// One thread.
struct Life {
    rng: Rng,
    channel: Channel,
    kept: [Option<PoolBox<dyn Parcel>>; 50],
    made: Made,
}

impl Life {
    fn start(number: usize, channel: Channel) -> JoinHandle<Made> {
        thread::spawn(move || {
            let life = Self {
                rng: Rng::new(number as u64),
                channel,
                kept: array::from_fn(|_| None),
                made: Made::default(),
            };
            life.live(number)
        })
    }

    fn live(mut self, number: usize) -> Made {
        for value in 0..VALUES / LIVES {
            self.make_one();
            if value % 32 == 0 {
                thread::yield_now(); // else a thread would mostly meet its own values
            }
        }
        if number > LIVES / 2 && number % 10 == 0 {
            segment_pool::flush();
            assert_adds_up(segment_pool::validate());
            assert_adds_up(POOL.validate());
        }
        self.made
    }

    fn make_one(&mut self) {
        match self.rng.below(10_000) {
            0 => self.pass(&W16500, PoolBox::new),
            1..=9 => self.pass(&W2500, PoolBox::new),
            10..=99 => self.pass(&W500, PoolBox::new),
            100..=499 => self.pass(&W128, PoolBox::new),
            500..=1499 => self.pass(&W25, PoolBox::new),
            1500..=2999 => self.pass(&W1, PoolBox::new),
            3000..=4999 => self.pass(&W2, PoolBox::new),
            5000..=5999 => self.pass(&W3, PoolBox::new),
            6000..=7999 => self.pass(&W8, PoolBox::new),
            _ => self.pass(&W6, |value| POOL.alloc(value)),
        }
    }

    /// Makes a value and gives it away; what comes in its stead is dropped.
    fn pass<const WORDS: usize>(
        &mut self,
        shelf: &Shelf<WORDS>,
        make: impl FnOnce(Checked<WORDS>) -> PoolBox<Checked<WORDS>>,
    ) {
        let random = self.rng.next();
        let value = make(Checked::new(random as u32));
        *self.made.count(WORDS) += 1;
        let place = (random >> 32) as usize;
        match random >> 61 {
            0..4 => drop(shelf.swap(place, Some(value))),
            4 | 5 => self.send(parcel(value)),
            _ => self.kept[place % 50] = Some(parcel(value)),
        }
    }

    /// Sends a value and receives another; if the channel is full, the value is dropped.
    fn send(&self, value: PoolBox<dyn Parcel>) {
        let (to, from) = &self.channel;
        drop(to.try_send(value));
        if to.len() > 500 {
            drop(from.try_recv());
        }
    }
}

fn assert_adds_up(validation: Validation) {
    assert_eq!(
        validation.free + validation.live,
        validation.capacity,
        "{validation}"
    );
}

/// There are as many heaps as threads at the same time, plus those that their pushes withheld from a new thread for a
/// moment.
fn assert_few_heaps() {
    for stats in [segment_pool::stats(), POOL.stats()] {
        assert!(stats.heaps <= 2 * AT_ONCE as u64, "{stats}");
    }
}

/// Runs all lives, at most this many at the same time.
fn live_all(channel: &Channel) -> Made {
    let mut made = Made::default();
    let mut alive = VecDeque::new();
    for number in 0..LIVES {
        if number == LIVES / 2 {
            assert_few_heaps(); // later, a validation may withhold heaps from new threads
        }
        if alive.len() == AT_ONCE {
            made = made.plus(alive.pop_front().map(join).unwrap());
        }
        alive.push_back(Life::start(number, channel.clone()));
    }
    alive.into_iter().map(join).fold(made, Made::plus)
}

/// Waits for the thread's thread-local values, too.
fn join(life: JoinHandle<Made>) -> Made {
    life.join().unwrap()
}

/// Every heap was visited, since no thread has one, and in each slots are free or hold a survivor.
fn assert_accounted_for(survivors: Made) {
    let (default, own) = (segment_pool::validate(), POOL.validate());
    println!("default pool: {default}\nown pool:     {own}");
    assert_eq!(default.heaps as u64, segment_pool::stats().heaps);
    assert_eq!(own.heaps as u64, POOL.stats().heaps);
    assert_adds_up(default);
    assert_adds_up(own);
    assert_eq!(default.live as u64, survivors.in_default_pool);
    assert_eq!(own.live as u64, survivors.in_own_pool);
}

#[test]
fn values_go_to_and_fro_between_threads_that_start_and_end() {
    let channel = crossbeam_channel::bounded(1000);
    let start = Instant::now();
    let made = live_all(&channel);
    println!("{VALUES} values, {LIVES} threads: {:?}", start.elapsed());

    let mut survivors = clear_shelves();
    survivors.extend(channel.1.try_iter());
    assert_accounted_for(Made::of(&survivors));
    drop(survivors);
    segment_pool::flush();
    assert_accounted_for(Made::default());

    let (default, own) = (segment_pool::stats(), POOL.stats());
    println!("default pool:\n{default}\nown pool:\n{own}");
    assert_eq!(default.allocations, made.in_default_pool);
    assert_eq!(own.allocations, made.in_own_pool);
    let all = made.in_default_pool + made.in_own_pool + made.in_dedicated_mapping;
    assert_eq!(all, VALUES as u64);
    assert_eq!((default.live(), own.live()), (0, 0));
    assert_eq!((default.segments, own.segments), (0, 0));
}
