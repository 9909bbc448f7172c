//! User code in `Drop`: it may panic, allocate, free, and send boxes to other threads, and it may do all that in
//! destructors of thread-local values, before and after this crate's own. Slots are freed once, and none is lost.

#![cfg(not(segment_pool_loom))]

mod common;

use std::cell::RefCell;
use std::iter;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Checked, Parcel, Worker, in_own_process, on_a_large_stack, parcel};
use segment_pool::{PoolBox, SegmentPool, flush, validate};

// --- Panics ---------------------------------------------------------------------------------------------------------

/// Panics when it is dropped, without a message.
struct Bomb {
    contents: Checked<5>,
}

impl Bomb {
    fn new(cookie: u32) -> Self {
        let contents = Checked::new(cookie);
        Self { contents }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic::resume_unwind(Box::new(self.contents.verify()));
    }
}

/// Drops a box whose value panics, and returns the panic's payload.
fn explode(bomb: PoolBox<Bomb>) -> u32 {
    let result = panic::catch_unwind(AssertUnwindSafe(|| drop(bomb)));
    *result.unwrap_err().downcast().unwrap()
}

#[test]
fn a_drop_that_panics_loses_no_slot() {
    let pool = SegmentPool::new();
    for cookie in 0..10_000 {
        assert_eq!(explode(pool.alloc(Bomb::new(cookie))), cookie);
    }
    let (stats, validation) = (pool.stats(), pool.validate());
    assert_eq!((validation.live, validation.segments), (0, 1));
    assert_eq!((stats.allocations, stats.local_frees), (10_000, 10_000));
}

#[test]
fn a_drop_that_panics_on_another_thread_loses_no_slot() {
    let pool = SegmentPool::new();
    let bombs: Vec<_> = (0..10_000).map(|n| pool.alloc(Bomb::new(n))).collect();
    let there = thread::spawn(|| {
        let exploded = bombs.into_iter().map(explode);
        assert!(exploded.eq(0..10_000));
    });
    there.join().unwrap();
    assert_eq!(pool.validate().live, 0);
}

#[test]
fn a_thread_that_panics_frees_what_it_held() {
    let pool = Arc::new(SegmentPool::new());
    let theirs = pool.clone();
    let foreign = pool.alloc(Checked::<3>::new(1));
    let thread = thread::spawn(move || {
        let _own: Vec<_> = (0..1000).map(|n| theirs.alloc(Checked::new(n))).collect();
        let _foreign = foreign;
        panic::resume_unwind(Box::new("out"));
    });
    assert!(thread.join().is_err());
    assert_eq!(pool.validate().live, 0);
}

#[test]
fn a_box_dropped_while_a_thread_unwinds_may_hold_boxes_itself() {
    let pool = SegmentPool::new();
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let inner: Vec<_> = (0..100).map(|n| pool.alloc(Checked::<2>::new(n))).collect();
        let _outer = PoolBox::new(inner);
        panic::resume_unwind(Box::new(()));
    }));
    assert!(result.is_err());
    assert_eq!(pool.validate().live, 0);
}

// --- Re-entry -------------------------------------------------------------------------------------------------------

/// Its drop allocates and drops other values, of its own type and of another, to a given depth.
struct Busy {
    depth: u32,
    same: &'static SegmentPool<Busy>,
    other: &'static SegmentPool<Checked<4>>,
}

impl Busy {
    fn shallower(&self) -> Option<Self> {
        let depth = self.depth.checked_sub(1)?;
        Some(Self { depth, ..*self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let others = [0, 1, 2].map(|n| self.other.alloc(Checked::new(self.depth * 10 + n)));
        let same: Vec<_> = iter::repeat_with(|| self.shallower())
            .take(3)
            .flatten()
            .collect();
        let same: Vec<_> = same.into_iter().map(|busy| self.same.alloc(busy)).collect();
        let [first, second, third] = others;
        drop(second);
        drop(same);
        drop((third, PoolBox::new(Checked::<4>::new(self.depth)), first));
    }
}

#[test]
fn a_drop_that_allocates_and_frees_finds_the_pool_whole() {
    static SAME: SegmentPool<Busy> = SegmentPool::new();
    static OTHER: SegmentPool<Checked<4>> = SegmentPool::new();
    let (same, other) = (&SAME, &OTHER);
    let busy = || {
        SAME.alloc(Busy {
            depth: 3,
            same,
            other,
        })
    };
    let here: Vec<_> = iter::repeat_with(busy).take(500).collect();
    let there: Vec<_> = iter::repeat_with(busy).take(500).collect();
    let thread = thread::spawn(|| drop(there));
    drop(here);
    thread.join().unwrap();
    assert_eq!((SAME.validate().live, OTHER.validate().live), (0, 0));
    let all = 1000 * (1 + 3 + 9 + 27);
    let counts = (SAME.stats().allocations, OTHER.stats().allocations);
    assert_eq!(counts, (all, 3 * all));
}

/// Sends its parcel away when it is dropped.
struct Sending {
    parcel: Option<PoolBox<Checked<6>>>,
    to: Sender<PoolBox<Checked<6>>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let parcel = self.parcel.take().unwrap();
        self.to.send(parcel).unwrap();
    }
}

#[test]
fn a_drop_that_sends_a_box_away_lets_another_thread_free_it() {
    let (to, parcels) = mpsc::channel::<PoolBox<Checked<6>>>();
    let (senders, contents) = (SegmentPool::new(), SegmentPool::new());
    let receiver = thread::spawn(move || parcels.into_iter().map(|p| p.verify()).sum::<u32>());
    for cookie in 0..10_000 {
        let parcel = Some(contents.alloc(Checked::new(cookie)));
        let to = to.clone();
        drop(senders.alloc(Sending { parcel, to }));
    }
    drop(to);
    assert_eq!(receiver.join().unwrap(), 9_999 * 5_000);
    assert_eq!((senders.validate().live, contents.validate().live), (0, 0));
}

// --- Values in values -----------------------------------------------------------------------------------------------

struct Node {
    contents: Checked<2>,
    next: Option<PoolBox<Node>>,
}

fn list(pool: &SegmentPool<Node>, length: u32) -> Option<PoolBox<Node>> {
    (0..length).fold(None, |next, cookie| {
        let contents = Checked::new(cookie);
        Some(pool.alloc(Node { contents, next }))
    })
}

#[test]
fn a_long_list_is_dropped_from_its_head_on() {
    on_a_large_stack(|| {
        let pool = SegmentPool::new();
        let (here, there) = (list(&pool, 50_000), list(&pool, 50_000));
        assert_eq!(pool.validate().live, 100_000);
        drop(here);
        on_a_large_stack(|| drop(there));
        assert_eq!(pool.validate().live, 0);
    });
}

#[test]
fn a_list_is_taken_apart_node_by_node() {
    let pool = SegmentPool::new();
    let mut rest = list(&pool, 200_000);
    for cookie in (0..200_000).rev() {
        let node = PoolBox::into_inner(rest.unwrap());
        assert_eq!(node.contents.verify(), cookie);
        rest = node.next;
    }
    assert!(rest.is_none());
    assert_eq!(pool.validate().live, 0);
}

/// Writes its name down when it is dropped.
struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Named {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn boxes_are_dropped_in_the_order_of_their_fields_and_places() {
    struct Fields {
        _first: PoolBox<Named>,
        _second: PoolBox<(Named, Named)>,
        _third: [PoolBox<Named>; 2],
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let named = |name| Named(name, order.clone());
    let fields = Fields {
        _third: [PoolBox::new(named("d")), PoolBox::new(named("e"))],
        _second: PoolBox::new((named("b"), named("c"))),
        _first: PoolBox::new(named("a")),
    };
    let (_last, _last_but_one) = (PoolBox::new(named("z")), PoolBox::new(named("y")));
    drop(PoolBox::new(fields));
    let mut replaced = PoolBox::new(named("f"));
    *replaced = named("h");
    drop(mem::replace(&mut replaced, PoolBox::new(named("g"))));
    drop(replaced);
    assert_eq!(order.lock().unwrap().concat(), "abcdefhg");
}

// --- Thread-local values --------------------------------------------------------------------------------------------

type Contents = Checked<7>;

/// Dropped with its thread: frees boxes, then makes new ones, some of which it frees and some it sends away.
struct Farewell {
    boxes: Vec<PoolBox<dyn Parcel>>,
    pool: &'static SegmentPool<Contents>,
    to: Sender<PoolBox<dyn Parcel>>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.boxes.clear();
        for boxed in both_pools(self.pool, 50) {
            if boxed.verify() % 2 == 0 {
                self.to.send(boxed).unwrap();
            }
        }
    }
}

thread_local! {
    static FAREWELL: RefCell<Option<Farewell>> = const { RefCell::new(None) };
}

/// As many boxes from the pool and from the default pool, of another size.
fn both_pools(pool: &SegmentPool<Contents>, each: u32) -> Vec<PoolBox<dyn Parcel>> {
    let one = |cookie| {
        let default = PoolBox::new(Checked::<40>::new(cookie));
        [parcel(pool.alloc(Contents::new(cookie))), parcel(default)]
    };
    (0..each).flat_map(one).collect()
}

/// When the thread-local value is made: its destructor runs on the other side of this crate's own.
#[derive(Clone, Copy, PartialEq)]
enum Made {
    BeforeTheFirstBox,
    AfterTheFirstBox,
}

/// Ends a thread whose thread-local value owns boxes of that thread and of this one. Returns in how many batches the
/// pool's slots arrived.
fn say_farewell(made: Made, pool: &'static SegmentPool<Contents>) -> u64 {
    let (to, sent) = mpsc::channel();
    let mut boxes = both_pools(pool, 100);
    let thread = thread::spawn(move || {
        if made == Made::BeforeTheFirstBox {
            FAREWELL.with_borrow_mut(|farewell| assert!(farewell.is_none()));
        }
        boxes.extend(both_pools(pool, 100));
        FAREWELL.set(Some(Farewell { boxes, pool, to }));
    });
    thread.join().unwrap();
    let sent: Vec<_> = sent.into_iter().collect();
    assert_eq!((sent.len(), pool.validate().live), (50, 25));
    drop(sent);
    flush();
    assert_eq!(pool.validate().live, 0);
    pool.stats().batches
}

#[test]
fn thread_local_values_use_pools_on_both_sides_of_our_own_end() {
    static EARLY: SegmentPool<Contents> = SegmentPool::new();
    static LATE: SegmentPool<Contents> = SegmentPool::new();
    in_own_process(
        "thread_local_values_use_pools_on_both_sides_of_our_own_end",
        || {
            let early = say_farewell(Made::BeforeTheFirstBox, &EARLY);
            let late = say_farewell(Made::AfterTheFirstBox, &LATE);
            // Past its end a thread pushes each slot by itself; which of the two is past it is the system's choice.
            assert!(
                early.min(late) <= 30 && early.max(late) >= 100,
                "{early}, {late}"
            );
            assert_eq!(validate().live, 0);
        },
    );
}

#[test]
fn the_first_box_of_a_thread_may_be_made_at_its_end() {
    static POOL: SegmentPool<Contents> = SegmentPool::new();
    let (to, sent) = mpsc::channel();
    let thread = thread::spawn(move || {
        let (pool, boxes) = (&POOL, Vec::new());
        FAREWELL.set(Some(Farewell { boxes, pool, to }));
    });
    thread.join().unwrap();
    assert_eq!((sent.iter().count(), POOL.stats().allocations), (50, 50));
    flush();
    assert_eq!(POOL.validate().live, 0);
}

#[test]
fn a_thread_that_only_ever_frees_may_do_so_at_its_end() {
    static POOL: SegmentPool<Contents> = SegmentPool::new();
    let boxes: Vec<_> = (0..100)
        .map(|n| parcel(POOL.alloc(Checked::new(n))))
        .collect();
    let (to, sent) = mpsc::channel();
    let pool = &POOL;
    let thread = thread::spawn(move || FAREWELL.set(Some(Farewell { boxes, pool, to })));
    thread.join().unwrap();
    drop(sent);
    flush();
    assert_eq!(POOL.validate().live, 0);
}

#[test]
fn many_threads_say_farewell_at_once_with_boxes_of_each_other() {
    static POOL: SegmentPool<Contents> = SegmentPool::new();
    let (to, sent) = mpsc::channel();
    let workers: Vec<_> = (0..8).map(|_| Worker::start()).collect();
    for round in 0..64 {
        let boxes = workers[round % 8].run(|| both_pools(&POOL, 20));
        let to = to.clone();
        workers[(round * 3 + round / 8) % 8].run(move || {
            FAREWELL.with_borrow_mut(|farewell| {
                let pool = &POOL;
                let farewell = farewell.get_or_insert(Farewell {
                    boxes: vec![],
                    pool,
                    to,
                });
                farewell.boxes.extend(boxes);
            });
        });
    }
    drop(to);
    let receiver = thread::spawn(|| sent.into_iter().count());
    workers.into_iter().for_each(Worker::end);
    assert_eq!(receiver.join().unwrap() % 50, 0);
    assert_eq!(POOL.validate().live, 0);
}

// --- The ends of threads and pools ----------------------------------------------------------------------------------

#[test]
fn boxes_outlive_their_thread_and_their_pool() {
    let made = thread::spawn(|| {
        let pool = SegmentPool::new();
        (0..10_000)
            .map(|n| pool.alloc(Checked::<9>::new(n)))
            .collect()
    });
    let mut boxes: Vec<PoolBox<Checked<9>>> = made.join().unwrap();
    let rest = boxes.split_off(5_000);
    drop(boxes);
    let others: Vec<_> = (0..10_000)
        .map(|n| PoolBox::new(Checked::<9>::new(n)))
        .collect();
    let thread = thread::spawn(|| {
        let cookies = rest.iter().map(|boxed| boxed.verify());
        assert!(cookies.eq(5_000..10_000));
        drop(rest);
    });
    thread.join().unwrap();
    drop(others);
}

#[test]
fn a_pool_is_dropped_on_another_thread_while_its_boxes_are_alive() {
    let pool = SegmentPool::new();
    let boxes: Vec<_> = (0..3000)
        .map(|n| pool.alloc(Checked::<9>::new(n)))
        .collect();
    thread::spawn(|| drop(pool)).join().unwrap();
    let next = SegmentPool::new();
    let others: Vec<_> = (0..3000)
        .map(|n| next.alloc(Checked::<9>::new(n)))
        .collect();
    assert!(boxes.iter().map(|boxed| boxed.verify()).eq(0..3000));
    drop(boxes);
    assert_eq!(next.validate().live, 3000, "the next pool is another");
    drop(others);
    assert_eq!(next.validate().live, 0);
}

#[test]
fn the_last_of_many_threads_drops_the_pool() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Counted(#[expect(dead_code, reason = "checks itself")] Checked<3>);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed); // Relaxed: read when all threads are joined
        }
    }

    for _ in 0..100 {
        let pool = Arc::new(SegmentPool::new());
        let (to, boxes) = mpsc::channel();
        let share = |pool: Arc<SegmentPool<Counted>>, to: Sender<_>| {
            move || (0..100).for_each(|n| to.send(pool.alloc(Counted(Checked::new(n)))).unwrap())
        };
        let makers = [0; 4].map(|_| thread::spawn(share(pool.clone(), to.clone())));
        drop((pool, to));
        let dropper = thread::spawn(|| boxes.into_iter().for_each(drop));
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        dropper.join().unwrap();
    }
    assert_eq!(DROPPED.load(Ordering::Relaxed), 40_000); // Relaxed: as above
}

#[test]
fn a_static_pool_serves_threads_that_come_and_go() {
    static POOL: SegmentPool<Checked<8>> = SegmentPool::new();
    let kept: Vec<_> = (0..100)
        .map(|n| {
            thread::spawn(move || POOL.alloc(Checked::new(n)))
                .join()
                .unwrap()
        })
        .collect();
    assert!(kept.iter().map(|boxed| boxed.verify()).eq(0..100));
    assert_eq!((POOL.stats().heaps, POOL.validate().live), (1, 100));
    drop(kept);
    flush();
    assert_eq!(POOL.validate().live, 0);
}

/// A destructor that runs after the crate's own has no heap, and reserves in one that the next thread gets.
#[test]
fn reserving_after_the_end_of_the_thread_is_no_empty_promise() {
    static SMALL: SegmentPool<Checked<8>> = SegmentPool::builder().max_segments(1).build();
    static POOL: SegmentPool<Checked<8>> = SegmentPool::new();
    static SAID: Mutex<Vec<bool>> = Mutex::new(Vec::new());
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            let said = [SMALL.reserve(2000), POOL.reserve(1)].map(|said| said.is_ok());
            SAID.lock().unwrap().extend(said);
        }
    }
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    let late = thread::spawn(|| {
        LATE.with(|late| *late.borrow_mut() = Some(Late));
        drop(PoolBox::new(1)); // touched later, so it goes first
    });
    late.join().unwrap();
    assert_eq!(*SAID.lock().unwrap(), [false, true]);
    assert_eq!(POOL.stats().segments, 1);
}
