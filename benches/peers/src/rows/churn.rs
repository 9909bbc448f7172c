//! So many live objects; a random one is freed and another takes its place.

use crate::{
    common::XorShift,
    job::{Job, Local, timed},
    peers::{Peer, object},
};

#[derive(Clone)]
pub(crate) struct Churn {
    pub(crate) live: usize,
}

impl Local for Churn {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let mut random = XorShift::new(1);
        let mut live: Vec<_> = (0..self.live as u64)
            .map(|n| Some(object::<P, W>(n)))
            .collect();
        Box::new(move |objects| {
            let live = &mut live[..];
            timed(objects, || {
                for _ in 0..objects {
                    let n = random.below(live.len());
                    live[n] = None;
                    live[n] = Some(object(n as u64));
                }
            })
        })
    }
}
