//! What the feature `hardened` knows of slots, out of their bytes: which there are, and which are handed out.
//!
//! ```text
//! arenas   which 4 MiB of the address space are an arena, and of what span       a static table, 2 bits each
//! shield   in a segment's header: a cookie, its geometry, a byte per slot: free or live
//! sealed   a link of a free list, unreadable and unforgeable without the key of the process
//! order    the order in which a run of fresh slots is handed out
//! ```
//!
//! So any pointer at all can be asked about without touching memory that is not the crate's: its arena is looked up,
//! then the cookie of the header it would have, then whether it is where a slot starts, then that slot's byte.
//!
//! A slot's byte is written by whoever has the slot: set by the owner of the list that it is handed out from, cleared
//! by one swap by whoever frees it. Two frees of one slot, even at the same time, cannot both find it live.
//!
//! Without the feature, and in the models, all of it is `off`: the same names, no bytes and no instructions.

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
