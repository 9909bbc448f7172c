//! How many bytes of fully freed segments wait for the owner of a heap, and how many may before the pushing threads purge them.
//!
//! ```text
//! the owner takes a purged segment          learned += its bytes: it claims again what was returned
//! the owner takes one that kept its pages   learned stays for a while longer
//! a whole tick of 200 ms without either     learned is halved
//! ```
//!
//! A busy owner takes such segments soon, and a purge only costs it page faults. A sleeping one takes none, so little waits for it:
//! [`BASE_BYTES`], and what it learned when it ran last, halved with every tick since then.
//!
//! Pushing threads count, the owner learns. All words are relaxed hints: a change that is lost costs a purge or a late one.

use crate::ground::sync::Gauge;
use crate::memory::retention::TICK;

/// Fully freed segments, in bytes, that may wait in any case.
const BASE_BYTES: usize = if cfg!(segment_pool_loom) { 1 } else { 1 << 20 };

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct FullyFreed {
    waiting: Gauge,
    /// What may wait beside the base.
    learned: Gauge,
    /// When that was used last, in ticks.
    used: Gauge,
}

impl FullyFreed {
    pub(crate) const fn new() -> Self {
        Self {
            waiting: Gauge::new(),
            learned: Gauge::new(),
            used: Gauge::new(),
        }
    }

    /// Counts a segment of so many bytes; false, and it is not counted, if as many wait as may. `now` is asked for the time in
    /// milliseconds when it matters.
    pub(crate) fn count(&self, bytes: usize, now: impl FnOnce() -> u64) -> bool {
        let before = self.waiting.add(bytes).wrapping_sub(bytes);
        let counted = before < BASE_BYTES || before < BASE_BYTES + self.learned(now);
        if !counted {
            self.waiting.take(bytes);
        }
        counted
    }

    /// Takes back [`count`](Self::count), when the segment was not fully freed after all or was taken.
    pub(crate) fn uncount(&self, bytes: usize) {
        // The owner may have started anew, or the segment may have been counted in another heap: then there is less.
        self.waiting.take(bytes);
    }

    /// Whether more waits than may, because the owner did not take as much for a while.
    pub(crate) fn has_excess(&self, now: impl FnOnce() -> u64) -> bool {
        let waiting = self.waiting.get();
        // One segment more than the base is counted.
        waiting > 2 * BASE_BYTES && waiting > 2 * BASE_BYTES + self.learned(now)
    }

    /// Notes that nothing waits. Owner only.
    pub(crate) fn clear(&self) {
        self.waiting.set(0);
    }

    fn learned(&self, now: impl FnOnce() -> u64) -> usize {
        let learned = self.learned.get();
        if learned == 0 {
            return 0;
        }
        // A clock that was set back counts as a long time.
        let ticks = ticks(now()).wrapping_sub(self.used.get());
        let whole = ticks.saturating_sub(1).min(63) as u32; // the first may have begun just before
        learned.checked_shr(whole).unwrap_or(0)
    }

    /// Notes that the owner claims purged bytes again, of which no more than `most` are to wait. Owner only.
    pub(crate) fn learn(&self, bytes: usize, most: usize, now: u64) {
        let learned = (self.learned(|| now) + bytes).min(most);
        self.store(learned, now);
    }

    /// Notes that the owner took segments that kept their pages. Owner only.
    pub(crate) fn note_use(&self, now: impl FnOnce() -> u64) {
        if self.learned.get() > 0 {
            let now = now();
            self.store(self.learned(|| now), now);
        }
    }

    fn store(&self, learned: usize, now: u64) {
        self.learned.set(learned);
        self.used.set(ticks(now));
    }
}

/// Whole ticks, as far as they fit.
fn ticks(now: u64) -> usize {
    (now / TICK) as usize
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;

    const SEGMENT: usize = 64 << 10;
    const NOW: u64 = 1 << 40;

    /// Counts as many segments as may wait at this time.
    fn fill(waiting: &FullyFreed, now: u64) -> usize {
        (0..).take_while(|_| waiting.count(SEGMENT, || now)).count() * SEGMENT
    }

    #[test]
    fn a_sleeping_owner_leaves_a_mebibyte() {
        assert_eq!(fill(&FullyFreed::new(), NOW), BASE_BYTES);
    }

    #[test]
    fn an_owner_that_takes_purged_segments_learns() {
        let waiting = FullyFreed::new();
        waiting.learn(8 << 20, 4 << 20, NOW);
        assert_eq!(fill(&waiting, NOW), BASE_BYTES + (4 << 20));
        waiting.clear();
        waiting.note_use(|| NOW + TICK - 1); // and as long as it takes such, it forgets nothing
        assert_eq!(fill(&waiting, NOW + TICK), BASE_BYTES + (4 << 20));
    }

    #[test]
    fn what_was_learned_is_halved_with_every_tick() {
        let waiting = FullyFreed::new();
        waiting.learn(8 << 20, usize::MAX, NOW);
        assert_eq!(fill(&waiting, NOW + 4 * TICK), BASE_BYTES + (1 << 20));
        waiting.clear();
        assert_eq!(fill(&waiting, NOW + 1000 * TICK), BASE_BYTES);
    }

    #[test]
    fn a_clock_that_is_set_back_forgets() {
        let waiting = FullyFreed::new();
        waiting.learn(8 << 20, usize::MAX, NOW);
        assert_eq!(fill(&waiting, NOW - 1000 * TICK), BASE_BYTES);
    }

    #[test]
    fn what_is_taken_back_twice_is_not_below_nothing() {
        let waiting = FullyFreed::new();
        assert!(waiting.count(SEGMENT, || NOW));
        (0..2).for_each(|_| waiting.uncount(SEGMENT));
        assert_eq!(fill(&waiting, NOW), BASE_BYTES);
    }

    #[test]
    fn a_count_that_is_taken_back_makes_room() {
        let waiting = FullyFreed::new();
        fill(&waiting, NOW);
        waiting.uncount(SEGMENT);
        assert!(waiting.count(SEGMENT, || NOW) && !waiting.count(SEGMENT, || NOW));
    }
}
