//! The secret of the process, and what is derived from it.
//!
//! It makes damage visible and forgery a matter of luck. It is no cryptography: who can read the heap can work it out.

use std::hash::{BuildHasher, RandomState};

use crate::ground::misuse::{Misuse, report};
use crate::ground::sync::{AtomicU64, Ordering};

static KEY: AtomicU64 = AtomicU64::new(0);

/// Makes the key, unless it is made. Before the first memory is mapped, so that whoever has a slot finds it made.
pub(super) fn make() {
    // Relaxed (twice): a number; who needs it got a slot from whoever made it, or made it.
    if KEY.load(Ordering::Relaxed) == 0 {
        let key = RandomState::new().hash_one(&raw const KEY) | 1;
        let _ = KEY.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A number that belongs to an address, or to any other number, and to this process.
#[inline]
pub(crate) fn mix(place: usize) -> u64 {
    // Relaxed: as in `make`.
    let key = KEY.load(Ordering::Relaxed);
    let mixed = (place as u64 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// Says that the memory it lies in is what it seems to be, and in use.
#[derive(Debug)]
pub(crate) struct Cookie(AtomicU64);

impl Cookie {
    /// For what begins at this address.
    pub(crate) fn new(addr: usize) -> Self {
        make();
        Self(AtomicU64::new(Self::of(addr)))
    }

    /// Never that of memory that was not written to.
    fn of(addr: usize) -> u64 {
        mix(addr) | 1
    }

    #[inline]
    pub(super) fn is_for(&self, addr: usize) -> bool {
        // Relaxed: whoever may ask got something in that memory from whoever wrote the cookie.
        self.0.load(Ordering::Relaxed) == Self::of(addr)
    }

    /// Reports a foreign pointer if it is not for this address.
    pub(crate) fn check(&self, addr: usize) {
        if !self.is_for(addr) {
            report(Misuse::ForeignPointer);
        }
    }

    pub(super) fn end(&self) {
        // Relaxed: nobody may ask any more; those who do are told so as soon as can be.
        self.0.store(0, Ordering::Relaxed);
    }
}
