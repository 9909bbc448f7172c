//! Larson: each thread owns slots with objects, frees a random one and makes another in its place; after a while it
//! hands its slots to a successor thread and ends. The first objects are the main thread's.
//!
//! Starting and ending the successors is part of the work.

use crate::{
    common::XorShift,
    job::{Job, Remote, Sample},
    peers::{Peer, object, receive},
    race::pin,
};
use std::{
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
    time::Instant,
};

pub(crate) const SLOTS: usize = 5000;

/// How many objects a thread replaces in its life.
const LIFE: u64 = 50_000;

#[derive(Clone)]
pub(crate) struct Larson {
    pub(crate) threads: usize,
}

type Slots<P> = Vec<Option<P>>;

/// What one thread hands to the next.
struct Estate<P> {
    core: usize,
    slots: Slots<P>,
    random: XorShift,
    left: u64,
    heir_of_all: Sender<Slots<P>>,
    threads: Sender<JoinHandle<()>>,
}

impl Remote for Larson {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let threads = self.threads;
        let mut all = first_objects::<P, W>(threads);
        let mut round = 0;
        Box::new(move |objects| {
            round += 1;
            let lives = objects.div_ceil(LIFE * threads as u64);
            let start = Instant::now();
            all = generations::<P, W>(std::mem::take(&mut all), lives, round);
            Sample {
                time: start.elapsed(),
                objects: lives * LIFE * threads as u64,
            }
        })
    }
}

/// Made by this thread and mixed, so that each thread starts with objects from everywhere.
fn first_objects<P: Peer<W>, const W: usize>(threads: usize) -> Vec<Slots<P>> {
    let mut objects: Vec<_> = (0..(threads * SLOTS) as u64)
        .map(|n| Some(object::<P, W>(n)))
        .collect();
    super::shuffle(&mut objects, &mut XorShift::new(1));
    (0..threads)
        .map(|_| objects.split_off(objects.len() - SLOTS))
        .collect()
}

/// Runs so many generations of threads on the slots, and gives them back when the last thread has ended: rpmalloc's
/// destructor in a process that ends meanwhile crashes.
fn generations<P: Peer<W> + Send, const W: usize>(
    all: Vec<Slots<P>>,
    lives: u64,
    round: u64,
) -> Vec<Slots<P>> {
    let (heir_of_all, inherited) = channel();
    let (threads, started) = channel();
    for (core, slots) in all.into_iter().enumerate() {
        spawn(Estate {
            core,
            slots,
            random: XorShift::new(round << 8 | core as u64),
            left: lives,
            heir_of_all: heir_of_all.clone(),
            threads: threads.clone(),
        });
    }
    drop((heir_of_all, threads));
    for thread in started {
        thread.join().expect("a life does not panic");
    }
    inherited.into_iter().collect()
}

fn spawn<P: Peer<W> + Send, const W: usize>(estate: Estate<P>) {
    let threads = estate.threads.clone();
    let thread = thread::spawn(move || live(estate));
    let sent = threads.send(thread);
    assert!(sent.is_ok(), "the main thread waits for all of them");
}

fn live<P: Peer<W> + Send, const W: usize>(mut estate: Estate<P>) {
    pin(estate.core);
    for n in 0..LIFE {
        let slot = estate.random.below(SLOTS);
        estate.slots[slot] = None;
        let object = object(n);
        receive(&object);
        estate.slots[slot] = Some(object);
    }
    estate.left -= 1;
    if estate.left > 0 {
        spawn(estate);
    } else {
        let sent = estate.heir_of_all.send(estate.slots);
        assert!(sent.is_ok(), "the main thread waits for all of them");
    }
}
