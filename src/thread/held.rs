//! The heaps that a thread holds: a list of all, and an index by pool.
//!
//! ```text
//! list     every heap, doubly linked through the heaps          visits all heaps, removes one in constant time
//! index    pool -> heap, open addressing, linear probing        finds the heap of a pool in constant time
//! ```
//!
//! A held heap keeps its pool alive, so an address in the index never denotes a different pool. While the index is
//! small it is part of the thread-local variable; when it grows it moves to a dedicated mapping. Only the owning thread
//! uses this data.
//!
//! After pools were closed, the thread checks which of its heaps belong to them. Each slow path checks a few heaps, in
//! rotation ([`Held::sweep`]), so that the cost of a call does not grow with the number of pools.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::ground::os;
use crate::heap::HeapRef;
use crate::heap::registry::{RegistryRef, registry_of};

/// The number of places in an index without a mapping.
const FIRST_PLACES: usize = 16;

/// The heaps that a thread holds. See the module.
#[derive(Debug)]
pub(crate) struct Held {
    first: Cell<Option<HeapRef>>,
    index: Index,
    /// The next heap to check; `None` for the first.
    swept: Cell<Option<HeapRef>>,
    /// The number of heaps still to check.
    unswept: Cell<usize>,
}

impl Held {
    pub(crate) const fn new() -> Self {
        Self {
            first: Cell::new(None),
            index: Index::new(),
            swept: Cell::new(None),
            unswept: Cell::new(0),
        }
    }

    /// Returns the heap of a pool.
    #[inline]
    pub(crate) fn find(&self, pool: RegistryRef) -> Option<HeapRef> {
        self.index.find(pool)
    }

    /// Makes room for one more heap. Returns false if the system has no memory.
    #[must_use = "without room no heap can be added"]
    pub(crate) fn reserve(&self) -> bool {
        self.index.reserve()
    }

    /// Adds a heap. There is room, and the thread has no other heap of this pool.
    pub(crate) fn add(&self, heap: HeapRef) {
        self.index.add(registry_of(heap), heap);
        let next = self.first.replace(Some(heap));
        heap.next_held().set(next);
        if let Some(next) = next {
            next.previous_held().set(Some(heap));
        }
        if self.unswept.get() > 0 {
            self.unswept.set(self.unswept.get() + 1); // the new heap is checked in addition to the others
        }
    }

    /// Removes a heap.
    pub(crate) fn remove(&self, heap: HeapRef) {
        self.index.remove(registry_of(heap));
        let (next, previous) = (heap.next_held().take(), heap.previous_held().take());
        if self.swept.get() == Some(heap) {
            self.swept.set(next);
        }
        match previous {
            Some(previous) => previous.next_held().set(next),
            None => self.first.set(next),
        }
        if let Some(next) = next {
            next.previous_held().set(previous);
        }
    }

    /// Removes the newest heap.
    pub(crate) fn pop(&self) -> Option<HeapRef> {
        let heap = self.first.get()?;
        self.remove(heap);
        Some(heap)
    }

    /// Iterates over all heaps, the newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = HeapRef> {
        core::iter::successors(self.first.get(), |heap| heap.next_held().get())
    }

    /// Starts a new check of every heap.
    pub(crate) fn begin_sweep(&self) {
        self.unswept.set(self.index.len.get());
    }

    /// Returns the next heap to check, or `None` when all were checked.
    pub(crate) fn sweep(&self) -> Option<HeapRef> {
        let unswept = self.unswept.get().checked_sub(1)?;
        self.unswept.set(unswept);
        let heap = self.swept.get().or(self.first.get())?;
        self.swept.set(heap.next_held().get());
        Some(heap)
    }
}

/// A place in the index.
type Place = Cell<Option<(RegistryRef, HeapRef)>>;

/// The index from pool to heap. At most three quarters of its places are occupied.
#[derive(Debug)]
struct Index {
    first: [Place; FIRST_PLACES],
    /// Replaces `first` if present. Its length is a power of two.
    mapped: Cell<Option<NonNull<[Place]>>>,
    len: Cell<usize>,
}

impl Index {
    const fn new() -> Self {
        Self {
            first: [const { Cell::new(None) }; FIRST_PLACES],
            mapped: Cell::new(None),
            len: Cell::new(0),
        }
    }

    #[inline]
    fn places(&self) -> &[Place] {
        match self.mapped.get() {
            // SAFETY: `map` made the slice, and only `resize` unmaps it, which no caller calls while it uses this
            // reference.
            Some(mapped) => unsafe { mapped.as_ref() },
            None => &self.first,
        }
    }

    #[inline]
    fn find(&self, pool: RegistryRef) -> Option<HeapRef> {
        let places = self.places();
        let found = places[place_of(places, pool)].get();
        found.map(|(_, heap)| heap)
    }

    fn reserve(&self) -> bool {
        let places = self.places().len();
        self.len.get() < most(places) || self.resize(2 * places)
    }

    fn add(&self, pool: RegistryRef, heap: HeapRef) {
        let places = self.places();
        debug_assert!(self.len.get() < most(places.len()));
        places[place_of(places, pool)].set(Some((pool, heap)));
        self.len.set(self.len.get() + 1);
    }

    fn remove(&self, pool: RegistryRef) {
        let places = self.places();
        close_gap(places, place_of(places, pool));
        self.len.set(self.len.get() - 1);
        let fewer = match self.len.get() {
            0 => FIRST_PLACES, // the thread may be ending
            _ => (places.len() / 4).max(FIRST_PLACES),
        };
        if fewer < places.len() && self.len.get() < most(fewer) / 2 {
            self.resize(fewer); // if the system has no memory, the index keeps its size; `first` needs none
        }
    }

    /// Moves all entries to an index of another size. Returns false, without any change, if the system has no memory.
    fn resize(&self, places: usize) -> bool {
        let new = match places {
            FIRST_PLACES => None,
            _ => match map(places) {
                Some(mapped) => Some(mapped),
                None => return false,
            },
        };
        let old = self.mapped.get();
        let moved = |from: &[Place]| {
            self.mapped.set(new);
            let to = self.places();
            for (pool, heap) in from.iter().filter_map(Cell::take) {
                to[place_of(to, pool)].set(Some((pool, heap)));
            }
        };
        moved(self.places());
        if let Some(old) = old {
            // SAFETY: `map` made it with this size, and nothing refers to it any more.
            unsafe { os::unmap(old.cast(), bytes(old.len()), align_of::<Place>()) };
        }
        true
    }
}

/// The maximum number of occupied places.
fn most(places: usize) -> usize {
    places / 4 * 3
}

fn bytes(places: usize) -> usize {
    places * size_of::<Place>()
}

/// Maps `places` empty places.
fn map(places: usize) -> Option<NonNull<[Place]>> {
    let first = os::map(bytes(places), align_of::<Place>())?.cast::<Place>();
    for index in 0..places {
        // SAFETY: the index is within the mapping.
        let place = unsafe { first.add(index) };
        // SAFETY: the place is within the mapping, which no other code uses yet.
        unsafe { place.write(Cell::new(None)) };
    }
    Some(NonNull::slice_from_raw_parts(first, places))
}

/// Returns the place of a pool, or the empty place where it would be added.
#[inline]
fn place_of(places: &[Place], pool: RegistryRef) -> usize {
    let mut at = probe_start(places, pool);
    while places[at].get().is_some_and(|(other, _)| other != pool) {
        at = (at + 1) & (places.len() - 1);
    }
    at
}

/// Returns the place where the search for a pool begins. Multiplicative hashing: the upper bits are mixed best.
/// Registries start at page boundaries.
#[inline]
fn probe_start(places: &[Place], pool: RegistryRef) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15; // Knuth, The Art of Computer Programming 3, 6.4
    let mixed = (pool.as_ptr().addr() as u64 >> 12).wrapping_mul(GOLDEN_RATIO);
    (mixed >> 32) as usize & (places.len() - 1)
}

/// Empties a place, and moves the entries behind it that would otherwise not be found (Knuth, 6.4, algorithm R).
fn close_gap(places: &[Place], mut gap: usize) {
    let distance = |from: usize, to: usize| to.wrapping_sub(from) & (places.len() - 1);
    places[gap].set(None);
    let mut at = gap;
    loop {
        at = (at + 1) & (places.len() - 1);
        let Some((pool, _)) = places[at].get() else {
            return;
        };
        if distance(probe_start(places, pool), at) >= distance(gap, at) {
            places[gap].set(places[at].take());
            gap = at;
        }
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
