//! The two words that remote threads write: the remote list of a segment and the pending list of a heap.
//!
//! ```text
//! RemoteWord   | head: 16 | count: 16 | batches: 16 | QUEUED PURGING PURGED |      one per segment
//! PendingList  | first segment                      | SIGNALLED ABANDONED   |      one per heap
//! ```
//!
//! * Any thread that holds live slots of a segment pushes them with one compare-and-swap. Only the push that
//!   turns QUEUED on puts the segment in its heap's pending list. Only the segment's owner turns QUEUED off,
//!   by taking the list.
//! * After a push that did not turn QUEUED on, the segment may be unmapped. The pushing thread touches
//!   nothing of it.
//! * A push that makes the list as long as the segment proves that no slot is live. The same compare-and-swap
//!   may then drop the list and set PURGING. The pushing thread returns the pages of the slots to the system,
//!   sets PURGED, and queues the segment unless it is still in a pending list. An owner that takes PURGING
//!   does nothing: the segment is queued again.
//! * A heap has one owning thread, or none: ABANDONED. A push that finds ABANDONED acquires the heap with the
//!   same compare-and-swap that adds its segment. So every push is seen by an owner.
//! * No thread abandons a heap whose pending list is SIGNALLED. So every owner learns that the pool was
//!   closed. A thread that abandons a heap with a non-empty pending list must arrange another visit.
//!
//! Many threads push to each list, and one thread takes the whole list. So there is no ABA problem. Pushes
//! *and* takes of the remote word are AcqRel. The push reads what the last take wrote (QUEUED off), so it is
//! ordered after the owner's read of the pending link. With Release and Acquire alone, the write of that link
//! by the next push would race with that read.

use core::ptr::{self, NonNull};

use crate::ground::sync::{AtomicPtr, AtomicU64, Guess, Ordering, const_fn};
use crate::slot::Offset;

const COUNT_SHIFT: u32 = 16;
const BATCHES_SHIFT: u32 = 32;
const BATCHES: u64 = 0xffff << BATCHES_SHIFT;
const QUEUED: u64 = 1 << 48;
const PURGING: u64 = 1 << 49;
const PURGED: u64 = 1 << 50;

/// A segment's list of remotely freed slots: the newest batch node, the number of slots and of batches, and
/// whether the segment is in a pending list.
#[derive(Debug)]
pub(crate) struct RemoteWord(AtomicU64);

/// The slots on a remote list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    /// The newest batch node.
    pub(crate) head: Option<Offset>,
    /// Slots on the list.
    pub(crate) count: usize,
    /// Pushes that built the list.
    pub(crate) batches: usize,
}

/// What the owner took from a remote word.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    /// A list to unpack.
    List(Listed),
    /// Nothing yet. Every slot is free, and the thread that freed the last one is purging the pages.
    Purging,
    /// Every slot of the segment. All are free and have no contents.
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

/// What the pushing thread must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a segment that was queued must be put in a pending list"]
pub(crate) enum Pushed {
    /// Nothing. The segment may be unmapped already.
    Joined,
    /// Put the segment in the pending list of its heap.
    Queued,
    /// Purge the pages of the slots, then call [`RemoteWord::finish_purge`].
    Purging(Purge),
}

/// A purge that has begun.
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
    /// Each attempt calls `purges` with the length that the list will have. If it returns false, the attempt
    /// calls `link_tail` with the batch node that the oldest node of this batch must point to.
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
            // AcqRel. Release: the batch nodes, to the owner's `take`. Acquire: the batch nodes of other
            // threads, before their pages are purged; and from the `take` that turned QUEUED off, the owner's
            // read of the pending link, which the caller overwrites next. Relaxed on failure: the value is
            // only another guess.
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

    /// Marks the segment as purged.
    pub(crate) fn finish_purge(&self, purge: Purge) -> Pushed {
        // AcqRel. Release: the purge, to the owner's `take`. Acquire: from a `take` that came meanwhile, as
        // in `push`.
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

    /// Takes the whole list and turns QUEUED off. Owner only, after the segment left the pending list.
    #[inline]
    pub(crate) fn take(&self) -> Taken {
        // AcqRel. Acquire: the batch nodes, from every `push`. Release: the read of the pending link, which
        // came before, to the next `push` that turns QUEUED on.
        Taken::decode(self.0.swap(0, Ordering::AcqRel))
    }

    /// Makes it that of a new segment. By the segment's maker.
    pub(crate) fn clear(&self) {
        // Relaxed: who gets a slot of the segment gets this with it.
        self.0.store(0, Ordering::Relaxed);
    }

    /// What `take` would take, to be counted.
    pub(crate) fn peek(&self) -> Taken {
        // Relaxed: only a number; nothing on the list is read.
        Taken::decode(self.0.load(Ordering::Relaxed))
    }

    /// Whether the list is empty and the segment is in no pending list. Owner only. The answer is final if no
    /// slot of the segment is live.
    pub(crate) fn is_idle(&self) -> bool {
        // Relaxed: the owner calls this when every slot was returned to the segment, so its own `take` was
        // the last change.
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// A node of a pending list, linked through a field of its own.
///
/// # Safety
///
/// Only `set_pending_link` writes the link. Nodes are at least 4-aligned.
pub(crate) unsafe trait PendingNode {
    /// Writes the link.
    ///
    /// # Safety
    ///
    /// The caller turned QUEUED on and has not pushed the node yet, so no other thread touches the link.
    unsafe fn set_pending_link(this: NonNull<Self>, next: *mut Self);

    /// Reads the link.
    ///
    /// # Safety
    ///
    /// The caller took the node out of the pending list and has not taken its remote list yet.
    unsafe fn pending_link(this: NonNull<Self>) -> *mut Self;
}

/// A heap's list of segments whose remote list became non-empty, and whether a thread owns the heap.
#[derive(Debug)]
pub(crate) struct PendingList<N>(AtomicPtr<N>);

/// Which thread serves the pending list after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an acquired heap must be served and abandoned"]
pub(crate) enum Delivered {
    /// The thread that owns the heap.
    ToOwner,
    /// The pushing thread. The heap was abandoned, and the pushing thread owns it until it abandons it again.
    Acquired,
}

/// What the owner took out of a pending list.
#[derive(Debug)]
pub(crate) struct TakenPending<N> {
    /// The segment pushed last, linked to those pushed before it.
    pub(crate) first: *mut N,
    /// Whether the owner must collect and release before it abandons the heap.
    pub(crate) signalled: bool,
}

/// No thread owns the heap.
const ABANDONED: usize = 1;
/// The heap has an owner, which must take the list before it can abandon the heap.
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
        /// An empty pending list of a heap that the caller owns.
        pub(crate) fn new() -> Self {
            Self(AtomicPtr::new(ptr::null_mut()))
        }
    }

    /// Adds a segment.
    ///
    /// # Safety
    ///
    /// The caller holds the segment, whose QUEUED is on and which is in no pending list. The segment belongs,
    /// or once belonged, to this heap.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) -> Delivered {
        let mut old = self.0.guess();
        loop {
            // SAFETY: guaranteed by the caller; the node is not published yet.
            unsafe { N::set_pending_link(node, first(old)) };
            let new = with(node.as_ptr(), old.addr() & SIGNALLED);
            // AcqRel. Release: the link, to `take`. Acquire: if the heap was abandoned, everything that its
            // last owner wrote. Relaxed on failure: the value is only another guess.
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

    /// Whether the list is empty and no signal is set. Owner only; a push may follow at once.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: a hint; `take` acquires.
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes the whole list. Owner only.
    pub(crate) fn take(&self) -> TakenPending<N> {
        let nothing = ptr::null_mut();
        let word = if !cfg!(segment_pool_loom) && self.is_empty() {
            nothing
        } else {
            // Acquire: the links, from every `push`. Each push is a read-modify-write, so the release
            // sequence continues through it.
            self.0.swap(nothing, Ordering::Acquire)
        };
        TakenPending {
            first: first(word),
            signalled: has(word, SIGNALLED),
        }
    }

    /// Abandons the heap if the pending list is empty and no signal is set. Otherwise returns false, and the
    /// caller still owns the heap. Owner only.
    pub(crate) fn try_abandon(&self) -> bool {
        let empty = ptr::null_mut();
        // Release: everything the owner wrote, to the next thread that acquires the heap. Relaxed on failure:
        // nothing was read.
        self.0
            .compare_exchange(
                empty,
                with(empty, ABANDONED),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Abandons the heap with its pending list as it is, unless a signal is set. In that case returns false,
    /// and the caller still owns the heap. Owner only.
    pub(crate) fn try_abandon_with_list(&self) -> bool {
        let mut old = self.0.guess();
        while !has(old, SIGNALLED) {
            // Release: as in `try_abandon`. Relaxed on failure: the value is only another guess.
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

    /// Acquires an abandoned heap for the caller. Returns false if the heap has an owner.
    pub(crate) fn adopt(&self) -> bool {
        let mut old = match self.0.guess() {
            guess if cfg!(segment_pool_loom) => with(guess, ABANDONED),
            guess => guess,
        };
        while has(old, ABANDONED) {
            // Acquire: everything the abandoning thread wrote to the heap, from its Release. Later pushes are
            // read-modify-writes, so the release sequence continues through them. Relaxed on failure: the
            // value is only another guess.
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

    /// Acquires the heap as [`adopt`](Self::adopt) does. If the heap has an owner, sets the signal instead:
    /// the owner must then collect and release before it abandons the heap.
    pub(crate) fn adopt_or_signal(&self) -> bool {
        let mut old = self.0.guess();
        loop {
            let adopts = has(old, ABANDONED);
            let new = if adopts {
                first(old)
            } else {
                with(old, SIGNALLED)
            };
            // Acquire: as in `adopt`; the signal publishes nothing. Relaxed on failure: the value is only
            // another guess.
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
