//! A table that always holds an object in each entry. Four threads drop an object, make another, swap it against the
//! one in a random entry, and read that one.
//!
//! The limit: what was swapped out is written and swapped in again.

use crate::{
    common::XorShift,
    job::{Job, Limited, Remote, Sample},
    peers::{Peer, object, receive, renew},
    race::{Body, race},
};
use crossbeam_utils::atomic::AtomicCell;

pub(crate) const THREADS: usize = 4;

#[derive(Clone)]
pub(crate) struct Mailbox {
    pub(crate) entries: usize,
}

/// One atomic swap for handles that are a word, a lock for wider ones.
type Entries<P> = Vec<AtomicCell<P>>;

impl Remote for Mailbox {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        self.job_with(|old: P, n| {
            drop(old);
            object(n)
        })
    }
}

impl Limited for Mailbox {
    fn limit<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        self.job_with(|mut old: P, n| {
            renew(&mut old, n);
            old
        })
    }
}

impl Mailbox {
    fn job_with<P: Peer<W> + Send, const W: usize>(&self, next: fn(P, u64) -> P) -> Job {
        let entries: Entries<P> = (0..self.entries as u64)
            .map(|n| AtomicCell::new(object(n)))
            .collect();
        let mut round = 0;
        Box::new(move |objects| {
            round += 1;
            swap_all(&entries, objects.div_ceil(THREADS as u64), round, next)
        })
    }
}

fn swap_all<P: Peer<W> + Send, const W: usize>(
    entries: &Entries<P>,
    share: u64,
    round: u64,
    next: impl Fn(P, u64) -> P + Copy + Send,
) -> Sample {
    let bodies = (0..THREADS as u64).map(|thread| -> Body<'_> {
        let mut random = XorShift::new(round * THREADS as u64 + thread);
        Box::new(move || {
            let mut mine = object(thread);
            for n in 0..share {
                mine = entries[random.below(entries.len())].swap(next(mine, n));
                receive(&mine);
            }
        })
    });
    Sample {
        time: race(bodies.collect()),
        objects: share * THREADS as u64,
    }
}
