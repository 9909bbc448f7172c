//! Random numbers, the same in every run, and orders drawn from them.

/// Marsaglia's xorshift64.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A random number below `end`, which is below 2^32.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * end as u64) >> 32) as usize
    }
}

/// The numbers below `end`, shuffled.
pub(crate) fn shuffled(end: usize) -> Vec<usize> {
    let mut rng = Rng::new(1);
    let mut numbers: Vec<usize> = (0..end).collect();
    for last in (1..end).rev() {
        numbers.swap(last, rng.below(last + 1));
    }
    numbers
}
