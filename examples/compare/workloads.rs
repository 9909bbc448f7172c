//! The workloads, generic over the pointer, so that `Box` and `PoolBox` do exactly the same work.
//!
//! Each turn of a workload starts its own threads, as a multi-threaded program does: the allocator of glibc is faster in a
//! process that never had a second thread.

use std::array;
use std::hint::black_box;
use std::ops::Deref;
use std::sync::Barrier;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use segment_pool::PoolBox;

/// A kind of owning pointer.
pub(crate) trait Pointer {
    /// The pointer to a `T`.
    type To<T>: Deref<Target = T>;

    /// What `Box::new` does.
    fn new<T>(value: T) -> Self::To<T>;
}

pub(crate) enum Boxed {}
pub(crate) enum Pooled {}

impl Pointer for Boxed {
    type To<T> = Box<T>;

    fn new<T>(value: T) -> Box<T> {
        Box::new(value)
    }
}

impl Pointer for Pooled {
    type To<T> = PoolBox<T>;

    fn new<T>(value: T) -> PoolBox<T> {
        PoolBox::new(value)
    }
}

/// A row of the table.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    /// The number of values that each thread allocates and drops per turn.
    pub(crate) values: usize,
    /// A turn with `Box`, and one with `PoolBox`; each returns the time it took.
    pub(crate) turns: [fn() -> Duration; 2],
}

pub(crate) const WORKLOADS: [Workload; 7] = [
    Workload {
        name: "make one, drop it",
        threads: 1,
        values: MADE,
        turns: [one_at_a_time::<Boxed>, one_at_a_time::<Pooled>],
    },
    Workload {
        name: "make 1000, drop them in random order",
        threads: 1,
        values: MADE,
        turns: [in_random_order::<Boxed>, in_random_order::<Pooled>],
    },
    Workload {
        name: "replace one of 100 000, at random",
        threads: 1,
        values: MADE,
        turns: [replace::<Boxed, 1>, replace::<Pooled, 1>],
    },
    Workload {
        name: "the same, on each of two threads",
        threads: 2,
        values: MADE,
        turns: [replace::<Boxed, 2>, replace::<Pooled, 2>],
    },
    Workload {
        name: "build a tree of 16 383 nodes, drop it",
        threads: 1,
        values: TREES * NODES,
        turns: [trees::<Boxed, 1>, trees::<Pooled, 1>],
    },
    Workload {
        name: "the same, on each of two threads",
        threads: 2,
        values: TREES * NODES,
        turns: [trees::<Boxed, 2>, trees::<Pooled, 2>],
    },
    Workload {
        name: "send to another thread, drop it there",
        threads: 2,
        values: SENT,
        turns: [send::<Boxed>, send::<Pooled>],
    },
];

/// Values per turn.
const MADE: usize = if cfg!(debug_assertions) {
    32_000
} else {
    128_000
};
/// Values per turn that go through a channel.
const SENT: usize = 4 * MADE;
/// Live values of `in_random_order`.
const ALIVE: usize = 1000;
/// Live values of `replace`.
const LASTING: usize = 100_000;
const DEPTH: u32 = 13;
const NODES: usize = (1 << (DEPTH + 1)) - 1;
const TREES: usize = MADE / 16_000;
/// Values per message. An operation on the channel costs as much as an allocation, so a message carries several.
const BATCH: usize = 64;
const QUEUE: usize = 64;

/// 64 bytes of data, such as an order or an event.
struct Record([u64; 8]);

impl Record {
    fn new(number: usize) -> Self {
        Self([number as u64; 8])
    }
}

/// Runs the work on several threads at once, and returns the longest time.
fn on_threads<const THREADS: usize>(work: impl Fn(&Barrier) -> Duration + Sync) -> Duration {
    let start = &Barrier::new(THREADS);
    let work = &work;
    thread::scope(|scope| {
        let threads: [_; THREADS] = array::from_fn(|_| scope.spawn(move || work(start)));
        let times = threads.map(|thread| thread.join().unwrap());
        times.into_iter().max().unwrap_or_default()
    })
}

fn timed(start: &Barrier, work: impl FnOnce()) -> Duration {
    start.wait();
    let start = Instant::now();
    work();
    start.elapsed()
}

fn one_at_a_time<P: Pointer>() -> Duration {
    on_threads::<1>(|start| {
        timed(start, || {
            for number in 0..MADE {
                black_box(P::new(Record::new(number)));
            }
        })
    })
}

fn in_random_order<P: Pointer>() -> Duration {
    let mut random = Random(1);
    let mut order: [usize; ALIVE] = array::from_fn(|index| index);
    for last in (1..ALIVE).rev() {
        order.swap(last, random.below(last + 1));
    }
    on_threads::<1>(|start| {
        let mut alive: Vec<Option<P::To<Record>>> = (0..ALIVE).map(|_| None).collect();
        timed(start, || {
            for round in 0..MADE / ALIVE {
                alive.fill_with(|| Some(P::new(Record::new(round))));
                for &index in &order {
                    alive[index] = None;
                }
            }
        })
    })
}

fn replace<P: Pointer, const THREADS: usize>() -> Duration {
    on_threads::<THREADS>(|start| {
        let mut random = Random(1);
        let mut lasting: Vec<_> = (0..LASTING).map(|n| P::new(Record::new(n))).collect();
        timed(start, || {
            for number in 0..MADE {
                lasting[random.below(LASTING)] = P::new(Record::new(number));
            }
        })
    })
}

/// Three words.
struct Node<P: Pointer> {
    _key: u32,
    _children: Option<[P::To<Node<P>>; 2]>,
}

fn trees<P: Pointer, const THREADS: usize>() -> Duration {
    on_threads::<THREADS>(|start| {
        timed(start, || {
            for _ in 0..TREES {
                black_box(tree::<P>(DEPTH));
            }
        })
    })
}

fn tree<P: Pointer>(depth: u32) -> P::To<Node<P>> {
    P::new(Node {
        _key: depth,
        _children: depth
            .checked_sub(1)
            .map(|depth| [tree::<P>(depth), tree::<P>(depth)]),
    })
}

/// The time from the first allocation to the last drop.
fn send<P: Pointer>() -> Duration
where
    P::To<Record>: Send,
{
    on_threads::<1>(|start| {
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        thread::scope(|scope| {
            let receiver = scope.spawn(move || drop_all::<P>(&receiver));
            timed(start, || {
                send_all::<P>(sender);
                receiver.join().unwrap();
            })
        })
    })
}

type Batch<P> = [<P as Pointer>::To<Record>; BATCH];

fn send_all<P: Pointer>(sender: SyncSender<Batch<P>>) {
    for number in 0..SENT / BATCH {
        let batch = array::from_fn(|_| P::new(Record::new(number)));
        sender.send(batch).expect("the receiver is there");
    }
}

fn drop_all<P: Pointer>(receiver: &Receiver<Batch<P>>) {
    let mut sum = 0;
    for batch in receiver {
        sum += batch.iter().map(|record| record.0[0]).sum::<u64>();
    }
    black_box(sum);
}

/// Xorshift, with the same seed for both kinds.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_three_words_for_both() {
        assert_eq!(size_of::<Node<Boxed>>(), 3 * size_of::<usize>());
        assert_eq!(size_of::<Node<Pooled>>(), 3 * size_of::<usize>());
    }

    #[test]
    fn a_tree_has_the_nodes_that_are_counted_for_it() {
        fn nodes<P: Pointer>(tree: &Node<P>) -> usize {
            let children = tree._children.iter().flatten();
            1 + children.map(|child| nodes::<P>(child)).sum::<usize>()
        }
        assert_eq!(nodes::<Boxed>(&tree::<Boxed>(DEPTH)), NODES);
        assert_eq!(nodes::<Pooled>(&tree::<Pooled>(DEPTH)), NODES);
    }

    #[test]
    fn a_turn_makes_whole_batches_and_whole_lots() {
        assert_eq!(SENT % BATCH, 0);
        assert_eq!(MADE % ALIVE, 0);
    }
}
