//! Feature `tracing`: slow paths note what they did, and events are emitted when the slow path is done.
//!
//! A subscriber is foreign code: it may allocate, drop, panic, or never return. So no event is emitted while
//! a pool is being changed. The code [`note`]s what happened in a thread-local table of plain numbers. The
//! entry points of the slow paths (in `thread`) call [`emit`] as their last step, when no pool state is in
//! use.
//!
//! A subscriber's panic is contained where the event is emitted, and its payload is dropped. So an entry
//! point that allocates or frees storage never unwinds because of it. Each event is emitted separately, so
//! later events are emitted even if one panics, and even while another panic unwinds.
//!
//! Equal notes are added up, so a path that releases a thousand segments emits one event. Two kinds of events
//! are not emitted: those that a subscriber causes while it runs, because that might never end; and those at
//! the end of a thread, because the subscriber's own thread-locals may be destroyed by then.
//!
//! The tables are thread-locals, which only their thread touches. Without the feature, all of this is empty.

/// What can happen on a slow path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "tracing"),
    allow(dead_code, reason = "no events are emitted")
)]
pub(crate) enum Happened {
    /// A heap of the pool was created, because none was abandoned.
    HeapMade,
    /// A thread adopted a heap to hold it.
    HeapAdopted,
    /// A thread abandoned a heap that it held.
    HeapAbandoned,
    /// A segment was claimed from an arena. `bytes` is its size.
    SegmentAdded,
    /// A segment was released to its arena. `bytes` is its size.
    SegmentReleased,
    /// The pages of a segment were purged. `bytes` is its size.
    Purged,
    /// The allocation of a slot, or of a dedicated mapping, failed: the system had no memory, or the pool's
    /// limit was reached.
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

    /// Kinds of notes that one slow path can record. Further kinds are only counted.
    const KINDS: usize = 16;

    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Kind {
        happened: Happened,
        pool: &'static str,
        bytes: usize,
    }

    /// Notes in the order of the first of each kind, with their numbers.
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

    /// Notes what happened, with its size in bytes if it has one.
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

    /// Emits the noted events. Called last, where no state of a pool is in use. Never unwinds.
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

    /// Discards the notes.
    pub(crate) fn forget() {
        NOTES.set(NONE);
        NOTED.set(false);
    }
}

pub(crate) use noted::note;
#[cfg(not(segment_pool_loom))] // called by code that the models omit
pub(crate) use noted::{emit, forget};
