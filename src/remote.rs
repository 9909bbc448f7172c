//! The two words that other threads write: a segment's remote list and a heap's inbox.
//!
//! ```text
//! RemoteWord   | head: 16 | count: 16 | batches: 16 | QUEUED |        of a segment
//! Inbox        | first segment                  | ABANDONED |        of a heap
//! ```
//!
//! * Anybody who holds live slots of a segment pushes them with one compare-and-swap. Whoever turns QUEUED on, and
//!   nobody else, puts the segment in its heap's inbox; only the segment's owner turns QUEUED off, by taking the list.
//! * After a push that did not turn QUEUED on, the segment may be gone: touch nothing more.
//! * An inbox belongs to the thread that owns the heap, or to nobody: ABANDONED. A pusher that meets ABANDONED takes
//!   the heap over with the same compare-and-swap that adds its segment, so a push is never left unseen.
//!
//! Both lists are pushed to by many and taken whole by one, so there is no ABA. Pushes *and* takes are AcqRel: the
//! push reads what the last take wrote (QUEUED off) and so is ordered behind the owner's reading of the inbox link;
//! with Release and Acquire alone, the second pusher's write of that link races with it.

use core::ptr::{self, NonNull};

use crate::slot::Offset;
use crate::sync::{AtomicPtr, AtomicU64, Guess, Ordering, const_fn};

const COUNT_SHIFT: u32 = 16;
const BATCHES_SHIFT: u32 = 32;
const QUEUED: u64 = 1 << 48;

/// A segment's list of remotely freed slots: the newest carrier, how many slots in how many batches, and whether the
/// segment is in an inbox.
#[derive(Debug)]
pub(crate) struct RemoteWord(AtomicU64);

/// What the owner took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// The newest carrier.
    pub(crate) head: Option<Offset>,
    /// Slots on the list.
    pub(crate) count: usize,
    /// Pushes that made the list.
    pub(crate) batches: usize,
}

impl Taken {
    fn decode(word: u64) -> Self {
        let field = |shift: u32| usize::from((word >> shift) as u16);
        Self {
            head: Offset::from_raw(word as u16),
            count: field(COUNT_SHIFT),
            batches: field(BATCHES_SHIFT),
        }
    }
}

/// What a pusher must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a segment that was queued must be put in an inbox"]
pub(crate) enum Pushed {
    /// Nothing; the segment may be gone already.
    Joined,
    /// Put the segment in the inbox of its heap.
    Queued,
}

impl RemoteWord {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    /// Pushes a batch of `count` slots whose newest carrier is `head`; `link_tail` is told, before each attempt, the
    /// carrier that the batch's oldest one must point to.
    #[inline]
    pub(crate) fn push(
        &self,
        head: Offset,
        count: usize,
        mut link_tail: impl FnMut(Option<Offset>),
    ) -> Pushed {
        let added = (count as u64) << COUNT_SHIFT | 1 << BATCHES_SHIFT | QUEUED;
        let mut old = self.0.guess();
        loop {
            link_tail(Offset::from_raw(old as u16));
            let kept = old & !(u64::from(u16::MAX) | QUEUED);
            let new = kept + added + u64::from(Offset::to_raw(Some(head)));
            // AcqRel: releases the carriers to the owner's `take`, and acquires from the `take` that turned QUEUED
            // off the owner's reading of the inbox link, which the caller overwrites next. Relaxed on
            // failure: a better guess.
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if old & QUEUED == 0 => return Pushed::Queued,
                Ok(_) => return Pushed::Joined,
                Err(current) => old = current,
            }
        }
    }

    /// Takes the whole list and turns QUEUED off. Owner only, after the segment came out of the inbox.
    #[inline]
    pub(crate) fn take(&self) -> Taken {
        // AcqRel: acquires the carriers from every `push`, and releases the inbox link, read before this, to the next
        // `push` that turns QUEUED on.
        Taken::decode(self.0.swap(0, Ordering::AcqRel))
    }

    /// The list as it is, for checks by the owner.
    pub(crate) fn peek(&self) -> Taken {
        // Acquire: as `take`, for a checker that walks the carriers.
        Taken::decode(self.0.load(Ordering::Acquire))
    }

    /// Whether nothing is on the list and the segment is in no inbox. Owner only: what it sees is final when no slot
    /// of the segment is alive.
    pub(crate) fn is_idle(&self) -> bool {
        // Relaxed: the owner asks when every slot is home, so the last change was its own `take`.
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Something that waits in an inbox, linked through itself.
///
/// # Safety
///
/// The link is a field of the node's own that only `set_inbox_link` writes; nodes are at least 2-aligned.
pub(crate) unsafe trait Node {
    /// # Safety
    ///
    /// The caller turned QUEUED on and has not yet pushed, so no other thread touches the link.
    unsafe fn set_inbox_link(this: NonNull<Self>, next: *mut Self);

    /// # Safety
    ///
    /// The caller took the node out of the inbox and has not yet taken its remote list.
    unsafe fn inbox_link(this: NonNull<Self>) -> *mut Self;
}

/// A heap's list of segments whose remote list went from empty to not empty, and whether a thread owns the heap.
#[derive(Debug)]
pub(crate) struct Inbox<N>(AtomicPtr<N>);

/// Who serves the inbox after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an acquired heap must be served and abandoned"]
pub(crate) enum Delivered {
    /// The thread that owns the heap.
    ToOwner,
    /// The pusher: the heap was abandoned, and now is its own until it abandons it again.
    Acquired,
}

/// The low bit of the word: nobody owns the heap.
const ABANDONED: usize = 1;

fn is_abandoned<N>(word: *mut N) -> bool {
    word.addr() & ABANDONED != 0
}

fn first<N>(word: *mut N) -> *mut N {
    word.map_addr(|addr| addr & !ABANDONED)
}

fn abandoned<N>(first: *mut N) -> *mut N {
    first.map_addr(|addr| addr | ABANDONED)
}

impl<N: Node> Inbox<N> {
    const_fn! {
        /// An empty inbox of a heap that the maker owns.
        pub(crate) fn new() -> Self {
            Self(AtomicPtr::new(ptr::null_mut()))
        }
    }

    /// Adds a segment.
    ///
    /// # Safety
    ///
    /// The caller's push turned the segment's QUEUED on, and this inbox is that of the segment's heap.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) -> Delivered {
        let mut old = self.0.guess();
        loop {
            // SAFETY: the caller turned QUEUED on, and the node is not published yet.
            unsafe { N::set_inbox_link(node, first(old)) };
            // AcqRel: releases the link to `take`; acquires, when the heap was abandoned, what its last owner left.
            // Relaxed on failure: only another guess.
            match self.0.compare_exchange_weak(
                old,
                node.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) if is_abandoned(old) => return Delivered::Acquired,
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

    /// Takes the whole list. Owner only.
    pub(crate) fn take(&self) -> *mut N {
        if !cfg!(loom) && self.is_empty() {
            return ptr::null_mut();
        }
        // Acquire: the links, from every `push`, each a read-modify-write that carries the releases before it on.
        self.0.swap(ptr::null_mut(), Ordering::Acquire)
    }

    /// Gives the heap up if nothing waits; false, and still the caller's, if something does. Owner only.
    pub(crate) fn try_abandon(&self) -> bool {
        let empty = ptr::null_mut();
        // Release: hands everything the owner did to whoever acquires the heap. Relaxed on failure: nothing was read.
        self.0
            .compare_exchange(
                empty,
                abandoned(empty),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Makes the caller the owner of an abandoned heap; false if it has one or another was faster.
    pub(crate) fn adopt(&self) -> bool {
        let mut old = if cfg!(loom) {
            abandoned(ptr::null_mut())
        } else {
            self.0.guess()
        };
        while is_abandoned(old) {
            // Acquire: from the Release of the abandoning thread, everything it did to the heap; pushes since are
            // read-modify-writes and so carry that release on. Relaxed on failure: only another guess.
            match self.0.compare_exchange_weak(
                old,
                first(old),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }
}
