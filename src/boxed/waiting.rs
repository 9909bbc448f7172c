//! Boxes that are waited for, at the bound of a pool: by a thread, or by a task.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::PoolBox;
use super::constructors::{filled, try_filled};
use crate::ground::error::AllocError;
use crate::heap::queue::Wake;
use crate::pool::SegmentPool;
use crate::pool::waiting::{Wait, wait};

impl<T> SegmentPool<T> {
    /// Puts a value in the pool. At the bound, the thread waits until a value of the pool is dropped, on whatever thread.
    ///
    /// Of those who wait, threads and tasks, the first is woken first. A request that comes at that moment, waiting or not, may be faster
    /// than who is woken, but not again: then the next value is reserved for that one. It costs what
    /// [`alloc`](Self::alloc) costs unless it must wait; and a drop, while nobody waits, what it costs without.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, which is not waited for; and when the [waits were ended](Self::end_waits). Without a bound
    /// it does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::builder().max_values(1).build();
    /// let one = pool.alloc_blocking(1)?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| assert_eq!(*pool.alloc_blocking(2).unwrap(), 2)); // waits for the next line
    ///     drop(one);
    /// });
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    pub fn alloc_blocking(&self, value: T) -> Result<PoolBox<T>, AllocError<T>> {
        try_filled!(wait(self, None), value)
    }

    /// As [`alloc_blocking`](Self::alloc_blocking), for so long at the most, and the time of one attempt.
    ///
    /// # Errors
    ///
    /// As there; and [`TimedOut`](crate::AllocErrorKind::TimedOut) when the time is over and the pool still is at its bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{AllocErrorKind, SegmentPool};
    /// use std::time::Duration;
    ///
    /// let pool = SegmentPool::builder().max_values(1).build();
    /// let _one = pool.alloc(1);
    /// let refused = pool.alloc_timeout(2, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!((refused.kind(), refused.into_inner()), (AllocErrorKind::TimedOut, 2));
    /// ```
    pub fn alloc_timeout(&self, value: T, timeout: Duration) -> Result<PoolBox<T>, AllocError<T>> {
        // A time that the clock does not reach is none.
        let deadline = Instant::now().checked_add(timeout);
        try_filled!(wait(self, deadline), value)
    }

    /// Puts a value in the pool. At the bound, the task waits until a value of the pool is dropped, on whatever thread. In the order of
    /// [`alloc_blocking`](Self::alloc_blocking), and with any executor.
    ///
    /// A future that is dropped before it is ready has taken nothing, and wakes the next one if it was that one's turn; its
    /// value is dropped with it, if it was not [taken back](Acquire::into_value) before. A future
    /// that was woken and is not polled keeps nobody from the value that it was woken for.
    ///
    /// # Errors
    ///
    /// As of `alloc_blocking`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(not(miri))] {
    /// use segment_pool::SegmentPool;
    ///
    /// static JOBS: SegmentPool<u64> = SegmentPool::builder().max_values(2).build();
    ///
    /// let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    /// let sum = runtime.block_on(async {
    ///     let mut workers = Vec::new();
    ///     for n in 0..100 {
    ///         let job = JOBS.acquire(n).await.unwrap(); // no more than two at a time
    ///         workers.push(tokio::spawn(async move { *job }));
    ///     }
    ///     let mut sum = 0;
    ///     for worker in workers {
    ///         sum += worker.await.unwrap();
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 4950);
    /// # }
    /// ```
    pub fn acquire(&self, value: T) -> Acquire<'_, T> {
        Acquire {
            wait: Wait::new(self),
            value: Some(value),
        }
    }
}

/// What [`SegmentPool::acquire`] returns: ready when the value is in its box.
///
/// # Examples
///
/// ```
/// use segment_pool::{Acquire, SegmentPool};
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// let pool = SegmentPool::builder().max_values(1).build();
/// let one = pool.alloc(1);
/// let mut two = pin!(pool.acquire(2));
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(two.as_mut().poll(&mut context).is_pending());
/// drop(one);
/// assert!(two.as_mut().poll(&mut context).is_ready());
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct Acquire<'a, T> {
    wait: Wait<'a, T>,
    value: Option<T>,
}

impl<T> Acquire<'_, T> {
    /// Ends the wait, and takes the value back; `None` when it is in its box.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    ///
    /// let pool = SegmentPool::builder().max_values(1).build();
    /// let _one = pool.alloc(1);
    /// let mut two = pin!(pool.acquire(2));
    /// assert!(two.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    /// assert_eq!(two.as_mut().into_value(), Some(2)); // after a timeout, say
    /// ```
    #[must_use = "the value is dropped otherwise"]
    pub fn into_value(self: Pin<&mut Self>) -> Option<T> {
        let (wait, value) = self.parts();
        wait.leave();
        value.take()
    }

    /// The wait, pinned, and the value, which is not.
    fn parts(self: Pin<&mut Self>) -> (Pin<&Wait<'_, T>>, &mut Option<T>) {
        // SAFETY: the wait is not moved.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: it is pinned as the whole is.
        let wait = unsafe { Pin::new_unchecked(&this.wait) };
        (wait, &mut this.value)
    }
}

impl<T> Future for Acquire<'_, T> {
    type Output = Result<PoolBox<T>, AllocError<T>>;

    /// # Panics
    ///
    /// If it was ready before, or its value was taken back.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (wait, value) = self.parts();
        assert!(value.is_some(), "the value is gone");
        let wake = || Wake::Task(context.waker().clone());
        wait.poll(wake).map(|storage| {
            let value = value.take().expect("checked above");
            try_filled!(storage, value)
        })
    }
}

impl<T> fmt::Debug for Acquire<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
