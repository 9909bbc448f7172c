//! Requests that wait for a permit, the one that came first in front.
//!
//! ```text
//! lock    | wakes that are owed: 63 | LOCKED |
//! list    waiter <-> waiter <-> waiter        linked through themselves: they lie pinned in who waits
//!                      ^ the first one that was not woken
//! ```
//!
//! * A waiter is *armed* by its request, and then tries for a permit. If that fails it sleeps until it is woken, and does so again.
//!   It keeps its place in the queue until it leaves.
//! * Who returns a permit wakes one waiter, and never waits for the lock to do so: if somebody has it, that one owes the wake,
//!   and sees to it before it unlocks. So also a drop in a child of `fork` comes to its end, whatever the parent's other threads were at.
//! * A wake is not a permit: whoever is fastest takes that. A waiter that leaves with a wake it did not use passes it on.
//! * The lock is for changing a few pointers. Wakers are foreign code: they are taken out under the lock, and called and
//!   dropped when it is free.

use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::Waker;

use crate::ground::panics;
use crate::ground::sync::{self, AtomicU64, Guess, Ordering, Thread, UnsafeCell, const_fn};
use crate::heap::permits::Permits;

const LOCKED: u64 = 1;
const OWED: u64 = 2;
/// More wakes than there can be waiters.
const ALL: u64 = 1 << 40;

/// How a waiter is woken.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A thread that parks.
    Thread(Thread),
    /// A task, by foreign code.
    Task(Waker),
}

impl Wake {
    /// Never unwinds.
    fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            Self::Task(waker) => panics::contain(|| waker.wake()),
        }
    }
}

/// Waiters that one lock of the queue wakes.
const WOKEN: usize = if cfg!(segment_pool_loom) { 1 } else { 4 };

/// Waiters that were found to be woken, when no state of the pool is in use.
#[derive(Debug)]
#[must_use = "waiters that were chosen must be woken"]
pub(crate) struct Woken([Option<Wake>; WOKEN]);

impl Woken {
    pub(crate) const NONE: Self = Self([const { None }; WOKEN]);

    /// Calls foreign code.
    pub(crate) fn wake(mut self) {
        self.wake_all();
    }

    fn wake_all(&mut self) {
        self.0
            .iter_mut()
            .filter_map(Option::take)
            .for_each(Wake::wake);
    }

    fn vacant(&mut self) -> Option<&mut Option<Wake>> {
        self.0.iter_mut().find(|place| place.is_none())
    }
}

/// A request that waits. It lies pinned in its owner, and is in the queue from [`Queue::arm`] to [`Queue::leave`].
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Of who has the lock.
    place: UnsafeCell<Place>,
    _pinned: PhantomPinned,
}

// SAFETY: everything in it is of who has the lock of the queue, and may be used and dropped on any thread.
unsafe impl Send for Waiter {}

// SAFETY: as for `Send`.
unsafe impl Sync for Waiter {}

type Link = Option<NonNull<Waiter>>;

#[derive(Debug)]
struct Place {
    before: Link,
    after: Link,
    /// Later ones are larger.
    ticket: u64,
    queued: bool,
    /// Woken since it was armed.
    woken: bool,
    wake: Option<Wake>,
}

impl Waiter {
    pub(crate) fn new() -> Self {
        Self {
            place: UnsafeCell::new(Place {
                before: None,
                after: None,
                ticket: 0,
                queued: false,
                woken: false,
                wake: None,
            }),
            _pinned: PhantomPinned,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    lock: AtomicU64,
    list: UnsafeCell<List>,
}

// SAFETY: the list is of who has the lock.
unsafe impl Sync for Queue {}

// SAFETY: as for `Sync`; waiters may be woken and dropped on any thread.
unsafe impl Send for Queue {}

/// Of who has the lock.
#[derive(Debug)]
struct List {
    first: Link,
    last: Link,
    /// The first one that was not woken.
    next: Link,
    /// The one that has the reservation, or used it.
    reserver: Link,
    tickets: u64,
    closed: bool,
}

/// What arming found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Armed {
    /// For the first time, or not woken since the last time.
    Waiting,
    /// Woken since the last time.
    Woken,
    /// It is not: nobody waits any more.
    Closed,
}

impl Queue {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                lock: AtomicU64::new(0),
                list: UnsafeCell::new(List {
                    first: None,
                    last: None,
                    next: None,
                    reserver: None,
                    tickets: 0,
                    closed: false,
                }),
            }
        }
    }

    /// Puts a waiter at the end of the queue, unless it is in it; it will be woken after this. Its request then tries for a permit.
    ///
    /// # Safety
    ///
    /// The waiter [leaves](Self::leave) this queue before it is gone.
    pub(crate) unsafe fn arm(&self, waiter: Pin<&Waiter>, wake: Wake, permits: &Permits) -> Armed {
        let waiter = NonNull::from(waiter.get_ref());
        self.lock();
        let (armed, unused) = self.with(|list| list.arm(waiter, wake, permits));
        self.unlock_and_wake(0).wake();
        panics::contain(|| drop(unused)); // foreign code
        armed
    }

    /// Takes a waiter, which is alive, out of the queue if it is in it. What it was woken for, or had reserved, goes to the next.
    pub(crate) fn leave(&self, waiter: Pin<&Waiter>, permits: &Permits) {
        let waiter = NonNull::from(waiter.get_ref());
        self.lock();
        let (passes_on, unused) = self.with(|list| list.leave(waiter, permits));
        self.unlock_and_wake(u64::from(passes_on)).wake();
        panics::contain(|| drop(unused)); // foreign code
    }

    /// Reserves a permit for the waiter, which is in the queue, if it is the first; true if it has the reservation now.
    pub(crate) fn reserve(&self, waiter: Pin<&Waiter>, permits: &Permits) -> bool {
        let waiter = NonNull::from(waiter.get_ref());
        self.lock();
        let reserves = self.with(|list| {
            let reserves = list.first == Some(waiter) && list.reserver.is_none();
            if reserves {
                list.reserver = Some(waiter);
                permits.reserve();
            }
            reserves
        });
        self.unlock_and_wake(0).wake();
        reserves
    }

    /// Finds the next waiter to wake, or leaves that to who has the lock. Does not wait, nor call foreign code but if many are
    /// found at once.
    #[cold]
    pub(crate) fn notify(&self) -> Woken {
        if self.lock_or_owe(1) {
            self.unlock_and_wake(1)
        } else {
            Woken::NONE
        }
    }

    /// Wakes so many waiters.
    pub(crate) fn wake(&self, waiters: usize) {
        self.lock();
        self.unlock_and_wake((waiters as u64).min(ALL)).wake();
    }

    /// Wakes all waiters; from now on none is armed.
    pub(crate) fn close(&self) {
        self.lock();
        self.with(|list| list.closed = true);
        self.unlock_and_wake(ALL).wake();
    }

    fn lock(&self) {
        let mut looks = 0;
        // Acquire: from the Release of who had it. Relaxed on failure: nothing was read.
        while self
            .lock
            .compare_exchange_weak(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            sync::pause(looks);
            looks += 1;
        }
    }

    /// Takes the lock, or if somebody has it, owes him so many wakes.
    fn lock_or_owe(&self, wakes: u64) -> bool {
        let mut old = self.lock.guess();
        loop {
            let new = if old == 0 { LOCKED } else { old + wakes * OWED };
            // AcqRel: acquires the list from who had the lock, or releases the permit that the wakes are for to who locks
            // next, and so to those who arm later. Relaxed on failure: only another guess.
            let swapped =
                self.lock
                    .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed);
            match swapped {
                Ok(_) => return old == 0,
                Err(current) => old = current,
            }
        }
    }

    /// Finds so many waiters to wake, and those that others left to who has the lock, which is the caller, and unlocks.
    fn unlock_and_wake(&self, mut wakes: u64) -> Woken {
        let mut woken = Woken::NONE;
        loop {
            wakes = self.with(|list| list.choose(wakes, &mut woken));
            // Release: the list, to who locks next. Relaxed on failure: the swap below acquires.
            let swapped =
                self.lock
                    .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
            if swapped.is_err() {
                // Relaxed: it carries the release of who owes on, to who locks next.
                wakes += self.lock.swap(LOCKED, Ordering::Relaxed) / OWED;
            } else if wakes == 0 {
                return woken;
            } else {
                woken.wake_all(); // more than fit
                if !self.lock_or_owe(wakes) {
                    return woken;
                }
            }
        }
    }

    /// Uses the list. By who has the lock.
    fn with<R>(&self, work: impl FnOnce(&mut List) -> R) -> R {
        // SAFETY: the caller has the lock, and `work` does not come here.
        self.list.with_mut(|list| work(unsafe { &mut *list }))
    }
}

/// The place of a waiter in the queue.
fn place<R>(waiter: NonNull<Waiter>, work: impl FnOnce(&mut Place) -> R) -> R {
    // SAFETY: the callers have the lock, and the waiter is in the queue, or about to be or just was, so it is alive.
    let waiter = unsafe { waiter.as_ref() };
    // SAFETY: of who has the lock; `work` looks at no other place.
    waiter.place.with_mut(|place| work(unsafe { &mut *place }))
}

impl List {
    /// Returns what was to wake the waiter before, to be dropped.
    fn arm(
        &mut self,
        waiter: NonNull<Waiter>,
        wake: Wake,
        permits: &Permits,
    ) -> (Armed, Option<Wake>) {
        if self.closed {
            return (Armed::Closed, Some(wake));
        }
        if !place(waiter, |place| place.queued) {
            self.append(waiter, permits);
        }
        let (woken, unused, ticket) = place(waiter, |place| {
            let woken = core::mem::take(&mut place.woken);
            (woken, place.wake.replace(wake), place.ticket)
        });
        let earlier = |next: NonNull<Waiter>| place(next, |place| place.ticket <= ticket);
        if !self.next.is_some_and(earlier) {
            self.next = Some(waiter);
        }
        (if woken { Armed::Woken } else { Armed::Waiting }, unused)
    }

    fn append(&mut self, waiter: NonNull<Waiter>, permits: &Permits) {
        let before = self.last.replace(waiter);
        match before {
            Some(before) => place(before, |place| place.after = Some(waiter)),
            None => {
                self.first = Some(waiter);
                permits.announce();
            }
        }
        self.tickets += 1;
        place(waiter, |place| {
            place.ticket = self.tickets;
            place.queued = true;
            (place.before, place.after) = (before, None);
        });
    }

    /// Returns whether somebody else is to be woken, and what was to wake the waiter.
    fn leave(&mut self, waiter: NonNull<Waiter>, permits: &Permits) -> (bool, Option<Wake>) {
        let (queued, woken, unused) = place(waiter, |place| {
            let queued = core::mem::take(&mut place.queued);
            (queued, place.woken, place.wake.take())
        });
        if !queued {
            return (false, unused);
        }
        if self.next == Some(waiter) {
            self.advance();
        }
        self.unlink(waiter);
        let reserved = self.reserver == Some(waiter) && permits.unreserve();
        if self.reserver == Some(waiter) {
            self.reserver = None;
        }
        if self.first.is_none() {
            permits.withdraw();
        }
        (woken || reserved, unused)
    }

    fn unlink(&mut self, waiter: NonNull<Waiter>) {
        let (before, after) = place(waiter, |place| (place.before, place.after));
        match before {
            Some(before) => place(before, |place| place.after = after),
            None => self.first = after,
        }
        match after {
            Some(after) => place(after, |place| place.before = before),
            None => self.last = before,
        }
    }

    /// Chooses so many waiters, the ones that came first of those that were not woken. Returns how many more it would choose if they
    /// fitted.
    fn choose(&mut self, mut wakes: u64, woken: &mut Woken) -> u64 {
        while let Some(next) = self.next {
            let Some(vacant) = woken.vacant().filter(|_| wakes > 0) else {
                return wakes;
            };
            *vacant = place(next, |place| {
                place.woken = true;
                place.wake.take()
            });
            wakes -= 1;
            self.advance();
        }
        0
    }

    /// Looks for the next one that was not woken.
    fn advance(&mut self) {
        let after = |waiter| place(waiter, |place| place.after);
        let mut next = self.next.and_then(after);
        while let Some(waiter) = next.filter(|waiter| place(*waiter, |place| place.woken)) {
            next = after(waiter);
        }
        self.next = next;
    }
}
