//! The order in which a run of fresh slots is handed out: a random permutation. The value belongs to one
//! thread; any thread increments the counter that seeds it.

use super::key::mix;
use crate::ground::sync::{AtomicUsize, Ordering};

/// Slots of the longest run.
const MOST: usize = 256;

/// A permutation.
#[derive(Debug)]
pub(crate) struct Order([u8; MOST]);

impl Order {
    /// A random permutation of the numbers below `len`, which is at most 256.
    pub(crate) fn new(len: usize) -> Self {
        let mut order = core::array::from_fn(|index| index as u8);
        let mut random = random();
        for last in (1..len).rev() {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            order.swap(last, (random >> 33) as usize % (last + 1));
        }
        Self(order)
    }

    /// The number at this position.
    pub(crate) fn at(&self, place: usize) -> usize {
        usize::from(self.0[place])
    }
}

fn random() -> u64 {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only a different number each time.
    mix(RUNS.fetch_add(1, Ordering::Relaxed))
}
