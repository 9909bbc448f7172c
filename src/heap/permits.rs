//! How many values of a pool may be alive: one word that counts them, and says who waits.
//!
//! ```text
//! word    | values in use: 61 | REFUSED | RESERVED | WAITED |
//! ```
//!
//! * A value takes a permit before it gets memory, and returns it when its memory goes back. In a pool whose memory is bounded too,
//!   the memory is within reach before the permit is returned, so whoever has a permit finds memory.
//! * Nobody keeps permits that he does not use. So a request is refused only if so many values are alive, or are being made or
//!   dropped at this very moment.
//! * WAITED says that requests are queued. It is in the same word as the count: a return that does not see it came before, and
//!   the request, which tries again after it was queued, finds the permit.
//! * RESERVED: one permit is for the first request of the queue alone, which was woken and then found that another was faster.
//!   So it is overtaken once at the most, by whoever.
//! * REFUSED: a request was refused or queued since the last one was served, so that an episode is told of once.

use crate::ground::sync::{AtomicU64, AtomicUsize, Ordering, const_fn};

const WAITED: u64 = 1;
const RESERVED: u64 = 2;
const REFUSED: u64 = 4;
const ONE: u64 = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Permits {
    word: AtomicU64,
    /// Values that may be alive.
    bound: AtomicUsize,
    /// Whether they are counted.
    counts: bool,
}

/// How many values are in use by the word.
fn in_use(word: u64) -> usize {
    (word / ONE) as usize
}

impl Permits {
    const_fn! {
        /// For so many values; `usize::MAX` are not counted.
        pub(crate) fn new(bound: usize) -> Self {
            Self {
                word: AtomicU64::new(0),
                bound: AtomicUsize::new(bound),
                counts: bound != usize::MAX,
            }
        }
    }

    /// Whether there is a bound.
    #[inline(always)]
    pub(crate) fn counts(&self) -> bool {
        self.counts
    }

    /// The bound.
    #[inline(always)]
    pub(crate) fn bound(&self) -> usize {
        self.bound.load(Ordering::Relaxed) // Relaxed: a number; `set_bound` says how a raise reaches who waits
    }

    /// Values in use now.
    pub(crate) fn in_use(&self) -> usize {
        in_use(self.word.load(Ordering::Relaxed)) // Relaxed: a number
    }

    /// Takes a permit; the number of values in use if there is none. `reserved`: the asker has the reservation, which it uses up.
    #[inline(always)]
    pub(crate) fn acquire(&self, reserved: bool) -> Result<(), usize> {
        // Relaxed: what the asker has seen happen before is in it, and a refusal need not know of more.
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            let new = self.admit(old, reserved).ok_or_else(|| in_use(old))?;
            // Acquire: from the Release in `release`, the memory that came within reach before. Relaxed on failure: only
            // another guess.
            let swapped =
                self.word
                    .compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed);
            match swapped {
                Ok(_) => return Ok(()),
                Err(current) => old = current,
            }
        }
    }

    /// The word with one value more, if there may be one.
    #[inline(always)]
    fn admit(&self, word: u64, reserved: bool) -> Option<u64> {
        let others = usize::from(word & RESERVED != 0 && !reserved);
        let kept = if reserved { WAITED } else { WAITED | RESERVED };
        let admits = in_use(word) + others < self.bound();
        admits.then_some((word & !(ONE - 1)) + ONE + (word & kept))
    }

    /// Returns a permit; true if requests are queued, one of which is to be woken.
    #[inline(always)]
    #[must_use = "a request that is queued must be woken"]
    pub(crate) fn release(&self) -> bool {
        // AcqRel: releases what came within reach before to `acquire`; acquires, with WAITED, the queue's lock from `announce`.
        self.word.fetch_sub(ONE, Ordering::AcqRel) & WAITED != 0
    }

    /// Says that requests are queued. By who has the queue's lock, before its request tries again.
    pub(crate) fn announce(&self) {
        // AcqRel: releases the lock to `release`, and acquires from it and `set_bound`, so that who tries again after this finds
        // what was returned before.
        self.word.fetch_or(WAITED, Ordering::AcqRel);
    }

    /// Says that none is queued. By who has the queue's lock.
    pub(crate) fn withdraw(&self) {
        // Relaxed: only who has the lock, which orders them, changes the bit, and no queued request is left to be missed.
        self.word.fetch_and(!WAITED, Ordering::Relaxed);
    }

    /// Reserves a permit. By who has the queue's lock.
    pub(crate) fn reserve(&self) {
        self.word.fetch_or(RESERVED, Ordering::Relaxed); // Relaxed: counts in the word itself
    }

    /// Gives the reservation up; true if it was not used. By who has the queue's lock.
    pub(crate) fn unreserve(&self) -> bool {
        // Relaxed: as in `reserve`.
        self.word.fetch_and(!RESERVED, Ordering::Relaxed) & RESERVED != 0
    }

    /// Notes that a request was refused or queued; true if it is the first since one was served.
    pub(crate) fn note_refused(&self) -> bool {
        // Relaxed (twice): only told.
        self.word.load(Ordering::Relaxed) & REFUSED == 0
            && self.word.fetch_or(REFUSED, Ordering::Relaxed) & REFUSED == 0
    }

    /// Changes the bound; how many values more may be alive if requests are queued, as many of which are to be woken.
    pub(crate) fn set_bound(&self, bound: usize) -> usize {
        // Relaxed: the next line releases it.
        let before = self.bound.swap(bound, Ordering::Relaxed);
        // AcqRel: as in `release`. A request that it does not find queued tries again after `announce`, and finds the new bound.
        let word = self.word.fetch_or(0, Ordering::AcqRel);
        if word & WAITED == 0 {
            0
        } else {
            bound.saturating_sub(before)
        }
    }
}
