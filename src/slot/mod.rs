//! Free slots: their bytes, and the lists built from them.
//!
//! | file | what it owns | which thread touches it |
//! |---|---|---|
//! | `bytes` | the bytes of a free slot (the only entry point): links, batch nodes | the thread that owns the slot's list |
//! | `free_list` | a bin's stack of free slots, and its full magazines | the owner of the heap |
//!
//! This folder uses `hardened` and `ground`.

pub(crate) mod bytes;
pub(crate) mod free_list;

#[cfg(not(segment_pool_loom))] // used by `thread`, which the models omit
pub(crate) use self::bytes::make_free;
pub(crate) use self::bytes::{
    MOST_RUNS, Offset, Run, SlotPtr, clear_link, close_node, end_node, erase, expect_untouched,
    holds_magazine_link, link, node_next, prefetch, prepare, read_runs, runs_per_node, set_link,
    set_node_next, write_node,
};
