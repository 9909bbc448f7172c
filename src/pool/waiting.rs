//! Requests that wait at the bound of a pool: storage for a value, when there is some.
//!
//! A wait is polled: by a task, or by a thread that parks between. Each poll arms the waiter, and then tries ([`heap::queue`]). What a
//! failed attempt was for comes with a wake.
//!
//! [`heap::queue`]: crate::heap::queue

use core::cell::Cell;
use core::fmt;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::Poll;
use std::thread::{current, park, park_timeout};
use std::time::{Duration, Instant};

use crate::ground::error::{AllocErrorKind, Failure};
use crate::heap::gate::Gate;
use crate::heap::queue::{Armed, Waiter, Wake};
use crate::pool::segment_pool::SegmentPool;
use crate::thread::{self, Asker};

/// A request that may wait. Pinned, for the queue knows where it is.
pub(crate) struct Wait<'a, T> {
    pool: &'a SegmentPool<T>,
    waiter: Waiter,
    /// Whether the waiter is in the queue.
    queued: Cell<bool>,
    /// Whether a permit is reserved for it.
    reserves: Cell<bool>,
}

impl<'a, T> Wait<'a, T> {
    pub(crate) fn new(pool: &'a SegmentPool<T>) -> Self {
        Self {
            pool,
            waiter: Waiter::new(),
            queued: Cell::new(false),
            reserves: Cell::new(false),
        }
    }

    fn waiter(self: Pin<&Self>) -> Pin<&Waiter> {
        // SAFETY: the waiter is pinned as the whole is, which has no other use for it.
        unsafe { self.map_unchecked(|wait| &wait.waiter) }
    }

    /// Storage, or the reason why there will be none. Otherwise `wake` will be used when it is worth while to poll again.
    pub(crate) fn poll(
        self: Pin<&Self>,
        wake: impl FnOnce() -> Wake,
    ) -> Poll<Result<NonNull<T>, Failure>> {
        if !self.queued.get() {
            let done = self.attempt();
            if done.is_ready() {
                return done;
            }
        }
        match self.arm(wake()) {
            Armed::Closed => self.finish(self.at_last(AllocErrorKind::WaitsEnded)),
            Armed::Waiting => self.finish(self.attempt()),
            Armed::Woken => match self.attempt() {
                Poll::Pending if self.reserve() => self.finish(self.attempt()),
                done => self.finish(done),
            },
        }
    }

    /// Tries, and gives up if there is nothing to be had.
    pub(crate) fn give_up(self: Pin<&Self>, kind: AllocErrorKind) -> Result<NonNull<T>, Failure> {
        let done = match self.at_last(kind) {
            Poll::Ready(done) => done,
            Poll::Pending => unreachable!("an attempt at last"),
        };
        self.leave();
        done
    }

    fn attempt(&self) -> Poll<Result<NonNull<T>, Failure>> {
        let asker = if self.reserves.get() {
            Asker::Reserving
        } else {
            Asker::Waiting
        };
        match self.pool.alloc_storage_slow(asker) {
            Err(failure) if failure.kind == AllocErrorKind::LimitReached => Poll::Pending,
            done => Poll::Ready(done),
        }
    }

    /// An attempt that fails, if it does, for this reason.
    fn at_last(&self, kind: AllocErrorKind) -> Poll<Result<NonNull<T>, Failure>> {
        let asker = if self.reserves.get() {
            Asker::Reserving
        } else {
            Asker::Passing
        };
        let done = self.pool.alloc_storage_slow(asker);
        Poll::Ready(done.map_err(|failure| match failure.kind {
            AllocErrorKind::LimitReached => Failure { kind, ..failure },
            _ => failure,
        }))
    }

    fn gate(&self) -> Option<&'a Gate> {
        Some(&self.pool.registry()?.core().gate)
    }

    fn arm(self: Pin<&Self>, wake: Wake) -> Armed {
        let Some(gate) = self.gate() else {
            unreachable!("an attempt met the bound of the pool")
        };
        if !self.queued.replace(true) {
            self.pool.registry().into_iter().for_each(thread::note_wait);
        }
        // SAFETY: `drop` has it leave, at the latest.
        unsafe { gate.arm(self.waiter(), wake) }
    }

    fn reserve(self: Pin<&Self>) -> bool {
        let reserves =
            self.reserves.get() || self.gate().is_some_and(|gate| gate.reserve(self.waiter()));
        self.reserves.set(reserves);
        reserves
    }

    fn finish<R>(self: Pin<&Self>, done: Poll<R>) -> Poll<R> {
        if done.is_ready() {
            self.leave();
        }
        done
    }

    pub(crate) fn leave(self: Pin<&Self>) {
        if self.queued.replace(false) {
            self.reserves.set(false);
            if let Some(gate) = self.gate() {
                gate.leave(self.waiter());
            }
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        // SAFETY: it is not moved any more, and was not since it was in the queue.
        unsafe { Pin::new_unchecked(&*self) }.leave();
    }
}

impl<T> fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("pool", &self.pool.name())
            .field("queued", &self.queued.get())
            .finish_non_exhaustive()
    }
}

/// Storage for a value of a pool; the thread waits for it, until then if there is a deadline.
#[cold]
pub(crate) fn wait<T>(
    pool: &SegmentPool<T>,
    deadline: Option<Instant>,
) -> Result<NonNull<T>, Failure> {
    let wait = core::pin::pin!(Wait::new(pool));
    let wait = wait.as_ref();
    loop {
        if let Poll::Ready(done) = wait.poll(|| Wake::Thread(current())) {
            return done;
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => park(),
            Some(Duration::ZERO) => return wait.give_up(AllocErrorKind::TimedOut),
            Some(left) => park_timeout(left),
        }
    }
}

impl<T> SegmentPool<T> {
    /// Changes how many values of the pool may be alive. Values that are alive stay so, also if they are more than that: requests
    /// are refused, or wait, until enough of them were dropped. Requests that wait are served at once if there is room now.
    ///
    /// # Panics
    ///
    /// If `values` is 0; if the pool was built without [`max_values`](crate::SegmentPoolBuilder::max_values); or if the system refuses
    /// the few pages that a pool takes for itself before its first value.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::builder().max_values(1).build();
    /// let one = pool.alloc(1);
    /// assert!(pool.try_alloc(2).is_err());
    /// pool.set_max_values(2);
    /// assert!(pool.try_alloc(2).is_ok());
    /// # drop(one);
    /// ```
    pub fn set_max_values(&self, values: usize) {
        assert!(values > 0, "the limit of a pool is below one value");
        assert!(
            self.limits.bounds_values(),
            "the pool was built without `max_values`"
        );
        let pool = self.registry_or_create().expect("memory for the pool");
        let bound = self.limits.with_values(values).values_of(Self::LAYOUT);
        pool.core().gate.set_bound(bound);
    }

    /// Ends the waits for values of the pool, for an orderly end of the program: requests that wait, and from now on those
    /// that would, get their value back with the reason [`WaitsEnded`](AllocErrorKind::WaitsEnded). Requests below the bound are
    /// served as ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{AllocErrorKind, SegmentPool};
    ///
    /// let pool = SegmentPool::builder().max_values(1).build();
    /// let _one = pool.alloc("one");
    /// std::thread::scope(|scope| {
    ///     let waiting = scope.spawn(|| pool.alloc_blocking("two"));
    ///     pool.end_waits();
    ///     let refused = waiting.join().unwrap().unwrap_err();
    ///     assert_eq!((refused.kind(), refused.into_inner()), (AllocErrorKind::WaitsEnded, "two"));
    /// });
    /// ```
    pub fn end_waits(&self) {
        if self.is_counted() {
            if let Some(pool) = self.registry_or_create() {
                pool.core().gate.close();
            }
        }
    }
}
