//! One thread makes objects and sends them over a bounded lock-free ring; another reads and drops them. In batches,
//! the ring's messages are vectors of 256.
//!
//! The limit: the objects come back on a second ring and are written again.

use crate::{
    job::{Job, Limited, Remote, Sample},
    peers::{Peer, object, receive, renew},
    race::{Body, race},
    spsc::ring,
};

/// Objects under way at most.
pub(crate) const IN_FLIGHT: usize = 4096;

/// One by one.
#[derive(Clone)]
pub(crate) struct Ring;

/// So many at a time.
#[derive(Clone)]
pub(crate) struct Batches;

const BATCH: usize = 256;

impl Remote for Ring {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        Box::new(|objects| send(objects, 1, object::<P, W>, |object| receive(&object)))
    }
}

impl Limited for Ring {
    fn limit<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        Box::new(|objects| send_recycled(objects, 1, object::<P, W>, renew, receive))
    }
}

impl Remote for Batches {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let finish = |batch: Vec<P>| batch.into_iter().for_each(|object| receive(&object));
        Box::new(move |objects| send(objects, BATCH, batch::<P, W>, finish))
    }
}

impl Limited for Batches {
    fn limit<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let renew = |batch: &mut Vec<P>, n| batch.iter_mut().for_each(|object| renew(object, n));
        let read = |batch: &Vec<P>| batch.iter().for_each(receive);
        Box::new(move |objects| send_recycled(objects, BATCH, batch::<P, W>, renew, read))
    }
}

fn batch<P: Peer<W>, const W: usize>(n: u64) -> Vec<P> {
    (0..BATCH).map(|_| object(n)).collect()
}

/// One thread makes messages of `size` objects, the other receives and finishes them.
fn send<M: Send>(
    objects: u64,
    size: usize,
    mut make: impl FnMut(u64) -> M + Send,
    mut finish: impl FnMut(M) + Send,
) -> Sample {
    let messages = objects.div_ceil(size as u64);
    let (mut producer, mut consumer) = ring(IN_FLIGHT / size);
    let make_all = move || (0..messages).for_each(|n| producer.push(make(n)));
    let finish_all = move || (0..messages).for_each(|_| finish(consumer.pop()));
    let bodies: Vec<Body<'_>> = vec![Box::new(make_all), Box::new(finish_all)];
    Sample {
        time: race(bodies),
        objects: messages * size as u64,
    }
}

/// As `send`, but the messages go back on a second ring and are used again.
fn send_recycled<M: Send>(
    objects: u64,
    size: usize,
    new: impl Fn(u64) -> M,
    renew: impl Fn(&mut M, u64) + Send,
    read: impl Fn(&M) + Send,
) -> Sample {
    let (mut back, mut spare) = ring(IN_FLIGHT / size);
    (0..IN_FLIGHT / size).for_each(|n| back.push(new(n as u64)));
    let make = move |n| {
        let mut message = spare.pop();
        renew(&mut message, n);
        message
    };
    let finish = move |message| {
        read(&message);
        back.push(message);
    };
    send(objects, size, make, finish)
}
