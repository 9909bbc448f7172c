//! Threads: which heap a thread uses for which pool, its fast paths, and what happens when it idles or ends.
//!
//! | file | what it owns |
//! |---|---|
//! | `held` | the heaps that a thread holds, and the one of a given pool |
//! | `local` | the thread-local variable |
//! | `heaps` | getting, finding, parking and leaving heaps; the end of the thread |
//! | `slow` | requests and frees that the fast paths do not serve |
//! | `entry` | the fast paths, and the entry points of everything above |
//!
//! All of it is one thread's own. No thread holds a heap of a bounded pool (`heap::bounded`): its requests and frees go there out of
//! line. Uses `heap` and what is below.

mod entry;
mod heaps;
mod held;
mod local;
mod slow;
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod tests;

pub(crate) use self::entry::{
    alloc_default, alloc_for_handle, alloc_from_pool, close, collect, emit_events, emit_failure,
    for_each_held, for_each_open, for_each_open_batch, free, holds, leave, leave_for_handle,
    map_ahead, other_threads, put_back, trim_pool, with_room_for,
};
pub use self::entry::{flush, idle, retain, trim};
