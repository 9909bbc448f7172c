//! What the heaps of one pool have in common: where segments come from, how many there may be, and the references that keep the pool.
//!
//! Any thread reads and counts, by read-modify-writes. It lives as long as the pool: whoever counts a reference keeps it.

use core::ptr::NonNull;

use crate::ground::layout::{CLASSES, stride_of};
use crate::ground::sync::{AtomicUsize, Ordering, const_fn};
use crate::memory::arena::Arenas;

/// What the heaps of one pool have in common.
#[derive(Debug)]
pub(crate) struct PoolCore {
    /// Where the segments come from.
    pub(crate) arenas: NonNull<Arenas>,
    /// The stride of a pool of one type; 0 in the default pool, where each bin has that of its class.
    pub(crate) stride: usize,
    /// Segments in use, plus heaps held by threads, plus one for the pool's handle.
    pub(crate) refs: AtomicUsize,
    /// Segments, or values with a dedicated mapping, that the pool may have.
    pub(crate) limit: usize,
    /// Those it has, and those that a thread is asking the system for.
    pub(crate) in_use: AtomicUsize,
    /// Whether the system ever refused memory for the pool; if not, its limit did.
    pub(crate) starved: AtomicUsize,
    /// Frees of a bounded pool whose segment may not have reached the pending list yet.
    pub(crate) frees_under_way: AtomicUsize,
    /// What reports call the pool: the name it was given, or its type's.
    pub(crate) name: &'static str,
    pub(crate) large: Large,
}

/// Values with a dedicated mapping, for the statistics.
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
        // Relaxed (twice): numbers.
        self.values.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes a value that is gone off the count.
    pub(crate) fn remove(&self, bytes: usize) {
        // Relaxed (twice): numbers.
        self.values.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Values there are now.
    pub(crate) fn values(&self) -> usize {
        self.values.load(Ordering::Relaxed) // Relaxed: a number
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) // Relaxed: a number
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

    /// Counts so many segments and the references for them, unless that exceeds the limit. By a holder of a reference.
    pub(crate) fn admit(&self, segments: usize) -> bool {
        let more = |in_use: usize| {
            in_use
                .checked_add(segments)
                .filter(|sum| *sum <= self.limit)
        };
        // Release: the heap that the segments are for, which was listed before. Acquire: from that of other threads, so that who
        // finds no room finds their heaps.
        let counted = self
            .in_use
            .fetch_update(Ordering::Release, Ordering::Acquire, more);
        if counted.is_ok() {
            // Relaxed: the caller holds a reference, so the count cannot reach zero meanwhile.
            self.refs.fetch_add(segments, Ordering::Relaxed);
        }
        counted.is_ok()
    }

    /// Takes segments off the count; the references for them are given up later, by whoever released them.
    pub(crate) fn dismiss(&self, segments: usize) {
        // Relaxed: a number.
        self.in_use.fetch_sub(segments, Ordering::Relaxed);
    }

    /// Notes that the system refused memory.
    pub(crate) fn note_starved(&self) {
        self.starved.store(1, Ordering::Relaxed); // Relaxed: read where it was stored, or a hint
    }

    /// Whether an allocation that was just refused met the limit. There may be room below it again by now.
    pub(crate) fn limit_was_reached(&self) -> bool {
        // Relaxed: as in `note_starved`.
        self.is_full() || (self.limit != usize::MAX && self.starved.load(Ordering::Relaxed) == 0)
    }

    /// Whether there is a limit.
    pub(crate) fn is_bounded(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Counts a remote free, before its push.
    pub(crate) fn begin_free(&self) {
        // Relaxed: the push that follows releases it to other frees to the segment, and these to the requests after them.
        self.frees_under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a remote free off the count, when its segment is in the pending list.
    pub(crate) fn end_free(&self) {
        // Release: the push, to `has_frees_under_way`.
        self.frees_under_way.fetch_sub(1, Ordering::Release);
    }

    /// Whether slots that were freed may be out of reach still.
    pub(crate) fn has_frees_under_way(&self) -> bool {
        // Acquire: from `end_free`. Asked by who has the heaps: a free that it does not see is in the pending list, or no free that
        // returned before relies on it.
        self.frees_under_way.load(Ordering::Acquire) != 0
    }

    /// Whether there is a limit, and no room below it.
    pub(crate) fn is_full(&self) -> bool {
        // Relaxed: a number.
        self.in_use.load(Ordering::Relaxed) >= self.limit
    }

    pub(crate) fn arenas(&self) -> &Arenas {
        // SAFETY: arena tables outlive the pools.
        unsafe { self.arenas.as_ref() }
    }
}
