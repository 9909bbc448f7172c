//! Storage for layouts and types.
//!
//! | file | what it owns |
//! |---|---|
//! | `large` | dedicated mappings |
//! | `sizeless` | zero-sized values that are counted |
//! | `route` | the route of a layout: no memory, a slot, a dedicated mapping |
//! | `builder` | the name and the limits of a pool |
//! | `segment_pool` | `SegmentPool<T>`, a pool of one type |
//! | `local` | `LocalPool`, a handle of one thread to a pool |
//! | `waiting` | requests that wait at a limit, for a thread or a task |
//!
//! No layer below knows `T`, and no layer above knows the owner of a slot. Uses `insight` and the layers below it.

mod builder;
mod large;
pub(crate) mod local;
pub(crate) mod route;
mod segment_pool;
pub(crate) mod sizeless;
#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
pub(crate) mod waiting;

pub use self::builder::SegmentPoolBuilder;
pub use self::segment_pool::SegmentPool;
