//! The shape of glibc's own benchmark: for several n, rounds of n objects, of which the first half is freed in the
//! order of allocation and the second half in reverse.

use crate::{
    job::{Job, Local, timed},
    peers::{Peer, object},
};

/// The n, each with the same number of objects in all.
const SIZES: [usize; 4] = [25, 100, 400, 1600];

pub(crate) const LIVE: usize = SIZES[SIZES.len() - 1];

#[derive(Clone)]
pub(crate) struct Simple;

impl Local for Simple {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let mut slots: Vec<Option<P>> = (0..LIVE).map(|_| None).collect();
        Box::new(move |objects| {
            // As many rounds of the largest n, and more of the others.
            let largest = objects.div_ceil((SIZES.len() * LIVE) as u64);
            timed(largest * (SIZES.len() * LIVE) as u64, || {
                for n in SIZES {
                    for _ in 0..largest * (LIVE / n) as u64 {
                        round(&mut slots[..n]);
                    }
                }
            })
        })
    }
}

fn round<P: Peer<W>, const W: usize>(slots: &mut [Option<P>]) {
    for (n, slot) in slots.iter_mut().enumerate() {
        *slot = Some(object(n as u64));
    }
    let (first, second) = slots.split_at_mut(slots.len() / 2);
    for slot in first.iter_mut().chain(second.iter_mut().rev()) {
        *slot = None;
    }
    P::all_dropped();
}
