//! The entry point to atomics and cells.
//!
//! Every other file takes its shared words and owner-only cells from here. So under `cfg(segment_pool_loom)`
//! the same types run inside the model checker. An atomic becomes a scheduling point. A [`Cell`] or
//! [`UnsafeCell`] becomes a watched location: loom reports two accesses to it that are not ordered.
//!
//! * [`Cell`]: a field that only the owner of a heap touches. Ownership moves between threads (abandon,
//!   adopt), so loom checks that transfer.
//! * [`Counter`]: a number that only the owner writes. Any thread may read it; the value may be stale.

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
pub(crate) use loom::thread::{Thread, yield_now};
#[cfg(not(segment_pool_loom))]
pub(crate) use std::thread::{Thread, yield_now};

/// The iterations of a wait for other threads, numbered from 0, until `patience` has passed. The first
/// [`SPINS`] do not read the clock.
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

/// Iterations of a wait that spin and do not yield the processor.
#[cfg(not(segment_pool_loom))]
const SPINS: usize = 32;

/// Lets other threads run, for longer the more iterations the same wait already had.
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

/// A cell with loom's closure interface. It costs nothing outside the models.
#[cfg(not(segment_pool_loom))]
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(segment_pool_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// Declares a function that is `const` except in the models, whose atomics cannot be created at compile time.
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

/// A number that one thread at a time writes and any thread reads, by plain loads and stores.
///
/// No protocol depends on a counter. So the models use the plain atomic too, which saves loom the scheduling
/// points.
#[derive(Debug)]
pub(crate) struct Counter(core::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) const fn new(value: u64) -> Self {
        Self(core::sync::atomic::AtomicU64::new(value))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        // Relaxed: the owner reads its own stores; other threads only display the number, which may lag.
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Adds `n`. Owner only. Wraps, as differences of counters do.
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Sets the number. Owner only.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        // Relaxed: nothing is published through a counter.
        self.0.store(value, core::sync::atomic::Ordering::Relaxed);
    }

    /// Subtracts `n`. Owner only. Wraps.
    #[inline(always)]
    pub(crate) fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }
}

/// A number that any thread changes and reads, which decides nothing but when memory is returned.
///
/// No protocol depends on one, so the models run the plain atomic, as for [`Counter`].
#[derive(Debug)]
pub(crate) struct Gauge(core::sync::atomic::AtomicU64);

impl Gauge {
    pub(crate) const fn new() -> Self {
        Self(core::sync::atomic::AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn get(&self) -> usize {
        self.0.load(core::sync::atomic::Ordering::Relaxed) as usize // Relaxed: a hint
    }

    pub(crate) fn set(&self, value: usize) {
        // Relaxed: a hint.
        self.0
            .store(value as u64, core::sync::atomic::Ordering::Relaxed);
    }

    /// The sum, which wraps as the number does.
    pub(crate) fn add(&self, n: usize) -> usize {
        // Relaxed: a hint.
        let before = self
            .0
            .fetch_add(n as u64, core::sync::atomic::Ordering::Relaxed);
        (before as usize).wrapping_add(n)
    }

    /// The difference, or 0 if the changes of other threads overtook each other.
    pub(crate) fn sub(&self, n: usize) -> usize {
        // Relaxed: a hint.
        let before = self
            .0
            .fetch_sub(n as u64, core::sync::atomic::Ordering::Relaxed);
        (before as usize).saturating_sub(n)
    }

    /// Takes at most so many away, and never more than there are, whatever other threads do. Returns how many these are.
    pub(crate) fn take(&self, most: usize) -> usize {
        use core::sync::atomic::Ordering::Relaxed;
        let rest = |now: u64| Some(now.saturating_sub(most as u64));
        // Relaxed: a hint.
        let before = self.0.fetch_update(Relaxed, Relaxed, rest);
        before.map_or(0, |before| (before as usize).min(most))
    }

    /// Replaces a value; false if it is another one by now.
    pub(crate) fn replace(&self, old: usize, new: usize) -> bool {
        use core::sync::atomic::Ordering::Relaxed;
        // Relaxed: a hint.
        let swapped = self
            .0
            .compare_exchange(old as u64, new as u64, Relaxed, Relaxed);
        swapped.is_ok()
    }
}

/// A field that marks its structure as alive, in the models. If a thread uses the structure while another may
/// be freeing it, loom reports it. Outside the models it is empty.
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

    /// Records a use of the structure.
    #[inline(always)]
    pub(crate) fn used(&self) {
        #[cfg(segment_pool_loom)]
        self.watch.with(|_| ());
    }

    /// Records that the structure is about to be freed.
    #[inline(always)]
    pub(crate) fn ended(&self) {
        #[cfg(segment_pool_loom)]
        self.watch.with_mut(|_| ());
    }
}

/// A first guess of a word's value for a compare-and-swap loop, which confirms or corrects it.
pub(crate) trait Guess {
    /// The value of the word.
    type Value;

    /// A possible value of the word. Relaxed: the compare-and-swap confirms every decision that depends on
    /// it.
    ///
    /// In the models the guess is always zero. Loom keeps only the last access to a word. A load here would
    /// hide from it that another thread's load came before the compare-and-swap.
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

/// Counts how often this thread touched the bytes of a free slot: the measure of a call's work.
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
