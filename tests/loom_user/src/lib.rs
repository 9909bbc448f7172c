//! A user's mailbox for one letter, which he checks with loom. `RUSTFLAGS="--cfg loom"` holds for all of his dependencies,
//! segment-pool among them: it must have its whole public API there, and ordinary atomics inside.
//!
//! The crate's own models have another cfg, `segment_pool_loom`.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, Ordering};

use segment_pool::PoolBox;

/// A place for one letter, that any thread may put one into or take out.
#[derive(Debug)]
pub struct Mailbox<T>(AtomicPtr<T>);

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Puts a letter in, and returns what was there.
    pub fn put(&self, letter: PoolBox<T>) -> Option<PoolBox<T>> {
        self.swap(PoolBox::into_raw(letter))
    }

    /// Takes the letter out, if there is one.
    pub fn take(&self) -> Option<PoolBox<T>> {
        self.swap(std::ptr::null_mut())
    }

    fn swap(&self, letter: *mut T) -> Option<PoolBox<T>> {
        // AcqRel: releases the letter that is put in, and acquires the one that comes out.
        let before = self.0.swap(letter, Ordering::AcqRel);
        // SAFETY: what is not null was made by `put`, of a box, and the swap took it out.
        (!before.is_null()).then(|| unsafe { PoolBox::from_raw(before) })
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::Mailbox;
    use loom::sync::Arc;
    use segment_pool::PoolBox;

    #[test]
    fn a_letter_is_taken_by_one() {
        loom::model(|| {
            let mailbox = Arc::new(Mailbox::new());
            assert!(mailbox.put(PoolBox::new(7)).is_none());
            let other = Arc::clone(&mailbox);
            let taker = loom::thread::spawn(move || other.take().map(PoolBox::into_inner));
            let mine = mailbox.take().map(PoolBox::into_inner);
            let theirs = taker.join().unwrap();
            assert_eq!(mine.or(theirs), Some(7));
            assert!(mine.is_none() || theirs.is_none());
        });
    }
}
