//! Simulated threads that take turns on one real thread: when the turn changes, the contents of `LOCAL` are exchanged.
//! All the code they run is real, but two simulated threads never run at the same time.

use core::ptr;

use super::local::{LOCAL, Local, Phase};
use crate::heap::HeapRef;
use crate::heap::remote_buffer::RemoteBuffer;

/// The thread-local data of a simulated thread that is not running.
pub(crate) struct Thread(Box<Local>);

impl Thread {
    pub(crate) fn start() -> Self {
        Self(Box::new(Local::new()))
    }

    /// Runs `work` as this thread.
    pub(crate) fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _turn = Turn::begin(&self.0);
        work()
    }

    /// Does what the guard does. Later work on this thread runs as destructors of other thread-local values do.
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

    /// The heaps whose pools this thread holds references to: held, parked, or to be visited again.
    pub(crate) fn referenced(&self) -> impl Iterator<Item = HeapRef> {
        let parked = self.0.parked.iter().filter_map(|parked| parked.get());
        self.held().chain(parked).chain(self.0.reclaims.heaps())
    }
}

/// The turn of a thread, which ends even if its work panics.
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
        // SAFETY: a `Local` consists of cells that only this real thread uses, and no borrow of their contents exists
        // here.
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
