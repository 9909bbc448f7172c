//! Threads that take turns on one real one: what `LOCAL` holds is exchanged whenever another's turn comes. All that they
//! run is the real code; only that two of them never run at once is not.

use core::ptr;

use super::local::{LOCAL, Local, Phase};
use crate::heap::HeapRef;
use crate::heap::remote_buffer::RemoteBuffer;

/// What is thread-local, of a thread whose turn it is not.
pub(crate) struct Thread(Box<Local>);

impl Thread {
    pub(crate) fn start() -> Self {
        Self(Box::new(Local::new()))
    }

    /// Runs the work as this thread.
    pub(crate) fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _turn = Turn::begin(&self.0);
        work()
    }

    /// Does what the guard does. What runs here afterwards runs as destructors of other thread-local values do.
    pub(crate) fn end(&self) {
        self.run(|| LOCAL.with(Local::end));
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.phase.get() == Phase::Ended
    }

    pub(crate) fn token(&self) -> u64 {
        self.0.token.get()
    }

    pub(crate) fn remote_buffer(&self) -> &RemoteBuffer {
        &self.0.remote_buffer
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = HeapRef> {
        self.0.held.iter()
    }

    /// The heaps for which the thread keeps references to their pools: held, parked, or owed a visit.
    pub(crate) fn referenced(&self) -> impl Iterator<Item = HeapRef> {
        let parked = self.0.parked.iter().filter_map(|parked| parked.get());
        self.held().chain(parked).chain(self.0.reclaims.heaps())
    }
}

/// A thread's turn, which ends also when its work panics.
struct Turn<'a>(&'a Local);

impl<'a> Turn<'a> {
    fn begin(parked: &'a Local) -> Self {
        exchange(parked);
        Self(parked)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        exchange(self.0);
    }
}

fn exchange(parked: &Local) {
    LOCAL.with(|local| {
        let (local, parked) = (&raw const *local, &raw const *parked);
        // SAFETY: a `Local` is made of cells, which only this thread uses; it uses none of them just now.
        unsafe { ptr::swap(local.cast_mut(), parked.cast_mut()) }
    });
}

#[test]
fn a_thread_past_its_end_defers_no_reclaim() {
    let closed = || LOCAL.with(|local| local.reclaims.are_closed());
    let thread = Thread::start();
    assert!(!thread.run(closed));
    thread.end();
    assert!(thread.run(closed));
}
