//! The one entry point to atomics and cells.
//!
//! Every other file takes its shared words and owner-only cells from here, so that under `cfg(segment_pool_loom)` the very same
//! types run inside the model checker: an atomic becomes a scheduling point, and a [`Cell`] or [`UnsafeCell`] becomes
//! a watched location on which loom reports any two accesses that no ordering separates.
//!
//! * [`Cell`]: a field only the owner of a heap touches. Which thread that is changes hands (abandon, adopt), so the
//!   hand-over itself is what loom checks.
//! * [`Counter`]: a number only the owner writes and anybody may read, a little stale.

#[cfg(not(segment_pool_loom))]
use core::time::Duration;
#[cfg(not(segment_pool_loom))]
use std::time::Instant;

#[cfg(not(segment_pool_loom))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
#[cfg(segment_pool_loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
pub(crate) use core::sync::atomic::AtomicU8;

#[cfg(segment_pool_loom)]
pub(crate) use loom::thread::yield_now;
#[cfg(not(segment_pool_loom))]
pub(crate) use std::thread::yield_now;

/// The looks of a wait for other threads, numbered from 0, until so much time has passed. The first do not ask for the time.
#[cfg(not(segment_pool_loom))]
pub(crate) fn looks(patience: Duration) -> impl Iterator<Item = usize> {
    let mut start = None;
    let mut in_time = move || start.get_or_insert_with(Instant::now).elapsed() < patience;
    (0..).take_while(move |look| *look < SPINS || in_time())
}
#[cfg(segment_pool_loom)]
pub(crate) fn looks(_patience: core::time::Duration) -> impl Iterator<Item = usize> {
    0..100
}

/// Pauses of a wait that do not give the processor away.
#[cfg(not(segment_pool_loom))]
const SPINS: usize = 32;

/// Lets other threads go on, the longer the more often it was called before in the same wait.
#[cfg(not(segment_pool_loom))]
pub(crate) fn pause(before: usize) {
    match before {
        0..SPINS => (0..=before).for_each(|_| core::hint::spin_loop()),
        SPINS..10_000 => yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
}
#[cfg(segment_pool_loom)]
pub(crate) fn pause(_before: usize) {
    yield_now();
}

#[cfg(not(segment_pool_loom))]
pub(crate) use core::cell::Cell;
#[cfg(segment_pool_loom)]
pub(crate) use loom::cell::Cell;

#[cfg(segment_pool_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// A cell with loom's closure interface, free of charge outside the models.
#[cfg(not(segment_pool_loom))]
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(segment_pool_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// Declares a function that is `const` except in the models, whose atomics cannot be made at compile time.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($args:tt)*) -> $ret:ty $body:block) => {
        #[cfg(not(segment_pool_loom))]
        $(#[$meta])*
        $vis const fn $name($($args)*) -> $ret $body
        #[cfg(segment_pool_loom)]
        $(#[$meta])*
        $vis fn $name($($args)*) -> $ret $body
    };
}
pub(crate) use const_fn;

/// A number written by one thread at a time and read by any: plain load and store, never a read-modify-write.
///
/// No protocol depends on one, so the models run the plain atomic and save loom the scheduling points.
#[derive(Debug)]
pub(crate) struct Counter(core::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) const fn new(value: u64) -> Self {
        Self(core::sync::atomic::AtomicU64::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        // Relaxed: the owner reads its own stores; other threads only show the number and may lag.
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Owner only. Wraps, as differences of counters do.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Owner only.
    #[inline]
    pub(crate) fn set(&self, value: u64) {
        // Relaxed: nothing is published through a counter.
        self.0.store(value, core::sync::atomic::Ordering::Relaxed);
    }

    /// Owner only. Wraps.
    #[inline]
    pub(crate) fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }
}

/// In the models, a field that says that its structure is alive: reading it while another thread may be ending the
/// structure is a violation that loom reports. Outside of them, nothing.
#[derive(Debug)]
pub(crate) struct Alive {
    #[cfg(segment_pool_loom)]
    watch: UnsafeCell<()>,
}

impl Alive {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                #[cfg(segment_pool_loom)]
                watch: UnsafeCell::new(()),
            }
        }
    }

    /// The structure is used.
    #[inline(always)]
    pub(crate) fn used(&self) {
        #[cfg(segment_pool_loom)]
        self.watch.with(|_| ());
    }

    /// The structure is about to be freed.
    #[inline(always)]
    pub(crate) fn ended(&self) {
        #[cfg(segment_pool_loom)]
        self.watch.with_mut(|_| ());
    }
}

/// A first guess of a word's value for a loop of compare-and-swaps, which confirm or correct it.
pub(crate) trait Guess {
    /// What the word holds.
    type Value;

    /// Relaxed: whatever is decided by the value is confirmed by the compare-and-swap.
    ///
    /// In the models the guess is always zero: loom keeps only the last access to a word, and a load here would hide
    /// from it that another thread's load came before the compare-and-swap.
    fn guess(&self) -> Self::Value;
}

impl Guess for AtomicU64 {
    type Value = u64;

    #[inline]
    fn guess(&self) -> u64 {
        if cfg!(segment_pool_loom) {
            0
        } else {
            self.load(Ordering::Relaxed)
        }
    }
}

impl<T> Guess for AtomicPtr<T> {
    type Value = *mut T;

    #[inline]
    fn guess(&self) -> *mut T {
        if cfg!(segment_pool_loom) {
            core::ptr::null_mut()
        } else {
            self.load(Ordering::Relaxed)
        }
    }
}

/// How many times this thread touched the bytes of a free slot: the measure of the work that a call does.
#[cfg(slots_touched)]
pub(crate) mod slots_touched {
    use core::cell::Cell;

    std::thread_local! {
        static TOUCHED: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn count() {
        TOUCHED.set(TOUCHED.get() + 1);
    }

    pub(crate) fn total() -> u64 {
        TOUCHED.get()
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_by_the_clock_but_not_before_it_spun() {
        assert!(looks(Duration::ZERO).eq(0..SPINS));
        assert!(looks(Duration::MAX).take(20_000).eq(0..20_000));
    }
}
