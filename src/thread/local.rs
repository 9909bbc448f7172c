//! The thread-local data: the thread's heaps, its open batches, and caches for the fast paths.
//!
//! There are two thread-local variables. `LOCAL` has no destructor, so an access is one instruction and works as long
//! as the thread runs, even in other destructors. `GUARD` has only a destructor. The first heap, or the first remote
//! free, touches it once, so that [`Local::end`] runs when the thread ends.

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

/// The token of a thread without a token. No heap has this owner.
const NO_TOKEN: u64 = u64::MAX;

/// Threads that have used pools and have not ended: only they have open batches. A child of `fork` counts its parent's.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Heaps that a thread may park; it leaves the others for good when it idles.
pub(super) const PARKED_HEAPS: usize = 8;

pub(super) struct Local {
    /// The thread's heap of the default pool, or the placeholder.
    pub(super) heap: Cell<HeapRef>,
    pub(super) token: Cell<u64>,
    pub(super) phase: Cell<Phase>,
    /// All heaps of the thread.
    pub(super) held: Held,
    /// The heap of another pool that served the last allocation, or the placeholder.
    pub(super) recent: Cell<HeapRef>,
    /// The pool of `recent`. An allocation compares it, so it does not read the heap of another pool.
    pub(super) recent_pool: Cell<Option<RegistryRef>>,
    /// The heap of another pool, possibly of a handle, that a free looked up last, or the placeholder.
    pub(super) other: Cell<HeapRef>,
    /// The last used heap of a pool that counts its values, or the placeholder.
    pub(super) counted: Cell<HeapRef>,
    /// For each class, the first bin that a free offers its slot to: a bin of the current or a former `heap` or
    /// `other`, or of the placeholder.
    pub(super) first: [Cell<BinRef>; CLASSES],
    /// How many slots other bins of the thread cached since `first` last changed.
    pub(super) detours: Cell<u32>,
    /// The heaps that are parked while the thread idles. The thread keeps its references to their pools.
    pub(super) parked: [Cell<Option<HeapRef>>; PARKED_HEAPS],
    /// The value of `CLOSINGS` when the thread last checked it.
    pub(super) closings: Cell<usize>,
    pub(super) remote_buffer: RemoteBuffer,
    /// Open batches of pools that count their values.
    pub(super) counted_buffer: RemoteBuffer,
    /// The heaps that the thread must visit again.
    pub(super) reclaims: DeferredReclaims,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is nothing to clean up yet.
    Fresh,
    /// The guard will clean up.
    Guarded,
    /// The guard has cleaned up.
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
            counted: Cell::new(HeapRef::EMPTY),
            first: [const { Cell::new(BinRef::EMPTY) }; CLASSES],
            detours: Cell::new(0),
            parked: [const { Cell::new(None) }; PARKED_HEAPS],
            closings: Cell::new(0),
            remote_buffer: RemoteBuffer::new(),
            counted_buffer: RemoteBuffer::new(),
            reclaims: DeferredReclaims::new(),
        }
    }

    /// Whether the thread has ended. If not, registers the guard, so that the end is noticed.
    pub(super) fn has_ended(&self) -> bool {
        if self.phase.get() == Phase::Fresh {
            self.phase.set(Phase::Guarded); // set before registration, which may allocate and reenter this function
            if GUARD.try_with(|_| ()).is_err() {
                self.note_end();
            } else {
                RUNNING.fetch_add(1, Ordering::Relaxed); // Relaxed: a number
            }
        }
        self.phase.get() == Phase::Ended
    }

    /// Marks the thread as ended. From now on no work is deferred.
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

    /// Sends the open batches, and visits the heaps that await another visit.
    pub(super) fn flush(&self) {
        self.remote_buffer.flush(&self.reclaims);
        self.counted_buffer.flush(&self.reclaims);
        self.reclaims.visit_all();
    }

    /// Emits the events of an allocation from a pool, including its failure.
    #[inline(always)]
    pub(super) fn emit_after(&self, pool: RegistryRef, slot: Option<SlotPtr>) -> Option<SlotPtr> {
        if slot.is_none() {
            events::note(Happened::AllocFailed, pool.core().name, 0);
        }
        self.emit_events();
        slot
    }

    /// Emits the noted events. If the thread has ended, it discards them: the subscriber's thread-locals may be
    /// destroyed.
    #[inline(always)]
    pub(super) fn emit_events(&self) {
        if self.phase.get() == Phase::Ended {
            events::forget();
        } else {
            events::emit();
        }
    }

    /// Makes this heap the first one that allocations from this pool, and frees, look at.
    pub(super) fn look_first_in(&self, pool: RegistryRef, heap: HeapRef) {
        self.recent_pool.set(Some(pool));
        self.recent.set(heap);
        self.other.set(heap);
    }

    pub(super) fn forget_pools(&self) {
        self.recent_pool.set(None);
        self.recent.set(HeapRef::EMPTY);
        self.other.set(HeapRef::EMPTY);
        self.counted.set(HeapRef::EMPTY);
        self.first.iter().for_each(|first| first.set(BinRef::EMPTY));
    }
}
