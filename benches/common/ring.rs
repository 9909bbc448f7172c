//! A bounded lock-free ring between one producer and one consumer, by the book.
//!
//!     popped <= pushed <= popped + capacity
//!
//! Both counts only grow; each is written by one thread and has a cache line of its own. Each side remembers what it
//! last saw of the other's count and looks again only when that says full, or empty. Slots from `popped` to `pushed`
//! belong to the consumer, all others to the producer.

use crate::race::wait_for;
use crossbeam_utils::CachePadded;
use std::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::*},
    },
};

struct Ring<T> {
    pushed: CachePadded<AtomicUsize>,
    popped: CachePadded<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

/// The side that pushes.
pub(crate) struct Producer<T> {
    ring: Arc<Ring<T>>,
    pushed: usize,
    popped_seen: usize,
}

/// The side that pops.
pub(crate) struct Consumer<T> {
    ring: Arc<Ring<T>>,
    popped: usize,
    pushed_seen: usize,
}

// SAFETY: each slot belongs to one side at a time, and goes to the other by release and acquire of a count. Values only
// move from one thread to another, which T: Send allows.
unsafe impl<T: Send> Sync for Ring<T> {}

/// An empty ring. The capacity is a power of two, to find a slot by mask.
pub(crate) fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity.is_power_of_two());
    let ring = Arc::new(Ring {
        pushed: CachePadded::default(),
        popped: CachePadded::default(),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let producer = Producer {
        ring: Arc::clone(&ring),
        pushed: 0,
        popped_seen: 0,
    };
    (
        producer,
        Consumer {
            ring,
            popped: 0,
            pushed_seen: 0,
        },
    )
}

/// Asks `ready` a limited number of times.
fn wait_a_while(mut ready: impl FnMut() -> bool) {
    const LOOKS: usize = 64;
    for _ in 0..LOOKS {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
}

impl<T> Ring<T> {
    /// What is worth waiting for: with less, each side would take the other's cache lines at every step.
    fn chunk(&self) -> usize {
        self.slots.len().div_ceil(16)
    }

    fn slot(&self, count: usize) -> *mut MaybeUninit<T> {
        self.slots[count & (self.slots.len() - 1)].get()
    }
}

impl<T> Producer<T> {
    /// Waits while the ring is full.
    pub(crate) fn push(&mut self, value: T) {
        self.put(value);
        self.publish();
    }

    /// Pushes a batch, which the consumer sees when all of it is there, unless the ring is full before.
    #[allow(dead_code, reason = "not every benchmark has batches")]
    pub(crate) fn push_all(&mut self, values: impl Iterator<Item = T>) {
        values.for_each(|value| self.put(value));
        self.publish();
    }

    /// Puts a value where the consumer will see it.
    fn put(&mut self, value: T) {
        if self.is_full() {
            self.publish();
            let (capacity, chunk) = (self.ring.slots.len(), self.ring.chunk());
            wait_a_while(|| self.look() && capacity - (self.pushed - self.popped_seen) >= chunk);
            wait_for(|| self.look().then_some(()));
        }
        // SAFETY: not full, so the slot belongs to the producer, of which there is one.
        unsafe { self.ring.slot(self.pushed).write(MaybeUninit::new(value)) };
        self.pushed += 1;
    }

    fn publish(&self) {
        // Release: gives the slots, and what the values point to, to the consumer's acquire in `look`.
        self.ring.pushed.store(self.pushed, Release);
    }

    fn is_full(&self) -> bool {
        self.pushed - self.popped_seen == self.ring.slots.len()
    }

    /// Looks at the consumer's count. Says whether there is room.
    fn look(&mut self) -> bool {
        // Acquire: pairs with the release in `give_back`; the reads of the slots come before the next writes.
        self.popped_seen = self.ring.popped.load(Acquire);
        !self.is_full()
    }
}

impl<T> Consumer<T> {
    /// Waits while the ring is empty; a while for a chunk, then for anything.
    pub(crate) fn pop(&mut self) -> T {
        if self.is_empty() {
            let chunk = self.ring.chunk();
            wait_a_while(|| self.look() && self.pushed_seen - self.popped >= chunk);
        }
        wait_for(|| self.try_pop())
    }

    /// What is next, if it is there already.
    fn try_pop(&mut self) -> Option<T> {
        if self.is_empty() && !self.look() {
            return None;
        }
        let value = self.take();
        self.give_back();
        Some(value)
    }

    /// Gives `finish` all that is there already, and the slots back when that is done; false if there was nothing.
    #[allow(dead_code, reason = "not every benchmark has batches")]
    pub(crate) fn drain(&mut self, mut finish: impl FnMut(T)) -> bool {
        let found = self.look();
        while !self.is_empty() {
            finish(self.take());
        }
        self.give_back();
        found
    }

    /// What is next, in a ring that is not empty.
    fn take(&mut self) -> T {
        // SAFETY: not empty, so the slot belongs to the consumer, of which there is one.
        let value = unsafe { self.ring.slot(self.popped).read() };
        self.popped += 1;
        // SAFETY: the slot was between the counts, so it was written, and leaves that range only here.
        unsafe { value.assume_init() }
    }

    fn give_back(&self) {
        // Release: gives the slots back to the producer's acquire in `look`.
        self.ring.popped.store(self.popped, Release);
    }

    fn is_empty(&self) -> bool {
        self.popped == self.pushed_seen
    }

    /// Looks at the producer's count. Says whether there is something.
    fn look(&mut self) -> bool {
        // Acquire: pairs with the release in `publish`.
        self.pushed_seen = self.ring.pushed.load(Acquire);
        !self.is_empty()
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        for count in *self.popped.get_mut()..*self.pushed.get_mut() {
            let slot = self.slot(count);
            // SAFETY: both sides are gone.
            let value = unsafe { &mut *slot };
            // SAFETY: between the counts, so written and not read.
            unsafe { value.assume_init_drop() };
        }
    }
}
