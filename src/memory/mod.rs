//! Segments: where their memory comes from, what their headers say, and the word to which remote threads push.
//!
//! | file | what it owns | who touches it |
//! |---|---|---|
//! | `remote` | a segment's remote word and a heap's pending word | any thread, by read-modify-writes |
//! | `segment` | the header, and the slots that were never handed out or came home | the owner of the heap, but for the remote word and the identity |
//! | `pins` | how many threads look into an arena | any thread, by read-modify-writes |
//! | `arena` | mappings of 4 MiB, sliced into segments, and which of these are free | any thread, by read-modify-writes on bitmaps |
//!
//! Uses `slot`, `hardened` and `ground`. A heap is an opaque id here.

pub(crate) mod arena;
pub(crate) mod pins;
pub(crate) mod remote;
pub(crate) mod retention;
pub(crate) mod segment;
