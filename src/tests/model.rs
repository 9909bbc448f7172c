//! Random sequences of operations on a few logical threads, compared with a list of the live values. After each
//! operation the [`audit`](super::audit) checks every slot.
//!
//! The threads take turns on one real thread (see `thread::tests`), so a sequence is deterministic. A failing sequence
//! is shortened and printed. The loom models, `tests/model.rs` (real threads) and the soak cover what needs two threads
//! running at the same time.

use std::alloc::Layout;
use std::mem::{self, ManuallyDrop};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::audit::{Expected, audit};
use super::in_own_process;
use crate::boxed::PoolBox;
use crate::ground::error::{AllocError, AllocErrorKind};
use crate::ground::layout::{Span, slot_bytes};
use crate::ground::os::refusal::{mappings, while_refused};
use crate::heap::HeapRef;
use crate::heap::registry::{self, RegistryRef};
use crate::insight::stats::{Validation, stats};
use crate::pool::SegmentPool;
use crate::slot::bytes::{Slot, SlotPtr};
use crate::thread::tests::Thread;
use crate::{coerce, thread};

const THREADS: usize = 4;
/// The number of sequences.
const CASES: u32 = if cfg!(debug_assertions) { 300 } else { 12_000 };
/// The maximum length of a sequence.
const LENGTH: usize = 60;
/// The limit of the limited pool in segments.
const LIMIT: usize = 3;

/// A value whose words are all computed from a number.
struct Value<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Value<WORDS> {
    fn new(number: u64) -> Self {
        Self(core::array::from_fn(|index| number ^ index as u64))
    }
}

trait Content {
    /// Returns the number; panics if any word differs from its expected value.
    fn verify(&self) -> u64;
}

impl<const WORDS: usize> Content for Value<WORDS> {
    fn verify(&self) -> u64 {
        for (index, &word) in self.0.iter().enumerate() {
            assert_eq!(word, self.0[0] ^ index as u64, "word {index} of {WORDS}");
        }
        self.0[0]
    }
}

type Boxed = PoolBox<dyn Content>;
type Own<const WORDS: usize> = SegmentPool<Value<WORDS>>;

/// The pool of a value, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes8,
    Bytes16,
    Bytes72,
    Bytes1024,
    Bytes3072,
    Bytes9216,
    Bytes20000,
    Mapped,
    /// In its own pool, 40 bytes.
    Pooled,
    /// In its own pool, 1000 bytes.
    Large,
    /// As `Large`, in a pool with a limit.
    Limited,
}

impl Kind {
    /// The index among the three pools of one type.
    fn own_pool(self) -> Option<usize> {
        match self {
            Self::Pooled => Some(0),
            Self::Large => Some(1),
            Self::Limited => Some(2),
            _ => None,
        }
    }
}

/// The index of the default pool in `Model::known`.
const DEFAULT: usize = 0;

/// One operation. Indices of values are taken modulo the number of values.
#[derive(Debug, Clone)]
enum Op {
    /// The thread allocates this many values.
    Alloc {
        by: usize,
        kind: Kind,
        count: usize,
    },
    /// As `Alloc`, but the system has no memory.
    AllocWithoutMemory {
        by: usize,
        kind: Kind,
        count: usize,
    },
    /// The thread drops this many values, beginning with this one, whichever thread allocated them: any value may be
    /// dropped on any thread.
    Drop {
        by: usize,
        from: usize,
        count: usize,
    },
    /// The thread drops every nth of all values.
    DropEvery {
        by: usize,
        nth: usize,
    },
    /// The value is never dropped.
    Leak {
        which: usize,
    },
    /// The thread's thread-local values are dropped. Its later operations run as in their destructors.
    End {
        thread: usize,
    },
    /// A new thread replaces it. It adopts abandoned heaps.
    Start {
        thread: usize,
    },
    Idle {
        by: usize,
    },
    Flush {
        by: usize,
    },
    Trim {
        by: usize,
    },
    TrimPool {
        by: usize,
        kind: Kind,
    },
    Reserve {
        by: usize,
        kind: Kind,
        slots: usize,
    },
    /// The thread drops the pool, and a new pool replaces it.
    DropPool {
        by: usize,
        kind: Kind,
    },
    /// The public validation, which collects remote frees.
    Validate {
        by: usize,
        kind: Kind,
    },
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::Bytes8),
        2 => Just(Kind::Bytes16),
        2 => Just(Kind::Bytes72),
        6 => Just(Kind::Bytes1024),
        3 => Just(Kind::Bytes3072),
        2 => Just(Kind::Bytes9216),
        1 => Just(Kind::Bytes20000),
        1 => Just(Kind::Mapped),
        3 => Just(Kind::Pooled),
        6 => Just(Kind::Large),
        6 => Just(Kind::Limited),
    ]
}

fn own_pools() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Pooled), Just(Kind::Large), Just(Kind::Limited)]
}

/// The number of values of an operation: usually small, sometimes more than the full magazines of a bin may contain.
fn counts() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 1..4_usize, 6 => 4..40_usize, 3 => 40..400_usize]
}

fn ops() -> impl Strategy<Value = Op> {
    let by = || 0..THREADS;
    prop_oneof![
        20 => (by(), kinds(), counts()).prop_map(|(by, kind, count)| Op::Alloc { by, kind, count }),
        2 => (by(), kinds(), counts()).prop_map(|(by, kind, count)| Op::AllocWithoutMemory { by, kind, count }),
        20 => (by(), 0..1000_usize, counts()).prop_map(|(by, from, count)| Op::Drop { by, from, count }),
        4 => (by(), 1..5_usize).prop_map(|(by, nth)| Op::DropEvery { by, nth }),
        1 => (0..1000_usize).prop_map(|which| Op::Leak { which }),
        4 => by().prop_map(|thread| Op::End { thread }),
        4 => by().prop_map(|thread| Op::Start { thread }),
        4 => by().prop_map(|by| Op::Idle { by }),
        4 => by().prop_map(|by| Op::Flush { by }),
        1 => by().prop_map(|by| Op::Trim { by }),
        1 => (by(), own_pools()).prop_map(|(by, kind)| Op::TrimPool { by, kind }),
        1 => (by(), own_pools(), 0..200_usize).prop_map(|(by, kind, slots)| Op::Reserve { by, kind, slots }),
        2 => (by(), own_pools()).prop_map(|(by, kind)| Op::DropPool { by, kind }),
        2 => (by(), kinds()).prop_map(|(by, kind)| Op::Validate { by, kind }),
    ]
}

/// The open pools of one type.
struct Pools {
    pooled: Own<5>,
    large: Own<125>,
    limited: Own<125>,
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            pooled: Own::new(),
            large: Own::new(),
            limited: Own::builder().max_segments(LIMIT).build(),
        }
    }
}

impl Pools {
    fn try_alloc(&self, kind: Kind, number: u64) -> Result<Boxed, AllocErrorKind> {
        match kind {
            Kind::Bytes8 => try_new::<1>(number),
            Kind::Bytes16 => try_new::<2>(number),
            Kind::Bytes72 => try_new::<9>(number),
            Kind::Bytes1024 => try_new::<128>(number),
            Kind::Bytes3072 => try_new::<384>(number),
            Kind::Bytes9216 => try_new::<1152>(number),
            Kind::Bytes20000 => try_new::<2500>(number),
            Kind::Mapped => try_new::<16_600>(number),
            Kind::Pooled => erased(self.pooled.try_alloc(Value::new(number)), number),
            Kind::Large => erased(self.large.try_alloc(Value::new(number)), number),
            Kind::Limited => erased(self.limited.try_alloc(Value::new(number)), number),
        }
    }

    /// Returns `None` while the pool has no memory.
    fn registry(&self, kind: Kind) -> Option<RegistryRef> {
        match kind {
            Kind::Pooled => self.pooled.registry_if_any(),
            Kind::Large => self.large.registry_if_any(),
            Kind::Limited => self.limited.registry_if_any(),
            _ => Some(registry::default()),
        }
    }

    fn reserve(&self, kind: Kind, slots: usize) -> Result<(), AllocErrorKind> {
        match kind {
            Kind::Pooled => self.pooled.reserve(slots),
            Kind::Large => self.large.reserve(slots),
            _ => self.limited.reserve(slots),
        }
    }

    fn trim(&self, kind: Kind) {
        match kind {
            Kind::Pooled => self.pooled.trim(),
            Kind::Large => self.large.trim(),
            _ => self.limited.trim(),
        }
    }

    fn replace(&mut self, kind: Kind) {
        let new = Self::default();
        match kind {
            Kind::Pooled => self.pooled = new.pooled,
            Kind::Large => self.large = new.large,
            _ => self.limited = new.limited,
        }
    }
}

fn try_new<const WORDS: usize>(number: u64) -> Result<Boxed, AllocErrorKind> {
    erased(PoolBox::try_new(Value::<WORDS>::new(number)), number)
}

/// Erases the type of the box. If the allocation failed, checks the value in the error.
fn erased<const WORDS: usize>(
    result: Result<PoolBox<Value<WORDS>>, AllocError<Value<WORDS>>>,
    number: u64,
) -> Result<Boxed, AllocErrorKind> {
    match result {
        Ok(boxed) => Ok(coerce!(boxed => dyn Content)),
        Err(error) => {
            let kind = error.kind();
            assert_eq!(
                error.into_inner().verify(),
                number,
                "the error contains the value"
            );
            Err(kind)
        }
    }
}

struct Alive {
    number: u64,
    kind: Kind,
    /// The index in `Model::known`.
    pool: usize,
    boxed: Boxed,
}

impl Alive {
    /// The slot, if it has one.
    fn slot(&self) -> Option<(SlotPtr, Span)> {
        let storage = PoolBox::as_ptr(&self.boxed).cast::<Slot>().cast_mut();
        let slot = SlotPtr::new(storage)?;
        (self.kind != Kind::Mapped)
            .then(|| (slot, Span::of(slot_bytes(Layout::for_value(&*self.boxed)))))
    }
}

/// Drops the values. If one of the drops panics, the rest is lost.
fn drop_all(values: Vec<Alive>) {
    let mut values = ManuallyDrop::new(values.into_iter());
    for alive in values.by_ref() {
        assert_eq!(alive.boxed.verify(), alive.number);
    }
    drop(ManuallyDrop::into_inner(values));
}

/// A pool that was ever used, and the number of values allocated from it.
#[derive(Default)]
struct Known {
    pool: Option<RegistryRef>,
    made: u64,
}

struct Model {
    threads: [Thread; THREADS],
    pools: Pools,
    /// The default pool, then all others.
    known: Vec<Known>,
    /// The indices of the three `pools`.
    open: [usize; 3],
    alive: Vec<Alive>,
    leaked: Vec<Alive>,
    numbers: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            threads: [(); THREADS].map(|()| Thread::start()),
            pools: Pools::default(),
            known: [(); 4].map(|()| Known::default()).into(),
            open: [1, 2, 3],
            alive: Vec::new(),
            leaked: Vec::new(),
            numbers: 0,
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Alloc { by, kind, count } => self.alloc(by, kind, count),
            Op::AllocWithoutMemory { by, kind, count } => {
                self.alloc_without_memory(by, kind, count)
            }
            Op::Drop { by, from, count } => self.drop_some(by, from, count),
            Op::DropEvery { by, nth } => self.drop_every(by, nth),
            Op::Leak { which } => self.leak(which),
            Op::End { thread } => self.end(thread),
            Op::Start { thread } => self.start(thread),
            Op::Idle { by } => self.threads[by].run(thread::idle),
            Op::Flush { by } => self.threads[by].run(thread::flush),
            Op::Trim { by } => self.threads[by].run(thread::trim),
            Op::TrimPool { by, kind } => self.threads[by].run(|| self.pools.trim(kind)),
            Op::Reserve { by, kind, slots } => self.reserve(by, kind, slots),
            Op::DropPool { by, kind } => self.drop_pool(by, kind),
            Op::Validate { by, kind } => self.validate(by, kind),
        }
        self.audit();
    }

    /// Returns the index of the pool in `known`.
    fn pool(&self, kind: Kind) -> usize {
        kind.own_pool().map_or(DEFAULT, |index| self.open[index])
    }

    /// Allocates values until an allocation fails.
    fn make(&mut self, kind: Kind, count: usize) -> Option<AllocErrorKind> {
        for _ in 0..count {
            self.numbers += 1;
            match self.pools.try_alloc(kind, self.numbers) {
                Ok(boxed) => self.made(kind, boxed),
                Err(error) => return Some(error),
            }
        }
        None
    }

    fn made(&mut self, kind: Kind, boxed: Boxed) {
        let pool = self.pool(kind);
        self.known[pool].made += u64::from(kind != Kind::Mapped);
        let number = self.numbers;
        self.alive.push(Alive {
            number,
            kind,
            pool,
            boxed,
        });
    }

    /// Runs `work` on the model as a thread.
    fn by<R>(&mut self, thread: usize, work: impl FnOnce(&mut Self) -> R) -> R {
        let current = mem::replace(&mut self.threads[thread], Thread::start());
        let result = current.run(|| work(self));
        self.threads[thread] = current;
        result
    }

    fn alloc(&mut self, by: usize, kind: Kind, count: usize) {
        let error = self.by(by, |model| model.make(kind, count));
        if let Some(error) = error {
            assert_eq!((kind, error), (Kind::Limited, AllocErrorKind::LimitReached));
            let pool = self
                .pools
                .registry(kind)
                .expect("the pool has reached its limit");
            let reached = pool.heaps().filter(|&heap| {
                heap.is_abandoned() || self.threads[by].held().any(|held| held == heap)
            });
            reached.for_each(assert_exhausted);
        }
    }

    fn alloc_without_memory(&mut self, by: usize, kind: Kind, count: usize) {
        let error = self.by(by, |model| while_refused(|| model.make(kind, count)));
        let allowed = match error {
            Some(AllocErrorKind::LimitReached) => kind == Kind::Limited,
            error => matches!(error, None | Some(AllocErrorKind::OutOfMemory)),
        };
        assert!(allowed, "{error:?}");
    }

    fn drop_some(&mut self, by: usize, from: usize, count: usize) {
        let from = from % self.alive.len().max(1);
        let end = self.alive.len().min(from + count);
        let dropped = self.alive.drain(from..end).collect();
        self.threads[by].run(|| drop_all(dropped));
    }

    fn drop_every(&mut self, by: usize, nth: usize) {
        let all = mem::take(&mut self.alive).into_iter();
        let (dropped, rest) = all.partition(|alive| alive.number % nth as u64 == 0);
        self.alive = rest;
        self.threads[by].run(|| drop_all(dropped));
    }

    fn leak(&mut self, which: usize) {
        if !self.alive.is_empty() {
            let which = which % self.alive.len();
            self.leaked.push(self.alive.swap_remove(which));
        }
    }

    fn end(&self, thread: usize) {
        if !self.threads[thread].has_ended() {
            self.threads[thread].end();
        }
    }

    fn start(&mut self, thread: usize) {
        self.end(thread);
        self.threads[thread] = Thread::start();
    }

    fn reserve(&self, by: usize, kind: Kind, slots: usize) {
        let reserved = self.threads[by].run(|| self.pools.reserve(kind, slots));
        let limit_reached = Err(AllocErrorKind::LimitReached);
        assert!(reserved.is_ok() || (kind == Kind::Limited && reserved == limit_reached));
    }

    fn drop_pool(&mut self, by: usize, kind: Kind) {
        self.by(by, |model| model.pools.replace(kind));
        let index = kind.own_pool().expect("the default pool is never dropped");
        self.open[index] = self.known.len();
        self.known.push(Known::default());
    }

    fn validate(&self, by: usize, kind: Kind) {
        let validation = self.threads[by].run(|| match self.pools.registry(kind) {
            Some(pool) => Validation::of(pool),
            None => Validation::default(),
        });
        assert_eq!(
            validation.free + validation.live,
            validation.capacity,
            "{validation}"
        );
    }

    /// Audits every pool that is known to exist: those that are open, and those with a value.
    fn audit(&mut self) {
        for kind in [Kind::Pooled, Kind::Large, Kind::Limited] {
            let pool = self.pool(kind);
            if let Some(known) = self.known.get_mut(pool) {
                known.pool = self.pools.registry(kind);
            }
        }
        self.known[DEFAULT].pool = Some(registry::default());
        for (id, known) in self.known.iter().enumerate() {
            let open = id == DEFAULT || self.open.contains(&id);
            let all = self.alive.iter().chain(&self.leaked);
            let alive: Vec<_> = all
                .filter(|alive| alive.pool == id)
                .filter_map(Alive::slot)
                .collect();
            let there = known.pool.filter(|_| open || !alive.is_empty());
            let (threads, made) = (&self.threads, known.made);
            let expected = Expected {
                threads,
                alive,
                open,
                made,
            };
            there.into_iter().for_each(|pool| audit(pool, &expected));
        }
    }

    /// Ends all threads. Then another thread drops the rest, and no memory must remain.
    fn finish(mut self) {
        (0..THREADS).for_each(|thread| self.end(thread));
        self.audit();
        (0..THREADS).for_each(|thread| self.start(thread));
        self.alive.append(&mut self.leaked);
        self.drop_every(0, 1);
        self.audit();
        self.by(0, |model| drop(mem::take(&mut model.pools)));
        self.validate(0, Kind::Bytes8); // collects and releases the heaps that threads used after their end
        self.start(0);
        self.known.truncate(1); // the other pools no longer exist
        self.audit();
        assert_eq!(stats().segments, 0, "every segment was released");
        registry::trim_arenas();
        let heaps = registry::default().heaps().count();
        assert_eq!(
            mappings(),
            heaps,
            "all memory was released, except for the default pool's heaps"
        );
        registry::tests::start_anew();
    }
}

impl Drop for Model {
    /// After a panic the state is uncertain, and nothing is touched. The next sequence uses new pools, and finds the
    /// same addresses free.
    fn drop(&mut self) {
        if std::thread::panicking() {
            mem::forget(mem::take(&mut self.alive));
            mem::forget(mem::take(&mut self.leaked));
            mem::forget(mem::take(&mut self.pools));
            registry::tests::start_anew();
        }
    }
}

/// The heap has no free slots that its holder could allocate.
fn assert_exhausted(heap: HeapRef) {
    assert_eq!(heap.waiting().count(), 0, "a list that no thread collected");
    for bin in heap.used_bins() {
        assert_eq!(
            bin.stock().count(),
            0,
            "free slots that no thread allocated"
        );
        assert!(bin.segments().all(|segment| !segment.has_room()));
    }
}

fn run(sequence: &[Op]) {
    let mut model = Model::new();
    sequence.iter().for_each(|op| model.step(op));
    model.finish();
}

#[test]
fn every_slot_is_somewhere_after_every_operation() {
    in_own_process(
        "tests::model::every_slot_is_somewhere_after_every_operation",
        || {
            let config = ProptestConfig {
                cases: CASES,
                max_shrink_iters: 20_000,
                failure_persistence: None,
                ..ProptestConfig::default()
            };
            let outcome = TestRunner::new(config).run(&vec(ops(), 1..LENGTH), |sequence| {
                run(&sequence);
                Ok(())
            });
            outcome.unwrap_or_else(|failure| panic!("{failure}"));
        },
    );
}
