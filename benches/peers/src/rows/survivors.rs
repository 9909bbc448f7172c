//! A ring of objects with survivors: when it is full, a window of a fifth stays, what lies below it is freed in the
//! order of allocation and what lies above in reverse; then it is filled again. The window moves by its own length.

use crate::{
    job::{Job, Local, spread},
    peers::{Peer, object},
};
use std::ops::Range;

pub(crate) const OBJECTS: usize = 10_000;

/// One in so many stays.
const SURVIVES: usize = 5;
const MADE_PER_ROUND: usize = OBJECTS - OBJECTS / SURVIVES;

#[derive(Clone)]
pub(crate) struct Survivors {
    pub(crate) threads: usize,
}

impl Local for Survivors {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let threads = self.threads;
        Box::new(move |objects| {
            let rounds = objects.div_ceil(MADE_PER_ROUND as u64);
            spread(threads, rounds, MADE_PER_ROUND as u64, |rounds| {
                let mut slots: Vec<Option<P>> = (0..OBJECTS).map(|_| None).collect();
                for n in 0..rounds as usize {
                    fill(&mut slots);
                    let from = n % SURVIVES * (OBJECTS / SURVIVES);
                    free_all_but(&mut slots, from..from + OBJECTS / SURVIVES);
                }
            })
        })
    }
}

fn fill<P: Peer<W>, const W: usize>(slots: &mut [Option<P>]) {
    for (n, slot) in slots.iter_mut().enumerate() {
        slot.get_or_insert_with(|| object(n as u64));
    }
}

fn free_all_but<P>(slots: &mut [Option<P>], window: Range<usize>) {
    let (below, rest) = slots.split_at_mut(window.start);
    let above = &mut rest[window.len()..];
    for slot in below.iter_mut().chain(above.iter_mut().rev()) {
        *slot = None;
    }
}
