//! Tasks of a tokio runtime pass boxes to each other, and workers park their heaps whenever they park: the recipe is
//! `on_thread_park(segment_pool::idle)`.

#![cfg(not(segment_pool_loom))]

mod common;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, ThreadId};

use common::{Checked, Parcel, address};
use segment_pool::{PoolBox, SegmentPool, flush, idle};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc as channel;

/// 64 bytes.
type Contents = Checked<8>;
type Pool = SegmentPool<Contents>;
type Boxed = PoolBox<Contents>;

const WORKERS: usize = 4;

/// The recipe.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .on_thread_park(idle)
        .build()
        .unwrap()
}

/// Allocates boxes for the next task and drops those of the previous one, with occasional pauses.
async fn take_part(
    pool: &'static Pool,
    to: channel::Sender<Boxed>,
    mut from: channel::Receiver<Boxed>,
) {
    for n in 0..2000 {
        to.send(pool.alloc(Contents::new(n))).await.unwrap();
        assert_eq!(from.recv().await.unwrap().verify(), n);
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn tasks_in_a_ring_hand_boxes_on_and_nothing_is_left() {
    const TASKS: usize = 20;
    static POOL: Pool = Pool::new();
    let runtime = runtime();
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..TASKS).map(|_| channel::channel(8)).unzip();
    receivers.rotate_left(1);
    runtime.block_on(async {
        let tasks = senders.into_iter().zip(receivers);
        let tasks: Vec<_> = tasks
            .map(|(to, from)| tokio::spawn(take_part(&POOL, to, from)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(runtime); // its threads have ended then
    let stats = POOL.stats();
    assert_eq!(
        (stats.allocations, stats.live()),
        (TASKS as u64 * 2000, 0),
        "{stats}"
    );
    assert_eq!(POOL.validate().live, 0);
    POOL.trim();
    assert_eq!(POOL.stats().segments, 0, "{}", POOL.stats());
    assert!(stats.heaps <= 2 * WORKERS as u64, "{stats}");
}

/// A runtime that reports which of its threads parks, after it has idled.
fn runtime_that_reports(parked: Sender<ThreadId>) -> Runtime {
    let parked = Mutex::new(parked);
    Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_park(move || {
            idle();
            let _ = parked.lock().unwrap().send(thread::current().id());
        })
        .build()
        .unwrap()
}

/// Runs a task on the only worker, and waits until that has parked.
fn run_and_park<R: Send + 'static>(
    runtime: &Runtime,
    parked: &mpsc::Receiver<ThreadId>,
    work: fn() -> R,
) -> R {
    let (to, done) = mpsc::channel();
    drop(runtime.spawn(async move { to.send((work(), thread::current().id())).unwrap() }));
    let (result, worker) = done.recv().unwrap();
    while parked.try_recv().is_ok() {} // what was sent before the task
    drop(runtime.spawn(async {})); // the worker wakes for this one, so that it parks again
    while parked.recv().unwrap() != worker {}
    result
}

static PARKED: Pool = Pool::new();

/// Allocates many boxes, drops most of them and returns their addresses.
fn leave_free_slots() -> (HashSet<usize>, Boxed) {
    let mut boxes: Vec<_> = (0..900).map(|n| PARKED.alloc(Contents::new(n))).collect();
    let last = boxes.pop().unwrap();
    (boxes.iter().map(|b| address(&**b)).collect(), last)
}

#[test]
fn other_threads_use_the_free_slots_of_parked_workers() {
    let (to, parked) = mpsc::channel();
    let runtime = runtime_that_reports(to);
    let (places, kept) = run_and_park(&runtime, &parked, leave_free_slots);
    let others: Vec<_> = (0..800).map(|n| PARKED.alloc(Contents::new(n))).collect();
    let reused = others
        .iter()
        .filter(|b| places.contains(&address(&***b)))
        .count();
    assert!(reused >= 700, "{reused} of 800");
    assert_eq!(
        PARKED.stats().heaps,
        1,
        "the worker's heap is this thread's now"
    );
    drop((others, kept));
    drop(runtime);
    PARKED.trim();
    assert_eq!((PARKED.stats().live(), PARKED.stats().segments), (0, 0));
}

/// What a task drops last would wait in its worker's remote-free buffer, if the worker did not idle when it parks.
#[test]
fn slots_freed_by_tasks_are_returned_when_their_worker_parks() {
    static POOL: Pool = Pool::new();
    static PARCEL: Mutex<Vec<Boxed>> = Mutex::new(Vec::new());
    let (to, parked) = mpsc::channel();
    let runtime = runtime_that_reports(to);
    PARCEL
        .lock()
        .unwrap()
        .extend((0..10).map(|n| POOL.alloc(Contents::new(n))));
    run_and_park(&runtime, &parked, || PARCEL.lock().unwrap().clear());
    assert_eq!(POOL.validate().live, 0);
    flush();
}
