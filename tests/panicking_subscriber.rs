//! Feature `tracing`: a subscriber panics at each event, and no operation is affected.
//!
//! Every operation that allocates or frees storage is repeated, and each time the next one of its events panics. No
//! operation may unwind, each value must be dropped once, and no slot may be lost.

mod common;
#[path = "common/subscriber.rs"]
mod subscriber;

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use common::in_own_process;
use segment_pool::{
    AllocErrorKind, Counted, PoolArc, PoolBox, PoolWeak, SegmentPool, SlotState, coerce,
};

static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Counted while it is alive. So large that a batch of them has one.
struct Big {
    _bytes: [u8; 20_000],
}

fn big() -> Big {
    ALIVE.fetch_add(1, SeqCst);
    Big {
        _bytes: [0; 20_000],
    }
}

impl Clone for Big {
    fn clone(&self) -> Self {
        big()
    }
}

impl Drop for Big {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Big")
    }
}

impl fmt::Display for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("big")
    }
}

impl Error for Big {}

type Small = [u64; 16];

static POOL: SegmentPool<Big> = SegmentPool::builder().name("pool").build();
static SHARED: SegmentPool<Counted<Big>> = SegmentPool::builder().name("shared").build();
static SMALL: SegmentPool<Small> = SegmentPool::builder().name("small").build();
static FULL: SegmentPool<Big> = SegmentPool::builder().max_segments(1).build();

/// One of the slots of [`FULL`].
static LAST: Mutex<Option<PoolBox<MaybeUninit<Big>>>> = Mutex::new(None);

/// Takes every slot of [`FULL`], for ever, but for the last.
fn fill_up() {
    let mut last = LAST.lock().unwrap();
    while let Ok(slot) = FULL.try_alloc_uninit() {
        mem::forget(last.replace(slot));
    }
}

/// Gives the last slot back and takes it again: the next refusal is the first since a request was served, and is told.
fn serve_one() {
    let mut last = LAST.lock().unwrap();
    *last = None;
    *last = Some(FULL.alloc_uninit());
}

fn boxed() -> PoolBox<Big> {
    PoolBox::new(big())
}

fn arc() -> PoolArc<Big> {
    PoolArc::new(big())
}

fn two() -> [Big; 2] {
    [big(), big()]
}

fn slice() -> PoolBox<[Big]> {
    PoolBox::from(two())
}

fn nothing() {}

/// Live values and slots in use, while no thread has a heap. The second inspection finds the slots that the first
/// returned.
fn in_use() -> (usize, usize) {
    let count = || {
        let pools = [POOL.validate(), SHARED.validate(), SMALL.validate()];
        pools
            .iter()
            .chain([&segment_pool::validate()])
            .map(|validation| validation.live)
            .sum()
    };
    let _: usize = count();
    (ALIVE.load(SeqCst), count())
}

/// Makes something on a thread that ends, prepares more on another, and acts there while one event panics after the other.
fn at_each_event<T: Send + 'static, U: 'static>(
    what: &str,
    make: fn() -> T,
    prepare: fn(T) -> U,
    act: fn(U),
) {
    for event in 0.. {
        segment_pool::trim();
        let made = thread::spawn(make).join().unwrap();
        let acts = move || {
            let ready = prepare(made);
            let act = || catch_unwind(AssertUnwindSafe(|| act(ready)));
            let (acted, panicked) = subscriber::panic_at(event, act);
            let returned = acted.is_ok();
            mem::forget(acted); // a payload that panics
            (returned, panicked)
        };
        let (returned, panicked) = thread::spawn(acts).join().unwrap();
        assert!(returned, "{what} unwinds at event {event}");
        assert_eq!(in_use(), (0, 0), "{what} loses something at event {event}");
        if !panicked {
            assert!(event > 0, "{what} tells nothing");
            return;
        }
    }
}

/// Without anything to prepare: the first allocation of the thread that acts makes a heap, and a segment.
fn acts<T: Send + 'static>(what: &str, make: fn() -> T, act: fn(T)) {
    at_each_event(what, make, |made| made, act);
}

#[test]
fn while_a_box_is_made() {
    in_own_process("while_a_box_is_made", || {
        acts("new", big, |it| drop(PoolBox::new(it)));
        acts("new_with", big, |it| drop(PoolBox::new_with(|| it)));
        acts("new_uninit", big, |it| {
            drop(PoolBox::write(PoolBox::new_uninit(), it));
        });
        acts("new_zeroed", nothing, |()| {
            drop(PoolBox::<u64>::new_zeroed());
        });
        acts("pin", big, |it| drop(PoolBox::pin(it)));
        acts("try_new", big, |it| drop(PoolBox::try_new(it).unwrap()));
        acts("try_new_with", big, |it| {
            assert!(PoolBox::try_new_with(|| it).is_ok());
        });
        acts("try_new_uninit", nothing, |()| {
            drop(PoolBox::<u64>::try_new_uninit().unwrap());
        });
        acts("clone_from_ref", nothing, |()| {
            drop(PoolBox::clone_from_ref(&7));
        });
        acts("new_uninit_slice", nothing, |()| {
            drop(PoolBox::<[u64]>::new_uninit_slice(9));
        });
        acts("a dyn Error", big, |it| {
            drop(PoolBox::<dyn Error>::from(it));
        });
    });
}

#[test]
fn while_a_pool_makes_a_box() {
    in_own_process("while_a_pool_makes_a_box", || {
        fill_up();
        acts("alloc", big, |it| drop(POOL.alloc(it)));
        acts("alloc_with", big, |it| drop(POOL.alloc_with(|| it)));
        acts("alloc_uninit", nothing, |()| drop(POOL.alloc_uninit()));
        acts("try_alloc", big, |it| drop(POOL.try_alloc(it).unwrap()));
        acts("try_alloc_with", big, |it| {
            assert!(POOL.try_alloc_with(|| it).is_ok());
        });
        acts("LocalPool::alloc", big, |it| drop(POOL.local().alloc(it)));
        acts("LocalPool::try_alloc", big, |it| {
            drop(POOL.local().try_alloc(it).unwrap());
        });
        acts("PoolArc::new_in", big, |it| {
            drop(PoolArc::new_in(it, &SHARED));
        });
        acts("try_alloc, refused", big, |it| {
            serve_one();
            let refused = FULL.try_alloc(it).unwrap_err();
            assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
        });
        acts("LocalPool::try_alloc, refused", big, |it| {
            serve_one();
            drop(FULL.local().try_alloc(it).unwrap_err());
        });
        acts("try_alloc_with, refused", big, |it| {
            serve_one();
            let refused = FULL.try_alloc_with(|| it).map(drop).unwrap_err();
            drop(refused.into_inner()());
        });
        acts("a mapping, refused", nothing, |()| {
            let one = SegmentPool::builder().max_segments(1).build();
            let _only = one.alloc([0_u8; 150_000]);
            assert!(one.try_alloc([0_u8; 150_000]).is_err());
        });
    });
}

#[test]
fn while_a_value_moves_into_a_slot() {
    in_own_process("while_a_value_moves_into_a_slot", || {
        acts(
            "from_box",
            || Box::new(big()),
            |it| {
                drop(PoolBox::from_box(it));
            },
        );
        let make = || -> Box<dyn Send> { Box::new(big()) };
        acts("from_box, dyn", make, |it| drop(PoolBox::from_box(it)));
        acts("an array", two, |it| drop(PoolBox::<[Big]>::from(it)));
        let make = || Vec::from(two());
        acts("a Vec", make, |it| drop(PoolBox::<[Big]>::from(it)));
        acts("a slice", two, |it| drop(PoolBox::<[Big]>::from(&it[..])));
        acts("a string", nothing, |()| drop(PoolBox::<str>::from("text")));
        acts("collect", two, |it| {
            drop(it.into_iter().collect::<PoolBox<[Big]>>());
        });
        acts("an array of a Vec", make, |it| {
            assert!(PoolBox::<[Big; 2]>::try_from(it).is_ok());
        });
        acts("clone", boxed, |it| drop(it.clone()));
        acts("clone of a slice", slice, |it| drop(it.clone()));
        acts("clone_from of a slice", slice, |mut it| {
            it.clone_from(&PoolBox::from([big()]));
        });
    });
}

#[test]
fn while_a_value_moves_out_of_its_slot() {
    in_own_process("while_a_value_moves_out_of_its_slot", || {
        acts("drop", boxed, drop);
        acts("drop of a pinned box", || PoolBox::pin(big()), drop);
        let make = || coerce!(boxed() => dyn Send);
        acts("drop of a dyn", make, drop);
        acts("drop of a pool's", || POOL.alloc(big()), drop);
        acts("drop of a slice", slice, drop);
        acts("into_inner", boxed, |it| drop(PoolBox::into_inner(it)));
        acts("take", boxed, |it| drop(PoolBox::take(it)));
        acts("map", boxed, |it| drop(PoolBox::map(it, Box::new)));
        acts("try_map", boxed, |it| {
            assert!(PoolBox::try_map(it, Err::<(), Big>).is_err());
        });
        acts("into_vec", slice, |it| drop(it.into_vec()));
        acts("into_iter", slice, |it| drop(it.into_iter().next()));
        acts("Arc", boxed, |it| drop(Arc::<Big>::from(it)));
        acts("Rc", boxed, |it| drop(Rc::<Big>::from(it)));
        acts("Arc of a slice", slice, |it| drop(Arc::<[Big]>::from(it)));
        let make = || {
            let captured = big();
            PoolBox::new(move || drop(captured))
        };
        acts("call_once", make, |it| PoolBox::call_once(it, ()));
    });
}

#[test]
fn while_a_value_is_shared() {
    in_own_process("while_a_value_is_shared", || {
        acts("PoolArc::new", big, |it| drop(PoolArc::new(it)));
        acts("PoolArc::try_new", big, |it| {
            drop(PoolArc::try_new(it).unwrap());
        });
        acts("new_cyclic", big, |it| drop(PoolArc::new_cyclic(|_| it)));
        acts("a box", boxed, |it| drop(PoolArc::<Big>::from(it)));
        acts("an array", two, |it| drop(PoolArc::<[Big]>::from(it)));
        let make = || Vec::from(two());
        acts("a Vec", make, |it| drop(PoolArc::<[Big]>::from(it)));
        acts("drop", arc, drop);
        acts("drop of a pool's", || PoolArc::new_in(big(), &SHARED), drop);
        acts("drop of the weak", || PoolArc::downgrade(&arc()), drop);
        acts("try_unwrap", arc, |it| {
            assert!(PoolArc::try_unwrap(it).is_ok());
        });
        acts("into_inner", arc, |it| drop(PoolArc::into_inner(it)));
        acts("unwrap_or_clone", arc, |it| {
            drop(PoolArc::unwrap_or_clone(it));
        });
        let other = || (arc(), arc());
        acts("replaced", other, |(mut it, other)| it.clone_from(&other));
    });
}

thread_local! {
    static WEAK: RefCell<Option<PoolWeak<Big>>> = const { RefCell::new(None) };
}

#[test]
fn while_a_shared_value_gets_a_slot_of_its_own() {
    in_own_process("while_a_shared_value_gets_a_slot_of_its_own", || {
        acts("make_mut, shared", arc, |mut it| {
            let other = it.clone();
            PoolArc::make_mut(&mut it);
            assert!(!PoolArc::ptr_eq(&it, &other));
        });
        acts("make_mut, observed", arc, |mut it| {
            let weak = PoolArc::downgrade(&it);
            PoolArc::make_mut(&mut it);
            assert!(weak.upgrade().is_none());
        });
        acts("make_mut, no more observed", arc, |mut it| {
            WEAK.set(Some(PoolArc::downgrade(&it)));
            subscriber::before(|| drop(WEAK.take()));
            PoolArc::make_mut(&mut it);
        });
    });
}

/// Many slots per batch, and in more segments than a heap retains.
fn small() -> Vec<PoolBox<Small>> {
    (0..20_000).map(|n| PoolBox::new([n; 16])).collect()
}

fn small_of_a_pool() -> Vec<PoolBox<Small>> {
    (0..20_000).map(|n| SMALL.alloc([n; 16])).collect()
}

#[test]
fn while_a_thread_lets_go() {
    in_own_process("while_a_thread_lets_go", || {
        acts("drop of batches", small, drop);
        at_each_event("flush", small, drop, |()| segment_pool::flush());
        let kept = |()| (boxed(), POOL.alloc(big()));
        at_each_event("idle", nothing, kept, |_kept| segment_pool::idle());
        at_each_event(
            "trim",
            nothing,
            |()| drop(small()),
            |()| segment_pool::trim(),
        );
        at_each_event(
            "SegmentPool::trim",
            nothing,
            |()| drop(small_of_a_pool()),
            |()| SMALL.trim(),
        );
        let local = |()| {
            let local = POOL.local();
            drop(local.alloc(big()));
            local
        };
        at_each_event("drop of a LocalPool", nothing, local, drop);
    });
}

#[test]
fn while_a_thread_looks() {
    in_own_process("while_a_thread_looks", || {
        // Segments that another thread freed completely, and so purged, are released by the inspecting thread.
        let purged = |()| {
            let small = (small(), small_of_a_pool());
            thread::spawn(|| drop(small)).join().unwrap();
        };
        at_each_event("validate", nothing, purged, |()| {
            assert_eq!(segment_pool::validate().live, 0);
        });
        at_each_event("snapshot", nothing, purged, |()| {
            assert_eq!(segment_pool::snapshot().count(SlotState::Live), 0);
        });
        at_each_event("SegmentPool::validate", nothing, purged, |()| {
            assert_eq!(SMALL.validate().live, 0);
        });
        at_each_event("SegmentPool::snapshot", nothing, purged, |()| {
            assert_eq!(SMALL.snapshot().count(SlotState::Live), 0);
        });
        at_each_event("leaks", nothing, purged, |()| {
            assert_eq!(SMALL.leaks(), None);
        });
    });
}

#[test]
fn while_a_pool_is_filled_ahead_and_dropped() {
    in_own_process("while_a_pool_is_filled_ahead_and_dropped", || {
        acts("reserve", nothing, |()| POOL.reserve(1000).unwrap());
        acts("prefault", nothing, |()| POOL.prefault(1000).unwrap());
        acts("reserve, refused", nothing, |()| {
            assert!(FULL.reserve(10_000).is_err());
        });
        let pool = || {
            let pool = SegmentPool::new();
            drop(pool.alloc(big()));
            pool
        };
        acts("drop of a pool", pool, drop);
        acts("close", pool, |pool| pool.close().unwrap());
        let used = || {
            let pool = SegmentPool::new();
            (pool.alloc(big()), pool)
        };
        acts("a pool before its values", used, |(boxed, pool)| {
            drop(pool);
            drop(boxed);
        });
    });
}

#[cfg(feature = "allocator-api2")]
#[test]
fn while_a_collection_gets_memory() {
    use allocator_api2::boxed::Box as BoxIn;
    use allocator_api2::vec::Vec as VecIn;
    use segment_pool::Segments;

    /// 20 000 bytes of numbers, with room for as many again if so wished.
    fn numbers(room: usize) -> VecIn<u64, Segments> {
        let mut numbers = VecIn::with_capacity_in(2500 + room, Segments);
        numbers.extend(0..2500);
        numbers
    }

    fn check(numbers: &[u64]) {
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
    }

    in_own_process("while_a_collection_gets_memory", || {
        acts("allocate", nothing, |()| check(&numbers(0)));
        acts("deallocate", || numbers(0), drop);
        acts(
            "grow",
            || numbers(0),
            |mut it| {
                it.push(2500);
                check(&it);
            },
        );
        acts(
            "grow twice",
            || numbers(0),
            |mut it| {
                it.extend(2500..9000);
                check(&it);
            },
        );
        acts(
            "shrink",
            || numbers(2500),
            |mut it| {
                it.shrink_to_fit();
                check(&it);
            },
        );
        acts(
            "shrink a little",
            || numbers(2500),
            |it| {
                check(&it.into_boxed_slice());
            },
        );
        acts("Box", big, |it| drop(BoxIn::new_in(it, Segments)));
        acts("drop of a Box", || BoxIn::new_in(big(), Segments), drop);
        acts(
            "into_inner of a Box",
            || BoxIn::new_in(big(), Segments),
            |it| {
                drop(BoxIn::into_inner(it));
            },
        );
    });
}

/// Panics itself when it is dropped.
struct Bomb(#[expect(dead_code, reason = "dropped")] Big);

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new("the bomb"));
    }
}

#[test]
fn while_another_panic_unwinds() {
    in_own_process("while_another_panic_unwinds", || {
        acts("drop by unwinding", boxed, |it| {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _held = it;
                resume_unwind(Box::new("the first"));
            }));
            let first = unwound.unwrap_err();
            assert_eq!(first.downcast_ref(), Some(&"the first"));
        });
        let bomb = || PoolBox::new(Bomb(big()));
        acts("a destructor that panics", bomb, |it| {
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(it)));
            let payload = dropped.unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"the bomb"));
        });
        let bomb = || PoolArc::new(Bomb(big()));
        acts("the same, shared", bomb, |it| {
            assert!(catch_unwind(AssertUnwindSafe(|| drop(it))).is_err());
        });
        acts("new_with, which panics", nothing, |()| {
            let make = || PoolBox::<Big>::new_with(|| resume_unwind(Box::new("make")));
            assert!(catch_unwind(make).is_err());
        });
        acts("new_cyclic, which panics", nothing, |()| {
            let make = || PoolArc::<Big>::new_cyclic(|_| resume_unwind(Box::new("make")));
            assert!(catch_unwind(make).is_err());
        });
    });
}
