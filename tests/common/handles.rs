//! Shared code of the tests of handles: values that record whether they were dropped, and whether slots were freed.

#![allow(dead_code)] // each test file uses some of it

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use segment_pool::PoolBox;

/// Counts the drops of the values made of it.
#[derive(Clone)]
pub(crate) struct Drops(Arc<AtomicUsize>);

/// Reachable for leak checkers, which do not look into segments for what a leaked value holds.
static ALL_DROPS: Mutex<Vec<Drops>> = Mutex::new(Vec::new());

impl Default for Drops {
    fn default() -> Self {
        let drops = Self(Arc::default());
        ALL_DROPS.lock().unwrap().push(drops.clone());
        drops
    }
}

impl Drops {
    pub(crate) fn value(&self) -> Counts {
        Counts(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A value that is counted when it is dropped. A clone of it is counted, too.
#[derive(Clone)]
pub(crate) struct Counts(Drops);

impl Drop for Counts {
    fn drop(&mut self) {
        let before = self.0.0.fetch_add(1, Ordering::SeqCst);
        assert!(before < 1_000_000, "dropped again and again");
    }
}

/// A value whose destructor panics.
pub(crate) struct PanicsWhenDropped(pub(crate) [u8; 40]);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// A value whose `n`th clone, counted on this thread from `arm`, panics.
pub(crate) struct PanicsWhenCloned(pub(crate) Counts);

thread_local! {
    static CLONES_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl PanicsWhenCloned {
    pub(crate) fn arm(n: usize) {
        CLONES_LEFT.set(n);
    }
}

impl Clone for PanicsWhenCloned {
    fn clone(&self) -> Self {
        CLONES_LEFT.set(CLONES_LEFT.get() - 1);
        assert!(CLONES_LEFT.get() > 0, "cloned");
        Self(self.0.clone())
    }
}

/// Whether it panicked.
pub(crate) fn panics<R>(f: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(f()))).is_err()
}

/// The slots that the `T`s made next on this thread would get.
fn next_slots<T>() -> Vec<usize> {
    let boxes: Vec<_> = (0..8).map(|_| PoolBox::<T>::new_uninit()).collect();
    let mut slots: Vec<_> = boxes
        .iter()
        .map(|slot| PoolBox::as_ptr(slot).addr())
        .collect();
    boxes.into_iter().rev().for_each(drop);
    slots.sort_unstable();
    slots
}

/// Whether `f`, which takes no more than eight slots for `T`s at a time, leaves as many as it found. Free lists are last
/// in, first out: so the next slots are others than before if one was leaked.
pub(crate) fn frees_what_it_takes<T>(f: impl FnOnce()) -> bool {
    let before = next_slots::<T>();
    f();
    next_slots::<T>() == before
}
