//! The base of the crate: atomics and cells, the operating system, sizes, errors.
//!
//! | file | what it owns |
//! |---|---|
//! | `sync` | the entry point to atomics and cells, which the loom models replace |
//! | `os` | the entry point to the operating system: map, unmap, purge |
//! | `layout` | size classes, strides, spans: numbers only |
//! | `error`, `panics` | failed allocations; containment of panics of foreign code |
//! | `events` | the entry point to `tracing`: a record of what slow paths did |
//! | `checker`, `misuse` | the annotations for memory checkers; the reports of `hardened` before it aborts |
//! | `pointer` | operations on pointers that stable Rust lacks |
//! | `refcount` | the word that counts the handles of a shared value |
//!
//! Nothing here knows slots, heaps or threads. Any thread may call any of it. This folder uses no other.

#[cfg_attr(segment_pool_loom, allow(dead_code))] // used by code for values, which the models omit
pub(crate) mod checker;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod layout;
#[cfg(all(feature = "hardened", not(segment_pool_loom)))]
pub(crate) mod misuse;
pub(crate) mod os;
pub(crate) mod panics;
#[cfg(not(segment_pool_loom))]
pub(crate) mod pointer;
#[cfg_attr(segment_pool_loom, allow(dead_code))] // the models use only a part
pub(crate) mod refcount;
pub(crate) mod sync;
