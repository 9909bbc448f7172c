use core::ptr;

use super::{DEFAULT, Registry, RegistryRef};
use crate::sync::Ordering;

impl RegistryRef {
    pub(crate) fn counts(self) -> Counts {
        // Relaxed: no other thread runs.
        let number = |count: &crate::sync::AtomicUsize| count.load(Ordering::Relaxed);
        Counts {
            references: number(&self.core().refs),
            in_use: number(&self.core().in_use),
            abandoned: number(&self.get().abandoned),
        }
    }
}

/// What a registry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) references: usize,
    pub(crate) in_use: usize,
    pub(crate) abandoned: usize,
}

/// Forgets all heaps of the default pool, as if none had ever been made. `free` says that no thread holds one and that no
/// segment is left; else they are lost. For a process in which no other thread uses the pool.
pub(crate) fn start_anew(free: bool) {
    let pool = super::default();
    let heaps: Vec<_> = pool.heaps().collect();
    // All of it, so that a field that is added is thought of here.
    let Registry {
        core,
        alive: _,
        heaps: list,
        newest,
        abandoned,
        closed: _,
    } = &DEFAULT;
    // Relaxed (all): no other thread runs.
    list.store(ptr::null_mut(), Ordering::Relaxed);
    newest.store(ptr::null_mut(), Ordering::Relaxed);
    abandoned.store(0, Ordering::Relaxed);
    core.refs.store(1, Ordering::Relaxed);
    core.in_use.store(0, Ordering::Relaxed);
    if free {
        for heap in heaps {
            // SAFETY: guaranteed by the caller.
            unsafe { heap.free() };
        }
    }
}
