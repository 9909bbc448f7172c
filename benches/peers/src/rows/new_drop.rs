//! One object, freed at once: the two fast paths and nothing else.

use crate::{
    job::{Job, Local, spread},
    peers::{Peer, object},
};

#[derive(Clone)]
pub(crate) struct NewDrop {
    pub(crate) threads: usize,
}

impl Local for NewDrop {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let threads = self.threads;
        Box::new(move |objects| {
            spread(threads, objects, 1, |objects| {
                for n in 0..objects {
                    drop(object::<P, W>(n));
                    P::all_dropped();
                }
            })
        })
    }
}
