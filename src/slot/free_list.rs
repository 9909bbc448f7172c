//! Owner-only lists of free slots: the bin's LIFO list with its length, and the full magazines of full magazines.
//!
//! ```text
//! free list   head -> slot -> slot -> ... -> end          the slot freed last is used next: it is in the cache
//! full magazines       head -> magazine ----> magazine ----> end   `magazine_slots` slots each, hung whole, O(1)
//! ```
//!
//! The free list counts by two numbers that only grow, so that the counters of the public statistics cost nothing:
//!
//! * `pushes` slots were ever pushed by a free,
//! * `limit` is the value of `pushes` at which the list lacks one slot to be full; every pop raises it by one. It may be
//!   below zero.
//!
//! Always holds: `len == pushes + border - limit`, with `border` one below the slots of a full list. Whoever puts slots in or takes them out by another way than `push`
//! and `pop` moves `limit`, and `stocked` counts the slots that came that way, so that
//! `pops == pushes + stocked - len`.
//!
//! A list is *short* below the border, and takes what it gets. It is *full* with a few slots more than a magazine, which
//! stay when the magazine is spilled: a program that frees and allocates by turns at the border would otherwise spill
//! and refill at every step.

use crate::ground::sync::{Cell, Counter, const_fn};
use crate::slot::bytes::{self as slot, SlotPtr};

/// The slots a bin hands out next.
#[derive(Debug)]
pub(crate) struct FreeList {
    head: Cell<Option<SlotPtr>>,
    limit: Counter,
    pushes: Counter,
    /// Slots put in by the cold paths, less those taken out by them; wraps.
    stocked: Counter,
}

impl FreeList {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                head: Cell::new(None),
                limit: Counter::new(0),
                pushes: Counter::new(0),
                stocked: Counter::new(0),
            }
        }
    }

    /// Sets how many slots make the list full, less one. Once, while the list was never used.
    pub(crate) fn set_border(&self, slots: usize) {
        self.limit.add(slots as u64);
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// Takes the slot freed last, to be used.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<SlotPtr> {
        let slot = self.head.get()?;
        // SAFETY: the list owns its slots, and each was linked by `push` or `load`.
        self.head.set(unsafe { slot::make_live(slot) });
        self.limit.add(1);
        Some(slot)
    }

    /// Frees a slot if the list is short; one that was never used is not.
    ///
    /// # Safety
    ///
    /// If the answer is true, the caller gives up a slot of this bin that nobody else refers to.
    #[inline(always)]
    pub(crate) unsafe fn push_if_short(&self, slot: SlotPtr) -> bool {
        let pushes = self.pushes.get();
        let short = (pushes as i64) < self.limit.get() as i64;
        if short {
            // SAFETY: guaranteed by the caller.
            unsafe { self.link(slot) };
            self.pushes.set(pushes + 1);
        }
        short
    }

    /// Frees a slot.
    ///
    /// # Safety
    ///
    /// The caller gives up a slot of this bin that nobody else refers to, and spills the list when it
    /// [`is_full`](Self::is_full).
    pub(crate) unsafe fn push(&self, slot: SlotPtr) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.link(slot) };
        self.pushes.add(1);
    }

    /// # Safety
    ///
    /// The caller gives up a slot of this bin, and counts it.
    #[inline(always)]
    unsafe fn link(&self, slot: SlotPtr) {
        // SAFETY: the caller gives the slot to the list.
        unsafe { slot::set_link(slot, self.head.get()) };
        self.head.set(Some(slot));
    }

    /// Whether the list is beyond its border.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.pushes.get() as i64 > self.limit.get() as i64
    }

    /// Opens the list, which is not full, for slots that were not freed here.
    pub(crate) fn load(&self) -> Load<'_> {
        debug_assert!(!self.is_full());
        Load {
            list: self,
            head: self.head.get(),
            missing: self.missing() + 1,
            loaded: 0,
        }
    }

    /// Makes a chain of `len` linked slots the contents of this empty list.
    pub(crate) fn fill(&self, chain: SlotPtr, len: usize) {
        debug_assert!(self.is_empty());
        self.head.set(Some(chain));
        self.limit.sub(len as u64);
        self.stocked.add(len as u64);
    }

    /// Takes all but the first `keep` slots out of this list, which has more: the length and the chain.
    pub(crate) fn split_off(&self, keep: usize, border: usize) -> Option<(SlotPtr, usize)> {
        let len = self.len(border) - keep;
        let chain = match keep {
            0 => self.head.take(),
            // SAFETY: the list's slots are its own, and more than `keep`.
            _ => unsafe { cut(self.head.get()?, keep) },
        };
        self.limit.add(len as u64);
        self.stocked.sub(len as u64);
        Some((chain?, len))
    }

    /// How many slots there are.
    pub(crate) fn len(&self, border: usize) -> usize {
        (border as u64).wrapping_sub(self.missing()) as usize
    }

    /// Slots up to the border; wraps beyond it.
    fn missing(&self) -> u64 {
        self.limit.get().wrapping_sub(self.pushes.get())
    }

    /// Slots freed here by the owner, ever. Any thread may ask; the answer may lag.
    pub(crate) fn pushes(&self) -> u64 {
        self.pushes.get()
    }

    /// Slots handed out, ever. Any thread may ask; the answer may lag.
    pub(crate) fn pops(&self, border: u64) -> u64 {
        self.stocked
            .get()
            .wrapping_add(self.limit.get())
            .wrapping_sub(border)
    }

    /// The slots, first to be handed out first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotPtr> {
        chain(self.head.get())
    }
}

/// Slots on their way into a list, which does not have them before they are [`stored`](Self::store).
pub(crate) struct Load<'a> {
    list: &'a FreeList,
    head: Option<SlotPtr>,
    /// Slots that make the list full.
    missing: u64,
    loaded: u64,
}

impl Load<'_> {
    /// Adds a slot; true when the list is full with it, and must be stored and spilled.
    ///
    /// # Safety
    ///
    /// The caller gives up a slot of this bin that nobody else refers to.
    #[inline(always)]
    #[must_use = "a full list must be spilled"]
    pub(crate) unsafe fn push(&mut self, slot: SlotPtr) -> bool {
        // SAFETY: the caller gives the slot to the list.
        unsafe { slot::set_link(slot, self.head) };
        self.head = Some(slot);
        self.loaded += 1;
        self.loaded >= self.missing
    }

    /// Gives the list what was added.
    pub(crate) fn store(&mut self) {
        self.list.head.set(self.head);
        self.list.limit.sub(self.loaded);
        self.list.stocked.add(self.loaded);
        self.loaded = 0;
    }
}

/// The slots of a linked chain.
pub(crate) fn chain(head: Option<SlotPtr>) -> impl Iterator<Item = SlotPtr> {
    // SAFETY: chains are made by the lists of this file, whose owner asks.
    core::iter::successors(head, |&slot| unsafe { slot::link(slot) })
}

/// Cuts a chain behind its first `n` slots and returns the rest.
///
/// # Safety
///
/// The caller owns the chain, which has at least `n` slots, and `n` is not 0.
pub(crate) unsafe fn cut(head: SlotPtr, n: usize) -> Option<SlotPtr> {
    let last = chain(Some(head)).nth(n - 1)?;
    // SAFETY: `last` is a slot of the caller's chain.
    let rest = unsafe { slot::link(last) };
    // SAFETY: as above.
    unsafe { slot::set_link(last, None) };
    rest
}

/// A bin's stock of full magazines, the one hung last on top.
#[derive(Debug)]
pub(crate) struct FullMagazines {
    top: Cell<Option<SlotPtr>>,
    magazines: Counter,
}

impl FullMagazines {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                top: Cell::new(None),
                magazines: Counter::new(0),
            }
        }
    }

    /// Any thread may ask; the answer may lag.
    pub(crate) fn magazines(&self) -> usize {
        self.magazines.get() as usize
    }

    /// # Safety
    ///
    /// The caller gives up a chain of as many slots as the bin's magazines have, of a stride that
    /// [`slot::holds_magazine_link`].
    pub(crate) unsafe fn push(&self, magazine: SlotPtr) {
        // SAFETY: the caller gives the chain to the full magazines, and its stride has room for the link.
        unsafe { slot::set_next_magazine(magazine, self.top.get()) };
        self.top.set(Some(magazine));
        self.magazines.add(1);
    }

    pub(crate) fn pop(&self) -> Option<SlotPtr> {
        let magazine = self.top.get()?;
        // SAFETY: the full magazines owns its magazines, and `hang` linked them.
        self.top.set(unsafe { slot::next_magazine(magazine) });
        // SAFETY: as above.
        unsafe { slot::clear_next_magazine(magazine) };
        self.magazines.sub(1);
        Some(magazine)
    }

    /// The first slots of the magazines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotPtr> {
        // SAFETY: as in `take`.
        core::iter::successors(self.top.get(), |&magazine| unsafe {
            slot::next_magazine(magazine)
        })
    }
}
