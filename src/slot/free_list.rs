//! Lists of free slots that only the owner touches: a bin's LIFO free list with its length, and the stack of
//! its full magazines.
//!
//! ```text
//! free list        head -> slot -> slot -> ... -> end             the slot freed last is used next: it is in the cache
//! full magazines   top -> magazine -> magazine -> ... -> end      `magazine_slots` slots each, pushed whole in O(1)
//! ```
//!
//! Only the owner of the heap writes. Any thread may read the counters. The free list counts with two numbers
//! that only grow on the fast paths, so that the public statistics cost nothing there:
//!
//! * `pushes` is the number of slots ever pushed by a free.
//! * `limit` is the value of `pushes` at which the list is one slot short of full. Every pop increments it.
//!   It may be below zero.
//!
//! Always holds: `len == pushes + border - limit`, where `border` is one less than the slots of a full list.
//! The cold paths add and remove slots without `push` and `pop`; they adjust `limit`. `stocked` counts these
//! slots, so that `pops == pushes + stocked - len`.
//!
//! A list is *short* below the border, and accepts slots. It is *full* beyond it: a magazine and a few slots
//! more. Those few stay when the magazine is spilled. Otherwise a program that alternates frees and
//! allocations at the border would spill and refill in every step.

use crate::ground::sync::{Cell, Counter, const_fn};
use crate::slot::bytes::{self as slot, SlotPtr};

/// The slots that a bin hands out next.
#[derive(Debug)]
pub(crate) struct FreeList {
    head: Cell<Option<SlotPtr>>,
    limit: Counter,
    pushes: Counter,
    /// Slots added by the cold paths minus slots removed by them. Wraps.
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

    /// Sets the border: one less than the slots of a full list. Called once, before the list is used.
    pub(crate) fn set_border(&self, slots: usize) {
        self.limit.add(slots as u64);
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// Takes the slot freed last and makes it live.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<SlotPtr> {
        let slot = self.head.get()?;
        // SAFETY: the list owns its slots, and `push` or `load` linked each.
        self.head.set(unsafe { slot::make_live(slot) });
        self.limit.add(1);
        Some(slot)
    }

    /// Frees a slot if the list is short. A list that was never used is not short.
    ///
    /// # Safety
    ///
    /// If the answer is true, the caller gives up a slot of this bin, and no other reference to it exists.
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
    /// The caller gives up a slot of this bin, and no other reference to it exists. The caller spills the
    /// list when it [`is_full`](Self::is_full).
    pub(crate) unsafe fn push(&self, slot: SlotPtr) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.link(slot) };
        self.pushes.add(1);
    }

    /// Links a slot in front of the list.
    ///
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

    /// Opens the list for slots that were not freed here. The list is not full.
    pub(crate) fn load(&self) -> Load<'_> {
        debug_assert!(!self.is_full());
        Load {
            list: self,
            head: self.head.get(),
            missing: self.missing() + 1,
            loaded: 0,
        }
    }

    /// Fills this empty list with a chain of `len` linked slots.
    pub(crate) fn fill(&self, chain: SlotPtr, len: usize) {
        debug_assert!(self.is_empty());
        self.head.set(Some(chain));
        self.limit.sub(len as u64);
        self.stocked.add(len as u64);
    }

    /// Removes all but the first `keep` slots. The list has more than `keep`. Returns the chain and its
    /// length.
    pub(crate) fn split_off(&self, keep: usize, border: usize) -> Option<(SlotPtr, usize)> {
        let len = self.len(border) - keep;
        let chain = match keep {
            0 => self.head.take(),
            // SAFETY: the list owns its slots, and has more than `keep`.
            _ => unsafe { cut(self.head.get()?, keep) },
        };
        self.limit.add(len as u64);
        self.stocked.sub(len as u64);
        Some((chain?, len))
    }

    /// The number of slots.
    pub(crate) fn len(&self, border: usize) -> usize {
        (border as u64).wrapping_sub(self.missing()) as usize
    }

    /// Slots up to the border. Wraps beyond it.
    fn missing(&self) -> u64 {
        self.limit.get().wrapping_sub(self.pushes.get())
    }

    /// Slots ever freed here by the owner. Any thread may call this; the answer may lag.
    pub(crate) fn pushes(&self) -> u64 {
        self.pushes.get()
    }

    /// Slots ever allocated. Any thread may call this; the answer may lag.
    pub(crate) fn pops(&self, border: u64) -> u64 {
        self.stocked
            .get()
            .wrapping_add(self.limit.get())
            .wrapping_sub(border)
    }

    /// The slots, in the order in which they will be handed out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotPtr> {
        chain(self.head.get())
    }
}

/// Slots that are being added to a list. The list does not have them before [`store`](Self::store).
pub(crate) struct Load<'a> {
    list: &'a FreeList,
    head: Option<SlotPtr>,
    /// Slots that would make the list full.
    missing: u64,
    loaded: u64,
}

impl Load<'_> {
    /// Adds a slot. True if the list is full with it; the caller must then store and spill.
    ///
    /// # Safety
    ///
    /// The caller gives up a slot of this bin, and no other reference to it exists.
    #[inline(always)]
    #[must_use = "a full list must be spilled"]
    pub(crate) unsafe fn push(&mut self, slot: SlotPtr) -> bool {
        // SAFETY: the caller gives the slot to the list.
        unsafe { slot::set_link(slot, self.head) };
        self.head = Some(slot);
        self.loaded += 1;
        self.loaded >= self.missing
    }

    /// Adds the pushed slots to the list.
    pub(crate) fn store(&mut self) {
        self.list.head.set(self.head);
        self.list.limit.sub(self.loaded);
        self.list.stocked.add(self.loaded);
        self.loaded = 0;
    }
}

/// The slots of a linked chain.
pub(crate) fn chain(head: Option<SlotPtr>) -> impl Iterator<Item = SlotPtr> {
    // SAFETY: the lists of this file link all chains, and only their owner calls this.
    core::iter::successors(head, |&slot| unsafe { slot::link(slot) })
}

/// Cuts a chain after its first `n` slots and returns the rest.
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

/// A bin's stack of full magazines. The magazine pushed last is on top.
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

    /// Pushes a full magazine.
    ///
    /// # Safety
    ///
    /// The caller gives up a chain with as many slots as a magazine of the bin. [`slot::holds_magazine_link`]
    /// is true for their stride.
    pub(crate) unsafe fn push(&self, magazine: SlotPtr) {
        // SAFETY: the caller gives the chain to this stack, and its stride has room for the link.
        unsafe { slot::set_next_magazine(magazine, self.top.get()) };
        self.top.set(Some(magazine));
        self.magazines.add(1);
    }

    pub(crate) fn pop(&self) -> Option<SlotPtr> {
        let magazine = self.top.get()?;
        // SAFETY: this stack owns its magazines, and `push` linked them.
        self.top.set(unsafe { slot::next_magazine(magazine) });
        // SAFETY: as above.
        unsafe { slot::clear_next_magazine(magazine) };
        self.magazines.sub(1);
        Some(magazine)
    }

    /// The first slots of the magazines.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SlotPtr> {
        // SAFETY: as in `pop`.
        core::iter::successors(self.top.get(), |&magazine| unsafe {
            slot::next_magazine(magazine)
        })
    }
}
