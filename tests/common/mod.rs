//! Shared code of the tests: random numbers, checked contents, workers that run closures, threads with large stacks,
//! and child processes.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod handles;

use std::array;
use std::env;
use std::hint::black_box;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use segment_pool::{PoolBox, SegmentPool};

/// Words of a value whose slot has 1024 bytes; 63 of these fit into a segment.
pub(crate) const KILOBYTE: usize = if cfg!(feature = "hardened") { 127 } else { 128 };

/// Xorshift: the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
}

/// The numbers below `end` in random order.
pub(crate) fn shuffled(end: usize, seed: u64) -> Vec<usize> {
    let mut rng = Rng::new(seed);
    let mut numbers: Vec<usize> = (0..end).collect();
    for last in (1..end).rev() {
        numbers.swap(last, rng.below(last + 1));
    }
    numbers
}

/// A value whose words are all computed from a cookie. It checks itself when it is dropped.
///
/// The first word is the cookie beside its complement.
#[derive(Debug)]
pub(crate) struct Checked<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Checked<WORDS> {
    pub(crate) fn new(cookie: u32) -> Self {
        Self(array::from_fn(|index| word(cookie, index)))
    }
}

fn word(cookie: u32, index: usize) -> u64 {
    let first = u64::from(!cookie) << 32 | u64::from(cookie);
    first ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The operations on a value whose type was erased.
pub(crate) trait Parcel: Send {
    /// The cookie; panics if any word is another than it should be.
    fn verify(&self) -> u32;
}

impl<const WORDS: usize> Parcel for Checked<WORDS> {
    fn verify(&self) -> u32 {
        let cookie = self.0[0] as u32;
        for (index, &found) in self.0.iter().enumerate() {
            let expected = word(cookie, index);
            assert!(
                found == expected,
                "word {index} of {WORDS} at {self:p}: {found:x} instead of {expected:x}"
            );
        }
        cookie
    }
}

impl<const WORDS: usize> Drop for Checked<WORDS> {
    fn drop(&mut self) {
        self.verify();
        black_box(self).0[0] = 0; // found if it is dropped again
    }
}

/// Forgets the type.
pub(crate) fn parcel<T: Parcel + 'static>(boxed: PoolBox<T>) -> PoolBox<dyn Parcel> {
    let pointer: *mut T = PoolBox::into_raw(boxed);
    // SAFETY: coerced from the pointer of a box, used once.
    unsafe { PoolBox::from_raw(pointer) }
}

/// The address of a value.
pub(crate) fn address<T: ?Sized>(value: &T) -> usize {
    (&raw const *value).addr()
}

/// A thread that does one thing after another.
pub(crate) struct Worker {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Worker {
    pub(crate) fn start() -> Self {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || to_do.into_iter().for_each(|job| job()));
        Self { jobs, thread }
    }

    /// Runs the job there and waits for its result.
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let result = self.begin(job);
        result.recv().expect("the job did not panic")
    }

    /// Has the job run there: where its result will come.
    pub(crate) fn begin<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Receiver<R> {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || done.send(job()).unwrap());
        self.jobs.send(job).expect("the worker runs");
        result
    }

    /// Ends the thread, its thread-local values included.
    pub(crate) fn end(self) {
        drop(self.jobs);
        self.thread.join().unwrap();
    }
}

/// Runs the work where values of many megabytes may lie on the stack.
pub(crate) fn on_a_large_stack(work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 << 20).spawn(work);
    thread.unwrap().join().unwrap();
}

/// Runs the body of the test of this name in a process where no other test runs.
pub(crate) fn in_own_process(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "SEGMENT_POOL_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}: {}", output.status);
    assert!(said.contains("1 passed"), "there is no test named {test}");
}

/// Every slot is free, no heap has a segment, and the counters agree.
pub(crate) fn assert_all_returned<T>(pool: &SegmentPool<T>) {
    let (validation, stats) = (pool.validate(), pool.stats());
    assert_eq!(
        validation.heaps as u64, stats.heaps,
        "every heap was visited"
    );
    assert_eq!(
        (validation.live, validation.segments),
        (0, 0),
        "{validation}"
    );
    assert_eq!((stats.live(), stats.segments), (0, 0), "{stats}");
}
