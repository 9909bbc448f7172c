//! Producers make lists of objects and put them on a shared bounded LIFO stack under a mutex; consumers take lists and
//! free all that is in them. Every free is remote.
//!
//! xmalloc is this with lists of 4096 and two of each side; lotsofthreads with lists of 100, eight producers and one
//! consumer, and no bound that is reached.

use crate::{
    job::{Job, Remote, Sample},
    peers::{Peer, object, receive},
    race::{Body, race},
};
use std::sync::{Condvar, Mutex, MutexGuard};

#[derive(Clone)]
pub(crate) struct Stack {
    producers: usize,
    consumers: usize,
    list: usize,
    bound: usize,
}

impl Stack {
    pub(crate) const XMALLOC: Self = Self {
        producers: 2,
        consumers: 2,
        list: 4096,
        bound: 100,
    };

    pub(crate) const LOTS_OF_THREADS: Self = Self {
        producers: 8,
        consumers: 1,
        list: 100,
        bound: usize::MAX,
    };

    pub(crate) fn threads(&self) -> usize {
        self.producers + self.consumers
    }
}

impl Remote for Stack {
    fn job<P: Peer<W> + Send, const W: usize>(&self) -> Job {
        let config = self.clone();
        Box::new(move |objects| config.run::<P, W>(objects))
    }
}

impl Stack {
    fn run<P: Peer<W> + Send, const W: usize>(&self, objects: u64) -> Sample {
        let share = objects.div_ceil((self.list * self.producers) as u64);
        let shared = &Shared::<P>::new(self.producers, self.bound);
        let list = self.list as u64;
        let produce = move || {
            for _ in 0..share {
                shared.push((0..list).map(object::<P, W>).collect());
            }
            shared.end();
        };
        let consume = move || {
            while let Some(list) = shared.pop() {
                list.into_iter().for_each(|object| receive(&object));
            }
        };
        // One of each side in turn, so that both sides have every core.
        let bodies = (0..self.producers.max(self.consumers)).flat_map(|n| {
            let producer: Option<Body<'_>> = (n < self.producers).then(|| Box::new(produce) as _);
            let consumer: Option<Body<'_>> = (n < self.consumers).then(|| Box::new(consume) as _);
            producer.into_iter().chain(consumer)
        });
        Sample {
            time: race(bodies.collect()),
            objects: share * list * self.producers as u64,
        }
    }
}

/// The stack that the threads share.
struct Shared<P> {
    state: Mutex<State<P>>,
    room: Condvar,
    more: Condvar,
    bound: usize,
}

struct State<P> {
    lists: Vec<Vec<P>>,
    /// Producers that may still push.
    producers: usize,
}

impl<P> Shared<P> {
    fn new(producers: usize, bound: usize) -> Self {
        Self {
            state: Mutex::new(State {
                lists: Vec::new(),
                producers,
            }),
            room: Condvar::new(),
            more: Condvar::new(),
            bound,
        }
    }

    fn push(&self, list: Vec<P>) {
        let full = |state: &mut State<P>| state.lists.len() >= self.bound;
        let mut state = self.room.wait_while(self.lock(), full).expect(NO_PANIC);
        state.lists.push(list);
        drop(state);
        self.more.notify_one();
    }

    /// Waits for a list; `None` when there will be none.
    fn pop(&self) -> Option<Vec<P>> {
        let empty = |state: &mut State<P>| state.lists.is_empty() && state.producers > 0;
        let mut state = self.more.wait_while(self.lock(), empty).expect(NO_PANIC);
        let list = state.lists.pop();
        drop(state);
        self.room.notify_one();
        list
    }

    /// A producer has no more.
    fn end(&self) {
        self.lock().producers -= 1;
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "nobody panics with the lock";
