//! From layouts and types to storage.
//!
//! | file | what it owns |
//! |---|---|
//! | `route` | which way a layout goes: no memory, a slot, a dedicated mapping |
//! | `large` | dedicated mappings |
//! | `segment_pool` | `SegmentPool<T>`, a pool of one type |
//! | `builder` | its name and its limits |
//! | `local` | `LocalPool`, one thread's handle of it |
//!
//! Below nothing knows `T`; above nothing knows which thread owns a slot. Uses `insight` and what is below.

mod builder;
mod large;
pub(crate) mod local;
pub(crate) mod route;
mod segment_pool;
#[cfg(all(test, not(segment_pool_loom)))]
mod tests;

pub use self::builder::SegmentPoolBuilder;
pub use self::segment_pool::SegmentPool;
