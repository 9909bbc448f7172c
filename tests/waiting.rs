//! Requests that wait at the bound of a pool: threads and tasks. Each is served when a value is dropped, and none is forgotten.

#![cfg(not(segment_pool_loom))]

mod common;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::{Checked, Parcel};
use segment_pool::{AllocErrorKind, PoolBox, SegmentPool, idle};

type Contents = Checked<8>;
type Pool = SegmentPool<Contents>;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A request, and a bell that rings when it is worth while to poll it.
struct Request<F: Future> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

impl<F: Future> Request<F> {
    /// Polled once, and waits.
    fn waiting(future: F) -> Self {
        let mut request = Self {
            future: Box::pin(future),
            bell: Arc::default(),
        };
        assert!(request.poll().is_pending());
        request
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.bell.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

// --- One after the other -----------------------------------------------------------------------------------------------------

#[test]
fn a_request_below_the_bound_does_not_wait() {
    let pool = SegmentPool::<u64>::builder().max_values(3).build();
    let blocking = pool.alloc_blocking(1).unwrap();
    let timed = pool.alloc_timeout(2, Duration::ZERO).unwrap();
    let mut acquire = pin!(pool.acquire(3));
    let acquired = ready(
        acquire
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop())),
    );
    assert_eq!((*blocking, *timed, *acquired.unwrap()), (1, 2, 3));
    assert_eq!(pool.stats().waits, 0);
}

#[test]
fn a_pool_without_a_bound_waits_for_nothing() {
    let pool = SegmentPool::<u64>::new();
    assert_eq!(*pool.alloc_blocking(1).unwrap(), 1);
    let nothing = SegmentPool::<()>::new();
    let _unit = nothing.alloc_timeout((), LONG).unwrap();
    nothing.end_waits();
}

#[test]
fn the_first_that_waits_is_the_first_that_is_woken() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let one = pool.alloc(0);
    let mut requests = [1, 2, 3].map(|n| Request::waiting(pool.acquire(n)));
    let mut served = one;
    for n in 0..3 {
        drop(served);
        let rings = requests.each_ref().map(|request| request.bell.rings());
        let expected: [usize; 3] = std::array::from_fn(|i| usize::from(i <= n));
        assert_eq!(rings, expected);
        served = ready(requests[n].poll()).unwrap();
        assert_eq!(*served, n as u64 + 1);
    }
    assert_eq!(pool.stats().waits, 3);
    drop(served);
    assert_eq!(pool.stats().in_use, 0);
}

#[test]
fn a_request_that_is_given_up_passes_its_wake_on() {
    let pool = SegmentPool::<String>::builder().max_values(1).build();
    let one = pool.alloc("one".into());
    let mut first = Request::waiting(pool.acquire("first".into()));
    let mut second = Request::waiting(pool.acquire("second".into()));
    drop(one);
    assert_eq!((first.bell.rings(), second.bell.rings()), (1, 0));
    assert_eq!(first.future.as_mut().into_value().as_deref(), Some("first"));
    assert_eq!(second.bell.rings(), 1);
    assert_eq!(*ready(second.poll()).unwrap(), "second");
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err());
}

#[test]
fn a_request_that_was_not_woken_goes_without_a_trace() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let one = pool.alloc(0);
    let mut requests: Vec<_> = (1..6).map(|n| Request::waiting(pool.acquire(n))).collect();
    for at in [4, 0, 1] {
        requests.remove(at); // the last, the first, and one between
    }
    drop(one);
    assert_eq!(
        requests
            .iter()
            .map(|it| it.bell.rings())
            .collect::<Vec<_>>(),
        [1, 0]
    );
    let two = ready(requests[0].poll()).unwrap();
    drop(two);
    assert_eq!(*ready(requests[1].poll()).unwrap(), 4);
}

/// A request that is faster than who was woken is served; but only once.
#[test]
fn who_was_overtaken_has_the_next_value_reserved() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let one = pool.alloc(0);
    let mut waiting = Request::waiting(pool.acquire(1));
    drop(one);
    let faster = pool.try_alloc(2).unwrap();
    assert!(waiting.poll().is_pending());
    drop(faster);
    assert_eq!(waiting.bell.rings(), 2);
    let refused = pool.try_alloc(3).unwrap_err();
    assert_eq!((refused.in_use(), refused.bound()), (Some(0), Some(1)));
    assert_eq!(*ready(waiting.poll()).unwrap(), 1);
}

#[test]
fn a_reservation_that_is_not_used_is_everybodys() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let one = pool.alloc(0);
    let mut first = Request::waiting(pool.acquire(1));
    let mut second = Request::waiting(pool.acquire(2));
    drop(one);
    let faster = pool.try_alloc(2).unwrap();
    assert!(first.poll().is_pending());
    drop(faster);
    assert!(second.poll().is_pending(), "it is the first one's");
    drop(first);
    assert_eq!(second.bell.rings(), 1);
    assert_eq!(*ready(second.poll()).unwrap(), 2);
}

#[test]
fn a_task_that_was_woken_and_does_not_run_keeps_nobody_from_the_value() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let one = pool.alloc(0);
    let stuck = Request::waiting(pool.acquire(1));
    drop(one);
    assert_eq!(stuck.bell.rings(), 1);
    for n in 0..3 {
        assert_eq!(*pool.try_alloc(n).unwrap(), n);
        assert_eq!(*pool.alloc_blocking(n).unwrap(), n);
    }
    let mut behind = Box::pin(pool.acquire(5));
    let done = behind
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(*ready(done).unwrap(), 5);
    drop(stuck);
}

#[test]
fn a_future_that_moved_to_another_task_wakes_that_one() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let one = pool.alloc(0);
    let mut request = Request::waiting(pool.acquire(1));
    let before = std::mem::take(&mut request.bell);
    assert!(request.poll().is_pending());
    drop(one);
    assert_eq!((before.rings(), request.bell.rings()), (0, 1));
}

#[test]
fn more_wakes_at_once_than_fit_into_one_lock_reach_everybody() {
    let pool = SegmentPool::<u64>::builder().max_values(1).build();
    let _one = pool.alloc(0);
    let mut requests: Vec<_> = (0..100)
        .map(|n| Request::waiting(pool.acquire(n)))
        .collect();
    pool.set_max_values(101);
    assert!(requests.iter().all(|request| request.bell.rings() == 1));
    let served: Vec<_> = requests
        .iter_mut()
        .map(|it| ready(it.poll()).unwrap())
        .collect();
    assert_eq!(served.len(), 100);
}

#[test]
fn the_end_of_waits_gives_every_value_back() {
    static POOL: SegmentPool<String> = SegmentPool::builder().max_values(1).build();
    let one = POOL.alloc("one".into());
    let mut request = Request::waiting(POOL.acquire("two".into()));
    let blocked = thread::spawn(|| POOL.alloc_blocking("three".into()));
    POOL.end_waits();
    assert_eq!(request.bell.rings(), 1);
    let refused = [ready(request.poll()), blocked.join().unwrap()].map(Result::unwrap_err);
    assert!(
        refused
            .iter()
            .all(|it| it.kind() == AllocErrorKind::WaitsEnded)
    );
    assert_eq!(refused.map(|it| it.into_inner()), ["two", "three"]);
    let late = POOL.alloc_timeout("four".into(), LONG).unwrap_err();
    assert_eq!(
        (late.kind(), late.bound()),
        (AllocErrorKind::WaitsEnded, Some(1))
    );
    drop(one);
    assert_eq!(*POOL.alloc_blocking(late.into_inner()).unwrap(), "four");
}

#[test]
fn a_time_that_is_over_gives_the_value_back_and_no_time_is_enough_below_the_bound() {
    let pool = SegmentPool::<u64>::builder()
        .name("timed")
        .max_values(1)
        .build();
    let one = pool.alloc(0);
    for timeout in [Duration::ZERO, Duration::from_micros(100)] {
        let refused = pool.alloc_timeout(1, timeout).unwrap_err();
        let said = (refused.kind(), refused.pool_name(), refused.in_use());
        assert_eq!(said, (AllocErrorKind::TimedOut, Some("timed"), Some(1)));
    }
    drop(one);
    assert!(pool.alloc_timeout(1, Duration::ZERO).is_ok());
    assert!(pool.alloc_timeout(1, Duration::MAX).is_ok());
    assert_eq!(pool.stats().waits, 2);
}

/// Its waker drops a value of the pool, allocates, and panics.
#[test]
fn a_waker_uses_the_pool_and_panics() {
    static POOL: Pool = SegmentPool::builder().max_values(2).build();
    struct Wild(AtomicUsize);
    impl Wake for Wild {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            drop(POOL.try_alloc(Contents::new(9)));
            panic!("a waker");
        }
    }
    let [one, two] = [1, 2].map(|n| POOL.alloc(Contents::new(n)));
    let wild = Arc::new(Wild(AtomicUsize::new(0)));
    let waker = Waker::from(wild.clone());
    let mut requests = [3, 4].map(|n| Box::pin(POOL.acquire(Contents::new(n))));
    for request in &mut requests {
        assert!(
            request
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(one);
    thread::spawn(move || drop(two)).join().unwrap();
    assert_eq!(wild.0.load(Ordering::SeqCst), 2);
    for request in &mut requests {
        let done = request.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(ready(done).is_ok());
    }
    assert_eq!(POOL.stats().in_use, 0);
}

// --- All kinds of bounds, values and threads -----------------------------------------------------------------------------------

fn a_thread_waits_for_a_drop<T: Send>(pool: &'static SegmentPool<T>, make: fn() -> T) {
    let mut all: Vec<_> = (0..).map_while(|_| pool.try_alloc(make()).ok()).collect();
    for _ in 0..if cfg!(miri) { 3 } else { 100 } {
        let start = Barrier::new(2);
        let next = thread::scope(|scope| {
            let roomy = thread::Builder::new().stack_size(16 << 20);
            let wait = || {
                start.wait();
                pool.alloc_blocking(make()).ok().unwrap()
            };
            let waiting = roomy.spawn_scoped(scope, wait).unwrap();
            let dropped = all.pop().unwrap();
            scope.spawn(|| {
                start.wait();
                drop(dropped); // and the thread ends
            });
            waiting.join().unwrap()
        });
        all.push(next);
        assert!(pool.try_alloc(make()).is_err());
    }
}

struct Large(#[expect(dead_code, reason = "is large")] [u8; 200_000]);

#[test]
fn a_thread_waits_at_every_kind_of_bound() {
    static VALUES: Pool = SegmentPool::builder().max_values(3).build();
    static UNITS: SegmentPool<()> = SegmentPool::builder().max_values(3).build();
    static LARGE: SegmentPool<Large> = SegmentPool::builder().max_segments(2).build();
    static SEGMENTS: SegmentPool<Checked<2000>> = SegmentPool::builder().max_segments(2).build();
    static BOTH: SegmentPool<Checked<2000>> =
        SegmentPool::builder().max_segments(2).max_values(5).build();
    a_thread_waits_for_a_drop(&VALUES, || Contents::new(7));
    a_thread_waits_for_a_drop(&UNITS, || ());
    let large = || a_thread_waits_for_a_drop(&LARGE, || Large([7; 200_000]));
    let roomy = thread::Builder::new().stack_size(64 << 20).spawn(large);
    roomy.unwrap().join().unwrap();
    a_thread_waits_for_a_drop(&SEGMENTS, || Checked::new(7));
    a_thread_waits_for_a_drop(&BOTH, || Checked::new(7));
}

/// How many values pass in all; `SEGMENT_POOL_SOAK` is a factor.
fn values() -> usize {
    let factor = std::env::var("SEGMENT_POOL_SOAK").map_or(1, |factor| factor.parse().unwrap());
    let few = if cfg!(miri) { 200 } else { 50_000 };
    few * factor
}

const PRODUCERS: usize = if cfg!(miri) { 4 } else { 64 };
const BOUND: usize = 16;

/// Counts itself.
struct Alive(&'static AtomicUsize, Contents);

impl Alive {
    fn new(count: &'static AtomicUsize, n: usize) -> Self {
        Self(count, Contents::new(n as u32))
    }

    /// To be called when it has its box, and before that is dropped.
    fn begin(&self) {
        assert!(
            self.0.fetch_add(1, Ordering::SeqCst) < BOUND,
            "more alive than the bound"
        );
    }

    fn end(&self) -> usize {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.verify() as usize
    }
}

#[test]
fn many_threads_produce_for_few_places() {
    static POOL: SegmentPool<Alive> = SegmentPool::builder().max_values(BOUND).build();
    static MEMORY: SegmentPool<Alive> = SegmentPool::builder()
        .max_segments(1)
        .max_values(BOUND)
        .build();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    for pool in [&POOL, &MEMORY] {
        let (sender, receiver) = mpsc::channel::<PoolBox<Alive>>();
        let share = values() / PRODUCERS;
        let produce = move |first: usize, sender: mpsc::Sender<_>| {
            for n in first..first + share {
                let value = Alive::new(&ALIVE, n);
                let boxed = match n % 3 {
                    0 => pool.alloc_timeout(value, LONG),
                    _ => pool.alloc_blocking(value),
                };
                let boxed = boxed.ok().unwrap();
                boxed.begin();
                sender.send(boxed).unwrap();
            }
        };
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|n| {
                let sender = sender.clone();
                thread::spawn(move || produce(n * share, sender))
            })
            .collect();
        drop(sender);
        let sum: usize = receiver.iter().map(|boxed| boxed.end()).sum();
        producers.into_iter().for_each(|it| it.join().unwrap());
        let all = share * PRODUCERS;
        assert_eq!(sum, all * (all - 1) / 2);
        assert_eq!(pool.stats().in_use, 0);
    }
}

/// With timeouts, so that waits are given up while they are woken.
#[cfg(not(miri))]
#[test]
fn many_tasks_produce_for_few_places() {
    static POOL: SegmentPool<Alive> = SegmentPool::builder().max_values(BOUND).build();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .on_thread_park(idle)
        .build()
        .unwrap();
    let share = values() / PRODUCERS;
    runtime.block_on(async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<PoolBox<Alive>>();
        for first in (0..PRODUCERS).map(|n| n * share) {
            let sender = sender.clone();
            tokio::spawn(async move {
                for n in first..first + share {
                    let mut value = Alive::new(&ALIVE, n);
                    let boxed = loop {
                        let mut acquire = pin!(POOL.acquire(value));
                        let time = Duration::from_micros(if n % 7 == 0 { 1 } else { 1 << 40 });
                        match tokio::time::timeout(time, acquire.as_mut()).await {
                            Ok(boxed) => break boxed.ok().unwrap(),
                            Err(_) => value = acquire.as_mut().into_value().unwrap(),
                        }
                    };
                    boxed.begin();
                    sender.send(boxed).ok().unwrap();
                }
            });
        }
        drop(sender);
        let (mut sum, all) = (0, share * PRODUCERS);
        while let Some(boxed) = receiver.recv().await {
            sum += boxed.end();
        }
        assert_eq!(sum, all * (all - 1) / 2);
    });
    assert_eq!(POOL.stats().in_use, 0);
}

/// Twenty workers drop and block, eight threads hold one value each, and a producer polls, waits and awaits: never refused below the
/// bound. `SEGMENT_POOL_SOAK=200` for ten million requests.
#[test]
fn a_producer_that_polls_waits_and_awaits_is_never_refused_below_the_bound() {
    const OUT: usize = 16;
    static POOL: Pool = SegmentPool::builder().max_values(OUT + 8).build();
    let held: Vec<_> = (0..8)
        .map(|n| thread::spawn(move || POOL.alloc(Contents::new(n))))
        .collect();
    let held: Vec<_> = held
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let (done, freed) = mpsc::channel();
    let start = |done: mpsc::Sender<()>| {
        let (sender, receiver) = mpsc::channel::<PoolBox<Contents>>();
        thread::spawn(move || {
            for boxed in receiver {
                drop(boxed);
                done.send(()).unwrap();
            }
        });
        sender
    };
    let workers: Vec<_> = (0..20).map(|_| start(done.clone())).collect();
    let mut out = 0;
    for n in 0..values() {
        let value = Contents::new(n as u32);
        let boxed = match n % 3 {
            0 => {
                while out >= OUT {
                    freed.recv().unwrap();
                    out -= 1;
                }
                POOL.try_alloc(value).unwrap() // one is free, whoever dropped it
            }
            1 => POOL.alloc_blocking(value).unwrap(),
            _ => block_on(POOL.acquire(value)).unwrap(),
        };
        workers[n % workers.len()].send(boxed).unwrap();
        out += 1;
        while freed.try_recv().is_ok() {
            out -= 1;
        }
    }
    drop(held);
}

/// The least of executors.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park();
    }
}
