//! The counts of a `PoolArc`: both are in one word, so that one access reads both.
//!
//! ```text
//! 63          32 31           0
//! |    weak     |   strong    |      weak counts the weak handles, plus one for all strong handles together
//! ```
//!
//! * strong > 0: the value exists. The thread that changes it from 1 to 0 drops the value (or moves it out),
//!   then releases the weak count of the strong handles.
//! * weak > 0: the memory exists. The thread that changes it to 0 frees the memory.
//! * `{strong 1, weak 1}`: if the holder of the strong handle reads this, its handle is the only one of any
//!   kind, and stays so. This is the purpose of the single word. The standard library's `Arc` has two words
//!   and must lock one of them (a `downgrade` spins meanwhile) to read both.
//!
//! Any thread that holds a handle may touch the word.
//!
//! **Orderings.** A thread that drops a handle has finished with the value: Release. A thread that finds that
//! it has the only handle (drops the value, frees the memory, gets `&mut`) needs all earlier accesses:
//! Acquire, by a separate load after a decrement, because ThreadSanitizer does not model fences. All changes
//! are read-modify-writes. So an Acquire load is ordered after every Release in the word's history, not only
//! after the last one. Creating a handle from another is Relaxed: there is nothing to acquire or to release.
//!
//! **Overflow** of a half aborts the process when the half is half full. Not that many threads can be between
//! their increment and the abort.

use crate::ground::sync::{AtomicU64, Ordering};

/// One strong handle.
const STRONG: u64 = 1;
/// One weak handle.
const WEAK: u64 = 1 << 32;
/// If there are more handles of a kind than this, the process aborts.
const MAX: u64 = i32::MAX as u64;

/// The numbers of handles of both kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts(u64);

impl Counts {
    /// The counts of a strong handle without any other handle.
    const ALONE: Self = Self(STRONG + WEAK);

    fn strong(self) -> u64 {
        self.0 % WEAK
    }

    fn weak(self) -> u64 {
        self.0 / WEAK
    }
}

/// The handles that are left after one was dropped, or after the value was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Left {
    /// Strong handles. The value stays.
    Strong,
    /// Weak handles, and the weak count of the strong ones. The caller drops the value and then releases that
    /// weak count.
    Weak,
    /// None. The caller drops the value and frees the memory.
    Nobody,
}

/// The word. Any thread that holds a handle may use it.
#[derive(Debug)]
pub(crate) struct RefCount(AtomicU64);

impl RefCount {
    /// The counts of an existing value with one strong handle.
    #[inline]
    pub(crate) fn one_strong() -> Self {
        Self(AtomicU64::new(Counts::ALONE.0))
    }

    /// The counts of a value that does not exist yet, with one weak handle.
    pub(crate) fn one_weak() -> Self {
        Self(AtomicU64::new(WEAK))
    }

    pub(crate) fn strong(&self) -> usize {
        self.counts(Ordering::Relaxed).strong() as usize // Relaxed: only for display
    }

    /// The number of weak handles, without the weak count of the strong ones.
    pub(crate) fn weak(&self) -> usize {
        let counts = self.counts(Ordering::Relaxed); // Relaxed: only for display
        (counts.weak() - u64::from(counts.strong() > 0)) as usize
    }

    /// Adds a strong handle. The caller has a strong one.
    #[inline]
    pub(crate) fn add_strong(&self) {
        // Relaxed: the caller's handle keeps the value alive, and other synchronisation passes the new handle
        // to its user.
        let before = Counts(self.0.fetch_add(STRONG, Ordering::Relaxed));
        if before.strong() > MAX {
            too_many();
        }
    }

    /// Adds a weak handle. The caller has a handle of either kind.
    #[inline]
    pub(crate) fn add_weak(&self) {
        // Relaxed: as in `add_strong`.
        let before = Counts(self.0.fetch_add(WEAK, Ordering::Relaxed));
        if before.weak() > MAX {
            too_many();
        }
    }

    /// Adds a strong handle if the value exists. The caller has a weak one.
    pub(crate) fn upgrade(&self) -> bool {
        // Acquire: the value, from the Release of `publish`. (If there were strong handles before, the value
        // is older than the weak handle.)
        let before = self.update(Ordering::Acquire, |counts| {
            (counts.strong() > 0).then_some(counts.0 + STRONG)
        });
        if before.is_some_and(|before| before.strong() > MAX) {
            too_many();
        }
        before.is_some()
    }

    /// Drops a strong handle. Unless it returns `Left::Strong`, the caller now owns the value exclusively.
    #[inline]
    pub(crate) fn drop_strong(&self) -> Left {
        // Release: everything done through this handle, to the thread that finds itself with the only handle.
        let before = Counts(self.0.fetch_sub(STRONG, Ordering::Release));
        if before.strong() > 1 {
            return Left::Strong;
        }
        self.left_after_last_strong(before)
    }

    /// Drops the strong handle if it is the only strong one. The caller then owns the value exclusively.
    pub(crate) fn take_only_strong(&self) -> Option<Left> {
        // Relaxed: the Acquire below covers everything done through other handles. Nothing is released yet.
        let before = self.update(Ordering::Relaxed, |counts| {
            (counts.strong() == 1).then_some(counts.0 - STRONG)
        })?;
        Some(self.left_after_last_strong(before))
    }

    #[inline]
    fn left_after_last_strong(&self, before: Counts) -> Left {
        // Acquire: everything done through handles dropped before, from their Release.
        self.counts(Ordering::Acquire);
        // If the handle was the last of all, no thread can have created another meanwhile, so the word need
        // not be read again.
        if before == Counts::ALONE {
            Left::Nobody
        } else {
            Left::Weak
        }
    }

    /// Drops a weak handle, or releases the weak count of the strong ones. If true, the caller now owns the
    /// memory exclusively.
    pub(crate) fn drop_weak(&self) -> bool {
        // Release: the last use of the memory, to the thread that frees it.
        let before = Counts(self.0.fetch_sub(WEAK, Ordering::Release));
        let was_last = before.weak() == 1;
        if was_last {
            // Acquire: from the Release of every handle dropped before.
            self.counts(Ordering::Acquire);
        }
        was_last
    }

    /// Whether the caller's strong handle is the only one of any kind.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        // Acquire: everything done through handles dropped before, from their Release.
        self.counts(Ordering::Acquire) == Counts::ALONE
    }

    /// Publishes the value that did not exist before. The caller's weak handle becomes the weak count of the
    /// strong ones.
    pub(crate) fn publish(&self) {
        // Release: the value, to an `upgrade`.
        self.0.fetch_add(STRONG, Ordering::Release);
    }

    fn counts(&self, order: Ordering) -> Counts {
        Counts(self.0.load(order))
    }

    /// Replaces the counts by the result of `next` and returns the previous ones. `None` if `next` returns
    /// `None`.
    fn update(&self, order: Ordering, next: impl Fn(Counts) -> Option<u64>) -> Option<Counts> {
        let mut current = self.counts(Ordering::Relaxed); // Relaxed: confirmed below
        loop {
            // Relaxed on failure: the loop tries again.
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

/// Aborts. There can be this many handles only if most were forgotten. If the count wrapped, a value in use
/// would be freed.
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

    /// The process that aborts is this test again. An environment variable selects the overflow.
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
