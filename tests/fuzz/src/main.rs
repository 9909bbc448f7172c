//! A stream of operations on a few threads that take turns, or drop what they have at the same time. Contents are
//! checked by every drop, every slot is counted when the stream says so, and in the end nothing is left. Meanwhile a subscriber
//! panics, and the global allocator uses pools, as often as the stream says.
//!
//! The threads live on from one input to the next, unless an operation ends one.

#![no_main]

#[path = "../../common/calling_allocator.rs"]
mod calling_allocator;
#[path = "../../common/mod.rs"]
mod common;
#[path = "../../common/subscriber.rs"]
mod subscriber;

use std::array;
use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex};

use arbitrary::Arbitrary;
use calling_allocator::{CallingAllocator, act_every, act_no_more};
use common::{Checked, Parcel, Worker};
use libfuzzer_sys::fuzz_target;
use segment_pool::{
    PoolArc, PoolBox, PoolWeak, SegmentPool, Validation, flush, idle, trim, validate,
};

#[global_allocator]
static GLOBAL: CallingAllocator = CallingAllocator;

const WORKERS: usize = 3;
/// Values at once, at most.
const MOST: usize = 3000;

/// An input.
#[derive(Debug, Arbitrary)]
struct Story {
    turns: Vec<Turn>,
    /// Whether the pool of one type is dropped before the last of its values.
    pool_first: bool,
    /// Events of a thread that pass before one at which the subscriber panics.
    patience: u8,
    /// Calls of the global allocator between two in which it does something to pools, if it does.
    calls: Option<u8>,
}

#[derive(Debug, Arbitrary)]
enum Turn {
    /// A worker does this, one thing after the other.
    Of(u8, Vec<Op>),
    /// Each worker drops every so-manieth value, all at the same time.
    Together(u8),
    /// A worker ends, and another takes its place.
    Replace(u8),
}

#[derive(Debug, Arbitrary)]
enum Op {
    Make(Kind),
    MakeMany(Kind, u8),
    /// Numbers of values are taken modulo how many there are.
    Drop(u16),
    DropFrom(u16, u8),
    /// Another reference, strong or weak, to a counted value.
    Share(u16, bool),
    /// A value is replaced by one of another type, in its slot if it fits.
    Map(u16),
    Flush,
    Idle,
    Trim,
    TrimPool,
    Reserve(u8),
    Count,
}

/// What is made, and where.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Kind {
    Bytes8,
    Bytes16,
    Bytes72,
    Bytes1200,
    Bytes9000,
    Mapped,
    Pooled,
    /// In the pool with a limit of three segments.
    Limited,
    Slice(u16),
    Counted,
}

type OfPool = Checked<5>;
type Limited = Checked<100>;

static LIMITED: SegmentPool<Limited> = SegmentPool::builder().max_segments(3).build();

#[expect(dead_code, reason = "some are only dropped, which checks them")]
enum Value {
    Parcel(PoolBox<dyn Parcel>),
    Bytes72(PoolBox<Checked<9>>),
    Bytes64(PoolBox<Checked<8>>),
    Slice(PoolBox<[Checked<1>]>),
    Counted(PoolArc<Checked<4>>),
    Weak(PoolWeak<Checked<4>>),
}

impl Kind {
    fn make(self, pool: &SegmentPool<OfPool>, cookie: u32) -> Option<Value> {
        Some(match self {
            Self::Bytes8 => parcel(PoolBox::new(Checked::<1>::new(cookie))),
            Self::Bytes16 => parcel(PoolBox::new(Checked::<2>::new(cookie))),
            Self::Bytes72 => Value::Bytes72(PoolBox::new(Checked::new(cookie))),
            Self::Bytes1200 => parcel(PoolBox::new(Checked::<150>::new(cookie))),
            Self::Bytes9000 => parcel(PoolBox::new(Checked::<1125>::new(cookie))),
            Self::Mapped => parcel(PoolBox::new(Checked::<16_400>::new(cookie))),
            Self::Pooled => parcel(pool.alloc(OfPool::new(cookie))),
            Self::Limited => parcel(LIMITED.try_alloc(Limited::new(cookie)).ok()?),
            Self::Slice(len) => {
                Value::Slice((0..len % 300).map(|_| Checked::new(cookie)).collect())
            }
            Self::Counted => Value::Counted(PoolArc::new(Checked::new(cookie))),
        })
    }
}

fn parcel<T: Parcel + 'static>(boxed: PoolBox<T>) -> Value {
    Value::Parcel(common::parcel(boxed))
}

impl Value {
    fn share(&self, weak: bool) -> Option<Self> {
        match self {
            Self::Counted(counted) if weak => Some(Self::Weak(PoolArc::downgrade(counted))),
            Self::Counted(counted) => Some(Self::Counted(counted.clone())),
            Self::Weak(counted) => counted.upgrade().map(Self::Counted),
            _ => None,
        }
    }

    fn map(self) -> Self {
        match self {
            Self::Bytes72(boxed) => {
                Self::Bytes64(PoolBox::map(boxed, |value| Checked::new(value.verify())))
            }
            Self::Bytes64(boxed) => {
                Self::Bytes72(PoolBox::map(boxed, |value| Checked::new(value.verify())))
            }
            other => other,
        }
    }
}

/// What the threads have in common.
#[derive(Default)]
struct Model {
    alive: Vec<Value>,
    made: u32,
    pool: SegmentPool<OfPool>,
}

impl Model {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Make(kind) => self.make(kind, 1),
            Op::MakeMany(kind, count) => self.make(kind, count),
            Op::Drop(which) => self.drop_from(which, 1),
            Op::DropFrom(which, count) => self.drop_from(which, count),
            Op::Share(which, weak) => self.share(which, weak),
            Op::Map(which) => self.map(which),
            Op::Flush => flush(),
            Op::Idle => idle(),
            Op::Trim => trim(),
            Op::TrimPool => self.pool.trim(),
            Op::Reserve(slots) => self.pool.reserve(slots.into()).unwrap(),
            Op::Count => [validate(), self.pool.validate(), LIMITED.validate()]
                .into_iter()
                .for_each(assert_adds_up),
        }
    }

    fn make(&mut self, kind: Kind, count: u8) {
        let count = match kind {
            Kind::Mapped => 1,
            _ => usize::from(count).min(MOST.saturating_sub(self.alive.len())),
        };
        for _ in 0..count {
            self.made += 1;
            self.alive.extend(kind.make(&self.pool, self.made));
        }
    }

    fn index(&self, which: u16) -> Option<usize> {
        usize::from(which).checked_rem(self.alive.len())
    }

    fn drop_from(&mut self, which: u16, count: u8) {
        if let Some(from) = self.index(which) {
            let to = self.alive.len().min(from + usize::from(count));
            self.alive.drain(from..to);
        }
    }

    fn share(&mut self, which: u16, weak: bool) {
        if let Some(index) = self.index(which) {
            let shared = self.alive[index].share(weak);
            self.alive.extend(shared);
        }
    }

    fn map(&mut self, which: u16) {
        if let Some(index) = self.index(which) {
            let mapped = self.alive.swap_remove(index).map();
            self.alive.push(mapped);
        }
    }

    /// Takes every `every`th value out, in as many parts as there are workers.
    fn scatter(&mut self, every: u8) -> [Vec<Value>; WORKERS] {
        let mut parts = array::from_fn(|_| Vec::new());
        for (n, value) in mem::take(&mut self.alive).into_iter().enumerate() {
            if n % usize::from(every).max(1) == 0 {
                parts[n % WORKERS].push(value);
            } else {
                self.alive.push(value);
            }
        }
        parts
    }
}

fn assert_adds_up(validation: Validation) {
    assert_eq!(
        validation.free + validation.live,
        validation.capacity,
        "{validation}"
    );
}

thread_local! {
    static CREW: RefCell<[Worker; WORKERS]> = RefCell::new(array::from_fn(|_| Worker::start()));
}

fn turn(turn: Turn, crew: &mut [Worker; WORKERS], model: &Arc<Mutex<Model>>) {
    match turn {
        Turn::Of(by, ops) => {
            let model = model.clone();
            crew[usize::from(by) % WORKERS].run(move || {
                let mut model = model.lock().unwrap();
                ops.iter().for_each(|op| model.step(op));
            });
        }
        Turn::Together(every) => {
            let parts = model.lock().unwrap().scatter(every);
            let begin = |(worker, part): (&Worker, _)| worker.begin(move || drop(part));
            let begun: Vec<_> = crew.iter().zip(parts).map(begin).collect();
            begun.into_iter().for_each(|done| done.recv().unwrap());
        }
        Turn::Replace(who) => {
            mem::replace(&mut crew[usize::from(who) % WORKERS], Worker::start()).end();
        }
    }
}

/// Everything is dropped, every batch sent, and no thread has a heap: no slot may be missing.
fn end(crew: &[Worker; WORKERS], model: Model, pool_first: bool) {
    let Model { alive, pool, .. } = model;
    let mut pool = Some(pool);
    if pool_first {
        pool = None;
    }
    act_every(0);
    // A worker answers before it has dropped its job, in which its allocator may still do something: the next job comes after that.
    crew.iter().for_each(|worker| worker.run(|| ()));
    act_no_more();
    crew[0].run(move || drop(alive));
    for worker in crew {
        worker.run(|| {
            trim();
            idle();
        });
    }
    let look = || {
        let pools = [validate(), LIMITED.validate()].into_iter();
        pools.chain(pool.iter().map(SegmentPool::validate))
    };
    look().for_each(assert_adds_up);
    // That returned the slots in the lists of heaps that were parked and not taken back since.
    for validation in look() {
        assert_adds_up(validation);
        assert_eq!((validation.live, validation.kept), (0, 0), "{validation}");
    }
}

fuzz_target!(|story: Story| {
    CREW.with_borrow_mut(|crew| {
        subscriber::panic_every(u32::from(story.patience) + 1);
        let model = Arc::new(Mutex::new(Model::default()));
        act_every(story.calls.map_or(0, |calls| 1 + usize::from(calls)));
        for next in story.turns {
            turn(next, crew, &model);
        }
        let model = mem::take(&mut *model.lock().unwrap());
        end(crew, model, story.pool_first);
    });
});
