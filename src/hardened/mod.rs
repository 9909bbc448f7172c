//! State that the feature `hardened` keeps about slots, outside of their bytes: which slots exist, and which
//! are handed out.
//!
//! ```text
//! arenas   the arenas in the address space and their spans          a static table, 2 bits per 4 MiB
//! key      the key of the process, cookies                          one word
//! shield   in a segment's header: cookie, geometry, a byte per slot: free or live
//! sealed   a link of a free list, unreadable and unforgeable without the key of the process
//! order    the order in which a run of fresh slots is handed out
//! ```
//!
//! So any pointer can be checked without touching memory that does not belong to the crate. The check looks
//! up the arena, then the cookie of the header that the pointer would have, then whether a slot starts there,
//! then that slot's byte.
//!
//! The thread that owns a slot writes its byte. The owner of the list from which the slot is handed out sets
//! it, and the freeing thread clears it with one swap. So of two frees of one slot, even concurrent ones,
//! only one finds it live. Any thread may touch the table of arenas, by read-modify-writes.
//!
//! Without the feature, and in the models, `off` replaces all of it: the same names, no bytes and no
//! instructions.

#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
mod arenas;
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
mod key;
#[cfg(not(all(feature = "hardened", not(segment_pool_loom))))]
mod off;
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
mod order;
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
mod sealed;
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
mod shield;

#[cfg(not(all(feature = "hardened", not(segment_pool_loom))))]
pub(crate) use self::off::*;
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
pub(crate) use self::{
    arenas::{arena_mapped, arena_unmapped},
    key::{Cookie, mix},
    order::Order,
    sealed::Sealed,
    shield::{Place, Shield},
};
