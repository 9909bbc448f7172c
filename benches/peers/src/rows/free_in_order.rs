//! A thousand objects, then all are freed in a given order.

use crate::{
    common::XorShift,
    job::{Job, Local, timed},
    peers::{Peer, object},
};

pub(crate) const OBJECTS: usize = 1000;

/// The order.
#[derive(Clone)]
pub(crate) struct FreeInOrder(Vec<usize>);

impl FreeInOrder {
    pub(crate) fn lifo() -> Self {
        Self((0..OBJECTS).rev().collect())
    }

    pub(crate) fn fifo() -> Self {
        Self((0..OBJECTS).collect())
    }

    /// Drawn beforehand, the same for everyone.
    pub(crate) fn random() -> Self {
        let mut order: Vec<_> = (0..OBJECTS).collect();
        super::shuffle(&mut order, &mut XorShift::new(1));
        Self(order)
    }
}

impl Local for FreeInOrder {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let order = self.0.clone();
        let mut slots: Vec<Option<P>> = order.iter().map(|_| None).collect();
        Box::new(move |objects| {
            let rounds = objects.div_ceil(OBJECTS as u64);
            timed(rounds * OBJECTS as u64, || {
                for _ in 0..rounds {
                    round(&mut slots, &order);
                }
            })
        })
    }
}

fn round<P: Peer<W>, const W: usize>(slots: &mut [Option<P>], order: &[usize]) {
    for (n, slot) in slots.iter_mut().enumerate() {
        *slot = Some(object(n as u64));
    }
    for &n in order {
        slots[n] = None;
    }
    P::all_dropped();
}
