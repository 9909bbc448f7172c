//! The counts of a `PoolArc`: one word, so that one access sees both of them.
//!
//! ```text
//! 63          32 31           0
//! |    weak     |   strong    |      weak counts the weak handles, plus one for all the strong ones together
//! ```
//!
//! * strong > 0: the value is there. Whoever takes it from 1 to 0 drops it (or moves it out), then gives up their weak.
//! * weak > 0: the memory is there. Whoever takes it to 0 frees it.
//! * `{strong 1, weak 1}`: seen by somebody who holds the strong handle, that handle is the only one of any kind, and
//!   stays so. This is what one word is for. The standard library's `Arc` has two, and must lock one of them (a
//!   `downgrade` spins meanwhile) to look at both.
//!
//! **Orderings.** A thread that gives up a handle is done with the value: Release. Whoever finds out that it is alone
//! (drops the value, frees the memory, gets `&mut`) wants to see all that: Acquire, by a load of its own after a
//! decrement, because a fence is something that ThreadSanitizer does not see. All changes are read-modify-writes, so
//! that an Acquire load is ordered after every Release in the word's history, not only after the last one. Making one
//! more handle out of one that is held is Relaxed: there is nothing to see or to show.
//!
//! **Overflow** of a half aborts, half way up: so many threads cannot be between their increment and the abort.

use crate::ground::sync::{AtomicU64, Ordering};

/// One strong handle.
const STRONG: u64 = 1;
/// One weak handle.
const WEAK: u64 = 1 << 32;
/// More handles of a kind than this abort the process.
const MAX: u64 = i32::MAX as u64;

/// A number of handles, of both kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts(u64);

impl Counts {
    /// Of the first strong handle, when there is no other.
    const ALONE: Self = Self(STRONG + WEAK);

    fn strong(self) -> u64 {
        self.0 % WEAK
    }

    fn weak(self) -> u64 {
        self.0 / WEAK
    }
}

/// What is left when a handle was given up, or when a value was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Left {
    /// Strong handles: the value stays.
    Strong,
    /// Weak handles, and the strong ones' own: the value goes, and that weak is to be given up.
    Weak,
    /// Nobody: what there is goes.
    Nobody,
}

/// The word. Any thread that holds a handle may use it.
#[derive(Debug)]
pub(crate) struct RefCount(AtomicU64);

impl RefCount {
    /// For a value that is there, with one strong handle.
    #[inline]
    pub(crate) fn one_strong() -> Self {
        Self(AtomicU64::new(Counts::ALONE.0))
    }

    /// For a value that is to come, with one weak handle.
    pub(crate) fn one_weak() -> Self {
        Self(AtomicU64::new(WEAK))
    }

    pub(crate) fn strong(&self) -> usize {
        self.counts(Ordering::Relaxed).strong() as usize // Relaxed: only shown
    }

    /// Without the strong handles' own, while there are any.
    pub(crate) fn weak(&self) -> usize {
        let counts = self.counts(Ordering::Relaxed); // Relaxed: only shown
        (counts.weak() - u64::from(counts.strong() > 0)) as usize
    }

    /// One more strong handle, made of a strong one.
    #[inline]
    pub(crate) fn add_strong(&self) {
        // Relaxed: the caller's handle keeps the value, and its next user gets the handle by other means.
        let before = Counts(self.0.fetch_add(STRONG, Ordering::Relaxed));
        if before.strong() > MAX {
            too_many();
        }
    }

    /// One more weak handle, made of a handle of either kind.
    #[inline]
    pub(crate) fn add_weak(&self) {
        // Relaxed: as in `add_strong`.
        let before = Counts(self.0.fetch_add(WEAK, Ordering::Relaxed));
        if before.weak() > MAX {
            too_many();
        }
    }

    /// One more strong handle, made of a weak one, if there is a value.
    pub(crate) fn upgrade(&self) -> bool {
        // Acquire: from the Release of `publish`, the value. (After other strong handles it is older than the weak one.)
        let before = self.update(Ordering::Acquire, |counts| {
            (counts.strong() > 0).then_some(counts.0 + STRONG)
        });
        if before.is_some_and(|before| before.strong() > MAX) {
            too_many();
        }
        before.is_some()
    }

    /// Gives up a strong handle. Unless `Left::Strong`, the value is now the caller's alone.
    #[inline]
    pub(crate) fn drop_strong(&self) -> Left {
        // Release: to whoever turns out to be alone, what was done through this handle.
        let before = Counts(self.0.fetch_sub(STRONG, Ordering::Release));
        if before.strong() > 1 {
            return Left::Strong;
        }
        self.left_after_last_strong(before)
    }

    /// Gives up the strong handle if it is the only one. The value is the caller's alone then.
    pub(crate) fn take_only_strong(&self) -> Option<Left> {
        // Relaxed: what other handles did comes with the Acquire below. Nothing is given away yet.
        let before = self.update(Ordering::Relaxed, |counts| {
            (counts.strong() == 1).then_some(counts.0 - STRONG)
        })?;
        Some(self.left_after_last_strong(before))
    }

    #[inline]
    fn left_after_last_strong(&self, before: Counts) -> Left {
        // Acquire: from the Release of every handle given up before, what was done through it.
        self.counts(Ordering::Acquire);
        // The handle was the last of all: nobody can have made another meanwhile, and the memory need not be asked for.
        if before == Counts::ALONE {
            Left::Nobody
        } else {
            Left::Weak
        }
    }

    /// Gives up a weak handle, or that of the strong ones. If `true`, the memory is the caller's alone.
    pub(crate) fn drop_weak(&self) -> bool {
        // Release: to whoever frees the memory, that it is not used any more.
        let before = Counts(self.0.fetch_sub(WEAK, Ordering::Release));
        let was_last = before.weak() == 1;
        if was_last {
            // Acquire: from the Release of every handle given up before.
            self.counts(Ordering::Acquire);
        }
        was_last
    }

    /// Whether the caller's strong handle is the only one of any kind.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        // Acquire: from the Release of every handle given up before, what was done through it.
        self.counts(Ordering::Acquire) == Counts::ALONE
    }

    /// The value that was to come is there: the caller's weak handle becomes the strong ones' own.
    pub(crate) fn publish(&self) {
        // Release: to an `upgrade`, the value.
        self.0.fetch_add(STRONG, Ordering::Release);
    }

    fn counts(&self, order: Ordering) -> Counts {
        Counts(self.0.load(order))
    }

    /// Replaces the counts by what `next` says, and returns the ones before; `None` if it says nothing.
    fn update(&self, order: Ordering, next: impl Fn(Counts) -> Option<u64>) -> Option<Counts> {
        let mut current = self.counts(Ordering::Relaxed); // Relaxed: confirmed below
        loop {
            // Relaxed on failure: tried again.
            let updated =
                self.0
                    .compare_exchange_weak(current.0, next(current)?, order, Ordering::Relaxed);
            match updated {
                Ok(_) => return Some(current),
                Err(found) => current = Counts(found),
            }
        }
    }
}

/// So many handles can only have been forgotten. One more round would free a value that is in use.
#[cold]
fn too_many() -> ! {
    std::process::abort()
}

#[cfg(all(test, segment_pool_loom))]
mod models;

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    /// The process that aborts is this test again, told by a variable what to overflow.
    #[test]
    fn too_many_handles_abort() {
        const WHICH: &str = "REFCOUNT_OVERFLOW";
        if let Ok(which) = env::var(WHICH) {
            let count = RefCount(AtomicU64::new((MAX + 1) * (STRONG + WEAK)));
            match which.as_str() {
                "strong" => count.add_strong(),
                "weak" => count.add_weak(),
                _ => drop(count.upgrade()),
            }
            return;
        }
        for which in ["strong", "weak", "upgrade"] {
            let this = env::current_exe().unwrap();
            let mut child = Command::new(this);
            child.args(["--exact", "ground::refcount::tests::too_many_handles_abort"]);
            let output = child.env(WHICH, which).output().unwrap();
            assert!(!output.status.success(), "{which}: {output:?}");
            assert!(
                !String::from_utf8_lossy(&output.stdout).contains("test result"),
                "{which} failed instead of aborting: {output:?}"
            );
        }
    }

    #[test]
    fn the_most_that_are_allowed_are_counted() {
        let count = RefCount(AtomicU64::new(MAX * (STRONG + WEAK)));
        count.add_strong();
        count.add_weak();
        assert_eq!(count.strong() as u64, MAX + 1);
        assert_eq!(count.weak() as u64, MAX);
        assert_eq!(count.drop_strong(), Left::Strong);
        assert!(!count.drop_weak());
    }
}
