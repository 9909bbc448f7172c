//! Random sequences of operations on a few threads, one operation after the other, against a `Vec` of what should be
//! alive. Contents are checked all along; every slot is counted whenever the sequence says so, and at its end.
//!
//! The test has its own process, and this thread never has a heap. So a validation on this thread covers the abandoned
//! heaps, and a validation on a worker covers these and its own.

#![cfg(not(segment_pool_loom))]

mod common;

use std::mem;
use std::sync::Arc;

use common::{Checked, Parcel, Worker, parcel};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use segment_pool::{PoolBox, SegmentPool, flush, validate};

const WORKERS: usize = 3;

/// The values of the pool of one type.
type OfPool = Checked<5>;
type Pool = Arc<SegmentPool<OfPool>>;
/// Values with a dedicated mapping, which no validation sees.
type OfNoPool = Checked<16_400>;

/// Where values come from, and how large they are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Bytes8,
    Bytes16,
    Bytes72,
    Bytes1200,
    Bytes9000,
    Mapped,
    Pooled,
}

impl Kind {
    fn make(self, pool: &Pool, cookie: u32) -> PoolBox<dyn Parcel> {
        match self {
            Self::Bytes8 => parcel(PoolBox::new(Checked::<1>::new(cookie))),
            Self::Bytes16 => parcel(PoolBox::new(Checked::<2>::new(cookie))),
            Self::Bytes72 => parcel(PoolBox::new(Checked::<9>::new(cookie))),
            Self::Bytes1200 => parcel(PoolBox::new(Checked::<150>::new(cookie))),
            Self::Bytes9000 => parcel(PoolBox::new(Checked::<1125>::new(cookie))),
            Self::Mapped => parcel(PoolBox::new(OfNoPool::new(cookie))),
            Self::Pooled => parcel(pool.alloc(OfPool::new(cookie))),
        }
    }
}

/// One step. Numbers of values are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    /// The worker allocates this many values.
    Make { by: usize, kind: Kind, count: usize },
    /// The worker drops this many values, beginning with this one.
    Drop {
        by: usize,
        from: usize,
        count: usize,
    },
    /// The worker drops every so-manieth value ever made.
    Thin { by: usize, every: usize },
    /// The worker pushes its open batches.
    Flush { by: usize },
    /// The worker ends, and another takes its place.
    Replace { who: usize },
    /// Every slot is counted.
    Count,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Bytes8),
        4 => Just(Kind::Bytes16),
        4 => Just(Kind::Bytes72),
        2 => Just(Kind::Bytes1200),
        1 => Just(Kind::Bytes9000),
        8 => Just(Kind::Pooled),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let by = || 0..WORKERS;
    prop_oneof![
        30 => (by(), kinds()).prop_map(|(by, kind)| Step::Make { by, kind, count: 1 }),
        5 => (by(), kinds(), 1..300_usize).prop_map(|(by, kind, count)| Step::Make { by, kind, count }),
        1 => by().prop_map(|by| Step::Make { by, kind: Kind::Mapped, count: 1 }),
        25 => (by(), any::<usize>()).prop_map(|(by, from)| Step::Drop { by, from, count: 1 }),
        5 => (by(), any::<usize>(), 1..400_usize).prop_map(|(by, from, count)| Step::Drop { by, from, count }),
        1 => (by(), 1..5_usize).prop_map(|(by, every)| Step::Thin { by, every }),
        5 => by().prop_map(|by| Step::Flush { by }),
        2 => by().prop_map(|who| Step::Replace { who }),
        2 => Just(Step::Count),
    ]
}

/// A value that should be alive.
struct Alive {
    cookie: u32,
    kind: Kind,
    value: PoolBox<dyn Parcel>,
}

/// Slots that hold a value or wait in an remote-free buffer: of the default pool, and of the pool of one type.
type Counts = [isize; 2];

/// Counts every slot that this thread may see.
fn count(pool: &Pool) -> Counts {
    [validate(), pool.validate()].map(|validation| {
        assert_eq!(
            validation.free + validation.live,
            validation.capacity,
            "{validation}"
        );
        // The slots of other heaps that a thread caches count as live there.
        validation.live as isize - validation.kept as isize
    })
}

/// The workers and what should be alive.
struct Model {
    workers: [Worker; WORKERS],
    pool: Pool,
    alive: Vec<Alive>,
    made: u32,
}

impl Model {
    fn new() -> Self {
        Self {
            workers: [(); WORKERS].map(|()| Worker::start()),
            pool: Pool::default(),
            alive: Vec::new(),
            made: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Make { by, kind, count } => self.make(by, kind, count),
            Step::Drop { by, from, count } => self.drop_some(by, from, count),
            Step::Thin { by, every } => self.thin(by, every),
            Step::Flush { by } => self.workers[by].run(flush),
            Step::Replace { who } => mem::replace(&mut self.workers[who], Worker::start()).end(),
            Step::Count => self.count(),
        }
    }

    fn make(&mut self, by: usize, kind: Kind, count: usize) {
        let cookies = self.made..self.made + count as u32;
        self.made = cookies.end;
        let (pool, numbers) = (self.pool.clone(), cookies.clone());
        let values: Vec<_> =
            self.workers[by].run(move || numbers.map(|n| kind.make(&pool, n)).collect());
        let alive = cookies.zip(values);
        self.alive.extend(alive.map(|(cookie, value)| Alive {
            cookie,
            kind,
            value,
        }));
    }

    fn drop_some(&mut self, by: usize, from: usize, count: usize) {
        if !self.alive.is_empty() {
            let from = from % self.alive.len();
            let end = self.alive.len().min(from + count);
            let dropped = self.alive.drain(from..end).collect();
            self.drop_all(by, dropped);
        }
    }

    fn thin(&mut self, by: usize, every: usize) {
        let (dropped, rest) = mem::take(&mut self.alive)
            .into_iter()
            .partition(|alive| alive.cookie as usize % every == 0);
        self.alive = rest;
        self.drop_all(by, dropped);
    }

    fn drop_all(&self, by: usize, dropped: Vec<Alive>) {
        self.workers[by].run(move || {
            for alive in dropped {
                assert_eq!(alive.value.verify(), alive.cookie);
            }
        });
    }

    /// How many slots should hold a value.
    fn expected(&self) -> Counts {
        let of =
            |kinds: fn(Kind) -> bool| self.alive.iter().filter(|a| kinds(a.kind)).count() as isize;
        [
            of(|kind| !matches!(kind, Kind::Pooled | Kind::Mapped)),
            of(|kind| kind == Kind::Pooled),
        ]
    }

    /// Flushes, and counts until the numbers are stable: a validation collects remote frees, which may return a slot
    /// that this thread cached to a heap that was counted before.
    fn count(&self) {
        self.workers.iter().for_each(|worker| worker.run(flush));
        let mut live = self.validation();
        loop {
            let again = self.validation();
            if again == live {
                break;
            }
            live = again;
        }
        assert_eq!(live, self.expected());
    }

    /// Counts on every thread. Each worker visits the abandoned heaps, as this thread does.
    fn validation(&self) -> Counts {
        let of_nobody = count(&self.pool);
        let mut live = of_nobody;
        for worker in &self.workers {
            let pool = self.pool.clone();
            let seen = worker.run(move || count(&pool));
            for (sum, (seen, of_nobody)) in live.iter_mut().zip(seen.into_iter().zip(of_nobody)) {
                *sum += seen - of_nobody;
            }
        }
        live
    }

    /// Ends the workers, then drops the rest here.
    fn finish(self) {
        self.count();
        let expected = self.expected();
        self.workers.into_iter().for_each(Worker::end);
        assert_eq!(count(&self.pool), expected, "all threads have ended");
        for alive in self.alive {
            assert_eq!(alive.value.verify(), alive.cookie);
        }
        flush();
        assert_eq!(count(&self.pool), [0, 0], "all values were dropped");
        assert_eq!(self.pool.stats().live(), 0);
        assert_eq!(
            (self.pool.stats().segments, segment_pool::stats().segments),
            (0, 0)
        );
    }
}

#[test]
fn what_should_be_alive_is_and_nothing_else() {
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let sequences = vec(steps(), 1..1000);
    let run = |sequence: Vec<Step>| {
        let mut model = Model::new();
        sequence.iter().for_each(|step| model.step(step));
        model.finish();
        Ok(())
    };
    let outcome = TestRunner::new(config).run(&sequences, run);
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
