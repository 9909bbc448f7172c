//! A count of those who look into an arena without owning anything of it, so that it stays mapped while they do.
//!
//! ```text
//! Pins   | OPEN | looks under way |       of an arena; 0 where there is none
//! ```
//!
//! * A look begins with [`pin`](Pins::pin), which fails where OPEN is off. So looks are only added while it is on.
//! * Who wants to unmap the arena first holds every bit of its bitmap, and then [closes](Pins::close). If no look is under way it
//!   unmaps; else it leaves that to the look that ends last, and touches the arena no more.
//! * So exactly one of `close` and [`unpin`](Pins::unpin) says that the arena is to be unmapped, and nobody waits.
//!
//! A child of `fork` may have looks that never end, those of its parent's other threads: an arena that is closed then stays
//! mapped.

use crate::ground::sync::{AtomicU64, Guess, Ordering, const_fn};

/// There is an arena, and looks may begin.
const OPEN: u64 = 1 << 63;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pins(AtomicU64);

impl Pins {
    const_fn! {
        /// Of no arena.
        pub(crate) fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    /// Says that there is an arena. By who filed it, and while no look is under way.
    pub(crate) fn open(&self) {
        // Release: the arena, and where it is, to `pin`.
        self.0.store(OPEN, Ordering::Release);
    }

    /// Begins a look; false if there is nothing to look at.
    #[must_use = "a look that began must end"]
    pub(crate) fn pin(&self) -> bool {
        let mut old = match self.0.guess() {
            guess if cfg!(segment_pool_loom) => guess | OPEN,
            guess => guess,
        };
        while old & OPEN != 0 {
            // Acquire: from `open`, of which later looks carry the release on. Relaxed on failure: only another guess.
            let swapped =
                self.0
                    .compare_exchange_weak(old, old + 1, Ordering::Acquire, Ordering::Relaxed);
            match swapped {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }

    /// Ends a look; true if the caller must unmap the arena.
    #[must_use = "nobody else unmaps the arena"]
    pub(crate) fn unpin(&self) -> bool {
        // AcqRel: releases what was read to who unmaps the arena, and acquires, if that is the caller, what others read, and from
        // `close` that nobody uses the arena.
        let before = self.0.fetch_sub(1, Ordering::AcqRel);
        before == 1
    }

    /// Ends the looks that are to come; true if the caller must unmap the arena, false if a look that is under way will. By who
    /// holds every segment.
    #[must_use = "nobody else unmaps the arena"]
    pub(crate) fn close(&self) -> bool {
        // AcqRel: acquires from `unpin` what was read; releases to it that nobody uses the arena.
        self.0.fetch_and(!OPEN, Ordering::AcqRel) == OPEN
    }

    /// Forgets everything. For a process in which no other thread runs.
    #[cfg(all(test, not(segment_pool_loom)))]
    pub(crate) fn start_anew(&self) {
        self.0.store(0, Ordering::Relaxed); // Relaxed: no other thread runs
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_closes_unmaps_unless_a_look_is_under_way() {
        let pins = Pins::new();
        assert!(!pins.pin(), "there is nothing yet");
        pins.open();
        assert!(pins.pin() && !pins.unpin());
        assert!(pins.close());
        assert!(!pins.pin());
        pins.open();
        assert!(pins.pin() && pins.pin());
        assert!(!pins.close());
        assert!(!pins.pin(), "no look begins any more");
        assert!(!pins.unpin() && pins.unpin(), "the last one unmaps");
    }
}
