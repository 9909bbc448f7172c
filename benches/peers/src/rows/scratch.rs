//! cache-scratch: the main thread makes one small object for each thread, back to back. Each thread drops the one it
//! was given, and then makes an object, writes it a thousand times and drops it, again and again.
//!
//! An allocator that hands out to two threads what lies in one cache line makes them write to the same line. The time
//! is for an object and its writes.

use crate::{
    job::{Job, Remote, Sample},
    peers::{Peer, object},
    race::{Body, race},
};
use std::hint::black_box;

const WRITES: u64 = 1000;

#[derive(Clone)]
pub(crate) struct Scratch {
    pub(crate) threads: usize,
}

impl Remote for Scratch {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let threads = self.threads;
        Box::new(move |objects| {
            let share = objects.div_ceil(threads as u64);
            let gifts: Vec<P> = (0..threads as u64).map(object).collect();
            let bodies = gifts.into_iter().map(|gift| -> Body<'_> {
                let mut gift = Some(gift);
                Box::new(move || {
                    drop(gift.take());
                    (0..share).for_each(|n| scratch(object::<P, W>(n)));
                })
            });
            Sample {
                time: race(bodies.collect()),
                objects: share * threads as u64,
            }
        })
    }
}

fn scratch<P: Peer<W>, const W: usize>(mut object: P) {
    object.write(|words| {
        for _ in 0..WRITES {
            words[0] = words[0].wrapping_add(1);
            black_box(&mut *words);
        }
    });
}
