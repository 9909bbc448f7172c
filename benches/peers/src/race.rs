//! Threads that start together, each on a core, and the time from the first start to the last end.

use core_affinity::CoreId;
use std::{sync::OnceLock, time::Duration};

#[path = "../../common/race.rs"]
mod on_any_core;

pub(crate) use on_any_core::{Body, wait_for};

/// Runs each body on a thread of its own, the n-th on core n, round and round. Starting and ending the threads is
/// not part of the time.
pub(crate) fn race(bodies: Vec<Body<'_>>) -> Duration {
    on_any_core::race(bodies, pin)
}

/// Ties this thread to a core, where the system allows it. Threads that it starts are tied to the same one.
pub(crate) fn pin(n: usize) {
    let cores = cores();
    if let Some(&core) = cores.get(n % cores.len().max(1)) {
        core_affinity::set_for_current(core);
    }
}

/// The cores of this process, as they were before any thread was tied to one.
pub(crate) fn cores() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}
