//! Segments: the source of their memory, their headers, and the words that remote threads push to.
//!
//! | file | what it owns | which thread touches it |
//! |---|---|---|
//! | `remote` | a segment's remote word and a heap's pending list | any thread, by read-modify-writes |
//! | `segment` | the header; slots returned to the segment or never handed out | see the file: owner part and remote part |
//! | `arena` | mappings of 4 MiB, sliced into segments, and their bitmaps | any thread, by read-modify-writes |
//!
//! This folder uses `slot`, `hardened` and `ground`. A heap is an opaque id here.

pub(crate) mod arena;
pub(crate) mod pins;
pub(crate) mod remote;
pub(crate) mod retention;
pub(crate) mod segment;
