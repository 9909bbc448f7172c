//! The two words that other threads write: a segment's remote list and a heap's pending list.
//!
//! ```text
//! RemoteWord   | head: 16 | count: 16 | batches: 16 | QUEUED PURGING PURGED |      of a segment
//! PendingList        | first segment                         | SIGNALLED ABANDONED |      of a heap
//! ```
//!
//! * Anybody who holds live slots of a segment pushes them with one compare-and-swap. Whoever turns QUEUED on, and
//!   nobody else, puts the segment in its heap's pending list; only the segment's owner turns QUEUED off, by taking the list.
//! * After a push that did not turn QUEUED on, the segment may be gone: touch nothing more.
//! * A push that makes the list as long as the segment knows that nobody holds a slot. It may then, by the same
//!   compare-and-swap, drop the list and go PURGING: give the slots' pages back, say PURGED, and queue the segment
//!   unless it still waits in a pending list. An owner that takes PURGING does nothing, for the segment will come again.
//! * A pending list belongs to the thread that owns the heap, or to nobody: ABANDONED. A pusher that meets ABANDONED takes
//!   the heap over with the same compare-and-swap that adds its segment, so a push is never left unseen.
//! * Nobody leaves a pending list that is SIGNALLED, and so nobody leaves without having seen that the pool was closed. Who
//!   leaves one with a list in it has to see to it that somebody comes back.
//!
//! Both lists are pushed to by many and taken whole by one, so there is no ABA. Pushes *and* takes are AcqRel: the
//! push reads what the last take wrote (QUEUED off) and so is ordered behind the owner's reading of the pending list link;
//! with Release and Acquire alone, the second pusher's write of that link races with it.

use core::ptr::{self, NonNull};

use crate::ground::sync::{AtomicPtr, AtomicU64, Guess, Ordering, const_fn};
use crate::slot::Offset;

const COUNT_SHIFT: u32 = 16;
const BATCHES_SHIFT: u32 = 32;
const BATCHES: u64 = 0xffff << BATCHES_SHIFT;
const QUEUED: u64 = 1 << 48;
const PURGING: u64 = 1 << 49;
const PURGED: u64 = 1 << 50;

/// A segment's list of remotely freed slots: the newest batch node, how many slots in how many batches, and whether the
/// segment is in a pending list.
#[derive(Debug)]
pub(crate) struct RemoteWord(AtomicU64);

/// Slots on a remote list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    /// The newest batch node.
    pub(crate) head: Option<Offset>,
    /// Slots on the list.
    pub(crate) count: usize,
    /// Pushes that made the list.
    pub(crate) batches: usize,
}

/// What the owner took.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    /// A list to unpack.
    List(Listed),
    /// Nothing yet: every slot is free, and whoever freed the last is giving the pages back.
    Purging,
    /// Every slot, all free, with no contents.
    Purged {
        /// Pushes that freed them.
        batches: usize,
    },
}

impl Taken {
    fn decode(word: u64) -> Self {
        let field = |shift: u32| usize::from((word >> shift) as u16);
        if word & PURGING != 0 {
            Self::Purging
        } else if word & PURGED != 0 {
            Self::Purged {
                batches: field(BATCHES_SHIFT),
            }
        } else {
            Self::List(Listed {
                head: Offset::from_raw(word as u16),
                count: field(COUNT_SHIFT),
                batches: field(BATCHES_SHIFT),
            })
        }
    }
}

/// What a pusher must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a segment that was queued must be put in an pending"]
pub(crate) enum Pushed {
    /// Nothing; the segment may be gone already.
    Joined,
    /// Put the segment in the pending list of its heap.
    Queued,
    /// Give the pages of the slots back, then [`RemoteWord::finish_purge`].
    Purging(Purge),
}

/// A purge that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purge {
    turned_queued_on: bool,
    batches: u64,
}

impl RemoteWord {
    /// In the models; elsewhere a segment's header begins as zero bytes.
    #[cfg(segment_pool_loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Pushes a batch of `count` slots whose newest batch node is `head`.
    ///
    /// Before each attempt `purges` is asked, with the length the list will have, whether to purge instead, and if
    /// not, `link_tail` is told the batch node that the batch's oldest one must point to.
    #[inline]
    pub(crate) fn push(
        &self,
        head: Offset,
        count: usize,
        mut purges: impl FnMut(usize) -> bool,
        mut link_tail: impl FnMut(Option<Offset>),
    ) -> Pushed {
        let mut old = self.0.guess();
        loop {
            let sum = (old & !QUEUED) + ((count as u64) << COUNT_SHIFT) + (1 << BATCHES_SHIFT);
            let purging = purges(usize::from((sum >> COUNT_SHIFT) as u16));
            let new = if purging {
                sum & BATCHES | PURGING | QUEUED
            } else {
                link_tail(Offset::from_raw(old as u16));
                sum & !0xffff | u64::from(Offset::to_raw(Some(head))) | QUEUED
            };
            // AcqRel: releases the batch nodes to the owner's `take`, or acquires those of others before their pages go;
            // and acquires from the `take` that turned QUEUED off the owner's reading of the pending list link, which the
            // caller overwrites next. Relaxed on failure: only another guess.
            let swapped =
                self.0
                    .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed);
            let turned_queued_on = old & QUEUED == 0;
            match swapped {
                Ok(_) if purging => {
                    return Pushed::Purging(Purge {
                        turned_queued_on,
                        batches: sum & BATCHES,
                    });
                }
                Ok(_) if turned_queued_on => return Pushed::Queued,
                Ok(_) => return Pushed::Joined,
                Err(current) => old = current,
            }
        }
    }

    /// Says that the pages are gone.
    pub(crate) fn finish_purge(&self, purge: Purge) -> Pushed {
        // AcqRel: releases the purge to the owner's `take`; acquires from a `take` meanwhile, as in `push`.
        let old = self
            .0
            .swap(purge.batches | PURGED | QUEUED, Ordering::AcqRel);
        let was_taken = old & QUEUED == 0;
        if purge.turned_queued_on || was_taken {
            Pushed::Queued
        } else {
            Pushed::Joined
        }
    }

    /// Takes the whole list and turns QUEUED off. Owner only, after the segment came out of the pending list.
    #[inline]
    pub(crate) fn take(&self) -> Taken {
        // AcqRel: acquires the batch nodes from every `push`, and releases the pending list link, read before this, to the next
        // `push` that turns QUEUED on.
        Taken::decode(self.0.swap(0, Ordering::AcqRel))
    }

    /// Makes it that of a new segment. By the segment's maker.
    pub(crate) fn clear(&self) {
        // Relaxed: who gets a slot of the segment gets this with it.
        self.0.store(0, Ordering::Relaxed);
    }

    /// What `take` would take, to be counted.
    pub(crate) fn peek(&self) -> Taken {
        // Relaxed: a number; nothing on the list is looked at.
        Taken::decode(self.0.load(Ordering::Relaxed))
    }

    /// Whether nothing is on the list and the segment is in no pending list. Owner only: what it sees is final when no slot
    /// of the segment is alive.
    pub(crate) fn is_idle(&self) -> bool {
        // Relaxed: the owner asks when every slot is home, so the last change was its own `take`.
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Something that waits in a pending list, linked through itself.
///
/// # Safety
///
/// The link is a field of the node's own that only `set_pending_link` writes; nodes are at least 4-aligned.
pub(crate) unsafe trait PendingNode {
    /// # Safety
    ///
    /// The caller turned QUEUED on and has not yet pushed, so no other thread touches the link.
    unsafe fn set_pending_link(this: NonNull<Self>, next: *mut Self);

    /// # Safety
    ///
    /// The caller took the node out of the pending list and has not yet taken its remote list.
    unsafe fn pending_link(this: NonNull<Self>) -> *mut Self;
}

/// A heap's list of segments whose remote list went from empty to not empty, and whether a thread owns the heap.
#[derive(Debug)]
pub(crate) struct PendingList<N>(AtomicPtr<N>);

/// Who serves the pending list after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an acquired heap must be served and abandoned"]
pub(crate) enum Delivered {
    /// The thread that owns the heap.
    ToOwner,
    /// The pusher: the heap was abandoned, and now is its own until it abandons it again.
    Acquired,
}

/// What the owner took out of a pending list.
#[derive(Debug)]
pub(crate) struct TakenPending<N> {
    /// The segment that came last, linked to those before it.
    pub(crate) first: *mut N,
    /// Whether the heap must be collected and released before it is abandoned.
    pub(crate) signalled: bool,
}

/// Nobody owns the heap.
const ABANDONED: usize = 1;
/// The heap has an owner, who must take before it can leave.
const SIGNALLED: usize = 2;

fn has<N>(word: *mut N, bit: usize) -> bool {
    word.addr() & bit != 0
}

fn first<N>(word: *mut N) -> *mut N {
    word.map_addr(|addr| addr & !(ABANDONED | SIGNALLED))
}

fn with<N>(word: *mut N, bits: usize) -> *mut N {
    word.map_addr(|addr| addr | bits)
}

impl<N: PendingNode> PendingList<N> {
    const_fn! {
        /// An empty pending list of a heap that the maker owns.
        pub(crate) fn new() -> Self {
            Self(AtomicPtr::new(ptr::null_mut()))
        }
    }

    /// Adds a segment.
    ///
    /// # Safety
    ///
    /// The caller holds the segment, whose QUEUED is on and which is in no pending list, and its heap is or was this one.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) -> Delivered {
        let mut old = self.0.guess();
        loop {
            // SAFETY: guaranteed by the caller; the node is not published yet.
            unsafe { N::set_pending_link(node, first(old)) };
            let new = with(node.as_ptr(), old.addr() & SIGNALLED);
            // AcqRel: releases the link to `take`; acquires, when the heap was abandoned, what its last owner left.
            // Relaxed on failure: only another guess.
            let swapped =
                self.0
                    .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed);
            match swapped {
                Ok(_) if has(old, ABANDONED) => return Delivered::Acquired,
                Ok(_) => return Delivered::ToOwner,
                Err(current) => old = current,
            }
        }
    }

    /// Whether there is nothing to take. Owner only; a push may follow at once.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: a hint; `take` acquires.
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes everything. Owner only.
    pub(crate) fn take(&self) -> TakenPending<N> {
        let nothing = ptr::null_mut();
        let word = if !cfg!(segment_pool_loom) && self.is_empty() {
            nothing
        } else {
            // Acquire: the links, from every `push`, each a read-modify-write that carries the releases before it on.
            self.0.swap(nothing, Ordering::Acquire)
        };
        TakenPending {
            first: first(word),
            signalled: has(word, SIGNALLED),
        }
    }

    /// Gives the heap up if there is nothing to take; false, and still the caller's, if there is. Owner only.
    pub(crate) fn try_abandon(&self) -> bool {
        let empty = ptr::null_mut();
        // Release: hands everything the owner did to whoever acquires the heap. Relaxed on failure: nothing was read.
        self.0
            .compare_exchange(
                empty,
                with(empty, ABANDONED),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Gives the heap up with whatever waits, unless there is a signal; false then, and still the caller's. Owner only.
    pub(crate) fn try_abandon_with_list(&self) -> bool {
        let mut old = self.0.guess();
        while !has(old, SIGNALLED) {
            // Release: as in `try_abandon`. Relaxed on failure: only another guess.
            let swapped = self.0.compare_exchange_weak(
                old,
                with(old, ABANDONED),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }

    /// Makes the caller the owner of an abandoned heap; false if it has one or another was faster.
    pub(crate) fn adopt(&self) -> bool {
        let mut old = match self.0.guess() {
            guess if cfg!(segment_pool_loom) => with(guess, ABANDONED),
            guess => guess,
        };
        while has(old, ABANDONED) {
            // Acquire: from the Release of the abandoning thread, everything it did to the heap; pushes since are
            // read-modify-writes and so carry that release on. Relaxed on failure: only another guess.
            let swapped =
                self.0
                    .compare_exchange_weak(old, first(old), Ordering::Acquire, Ordering::Relaxed);
            match swapped {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }

    /// As [`adopt`](Self::adopt), but if the heap has an owner, leaves it a signal to collect and release before it leaves.
    pub(crate) fn adopt_or_signal(&self) -> bool {
        let mut old = self.0.guess();
        loop {
            let adopts = has(old, ABANDONED);
            let new = if adopts {
                first(old)
            } else {
                with(old, SIGNALLED)
            };
            // Acquire: as in `adopt`; the signal publishes nothing. Relaxed on failure: only another guess.
            let swapped =
                self.0
                    .compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed);
            match swapped {
                Ok(_) => return adopts,
                Err(current) => old = current,
            }
        }
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
