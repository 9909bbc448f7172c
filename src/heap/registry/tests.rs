use core::ptr;

use super::{ARENAS, DEFAULT, Registry, RegistryRef};
use crate::ground::os::refusal::unmap_all;
use crate::ground::sync::Ordering;

impl RegistryRef {
    pub(crate) fn counts(self) -> Counts {
        // Relaxed: no other thread runs.
        let number = |count: &crate::ground::sync::AtomicUsize| count.load(Ordering::Relaxed);
        Counts {
            references: number(&self.core().refs),
            in_use: number(&self.core().in_use),
            abandoned: number(&self.get().abandoned),
        }
    }
}

/// The counts of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) references: usize,
    pub(crate) in_use: usize,
    pub(crate) abandoned: usize,
}

/// Resets the default pool and the arenas to their state at the start of the process. Only if no other thread
/// uses a pool, and this thread uses nothing that it got from one.
pub(crate) fn start_anew() {
    // All fields are listed, so that a new field must be handled here.
    let Registry {
        core,
        alive: _,
        heaps,
        newest,
        abandoned,
        closed: _,
        align: _,
    } = &DEFAULT;
    // Relaxed (all): no other thread runs.
    heaps.store(ptr::null_mut(), Ordering::Relaxed);
    newest.store(ptr::null_mut(), Ordering::Relaxed);
    abandoned.store(0, Ordering::Relaxed);
    core.refs.store(1, Ordering::Relaxed);
    core.in_use.store(0, Ordering::Relaxed);
    ARENAS.start_anew();
    // SAFETY: guaranteed by the caller.
    unsafe { unmap_all() };
}
