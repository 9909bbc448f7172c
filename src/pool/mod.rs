//! Storage for layouts and types.
//!
//! | file | what it owns |
//! |---|---|
//! | `route` | the route of a layout: no memory, a slot, a dedicated mapping |
//! | `large` | dedicated mappings |
//! | `segment_pool` | `SegmentPool<T>`, a pool of one type |
//! | `builder` | the name and the limits of a pool |
//! | `local` | `LocalPool`, a handle of one thread to a pool |
//!
//! No layer below knows `T`, and no layer above knows the owner of a slot. Uses `insight` and the layers below it.

mod builder;
mod large;
pub(crate) mod local;
pub(crate) mod route;
mod segment_pool;
#[cfg(all(test, not(segment_pool_loom)))]
mod tests;

pub use self::builder::SegmentPoolBuilder;
pub use self::segment_pool::SegmentPool;
