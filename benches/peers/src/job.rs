//! What a row does, in the form that the harness runs: a [`Job`] does so many objects' work and says how long it took.

use crate::{
    peers::Peer,
    race::{Body, race},
};
use std::time::{Duration, Instant};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) time: Duration,
    /// How many objects were really made; a row may round what it was asked for.
    pub(crate) objects: u64,
}

impl Sample {
    pub(crate) fn ns_per_object(self) -> f64 {
        self.time.as_nanos() as f64 / self.objects as f64
    }
}

/// A row that has been set up for one peer. What is live between samples is in it.
pub(crate) type Job = Box<dyn FnMut(u64) -> Sample>;

/// Work on threads that keep their objects.
pub(crate) trait Local {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job;
}

/// Work on threads that drop each other's objects.
pub(crate) trait Remote {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job;
}

/// Remote work that can also be done with the same objects for ever, sent back by hand.
pub(crate) trait Limited: Remote {
    fn limit<P: Peer<W> + Send, const W: usize>(&self) -> Job;
}

/// Times work on this thread.
pub(crate) fn timed(objects: u64, work: impl FnOnce()) -> Sample {
    let start = Instant::now();
    work();
    Sample {
        time: start.elapsed(),
        objects,
    }
}

/// Times `rounds` rounds of so many objects, shared out to threads; `work(n)` does n rounds. One thread is this one.
pub(crate) fn spread(
    threads: usize,
    rounds: u64,
    objects: u64,
    work: impl Fn(u64) + Sync,
) -> Sample {
    let share = rounds.div_ceil(threads as u64).max(1);
    let objects = share * threads as u64 * objects;
    if threads == 1 {
        return timed(objects, || work(share));
    }
    let work = &work;
    let bodies = (0..threads).map(|_| -> Body<'_> { Box::new(move || work(share)) });
    Sample {
        time: race(bodies.collect()),
        objects,
    }
}
