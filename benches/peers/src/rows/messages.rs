//! Message passing between k producers and k consumers: a producer sends a batch of 1 to 16 objects, which is published
//! as one, to a random consumer, and lets others run after every 16 batches; a consumer drops all that has come, and lets
//! others run when nothing has. At most 4096 objects are under way.
//!
//! A consumer's queue is a ring from each producer, and that is the bound: a producer waits while its ring is full.
//! The limit: each object goes back to its producer over another ring, and is written again.

use crate::{
    common::XorShift,
    job::{Job, Limited, Remote, Sample},
    peers::{Peer, object, receive, renew},
    race::{Body, race},
    spsc::{Consumer, Producer, ring},
};
use std::thread::yield_now;

/// Objects under way at most.
pub(crate) const IN_FLIGHT: usize = 4096;
const LONGEST: usize = 16;
const BATCHES_PER_TURN: u64 = 16;

#[derive(Clone)]
pub(crate) struct Messages {
    pub(crate) pairs: usize,
}

/// One thread's ends of the rings to, or from, the threads of the other side. `None` says that no more will come.
type Outgoing<P> = Vec<Producer<Option<P>>>;
type Incoming<P> = Vec<Consumer<Option<P>>>;

impl Remote for Messages {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let pairs = self.pairs;
        Box::new(move |objects| {
            let share = objects.div_ceil(pairs as u64);
            let (outgoing, incoming) = rings::<P>(pairs);
            let producers = outgoing.into_iter().enumerate().map(|(n, mut to)| {
                body(move || produce(&mut to, n, share, |_, word| object(word)))
            });
            let consumers = incoming
                .into_iter()
                .map(|mut from| body(move || consume(&mut from, |_, object| drop(object))));
            run(share, producers, consumers)
        })
    }
}

impl Limited for Messages {
    fn limit<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let pairs = self.pairs;
        Box::new(move |objects| {
            let share = objects.div_ceil(pairs as u64);
            let (outgoing, incoming) = rings::<P>(pairs);
            let (returning, returned) = rings_of_spares::<P, W>(pairs);
            let producers = outgoing.into_iter().zip(returned).enumerate();
            let producers = producers.map(|(n, (mut to, mut spares))| {
                body(move || produce(&mut to, n, share, |to, word| recycle(&mut spares[to], word)))
            });
            let consumers = incoming
                .into_iter()
                .zip(returning)
                .map(|(mut from, mut back)| {
                    body(move || {
                        consume(&mut from, |producer, object| {
                            back[producer].push(Some(object))
                        })
                    })
                });
            run(share, producers, consumers)
        })
    }
}

fn body<'a>(body: impl FnMut() + Send + 'a) -> Body<'a> {
    Box::new(body)
}

fn recycle<P: Peer<W>, const W: usize>(spares: &mut Consumer<Option<P>>, word: u64) -> P {
    let mut object = spares.pop().expect("what goes back are objects");
    renew(&mut object, word);
    object
}

/// Producers and consumers in turn, so that the two sides of a pair are on different cores.
fn run<'a>(
    share: u64,
    producers: impl ExactSizeIterator<Item = Body<'a>>,
    consumers: impl Iterator<Item = Body<'a>>,
) -> Sample {
    let objects = share * producers.len() as u64;
    let bodies = producers.zip(consumers);
    Sample {
        time: race(bodies.flat_map(|(p, c)| [p, c]).collect()),
        objects,
    }
}

/// A ring from everyone on one side to everyone on the other.
fn rings<P>(pairs: usize) -> (Vec<Outgoing<P>>, Vec<Incoming<P>>) {
    let capacity = IN_FLIGHT / (pairs * pairs);
    let mut incoming: Vec<_> = (0..pairs).map(|_| Incoming::new()).collect();
    let outgoing = (0..pairs).map(|_| {
        let rings = incoming.iter_mut().map(|incoming| {
            let (producer, consumer) = ring(capacity);
            incoming.push(consumer);
            producer
        });
        rings.collect()
    });
    (outgoing.collect(), incoming)
}

/// As `rings`, full of objects.
fn rings_of_spares<P: Peer<W>, const W: usize>(
    pairs: usize,
) -> (Vec<Outgoing<P>>, Vec<Incoming<P>>) {
    let (mut outgoing, incoming) = rings(pairs);
    for ring in outgoing.iter_mut().flatten() {
        (0..IN_FLIGHT / (pairs * pairs)).for_each(|n| ring.push(Some(object(n as u64))));
    }
    (outgoing, incoming)
}

/// `make(consumer, word)` makes what is sent to that consumer.
fn produce<P>(
    to: &mut Outgoing<P>,
    thread: usize,
    objects: u64,
    mut make: impl FnMut(usize, u64) -> P,
) {
    let mut random = XorShift::new(thread as u64);
    let mut sent = 0;
    let mut batches = 0;
    while sent < objects {
        let consumer = random.below(to.len());
        let until = objects.min(sent + 1 + random.below(LONGEST) as u64);
        to[consumer].push_all((sent..until).map(|n| Some(make(consumer, n))));
        sent = until;
        batches += 1;
        if batches % BATCHES_PER_TURN == 0 {
            yield_now();
        }
    }
    to.iter_mut().for_each(|ring| ring.push(None));
}

/// `finish(producer, object)` gets what that producer sent.
fn consume<P: Peer<W>, const W: usize>(from: &mut Incoming<P>, mut finish: impl FnMut(usize, P)) {
    let mut open = from.len();
    while open > 0 {
        let mut idle = true;
        for (producer, ring) in from.iter_mut().enumerate() {
            let found = ring.drain(|message| match message {
                Some(object) => {
                    receive(&object);
                    finish(producer, object);
                }
                None => open -= 1,
            });
            idle &= !found;
        }
        if idle {
            yield_now();
        }
    }
}
