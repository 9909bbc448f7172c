//! Loom models of the counts: every interleaving of two threads.
//!
//! `Slot` is a `PoolArc` without the pool. Handles are tokens, and the value and the memory are cells that
//! loom watches.

use std::sync::Arc;

use loom::thread;

use super::{Left, RefCount};
use crate::ground::sync::UnsafeCell;

struct Slot {
    count: RefCount,
    /// A holder of a strong handle reads it. A thread that drops the value or has the only handle writes it.
    value: UnsafeCell<u32>,
    /// Every handle reads it. The thread that frees the memory writes it.
    memory: UnsafeCell<()>,
}

// SAFETY: loom checks every access.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    fn with(count: RefCount) -> Arc<Self> {
        Arc::new(Self {
            count,
            value: UnsafeCell::new(7),
            memory: UnsafeCell::new(()),
        })
    }

    fn count(&self) -> &RefCount {
        self.memory.with(|_| ());
        &self.count
    }

    fn read(&self) -> u32 {
        // SAFETY: loom checks that no thread writes meanwhile.
        self.value.with(|value| unsafe { *value })
    }

    fn change(&self, by: u32) {
        // SAFETY: loom checks that no other thread accesses it meanwhile.
        self.value.with_mut(|value| unsafe { *value += by });
    }

    fn free(&self) {
        self.memory.with_mut(|_| ());
    }

    /// Drops a strong handle. Returns whether this dropped the value.
    fn drop_strong(&self) -> bool {
        let left = self.count().drop_strong();
        self.after(left)
    }

    fn after(&self, left: Left) -> bool {
        if left == Left::Strong {
            return false;
        }
        self.change(0);
        match left {
            Left::Nobody => self.free(),
            _ => self.drop_weak(),
        }
        true
    }

    fn drop_weak(&self) {
        if self.count().drop_weak() {
            self.free();
        }
    }
}

/// Runs `there` on another thread and `here` on this one. Both get the slot.
fn race<R: 'static>(
    slot: &Arc<Slot>,
    there: impl FnOnce(&Slot) -> R + 'static,
    here: impl FnOnce(&Slot) -> R,
) -> (R, R) {
    let other = thread::spawn({
        let slot = Arc::clone(slot);
        move || there(&slot)
    });
    let result = here(slot);
    (other.join().unwrap(), result)
}

/// Two strong handles are dropped at once, after both threads read the value. Catches: a value dropped by
/// both or by neither, or while the other thread still reads; a drop that does not release; a last drop that
/// does not acquire.
#[test]
fn one_of_the_strong_handles_drops_the_value() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_strong());
        slot.count().add_strong();
        let use_and_drop = |slot: &Slot| {
            assert_eq!(slot.read(), 7);
            slot.drop_strong()
        };
        let (there, here) = race(&slot, use_and_drop, use_and_drop);
        assert!(there != here);
    });
}

/// The last strong and the last weak handle are dropped at once. Catches: memory freed by both or by neither,
/// or while the other thread still reads the counts.
#[test]
fn the_last_handle_of_either_kind_frees_the_memory() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_strong());
        slot.count().add_weak();
        race(&slot, Slot::drop_weak, |slot| {
            assert!(slot.drop_strong());
        });
        slot.memory.with_mut(|_| ());
    });
}

/// A weak handle is upgraded while the last strong one is dropped. Catches: an upgrade of a dropped value.
#[test]
fn an_upgraded_handle_has_a_live_value() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_strong());
        slot.count().add_weak();
        let upgrade = |slot: &Slot| {
            let upgraded = slot.count().upgrade();
            if upgraded {
                assert_eq!(slot.read(), 7);
            }
            let dropped = upgraded && slot.drop_strong();
            slot.drop_weak();
            dropped
        };
        let (there, here) = race(&slot, upgrade, Slot::drop_strong);
        assert!(there != here);
    });
}

/// A thread checks whether it has the only handle while the other strong handle becomes a weak one and strong
/// again. Catches: the only strong handle counts as the only handle; the check does not acquire what other
/// threads did.
#[test]
fn the_only_handle_may_write() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_strong());
        slot.count().add_strong();
        let read_through_a_weak_one = |slot: &Slot| {
            slot.count().add_weak();
            slot.drop_strong();
            if slot.count().upgrade() {
                slot.read();
                slot.drop_strong();
            }
            slot.drop_weak();
        };
        race(&slot, read_through_a_weak_one, |slot| {
            if slot.count().is_alone() {
                slot.change(1);
            }
            slot.drop_strong();
        });
    });
}

/// Two threads try to take the value out. Catches: a value taken out by both, or while the other thread
/// reads.
#[test]
fn at_most_one_takes_the_value_out() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_strong());
        slot.count().add_strong();
        let take = |slot: &Slot| match slot.count().take_only_strong() {
            Some(left) => slot.after(left),
            None => {
                slot.read();
                slot.drop_strong()
            }
        };
        let (there, here) = race(&slot, take, take);
        assert!(there != here);
    });
}

/// The value is taken out while a weak handle is upgraded. Catches: a value that is both taken out and
/// upgraded.
#[test]
fn taking_the_value_from_weak_handles_leaves_them_none() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_strong());
        slot.count().add_weak();
        let upgrade = |slot: &Slot| {
            let upgraded = slot.count().upgrade();
            let dropped = upgraded && slot.drop_strong();
            slot.drop_weak();
            dropped
        };
        let (there, here) = race(&slot, upgrade, |slot| {
            match slot.count().take_only_strong() {
                Some(left) => slot.after(left),
                None => slot.drop_strong(),
            }
        });
        assert!(there != here);
    });
}

/// A value is written and published while a weak handle is upgraded. Catches: a publication that does not
/// release; an upgrade that does not acquire.
#[test]
fn a_value_is_seen_once_it_is_published() {
    loom::model(|| {
        let slot = Slot::with(RefCount::one_weak());
        slot.count().add_weak();
        let upgrade = |slot: &Slot| {
            if slot.count().upgrade() {
                assert_eq!(slot.read(), 8);
                slot.drop_strong();
            }
            slot.drop_weak();
        };
        race(&slot, upgrade, |slot| {
            slot.change(1);
            slot.count().publish();
            slot.drop_strong();
        });
    });
}
