//! What a pool with a bound has for those who come: permits for values, a queue for requests that wait, and how many there were.

use core::pin::Pin;

use crossbeam_utils::CachePadded;

use crate::ground::sync::{AtomicU64, Ordering, const_fn};
use crate::heap::permits::Permits;
use crate::heap::queue::{Armed, Queue, Waiter, Wake, Woken};

/// See the module. Its parts have cache lines of their own: the permits are written by each value, the rest at the bound only.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) permits: CachePadded<Permits>,
    waiting: CachePadded<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    queue: Queue,
    refusals: AtomicU64,
    waits: AtomicU64,
}

impl Gate {
    const_fn! {
        /// For so many values; `usize::MAX` are not counted.
        pub(crate) fn new(bound: usize) -> Self {
            Self {
                permits: CachePadded::new(Permits::new(bound)),
                waiting: CachePadded::new(Waiting {
                    queue: Queue::new(),
                    refusals: AtomicU64::new(0),
                    waits: AtomicU64::new(0),
                }),
            }
        }
    }

    /// Returns the permit of a value that is about to be gone, or just went. Who waits for it is woken by the caller, when no state of
    /// the pool is in use.
    #[must_use = "who waits must be woken"]
    pub(crate) fn release(&self) -> Woken {
        if self.permits.release() {
            self.notify()
        } else {
            Woken::NONE
        }
    }

    /// As [`Queue::notify`], after a permit was returned.
    #[cold]
    pub(crate) fn notify(&self) -> Woken {
        self.waiting.queue.notify()
    }

    /// As [`Queue::arm`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(crate) unsafe fn arm(&self, waiter: Pin<&Waiter>, wake: Wake) -> Armed {
        // SAFETY: guaranteed by the caller.
        unsafe { self.waiting.queue.arm(waiter, wake, &self.permits) }
    }

    /// As [`Queue::leave`].
    pub(crate) fn leave(&self, waiter: Pin<&Waiter>) {
        self.waiting.queue.leave(waiter, &self.permits);
    }

    /// As [`Queue::reserve`].
    pub(crate) fn reserve(&self, waiter: Pin<&Waiter>) -> bool {
        self.waiting.queue.reserve(waiter, &self.permits)
    }

    /// Changes the bound. It calls foreign code.
    pub(crate) fn set_bound(&self, bound: usize) {
        match self.permits.set_bound(bound) {
            0 => {}
            more => self.waiting.queue.wake(more),
        }
    }

    /// Ends all waits, and those to come. It calls foreign code.
    pub(crate) fn close(&self) {
        self.waiting.queue.close();
    }

    /// Counts a request that was refused; true if it is the first of an episode.
    pub(crate) fn count_refusal(&self) -> bool {
        self.waiting.refusals.fetch_add(1, Ordering::Relaxed); // Relaxed: a number
        self.permits.note_refused()
    }

    /// Counts a request that begins to wait; true if it is the first of an episode.
    pub(crate) fn count_wait(&self) -> bool {
        self.waiting.waits.fetch_add(1, Ordering::Relaxed); // Relaxed: a number
        self.permits.note_refused()
    }

    /// Requests that were refused, ever.
    pub(crate) fn refusals(&self) -> u64 {
        self.waiting.refusals.load(Ordering::Relaxed) // Relaxed: a number
    }

    /// Requests that waited, ever.
    pub(crate) fn waits(&self) -> u64 {
        self.waiting.waits.load(Ordering::Relaxed) // Relaxed: a number
    }
}
