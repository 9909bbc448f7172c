//! The secret key of the process, and the values derived from it. Any thread may touch it; it is written
//! once.
//!
//! It makes damage detectable and forgery improbable. It is not cryptography: code that can read the heap can
//! compute the key.

use std::hash::{BuildHasher, RandomState};

use crate::ground::misuse::{Misuse, report};
use crate::ground::sync::{AtomicU64, Ordering};

static KEY: AtomicU64 = AtomicU64::new(0);

/// Generates the key, unless it exists. Called before the first memory is mapped, so a thread that has a slot
/// finds the key.
pub(super) fn make() {
    // Relaxed (twice): only a number. A thread that needs it received a slot from the thread that generated
    // it, or generated it itself.
    if KEY.load(Ordering::Relaxed) == 0 {
        let key = RandomState::new().hash_one(&raw const KEY) | 1;
        let _ = KEY.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A hash of an address, or of any other number, with the key of this process.
#[inline]
pub(crate) fn mix(place: usize) -> u64 {
    // Relaxed: as in `make`.
    let key = KEY.load(Ordering::Relaxed);
    let mixed = (place as u64 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// A word that proves that its memory is a header of the crate and in use.
#[derive(Debug)]
pub(crate) struct Cookie(AtomicU64);

impl Cookie {
    /// The cookie of a header at this address.
    pub(crate) fn new(addr: usize) -> Self {
        make();
        Self(AtomicU64::new(Self::of(addr)))
    }

    /// Never zero, which is the value of memory that was not written.
    fn of(addr: usize) -> u64 {
        mix(addr) | 1
    }

    #[inline]
    pub(super) fn is_for(&self, addr: usize) -> bool {
        // Relaxed: a thread that checks received something in that memory from the thread that wrote the
        // cookie.
        self.0.load(Ordering::Relaxed) == Self::of(addr)
    }

    /// Reports a foreign pointer if the cookie is not for this address.
    pub(crate) fn check(&self, addr: usize) {
        if !self.is_for(addr) {
            report(Misuse::ForeignPointer);
        }
    }

    pub(super) fn end(&self) {
        // Relaxed: no thread may check it any more. A thread that does is likely to be reported.
        self.0.store(0, Ordering::Relaxed);
    }
}
