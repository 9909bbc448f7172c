//! The state shared by the heaps of one pool: the source of segments, the limit on their number, and the
//! references that keep the pool alive.
//!
//! Any thread reads it, and changes it by read-modify-writes. It lives as long as the pool; a thread that
//! holds a reference keeps the pool alive. Always holds: `in_use` counts at least the segments and dedicated
//! mappings that the pool has, and never exceeds `limit`.

use core::ptr::NonNull;

use crate::ground::layout::{CLASSES, stride_of};
use crate::ground::sync::{AtomicUsize, Ordering, const_fn};
use crate::heap::gate::Gate;
use crate::memory::arena::Arenas;

/// The state shared by the heaps of one pool.
#[derive(Debug)]
pub(crate) struct PoolCore {
    /// The source of the segments.
    pub(crate) arenas: NonNull<Arenas>,
    /// The stride of a pool of one type. 0 in the default pool, where each bin has the stride of its class.
    pub(crate) stride: usize,
    /// One reference for each segment in use, each heap held by a thread, and the pool's handle.
    pub(crate) refs: AtomicUsize,
    /// Segments and dedicated mappings that the pool may have.
    pub(crate) limit: usize,
    /// Those that it has, and those that a thread is requesting from the system.
    pub(crate) in_use: AtomicUsize,
    /// 1 if the system ever failed to provide memory for the pool. If it is 0, failed allocations met the
    /// limit.
    pub(crate) starved: AtomicUsize,
    /// Frees to a bounded pool whose segment may not be in the pending list yet.
    pub(crate) frees_under_way: AtomicUsize,
    /// The pool's name in reports: the name given to it, or the name of its type.
    pub(crate) name: &'static str,
    pub(crate) large: Large,
    /// Who may have a value.
    pub(crate) gate: Gate,
}

/// Statistics of values with a dedicated mapping.
#[derive(Debug)]
pub(crate) struct Large {
    values: AtomicUsize,
    bytes: AtomicUsize,
}

impl Large {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                values: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
            }
        }
    }

    /// Counts a value and its mapping.
    pub(crate) fn add(&self, bytes: usize) {
        // Relaxed (twice): only numbers.
        self.values.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Uncounts a value that was freed, and its mapping.
    pub(crate) fn remove(&self, bytes: usize) {
        // Relaxed (twice): only numbers.
        self.values.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Values with a dedicated mapping now.
    pub(crate) fn values(&self) -> usize {
        self.values.load(Ordering::Relaxed) // Relaxed: only a number
    }

    /// Bytes of their mappings.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) // Relaxed: only a number
    }
}

impl PoolCore {
    pub(super) const fn bins(&self) -> usize {
        if self.stride == 0 { CLASSES } else { 1 }
    }

    pub(crate) fn stride(&self, bin: usize) -> usize {
        if self.stride == 0 {
            stride_of(bin)
        } else {
            self.stride
        }
    }

    /// Counts `segments` segments and adds their references, unless that exceeds the limit. The caller holds
    /// a reference.
    pub(crate) fn admit(&self, segments: usize) -> bool {
        let more = |in_use: usize| {
            in_use
                .checked_add(segments)
                .filter(|sum| *sum <= self.limit)
        };
        // Release: the heap that the segments are for, which was listed before. Acquire: the same from other
        // threads, so a thread that finds the limit reached finds their heaps.
        let counted = self
            .in_use
            .fetch_update(Ordering::Release, Ordering::Acquire, more);
        if counted.is_ok() {
            // Relaxed: the caller holds a reference, so the count cannot reach zero meanwhile.
            self.refs.fetch_add(segments, Ordering::Relaxed);
        }
        counted.is_ok()
    }

    /// Uncounts segments. The thread that released them releases their references later.
    pub(crate) fn dismiss(&self, segments: usize) {
        // Relaxed: only a number.
        self.in_use.fetch_sub(segments, Ordering::Relaxed);
    }

    /// Notes that the system failed to provide memory.
    pub(crate) fn note_starved(&self) {
        self.starved.store(1, Ordering::Relaxed); // Relaxed: read by the thread that stored it, or a hint
    }

    /// Whether an allocation that just failed met the limit. There may be room below the limit again by now.
    pub(crate) fn limit_was_reached(&self) -> bool {
        // Relaxed: as in `note_starved`.
        self.is_full() || (self.limit != usize::MAX && self.starved.load(Ordering::Relaxed) == 0)
    }

    /// Whether the pool counts its values, because it has a limit of any kind.
    #[inline(always)]
    pub(crate) fn counts_values(&self) -> bool {
        self.gate.permits.counts()
    }

    /// Whether the pool has a limit of memory.
    pub(crate) fn is_bounded(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Counts a remote free, before its push.
    pub(crate) fn begin_free(&self) {
        // Relaxed: the push that follows releases the count to other frees to the segment. Those frees
        // release it to the allocations that come after them.
        self.frees_under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Uncounts a remote free, after its segment was put in the pending list.
    pub(crate) fn end_free(&self) {
        // Release: the push, to `has_frees_under_way`.
        self.frees_under_way.fetch_sub(1, Ordering::Release);
    }

    /// Whether freed slots may not be reachable yet.
    pub(crate) fn has_frees_under_way(&self) -> bool {
        // Acquire: from `end_free`. The caller owns the heaps. A free whose count it does not see is in the
        // pending list, or no free that returned before this call relies on it.
        self.frees_under_way.load(Ordering::Acquire) != 0
    }

    /// Whether the pool has a limit and the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        // Relaxed: only a number.
        self.in_use.load(Ordering::Relaxed) >= self.limit
    }

    pub(crate) fn arenas(&self) -> &Arenas {
        // SAFETY: arena tables outlive the pools.
        unsafe { self.arenas.as_ref() }
    }
}
