//! Hoard's threadtest: each thread makes its share of 30 000 objects, frees them in the same order, and starts again.

use crate::{
    job::{Job, Local, spread},
    peers::{Peer, object},
};

pub(crate) const OBJECTS: usize = 30_000;

#[derive(Clone)]
pub(crate) struct Rounds {
    pub(crate) threads: usize,
}

impl Local for Rounds {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let threads = self.threads;
        let share = OBJECTS / threads;
        Box::new(move |objects| {
            spread(
                threads,
                objects.div_ceil(share as u64),
                share as u64,
                |rounds| {
                    let mut live: Vec<P> = Vec::with_capacity(share);
                    for _ in 0..rounds {
                        live.extend((0..share as u64).map(object::<P, W>));
                        live.clear(); // from the first to the last
                        P::all_dropped();
                    }
                },
            )
        })
    }
}
