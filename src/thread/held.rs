//! The heaps that a thread holds: all of them, and the one of a given pool.
//!
//! ```text
//! list     every heap, doubly linked through the heaps          to visit all, and to remove one
//! index    pool -> heap, open addressing, linear probing        to find one, however many there are
//! ```
//!
//! A held heap keeps its pool alive, so the address of a pool in the index is never that of another pool. The index lies in the
//! thread-local variable while it is small, and in a dedicated mapping after that. One thread's.
//!
//! When pools are closed, the thread looks which of its heaps are theirs. It looks at a few in each slow path, round and round
//! ([`Held::sweep`]), so that no call takes longer the more pools there are.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::ground::os;
use crate::heap::HeapRef;
use crate::heap::registry::{RegistryRef, registry_of};

/// Places of an index that needs no mapping.
const FIRST_PLACES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Held {
    first: Cell<Option<HeapRef>>,
    index: Index,
    /// The heap to look at next, if not the first.
    swept: Cell<Option<HeapRef>>,
    /// Heaps that are to be looked at.
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

    /// The heap of a pool.
    #[inline]
    pub(crate) fn find(&self, pool: RegistryRef) -> Option<HeapRef> {
        self.index.find(pool)
    }

    /// Makes room for one more heap; false when the system has no memory.
    #[must_use = "without room no heap can be added"]
    pub(crate) fn reserve(&self) -> bool {
        self.index.reserve()
    }

    /// Adds a heap, of a pool of which there is none. There is room.
    pub(crate) fn add(&self, heap: HeapRef) {
        self.index.add(registry_of(heap), heap);
        let next = self.first.replace(Some(heap));
        heap.next_held().set(next);
        if let Some(next) = next {
            next.previous_held().set(Some(heap));
        }
        if self.unswept.get() > 0 {
            self.unswept.set(self.unswept.get() + 1); // it is looked at too, and not instead of another
        }
    }

    /// Takes a heap out.
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

    /// Takes the newest heap out.
    pub(crate) fn pop(&self) -> Option<HeapRef> {
        let heap = self.first.get()?;
        self.remove(heap);
        Some(heap)
    }

    /// Every heap, the newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = HeapRef> {
        core::iter::successors(self.first.get(), |heap| heap.next_held().get())
    }

    /// Has every heap looked at once more.
    pub(crate) fn begin_sweep(&self) {
        self.unswept.set(self.index.len.get());
    }

    /// The next heap to look at, until all were.
    pub(crate) fn sweep(&self) -> Option<HeapRef> {
        let unswept = self.unswept.get().checked_sub(1)?;
        self.unswept.set(unswept);
        let heap = self.swept.get().or(self.first.get())?;
        self.swept.set(heap.next_held().get());
        Some(heap)
    }
}

/// A place of the index.
type Place = Cell<Option<(RegistryRef, HeapRef)>>;

/// The heap of each pool. At most three quarters of its places are taken.
#[derive(Debug)]
struct Index {
    first: [Place; FIRST_PLACES],
    /// Takes the place of `first`; a power of two long.
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
            // SAFETY: mapped by `map`, and unmapped only by `resize`, which nobody calls while he has this.
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
            self.resize(fewer); // if memory is refused, it stays as large as it is; the first places need none
        }
    }

    /// Moves everything to another number of places; false, and nothing is done, when the system has no memory.
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
            // SAFETY: mapped by `map`, and nothing refers to it any more.
            unsafe { os::unmap(old.cast(), bytes(old.len()), align_of::<Place>()) };
        }
        true
    }
}

/// How many of so many places may be taken.
fn most(places: usize) -> usize {
    places / 4 * 3
}

fn bytes(places: usize) -> usize {
    places * size_of::<Place>()
}

/// So many places with nothing in them.
fn map(places: usize) -> Option<NonNull<[Place]>> {
    let first = os::map(bytes(places), align_of::<Place>())?.cast::<Place>();
    for index in 0..places {
        // SAFETY: within what was mapped.
        let place = unsafe { first.add(index) };
        // SAFETY: as above.
        unsafe { place.write(Cell::new(None)) };
    }
    Some(NonNull::slice_from_raw_parts(first, places))
}

/// Where the pool is, or would be.
#[inline]
fn place_of(places: &[Place], pool: RegistryRef) -> usize {
    let mut at = probe_start(places, pool);
    while places[at].get().is_some_and(|(other, _)| other != pool) {
        at = (at + 1) & (places.len() - 1);
    }
    at
}

/// Where the search for the pool begins: by multiplication, of which the upper bits are mixed best. Registries are whole pages.
#[inline]
fn probe_start(places: &[Place], pool: RegistryRef) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15; // Knuth, The Art of Computer Programming 3, 6.4
    let mixed = (pool.as_ptr().addr() as u64 >> 12).wrapping_mul(GOLDEN_RATIO);
    (mixed >> 32) as usize & (places.len() - 1)
}

/// Empties a place, and moves those behind it that would not be found otherwise (Knuth, 6.4, algorithm R).
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
