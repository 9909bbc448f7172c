//! mstress: phases of threads that make objects, keep some, drop random ones, and exchange random ones with slots that
//! all threads share; threads end with each phase. What an object holds is checked when it is freed.

use crate::{
    common::XorShift,
    job::{Job, Remote, Sample},
    peers::Peer,
    race::{Body, race},
};
use crossbeam_utils::atomic::AtomicCell;
use std::{array, time::Duration};

/// What a thread makes in a phase, half as much again to keep until its end.
pub(crate) const OBJECTS: usize = 5000;
const KEPT: usize = OBJECTS / 2;
const PER_THREAD: u64 = (OBJECTS + KEPT) as u64;

const TRANSFER: usize = 1000;
const COOKIE: u64 = 0xbf58_476d_1ce4_e5b9;

#[derive(Clone)]
pub(crate) struct Mstress {
    pub(crate) threads: usize,
}

type Transfer<P> = Vec<AtomicCell<Option<P>>>;

impl Remote for Mstress {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let threads = self.threads;
        let mut transfer: Transfer<P> = (0..TRANSFER).map(|_| AtomicCell::new(None)).collect();
        let mut seed = 0;
        Box::new(move |objects| {
            let phases = objects.div_ceil(PER_THREAD * threads as u64);
            let mut time = Duration::ZERO;
            for _ in 0..phases {
                seed += threads as u64;
                time += phase(&transfer, threads, seed);
                free_half(&mut transfer);
            }
            Sample {
                time,
                objects: phases * PER_THREAD * threads as u64,
            }
        })
    }
}

fn phase<P: Peer<W> + Send, const W: usize>(
    transfer: &Transfer<P>,
    threads: usize,
    seed: u64,
) -> Duration {
    let bodies = (0..threads as u64).map(|thread| -> Body<'_> {
        Box::new(move || thread_of_phase(transfer, XorShift::new(seed + thread)))
    });
    race(bodies.collect())
}

/// Each step makes an object, to use or to keep; two in three also drop one, and a quarter exchange one.
fn thread_of_phase<P: Peer<W>, const W: usize>(transfer: &Transfer<P>, mut random: XorShift) {
    let mut used: Vec<Option<P>> = Vec::with_capacity(OBJECTS);
    let mut kept: Vec<P> = Vec::with_capacity(KEPT);
    while used.len() < OBJECTS || kept.len() < KEPT {
        let made = make(random.below(1 << 31) as u64);
        let use_it = random.below(100) < 51;
        if (use_it && used.len() < OBJECTS) || kept.len() == KEPT {
            used.push(Some(made));
        } else {
            kept.push(made);
        }
        if used.is_empty() {
            continue;
        }
        let n = random.below(used.len());
        if random.below(100) < 67 {
            free(used[n].take());
        }
        let n = random.below(used.len());
        if random.below(100) < 26 {
            used[n] = transfer[random.below(TRANSFER)].swap(used[n].take());
        }
    }
    used.into_iter().for_each(free);
    kept.into_iter().map(Some).for_each(free);
}

fn free_half<P: Peer<W>, const W: usize>(transfer: &mut Transfer<P>) {
    transfer[..TRANSFER / 2]
        .iter()
        .for_each(|slot| free(slot.take()));
}

fn make<P: Peer<W>, const W: usize>(seed: u64) -> P {
    P::new(contents(seed))
}

fn free<P: Peer<W>, const W: usize>(object: Option<P>) {
    if let Some(object) = object {
        object.read(|words| assert_eq!(words, &contents(words[0] ^ COOKIE), "an object changed"));
    }
}

fn contents<const W: usize>(seed: u64) -> [u64; W] {
    array::from_fn(|n| seed.wrapping_add(n as u64) ^ COOKIE)
}
