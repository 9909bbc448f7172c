//! What everything stands on: words and cells, the operating system, sizes, errors.
//!
//! | file | what it owns |
//! |---|---|
//! | `sync` | the entry point to atomics and cells, which the loom models replace |
//! | `os` | the entry point to the operating system: map, unmap, purge |
//! | `layout` | size classes, strides, spans: numbers only |
//! | `error`, `panics` | failed allocations; panics of foreign code that end here |
//! | `events` | the entry point to `tracing`: notes of what slow paths did |
//! | `checker`, `misuse` | what memory checkers are told; what `hardened` says before it aborts |
//! | `pointer` | operations on pointers that stable Rust lacks |
//! | `refcount` | the word that counts the handles of a shared value |
//!
//! Nothing here knows slots, heaps or threads. Any thread may call any of it. It uses nothing above.

#[cfg_attr(segment_pool_loom, allow(dead_code))] // what values need is above the models
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
#[cfg_attr(segment_pool_loom, allow(dead_code))] // the models use what they check
pub(crate) mod refcount;
pub(crate) mod sync;
