//! Heaps: the unit of ownership. A thread owns a heap and allocates from it; slots, segments and heaps move
//! between threads.
//!
//! | file | what it owns | which thread touches it |
//! |---|---|---|
//! | `batch` | freed slots of one segment, collected and written into some of them | one thread, then the segment's owner |
//! | `deferred` | a long remote list, as a bitmap | the owner of the heap |
//! | `lists` | lists of segments and of slots in transit | the thread that owns the list |
//! | `bin` | one heap's slots of one stride | the owner of the heap |
//! | `permits` | how many values of a pool may be alive | any thread |
//! | `queue` | requests that wait for one of them | any thread |
//! | `gate` | both, of a pool with a bound | any thread |
//! | `pool_core` | what the heaps of one pool share | any thread |
//! | `fully_freed` | how much of fully freed segments may wait for the owner | pushing threads count, the owner learns |
//! | `fields` | the parts of a heap | as marked there |
//! | `owner` | the operations of a heap's owner | the owner of the heap |
//! | `registry` | the heaps of a pool, and the end of the pool | any thread |
//! | `handover` | send, serve, abandon, adopt, steal, reroute | the owner of a heap, also a temporary one |
//! | `remote_buffer` | a thread's open batches of remote frees | that thread |
//! | `bounded` | pools with a limit, whose heaps no thread keeps | any thread |
//!
//! This folder uses `memory`, `slot`, `hardened` and `ground`. A thread is a token here, and a value is a
//! stride.

pub(crate) mod batch;
pub(crate) mod bin;
pub(crate) mod bounded;
pub(crate) mod deferred;
mod fields;
mod fully_freed;
pub(crate) mod gate;
pub(crate) mod handover;
pub(crate) mod lists;
mod owner;
pub(crate) mod permits;
pub(crate) mod pool_core;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod remote_buffer;
#[cfg(all(test, not(segment_pool_loom)))]
mod tests;

pub(crate) use self::fields::HeapRef;
#[cfg(not(segment_pool_loom))]
pub(crate) use self::fields::{BinRef, OS_ID_BITS};
