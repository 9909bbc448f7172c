//! Threads: the heap that a thread uses for each pool, its fast paths, and what happens when it idles or ends.
//!
//! | file | contents |
//! |---|---|
//! | `held` | the heaps that a thread holds, and the index by pool |
//! | `local` | the thread-local variable |
//! | `heaps` | acquiring, finding, parking and leaving heaps; the end of the thread |
//! | `slow` | allocations and frees that the fast paths do not handle |
//! | `counted` | allocations and frees of pools that count their values |
//! | `entry` | the fast paths, and the entry points for the layers above |
//!
//! Only the current thread uses this data. No thread holds a heap of a bounded pool (`heap::bounded`): its allocations
//! and frees go there out of line. Uses `heap` and the layers below it.

mod counted;
mod entry;
mod heaps;
mod held;
mod local;
mod slow;
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod tests;

pub(crate) use self::counted::{
    Asker, acquire_permit, alloc_at_hand, alloc_counted, note_wait, release_permit,
};
pub(crate) use self::entry::{
    alloc_default, alloc_for_handle, alloc_from_pool, close, collect, emit_events, emit_failure,
    for_each_held, for_each_open, for_each_open_batch, free, holds, leave, leave_for_handle,
    map_ahead, other_threads, put_back, trim_pool, with_room_for,
};
pub use self::entry::{flush, idle, retain, trim};
