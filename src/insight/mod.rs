//! Introspection of pools: counters, tables, snapshots, leaks.
//!
//! | file | contents |
//! |---|---|
//! | `look` | the state of each slot of a heap, while no foreign code runs |
//! | `census` | what was freed and is not collected, and how full the segments are |
//! | `holder` | whose a heap is, and what its counters say |
//! | `stats` | sums of the owners' counters; `validate`, which counts each slot once |
//! | `report` | a table of the counters, and the memory of the process |
//! | `snapshot` | the state of each slot of each segment of each heap |
//! | `leaks` | the values that were not dropped |
//!
//! Any thread reads the counters, and they may lag. Only the owning thread of a heap reads its lists. Uses `thread` and
//! the layers below it.

pub(crate) mod census;
pub(crate) mod holder;
pub(crate) mod leaks;
pub(crate) mod look;
pub(crate) mod report;
pub(crate) mod snapshot;
pub(crate) mod stats;
