//! Threads that start together, and the time from the first start to the last end.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// How many failed looks before a waiting thread gives its core away: there may be fewer cores than threads.
const SPINS: u32 = 256;

/// What one thread does, once. What it owns is dropped after the time was taken.
pub(crate) type Body<'a> = Box<dyn FnMut() + Send + 'a>;

/// Runs each body on a thread of its own, the n-th after `settle(n)`. Starting and ending the threads, and settling, is not
/// part of the time.
pub(crate) fn race(bodies: Vec<Body<'_>>, settle: fn(usize)) -> Duration {
    let start = &Barrier::new(bodies.len());
    let run = move |n, mut body: Body<'_>| {
        settle(n);
        start.wait();
        let from = Instant::now();
        body();
        (from, Instant::now())
    };
    let spans: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = bodies
            .into_iter()
            .enumerate()
            .map(|(n, body)| scope.spawn(move || run(n, body)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a body does not panic"))
            .collect()
    });
    let first = spans.iter().map(|span| span.0).min();
    let last = spans.iter().map(|span| span.1).max();
    last.zip(first)
        .map_or(Duration::ZERO, |(last, first)| last - first)
}

/// Asks `ready` until it has something.
pub(crate) fn wait_for<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        for _ in 0..SPINS {
            if let Some(value) = ready() {
                return value;
            }
            std::hint::spin_loop();
        }
        thread::yield_now();
    }
}
