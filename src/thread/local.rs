//! What a thread has of its own: its heaps, its open batches, what it looks at first.
//!
//! Two thread-local variables. `LOCAL` has no destructor, so reaching it is one instruction and works as long as the
//! thread runs, in any other destructor too. `GUARD` has nothing but the destructor; touching it once, with the first
//! heap or the first remote free, gets [`Local::end`] called when the thread ends.

use core::cell::Cell;

use crate::ground::events::{self, Happened};
use crate::ground::layout::CLASSES;
use crate::ground::os;
use crate::ground::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::heap::handover::DeferredReclaims;
use crate::heap::registry::RegistryRef;
use crate::heap::remote_buffer::RemoteBuffer;
use crate::heap::{BinRef, HeapRef, OS_ID_BITS};
use crate::slot::SlotPtr;
use crate::thread::held::Held;

thread_local! {
    pub(super) static LOCAL: Local = const { Local::new() };
    static GUARD: Guard = const { Guard };
}

/// What a thread that has no token yet is called: no heap's owner is ever that.
const NO_TOKEN: u64 = u64::MAX;

/// Threads that have used pools and have not ended: only they have open batches. A child of `fork` counts its parent's.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Heaps that a thread may park; it leaves the others for good when it idles.
pub(super) const PARKED_HEAPS: usize = 8;

pub(super) struct Local {
    /// The default pool's heap, or the placeholder.
    pub(super) heap: Cell<HeapRef>,
    pub(super) token: Cell<u64>,
    pub(super) phase: Cell<Phase>,
    /// All heaps of the thread.
    pub(super) held: Held,
    /// The heap of another pool that an allocation used last, or the placeholder.
    pub(super) recent: Cell<HeapRef>,
    /// The pool of `recent`: an allocation compares it, and does not read the heap of another pool.
    pub(super) recent_pool: Cell<Option<RegistryRef>>,
    /// The heap of another pool, a handle's too, that a free looked for last, or the placeholder.
    pub(super) other: Cell<HeapRef>,
    /// For each class of value, the bin that a free offers its slot first: one of `heap` or `other`, now or before, or the
    /// placeholder's.
    pub(super) first: [Cell<BinRef>; CLASSES],
    /// Slots that others of the thread's bins kept since one of these was last changed.
    pub(super) detours: Cell<u32>,
    /// Heaps parked while the thread idles. The thread keeps its references to their pools.
    pub(super) parked: [Cell<Option<HeapRef>>; PARKED_HEAPS],
    /// `CLOSINGS` when the thread last looked.
    pub(super) closings: Cell<usize>,
    pub(super) remote_buffer: RemoteBuffer,
    /// Heaps that the thread has to come back to.
    pub(super) reclaims: DeferredReclaims,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to clean up yet.
    Fresh,
    /// The guard will clean up.
    Guarded,
    /// The guard has.
    Ended,
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        LOCAL.with(Local::end);
        RUNNING.fetch_sub(1, Ordering::Relaxed); // Relaxed: a number
    }
}

impl Local {
    pub(super) const fn new() -> Self {
        Self {
            heap: Cell::new(HeapRef::EMPTY),
            token: Cell::new(NO_TOKEN),
            phase: Cell::new(Phase::Fresh),
            held: Held::new(),
            recent: Cell::new(HeapRef::EMPTY),
            recent_pool: Cell::new(None),
            other: Cell::new(HeapRef::EMPTY),
            first: [const { Cell::new(BinRef::EMPTY) }; CLASSES],
            detours: Cell::new(0),
            parked: [const { Cell::new(None) }; PARKED_HEAPS],
            closings: Cell::new(0),
            remote_buffer: RemoteBuffer::new(),
            reclaims: DeferredReclaims::new(),
        }
    }

    /// Whether the thread is past its end; if not, makes sure that the end will be noticed.
    pub(super) fn has_ended(&self) -> bool {
        if self.phase.get() == Phase::Fresh {
            self.phase.set(Phase::Guarded); // before it is: to register a destructor may allocate, and come back in here
            if GUARD.try_with(|_| ()).is_err() {
                self.note_end();
            } else {
                RUNNING.fetch_add(1, Ordering::Relaxed); // Relaxed: a number
            }
        }
        self.phase.get() == Phase::Ended
    }

    /// From here on nothing is left for a later step.
    pub(super) fn note_end(&self) {
        self.phase.set(Phase::Ended);
        self.reclaims.close();
    }

    /// Other threads that have used pools and have not ended. May lag.
    pub(super) fn other_threads(&self) -> usize {
        let this = usize::from(self.phase.get() == Phase::Guarded);
        RUNNING.load(Ordering::Relaxed).saturating_sub(this) // Relaxed: a number
    }

    pub(super) fn token(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if self.token.get() == NO_TOKEN {
            // Relaxed: only uniqueness matters.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let id = os::thread_id();
            let id = if id >> OS_ID_BITS == 0 { id } else { 0 }; // no Linux has more bits, but what pretends to be one may
            self.token.set(number << OS_ID_BITS | id);
        }
        self.token.get()
    }

    /// Sends the open batches and comes back to the heaps that were left too soon.
    pub(super) fn flush(&self) {
        self.remote_buffer.flush(&self.reclaims);
        self.reclaims.visit_all();
    }

    /// Tells of what happened on the way to a slot of a pool, or to none.
    #[inline(always)]
    pub(super) fn emit_after(&self, pool: RegistryRef, slot: Option<SlotPtr>) -> Option<SlotPtr> {
        if slot.is_none() {
            events::note(Happened::AllocFailed, pool.core().name, 0);
        }
        self.emit_events();
        slot
    }

    /// Tells what was noted, unless the thread has ended: the subscriber's thread-locals may be gone then.
    #[inline(always)]
    pub(super) fn emit_events(&self) {
        if self.phase.get() == Phase::Ended {
            events::forget();
        } else {
            events::emit();
        }
    }

    /// Makes allocations from this pool, and frees, look into this heap first.
    pub(super) fn look_first_in(&self, pool: RegistryRef, heap: HeapRef) {
        self.recent_pool.set(Some(pool));
        self.recent.set(heap);
        self.other.set(heap);
    }

    pub(super) fn forget_pools(&self) {
        self.recent_pool.set(None);
        self.recent.set(HeapRef::EMPTY);
        self.other.set(HeapRef::EMPTY);
        self.first.iter().for_each(|first| first.set(BinRef::EMPTY));
    }
}
