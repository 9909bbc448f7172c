//! A `tracing` subscriber for all threads that panics at selected events.
//!
//! Its payloads are the worst there are: they use a pool when they are dropped, and panic then. They pass the panic hook by,
//! which would print each, or end the fuzzer.

#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use segment_pool::PoolBox;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const NEVER: u32 = u32::MAX;

/// On every thread each nth event panics.
static PERIOD: AtomicU32 = AtomicU32::new(NEVER);
static PANICS: AtomicU32 = AtomicU32::new(0);

// Without destructors, because events come until the end of a thread.
thread_local! {
    static HEARD: Cell<u32> = const { Cell::new(0) };
    /// On this thread the event of this number panics, too.
    static AT: Cell<u32> = const { Cell::new(NEVER) };
    /// What each event of this thread does before.
    static BEFORE: Cell<fn()> = const { Cell::new(|| ()) };
}

struct Panicking;

impl Subscriber for Panicking {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "segment_pool"
    }

    fn event(&self, _: &Event<'_>) {
        let (event, period) = (HEARD.get(), PERIOD.load(Relaxed));
        HEARD.set(event + 1);
        BEFORE.get()();
        if event == AT.get() || event % period == period - 1 {
            PANICS.fetch_add(1, Relaxed);
            resume_unwind(Box::new(Payload));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        assert_eq!(*PoolBox::new(7_u64), 7);
        resume_unwind(Box::new(())); // leaked, so without memory
    }
}

/// Installs the subscriber, which panics nowhere yet.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Panicking).unwrap());
}

/// From now on each nth event of every thread panics.
pub(crate) fn panic_every(period: u32) {
    install();
    PERIOD.store(period, Relaxed);
}

/// How often it has panicked.
pub(crate) fn panics() -> u32 {
    PANICS.load(Relaxed)
}

/// Runs the work while this thread's event of this number panics, the first being 0. Whether it came to that.
pub(crate) fn panic_at<R>(event: u32, work: impl FnOnce() -> R) -> (R, bool) {
    install();
    HEARD.set(0);
    AT.set(event);
    let result = work();
    AT.set(NEVER);
    (result, HEARD.get() > event)
}

/// From now on each event of this thread does this first.
pub(crate) fn before(act: fn()) {
    BEFORE.set(act);
}
