//! Free slots: their bytes, and the lists that they make.
//!
//! | file | what it owns | who touches it |
//! |---|---|---|
//! | `bytes` | the bytes of a free slot: links, batch nodes; the entry point for all other files | the thread that owns the slot's list |
//! | `free_list` | a bin's stack of free slots, and its full magazines | the owner of the heap |
//!
//! Uses `hardened` and `ground`.

pub(crate) mod bytes;
pub(crate) mod free_list;

#[cfg(not(segment_pool_loom))] // by `thread`, which the models do without
pub(crate) use self::bytes::make_free;
pub(crate) use self::bytes::{
    MOST_RUNS, Offset, Run, SlotPtr, clear_link, close_node, end_node, erase, expect_untouched,
    holds_magazine_link, link, node_next, prefetch, prepare, read_runs, runs_per_node, set_link,
    set_node_next, write_node,
};
