//! Feature `tracing`: what the slow paths did, noted while they do it and told when they are done.
//!
//! A subscriber is foreign code: it may allocate, drop, panic, or never come back. So nothing is told where a pool is being
//! changed. The parts [`note`] what they do, in a thread-local table of plain numbers; the entry points of the slow paths (in
//! `thread`) call [`emit`] as the last thing they do, when whoever called them could as well have been interrupted.
//!
//! A subscriber's panic ends where the event is emitted, and its payload is dropped: a entry point that takes or gives back storage
//! never unwinds because of it. Each event is emitted by itself, so the events after it are told all the same. So are those
//! that happen while another panic unwinds.
//!
//! Equal notes are added up, so that a path that releases a thousand segments tells of it once. What a subscriber itself
//! causes while it is being told is not told, for that might never end; nor is what a thread does when it ends, for the
//! subscriber's own thread-locals may be gone by then.
//!
//! Without the feature, all of this is nothing.

/// What can happen on a slow path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "tracing"),
    allow(dead_code, reason = "notes of what is not told")
)]
pub(crate) enum Happened {
    /// A heap of the pool was made, for no thread had left one.
    HeapMade,
    /// A thread took over a heap to keep.
    HeapAdopted,
    /// A thread left a heap.
    HeapAbandoned,
    /// A segment of so many bytes was taken from an arena.
    SegmentAdded,
    /// A segment of so many bytes went back to its arena.
    SegmentReleased,
    /// The pages of a segment of so many bytes were given back.
    Purged,
    /// The system or the pool's limit refused a slot, or a mapping for one value.
    AllocFailed,
    /// The pool's handle was dropped.
    Closed,
}

#[cfg(not(feature = "tracing"))]
mod noted {
    use super::Happened;

    #[inline(always)]
    pub(crate) fn note(_happened: Happened, _pool: &'static str, _bytes: usize) {}

    #[inline(always)]
    pub(crate) fn emit() {}

    #[inline(always)]
    pub(crate) fn forget() {}
}

#[cfg(feature = "tracing")]
mod noted {
    use std::cell::Cell;

    use super::Happened;
    use crate::ground::panics;

    /// Kinds of notes that one slow path can leave. More are counted, but not told one by one.
    const KINDS: usize = 16;

    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Kind {
        happened: Happened,
        pool: &'static str,
        bytes: usize,
    }

    /// Notes in the order of the first of their kind, with how many there were.
    #[derive(Clone, Copy)]
    struct Notes {
        kinds: [Option<(Kind, u64)>; KINDS],
        others: u64,
    }

    const NONE: Notes = Notes {
        kinds: [None; KINDS],
        others: 0,
    };

    thread_local! {
        static NOTES: Cell<Notes> = const { Cell::new(NONE) };
        /// Whether there is a note.
        static NOTED: Cell<bool> = const { Cell::new(false) };
        static EMITTING: Cell<bool> = const { Cell::new(false) };
    }

    /// Notes what happened, of `bytes` if that has a size.
    #[cold]
    pub(crate) fn note(happened: Happened, pool: &'static str, bytes: usize) {
        if EMITTING.get() {
            return;
        }
        let kind = Kind {
            happened,
            pool,
            bytes,
        };
        let mut notes = NOTES.get();
        notes.add(kind);
        NOTES.set(notes);
        NOTED.set(true);
    }

    impl Notes {
        fn add(&mut self, kind: Kind) {
            for place in &mut self.kinds {
                match place {
                    Some((known, count)) if *known == kind => return *count += 1,
                    Some(_) => {}
                    None => return *place = Some((kind, 1)),
                }
            }
            self.others += 1;
        }
    }

    /// Tells what was noted. To be called where no state of a pool is in use, last. Never unwinds.
    #[inline]
    pub(crate) fn emit() {
        if NOTED.get() && !EMITTING.get() {
            emit_all();
        }
    }

    #[cold]
    fn emit_all() {
        let notes = NOTES.replace(NONE);
        NOTED.set(false);
        EMITTING.set(true);
        for (kind, count) in notes.kinds.into_iter().flatten() {
            panics::contain(|| emit_one(kind, count));
        }
        if notes.others > 0 {
            panics::contain(|| emit_others(notes.others));
        }
        EMITTING.set(false);
    }

    fn emit_one(kind: Kind, count: u64) {
        let Kind { pool, bytes, .. } = kind;
        macro_rules! event {
            ($level:ident, $text:literal $(, $bytes:ident)?) => {
                tracing::event!(
                    target: "segment_pool",
                    tracing::Level::$level,
                    pool,
                    count,
                    $($bytes = $bytes as u64,)?
                    $text
                )
            };
        }
        match kind.happened {
            Happened::HeapMade => event!(DEBUG, "heap made"),
            Happened::HeapAdopted => event!(DEBUG, "heap adopted"),
            Happened::HeapAbandoned => event!(DEBUG, "heap abandoned"),
            Happened::SegmentAdded => event!(DEBUG, "segment added", bytes),
            Happened::SegmentReleased => event!(DEBUG, "segment released", bytes),
            Happened::Purged => event!(DEBUG, "purged", bytes),
            Happened::AllocFailed => event!(WARN, "refused"),
            Happened::Closed => event!(DEBUG, "pool closed"),
        }
    }

    fn emit_others(count: u64) {
        tracing::debug!(target: "segment_pool", count, "other events");
    }

    /// Forgets what was noted.
    pub(crate) fn forget() {
        NOTES.set(NONE);
        NOTED.set(false);
    }
}

pub(crate) use noted::note;
#[cfg(not(segment_pool_loom))] // those who tell are above the models
pub(crate) use noted::{emit, forget};
