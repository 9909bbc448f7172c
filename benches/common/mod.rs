//! What both benchmarks need: one trait over the implementations that are compared, and cheap random indices.
//!
//! A workload is written once, generic over [`Pointer`], so every implementation runs the same code. A payload is an
//! array of `W` words, all of them written by [`Pointer::new`]; [`touch`] makes the optimiser believe that somebody
//! reads them.

use segment_pool::PoolBox;
use std::{hint::black_box, ops::DerefMut};

/// An owning pointer whose allocator is measured: made by `new`, freed by its drop.
pub(crate) trait Pointer<const W: usize>: DerefMut<Target = [u64; W]> {
    /// The name of the row.
    const NAME: &'static str;

    fn new(value: [u64; W]) -> Self;
}

impl<const W: usize> Pointer<W> for PoolBox<[u64; W]> {
    const NAME: &'static str = "PoolBox";

    fn new(value: [u64; W]) -> Self {
        PoolBox::new(value)
    }
}

impl<const W: usize> Pointer<W> for Box<[u64; W]> {
    const NAME: &'static str = "Box";

    fn new(value: [u64; W]) -> Self {
        Box::new(value)
    }
}

/// A new object in use.
pub(crate) fn object<P: Pointer<W>, const W: usize>(word: u64) -> P {
    let object = P::new([word; W]);
    touch(&object);
    object
}

/// Lets the address escape, so that neither the allocation nor the writing of the payload can be optimised away.
/// By reference: the pointer itself may stay in a register.
pub(crate) fn touch<const W: usize>(value: &[u64; W]) {
    black_box(value);
}

/// Marsaglia's xorshift64: a few cycles per index, nothing to precompute for a million of them.
#[derive(Debug)]
pub(crate) struct XorShift(u64);

impl XorShift {
    /// Neighbouring seeds give unrelated sequences.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) // the state must not be 0
    }

    /// A random index below `bound`, which is below 2^32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * bound as u64) >> 32) as usize
    }
}
