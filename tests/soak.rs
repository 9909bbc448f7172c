//! All operations at once, for as long as one likes: values with checked contents change hands between threads that start
//! and end, pools are dropped while their boxes live, and threads idle, trim, flush, reserve, leak and run into limits. With the
//! feature `tracing`, a subscriber panics now and then.
//!
//! The run consists of rounds. After each round, when all its threads have ended, every slot is counted. After every
//! fourth round, all values are dropped and their memory must be returned. The resident memory is bounded by the live
//! values: the bound is computed below from the maximum of live values and from the table "What can be held back" of
//! the design page.
//!
//! ```sh
//! SOAK_SECONDS=1800 cargo test --release --test soak -- --ignored --nocapture
//! ```
//!
//! The global allocator takes part: now and then it trims, idles, looks, or makes and drops boxes itself.
//!
//! The operations of a thread follow from its seed; the interleaving of threads does not. No time is asserted: the
//! seconds only determine after which round to stop.

#![cfg(all(target_os = "linux", not(segment_pool_loom)))]

#[path = "common/calling_allocator.rs"]
mod calling_allocator;
mod common;
#[path = "common/subscriber.rs"]
mod subscriber;

use std::cell::RefCell;
use std::env;
use std::fs;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use calling_allocator::{CallingAllocator, act_every, act_no_more};
use common::{Checked, Parcel, Rng, parcel};
use segment_pool::{AllocErrorKind, PoolArc, PoolBox, SegmentPool, Validation, coerce};

#[global_allocator]
static GLOBAL: CallingAllocator = CallingAllocator;
/// Its calls from one such time to the next.
const CALLS: usize = 97;

/// Threads that live at once.
const AT_ONCE: usize = 6;
/// Threads that live one after the other in each of these places, in one round.
const LIVES: usize = if cfg!(debug_assertions) { 2 } else { 10 };
/// Rounds after which everything is dropped.
const TIDY: usize = 4;
/// Operations of one thread, at most.
const STEPS: usize = 40_000;
/// Boxes that are leaked, in all.
const LEAKS: usize = 64;
/// Bytes of a value with a dedicated mapping.
const MAPPED: usize = 132_000;

/// Values alive, by where they are counted.
static IN_DEFAULT: AtomicI64 = AtomicI64::new(0);
static IN_LIMITED: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);
static MOST_BYTES: AtomicI64 = AtomicI64::new(0);
/// What happened, for the figures.
static STEPS_DONE: AtomicUsize = AtomicUsize::new(0);
static VALUES: AtomicUsize = AtomicUsize::new(0);
static REFUSALS: AtomicUsize = AtomicUsize::new(0);
static POOLS: AtomicUsize = AtomicUsize::new(0);
static LEAKED: AtomicUsize = AtomicUsize::new(0);
static MOST_RESIDENT: AtomicUsize = AtomicUsize::new(0);

static LIMITED: SegmentPool<Tracked<11>> = SegmentPool::builder().max_segments(3).build();

/// A count of values that are alive.
#[derive(Clone)]
enum Count {
    Default,
    Limited,
    Nobody,
    Pool(Arc<AtomicI64>),
}

impl Count {
    fn change(&self, values: i64, bytes: usize) {
        match self {
            Self::Default => IN_DEFAULT.fetch_add(values, Relaxed),
            Self::Limited => IN_LIMITED.fetch_add(values, Relaxed),
            Self::Nobody => 0,
            Self::Pool(count) => count.fetch_add(values, Relaxed),
        };
        let change = values * bytes as i64;
        let bytes = BYTES.fetch_add(change, Relaxed) + change;
        if bytes > MOST_BYTES.load(Relaxed) {
            MOST_BYTES.fetch_max(bytes, Relaxed);
        }
    }
}

/// A value that is counted while it lives.
struct Tracked<const WORDS: usize> {
    checked: Checked<WORDS>,
    count: Count,
}

impl<const WORDS: usize> Tracked<WORDS> {
    fn new(cookie: u32, count: Count) -> Self {
        count.change(1, size_of::<Self>());
        Self {
            checked: Checked::new(cookie),
            count,
        }
    }
}

impl<const WORDS: usize> Drop for Tracked<WORDS> {
    fn drop(&mut self) {
        self.count.change(-1, size_of::<Self>());
    }
}

impl<const WORDS: usize> Parcel for Tracked<WORDS> {
    fn verify(&self) -> u32 {
        self.checked.verify()
    }
}

/// A slice whose elements are computed from its length.
struct Numbers(PoolBox<[u64]>);

impl Numbers {
    fn new(len: usize) -> Self {
        Count::Default.change(1, len * 8);
        Self((0..len as u64).map(|n| n ^ len as u64).collect())
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        let len = self.0.len();
        Count::Default.change(-1, len * 8);
        assert!(
            self.0
                .iter()
                .zip(0..)
                .all(|(&n, index)| n == index ^ len as u64)
        );
    }
}

/// A value whose destructor panics without running the panic hook.
struct Bomb(#[expect(dead_code, reason = "dropped after the panic began")] Tracked<4>);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic::resume_unwind(Box::new(()));
    }
}

/// A value whose destructor allocates and drops another.
struct Fertile(Tracked<7>);

impl Drop for Fertile {
    fn drop(&mut self) {
        let cookie = self.0.verify();
        let child = PoolBox::new(Tracked::<7>::new(cookie, Count::Default));
        assert_eq!(child.verify(), cookie);
    }
}

impl Parcel for Fertile {
    fn verify(&self) -> u32 {
        self.0.verify()
    }
}

type Value = PoolBox<dyn Parcel>;

/// Places for things that change hands.
struct Shelf<T>(Vec<Mutex<Option<T>>>);

impl<T> Shelf<T> {
    fn new(places: usize) -> Self {
        Self((0..places).map(|_| Mutex::new(None)).collect())
    }

    fn place(&self, place: u64) -> MutexGuard<'_, Option<T>> {
        let place = &self.0[place as usize % self.0.len()];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a thing in a place and returns what was there.
    fn swap(&self, place: u64, thing: Option<T>) -> Option<T> {
        mem::replace(&mut *self.place(place), thing)
    }

    /// Drops every so-manieth thing.
    fn thin(&self, every: usize) {
        (0..self.0.len())
            .step_by(every)
            .for_each(|place| drop(self.swap(place as u64, None)));
    }
}

/// A pool of one type, and how many of its values are alive.
#[derive(Default)]
struct Pool {
    pool: SegmentPool<Tracked<5>>,
    alive: Arc<AtomicI64>,
}

impl Pool {
    fn new() -> Arc<Self> {
        POOLS.fetch_add(1, Relaxed);
        Arc::default()
    }

    fn alloc(&self, cookie: u32) -> Value {
        parcel(
            self.pool
                .alloc(Tracked::new(cookie, Count::Pool(self.alive.clone()))),
        )
    }
}

/// What all threads share.
struct World {
    values: Shelf<Value>,
    /// Values with a dedicated mapping: few.
    mapped: Shelf<Value>,
    slices: Shelf<Numbers>,
    arcs: Shelf<PoolArc<Tracked<3>>>,
    /// Many values at a time, to be dropped at once.
    crowds: Shelf<Vec<Value>>,
    pools: Shelf<Arc<Pool>>,
    /// What was resident when there was nothing yet.
    before: usize,
}

impl World {
    fn new() -> Self {
        Self {
            values: Shelf::new(64 << 10),
            mapped: Shelf::new(16),
            slices: Shelf::new(512),
            arcs: Shelf::new(512),
            crowds: Shelf::new(16),
            pools: Shelf::new(8),
            before: resident(),
        }
    }

    fn pool(&self, place: u64) -> Arc<Pool> {
        self.pools
            .place(place)
            .get_or_insert_with(Pool::new)
            .clone()
    }

    /// Drops every so-manieth thing, on a thread that made none of them.
    fn thin(&self, every: usize) {
        thread::scope(|scope| {
            let dropper = scope.spawn(|| {
                self.values.thin(every);
                self.mapped.thin(every);
                self.slices.thin(every);
                self.arcs.thin(every);
                self.crowds.thin(every);
            });
            dropper.join().unwrap();
        });
    }

    /// Every slot is free or holds one of the values that are alive. Called when all threads have ended.
    fn count(&self) {
        assert_adds_up(segment_pool::validate, &IN_DEFAULT);
        assert_adds_up(|| LIMITED.validate(), &IN_LIMITED);
        for place in 0..self.pools.0.len() as u64 {
            let pool = self.pool(place);
            assert_adds_up(|| pool.pool.validate(), &pool.alive);
        }
        assert!(segment_pool::stats().heaps <= 3 * AT_ONCE as u64);
    }

    /// The most that may be resident: twice what was alive, for a full magazines may hold half of a bin's slots, and an eighth for
    /// classes; and for each heap what the design page allows, all kinds of values made there.
    fn bound(&self) -> usize {
        const HEAPS: usize = 2 * AT_ONCE;
        const BINS: usize = 16;
        const OF_A_BIN: usize = (256 + 16 + 2) << 10;
        const OF_A_HEAP: usize = BINS * OF_A_BIN + (256 << 10) + (1 << 20) + (512 << 10);
        const FREE_SEGMENTS: usize = 3 * (512 << 10);
        const STACKS: usize = AT_ONCE << 20;
        let alive = MOST_BYTES.load(Relaxed) as usize;
        self.before + 2 * (alive + alive / 8) + HEAPS * OF_A_HEAP + FREE_SEGMENTS + STACKS
    }

    fn check_resident(&self) {
        let (resident, bound) = (resident(), self.bound());
        MOST_RESIDENT.fetch_max(resident, Relaxed);
        assert!(
            resident <= bound,
            "{} KiB resident of {} allowed",
            resident >> 10,
            bound >> 10
        );
    }

    /// Only leaked values are alive, and all memory was returned, except for a page or two of them, and some MiB: of
    /// the allocator of the vectors here, and of segments retained for reuse.
    fn check_tidy(&self) {
        self.thin(1);
        segment_pool::trim();
        trim_malloc();
        let allowed = self.before + (12 << 20) + LEAKED.load(Relaxed) * (16 << 10);
        let resident = resident();
        println!(
            "tidy: {} KiB more than before",
            resident.saturating_sub(self.before) >> 10
        );
        assert!(
            resident <= allowed,
            "{} KiB resident of {} allowed",
            resident >> 10,
            allowed >> 10
        );
    }
}

/// The first validation returns the slots that the heaps of idle threads still cached.
fn assert_adds_up(count: impl Fn() -> Validation, alive: &AtomicI64) {
    count();
    let validation = count();
    assert_eq!(
        validation.free + validation.live,
        validation.capacity,
        "{validation}"
    );
    assert_eq!(validation.live as i64, alive.load(Relaxed), "{validation}");
    assert_eq!(validation.kept, 0, "{validation}");
}

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * page_bytes()
}

/// Returns the memory that the system's allocator retains, which serves the vectors of this test and of the pools'
/// inspections.
fn trim_malloc() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// One arena, because several cannot be returned while each contains a live value.
fn limit_malloc() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory is passed.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

fn page_bytes() -> usize {
    // SAFETY: no argument, no effect.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

thread_local! {
    /// Values that wait for the end of the thread; one is made there.
    static UNTIL_THE_END: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// One thread.
struct Life<'a> {
    world: &'a World,
    rng: Rng,
    kept: Vec<Value>,
}

impl Life<'_> {
    fn live(mut self) {
        let steps = self.rng.below(STEPS);
        if self.rng.below(2) == 0 {
            self.wait_for_the_end(); // before there is a heap: dropped after it was left
        }
        for _ in 0..steps {
            self.step();
        }
        STEPS_DONE.fetch_add(steps, Relaxed);
        self.wait_for_the_end();
        self.world.check_resident();
    }

    fn step(&mut self) {
        let random = self.rng.next();
        match self.rng.below(20_000) {
            0 => self.others_turn(segment_pool::idle),
            1 => self.others_turn(segment_pool::flush),
            2 => self.others_turn(|| ()),
            3 => segment_pool::trim(),
            4 => self.drop_a_pool(random),
            5 => self.world.pool(random).pool.trim(),
            6 => self.reserve(random),
            7 => self.read_numbers(random),
            8 => self.leak(),
            9 => self.kept.clear(),
            10..20 => self.crowd(random),
            20..30 => self.make_mapped(random),
            30..60 => self.explode(),
            60..600 => self.share(random),
            600..900 => self.slice(random),
            900..1900 => self.make_limited(random),
            _ => self.make_one(random),
        }
    }

    fn cookie(&mut self) -> u32 {
        VALUES.fetch_add(1, Relaxed);
        self.rng.next() as u32
    }

    fn value<const WORDS: usize>(&mut self) -> PoolBox<Tracked<WORDS>> {
        let cookie = self.cookie();
        PoolBox::new(Tracked::new(cookie, Count::Default))
    }

    fn any_value(&mut self) -> Value {
        match self.rng.below(100) {
            0..30 => parcel(self.value::<1>()),
            30..50 => parcel(self.value::<4>()),
            50..60 => parcel(self.value::<13>()),
            60..70 => parcel(PoolBox::new(Fertile(Tracked::new(
                self.cookie(),
                Count::Default,
            )))),
            70..74 => parcel(self.value::<120>()),
            74 => parcel(self.value::<1000>()),
            _ => {
                let (place, cookie) = (self.rng.next(), self.cookie());
                self.world.pool(place).alloc(cookie)
            }
        }
    }

    /// Makes a value, and drops what lies where it goes.
    fn make_one(&mut self, random: u64) {
        let value = self.any_value();
        match random % 8 {
            0 => drop(value),
            1 => self.keep(value),
            _ => self.drop_checked(random >> 8, value),
        }
    }

    fn drop_checked(&self, place: u64, value: Value) {
        if let Some(found) = self.world.values.swap(place, Some(value)) {
            found.verify();
        }
    }

    fn keep(&mut self, value: Value) {
        if self.kept.len() < 2000 {
            return self.kept.push(value);
        }
        let index = self.rng.below(self.kept.len());
        drop(self.kept.swap_remove(index));
    }

    fn make_mapped(&mut self, random: u64) {
        let cookie = self.cookie();
        let value = PoolBox::new(Tracked::<{ MAPPED / 8 }>::new(cookie, Count::Nobody));
        drop(self.world.mapped.swap(random, Some(parcel(value))));
    }

    fn make_limited(&mut self, random: u64) {
        let cookie = self.cookie();
        match LIMITED.try_alloc(Tracked::new(cookie, Count::Limited)) {
            Ok(value) => self.drop_checked(random, parcel(value)),
            Err(refused) => {
                REFUSALS.fetch_add(1, Relaxed);
                assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
                assert_eq!(refused.into_inner().verify(), cookie);
            }
        }
    }

    /// Many values at once, dropped by the next thread.
    fn crowd(&mut self, random: u64) {
        let many = self.rng.below(4000);
        let crowd = if random % 2 == 0 {
            (0..many).map(|_| self.any_value()).collect()
        } else {
            (0..many).map(|_| parcel(self.value::<4>())).collect()
        };
        drop(self.world.crowds.swap(random >> 8, Some(crowd)));
    }

    fn share(&mut self, random: u64) {
        let cookie = self.cookie();
        let arc = PoolArc::new(Tracked::new(cookie, Count::Default));
        let weak = PoolArc::downgrade(&arc);
        let found = self.world.arcs.swap(random, Some(arc));
        if let Some(other) = &found {
            assert_eq!(other.clone().verify(), other.verify());
        }
        drop(found);
        if let Some(mine) = weak.upgrade() {
            assert_eq!(mine.verify(), cookie);
        }
    }

    fn slice(&mut self, random: u64) {
        let doublings = self.rng.below(12);
        let len = 1 + self.rng.below(1 << doublings);
        drop(self.world.slices.swap(random, Some(Numbers::new(len))));
    }

    /// A destructor that panics gives the slot back.
    fn explode(&mut self) {
        let cookie = self.cookie();
        let bomb = PoolBox::new(Bomb(Tracked::new(cookie, Count::Default)));
        assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(bomb))).is_err());
    }

    fn leak(&mut self) {
        if LEAKED.fetch_add(1, Relaxed) < LEAKS {
            let leaked: &'static dyn Parcel = PoolBox::leak(self.any_value());
            leaked.verify();
        } else {
            LEAKED.fetch_sub(1, Relaxed);
        }
    }

    /// The pool's boxes outlive it.
    fn drop_a_pool(&self, place: u64) {
        drop(self.world.pools.swap(place, Some(Pool::new())));
    }

    fn reserve(&self, random: u64) {
        let pool = self.world.pool(random);
        let slots = (random >> 32) as usize % 2000;
        let reserved = match random % 2 {
            0 => pool.pool.reserve(slots),
            _ => pool.pool.prefault(slots),
        };
        reserved.expect("there is memory");
    }

    fn read_numbers(&self, random: u64) {
        let pool = self.world.pool(random);
        let (own, default) = (pool.pool.stats(), segment_pool::stats());
        let _ = (pool.pool.validate(), pool.pool.snapshot());
        assert!(own.batches <= own.remote_frees && default.batches <= default.remote_frees);
    }

    /// Lets other threads come to what this one holds.
    fn others_turn(&self, first: fn()) {
        first();
        (0..200).for_each(|_| thread::yield_now());
    }

    fn wait_for_the_end(&mut self) {
        let cookie = self.cookie();
        UNTIL_THE_END.with_borrow_mut(|values| {
            let value = PoolBox::new(Fertile(Tracked::new(cookie, Count::Default)));
            values.push(coerce!(value => dyn Parcel));
        });
    }
}

/// Lets threads live one after the other. This one has no heap.
fn live_in_turn(world: &World, place: usize, round: usize) {
    for life in 0..LIVES {
        let seed = (round * LIVES + life) * AT_ONCE + place;
        thread::scope(|scope| {
            let kept = Vec::new();
            let rng = Rng::new(seed as u64);
            let life = scope.spawn(move || Life { world, rng, kept }.live());
            life.join().expect("all is well in there");
        });
    }
}

fn round(world: &World, number: usize) {
    act_every(CALLS);
    thread::scope(|scope| {
        let places: Vec<_> = (0..AT_ONCE)
            .map(|place| scope.spawn(move || live_in_turn(world, place, number)))
            .collect();
        places.into_iter().for_each(|place| place.join().unwrap());
    });
    act_no_more();
    world.count();
    if number % TIDY == TIDY - 1 {
        world.check_tidy();
    }
    world.thin(2);
    world.count();
}

#[test]
#[ignore = "takes a minute, or as long as SOAK_SECONDS says"]
fn everything_at_once_for_long() {
    let seconds = env::var("SOAK_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let start = Instant::now();
    subscriber::panic_every(5);
    limit_malloc();
    let world = World::new();
    for number in 0.. {
        round(&world, number);
        println!(
            "{:>5} s, round {number}: {} million steps, {} million values, {} MiB alive (most {}), {} MiB resident (most {}, bound {})",
            start.elapsed().as_secs(),
            STEPS_DONE.load(Relaxed) / 1_000_000,
            VALUES.load(Relaxed) / 1_000_000,
            BYTES.load(Relaxed) >> 20,
            MOST_BYTES.load(Relaxed) >> 20,
            resident() >> 20,
            MOST_RESIDENT.load(Relaxed) >> 20,
            world.bound() >> 20,
        );
        if start.elapsed().as_secs() >= seconds {
            break;
        }
    }
    world.check_tidy();
    world.count();
    println!(
        "{} steps, {} pools, {} refusals, {} leaked, {} panics of the subscriber",
        STEPS_DONE.load(Relaxed),
        POOLS.load(Relaxed),
        REFUSALS.load(Relaxed),
        LEAKED.load(Relaxed),
        subscriber::panics()
    );
    assert_eq!(subscriber::panics() > 0, cfg!(feature = "tracing"));
    println!("default pool:\n{}", segment_pool::stats());
}
