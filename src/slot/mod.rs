//! Free slots: their bytes, and the lists that they make.
//!
//! | file | what it owns | who touches it |
//! |---|---|---|
//! | `bytes` | the bytes of a free slot: links, carriers; the door for all other files | the thread that owns the slot's list |
//! | `free_list` | a bin's stack of free slots, and its full magazines | the owner of the heap |
//!
//! Uses `hardened` and `ground`.

pub(crate) mod bytes;
pub(crate) mod free_list;

#[cfg(not(segment_pool_loom))] // by `thread`, which the models do without
pub(crate) use self::bytes::take_back;
pub(crate) use self::bytes::{
    MOST_PIECES, Offset, Piece, SlotPtr, ask_for, carrier_next, carrier_pieces, clear_link,
    close_carrier, end_carrier, erase, expect_untouched, holds_magazine_link, link, prepare,
    read_pieces, set_carrier_next, set_link, write_carrier,
};
