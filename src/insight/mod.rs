//! What pools say of themselves: numbers, tables, pictures, leaks.
//!
//! | file | what it makes |
//! |---|---|
//! | `look` | the state of each slot of a heap, while no foreign code runs |
//! | `census` | what was freed and is not collected, and how full the segments are |
//! | `holder` | whose a heap is, and what its counters say |
//! | `stats` | sums of the owners' counters; `validate`, which counts each slot once |
//! | `report` | a table of them, beside what the process has mapped |
//! | `snapshot` | a picture: each slot of each segment of each heap |
//! | `leaks` | the values that were not dropped |
//!
//! Counters are read by any thread and may lag. Headers of segments are looked at by any thread, while others make and release them. Lists are
//! looked into only by the owner of their heap. Uses `thread` and what is below.

pub(crate) mod census;
pub(crate) mod holder;
pub(crate) mod leaks;
pub(crate) mod look;
pub(crate) mod report;
pub(crate) mod snapshot;
pub(crate) mod stats;
