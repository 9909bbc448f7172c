//! How many bytes of free segments of one span keep their pages: as many as were asked for again.
//!
//! ```text
//! a segment is purged, or unmapped with its pages      lost += its bytes
//! a segment without pages is claimed while lost > 0    lost -= its bytes, budget += its bytes
//! a tick                                               budget -= half of what was free all along, lost is halved
//! a tick without any slow path                         budget is halved
//! ```
//!
//! A program that drops a lot once loses its pages at once, as the budget is small. One that claims again what was returned, as
//! bursts do, raises the budget and has no more page faults. The budget is never more than what was in use at the peak of the recent
//! past. It comes down when free segments were not claimed for a while: `low` is the least that was free since the last tick, which
//! is what nobody needed. There is no timer. The thread that notices that a tick has passed, in a slow path of its own, lowers the
//! budget and purges.
//!
//! Any thread calls every function. All words are relaxed numbers that decide nothing but how soon memory goes back: when two threads
//! change one at a time, a change may be lost.
//!
//! Two more bounds, set by the program for all spans together, go before the budget (`Limits`): a floor and a ceiling.

use crate::ground::sync::{AtomicU64, AtomicUsize, Ordering, const_fn};

/// What free segments of a span may keep in any case, in bytes.
pub(crate) const BASE_BYTES: usize = 512 << 10;
/// Milliseconds between two looks at what was not needed.
const TICK: u64 = 200;
/// Ticks after which nothing is left of what was not needed.
const MOST_TICKS: u64 = 31;

/// See the module documentation. In bytes.
#[derive(Debug)]
pub(crate) struct Retention {
    /// Free segments with pages.
    held: AtomicUsize,
    /// The least of `held` since the last tick.
    low: AtomicUsize,
    /// What `held` may be.
    budget: AtomicUsize,
    /// Pages returned to the system in the recent past and not claimed again.
    lost: AtomicUsize,
    /// Segments in use.
    in_use: AtomicUsize,
    /// The most of `in_use` since the last tick.
    high: AtomicUsize,
    /// The same of the recent past: halved in each tick, but not below `high`.
    peak: AtomicUsize,
    /// The time of the last tick, in ticks.
    ticks: AtomicU64,
    /// Pages returned to the system, ever.
    purged: AtomicU64,
    /// What of them was claimed again, ever.
    refaulted: AtomicU64,
}

impl Retention {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                held: AtomicUsize::new(0),
                low: AtomicUsize::new(0),
                budget: AtomicUsize::new(0),
                lost: AtomicUsize::new(0),
                in_use: AtomicUsize::new(0),
                high: AtomicUsize::new(0),
                peak: AtomicUsize::new(0),
                ticks: AtomicU64::new(0),
                purged: AtomicU64::new(0),
                refaulted: AtomicU64::new(0),
            }
        }
    }

    /// Notes that a segment is in use.
    pub(crate) fn claimed(&self, bytes: usize, had_pages: bool) {
        let in_use = add(&self.in_use, bytes);
        if in_use > get(&self.high) {
            set(&self.high, in_use);
        }
        if had_pages {
            self.take_from_held(bytes);
        } else {
            self.count_again(bytes);
        }
    }

    /// A segment was claimed that has no pages: some that were returned would have served.
    fn count_again(&self, bytes: usize) {
        let again = get(&self.lost).min(bytes);
        if again > 0 {
            sub(&self.lost, again);
            let budget = get(&self.budget) + again;
            set(&self.budget, budget.min(self.recent_peak()));
            self.refaulted.fetch_add(again as u64, Ordering::Relaxed); // Relaxed: a number
        }
    }

    /// Notes that a segment is free; whether it keeps its pages. `others` is what is held in other spans.
    #[must_use = "otherwise the segment is to be purged"]
    pub(crate) fn released(&self, bytes: usize, others: usize, limits: &Limits) -> bool {
        sub(&self.in_use, bytes);
        let held = add(&self.held, bytes);
        let keeps = held <= self.limit(others, limits);
        if !keeps {
            sub(&self.held, bytes);
            self.returned(bytes);
        }
        keeps
    }

    /// Notes that a segment is free whose pages were returned to the system before.
    pub(crate) fn released_purged(&self, bytes: usize) {
        sub(&self.in_use, bytes);
        self.returned(bytes);
    }

    /// Notes that a free segment's pages, which were held, were returned to the system.
    pub(crate) fn purged(&self, bytes: usize) {
        self.take_from_held(bytes);
        self.returned(bytes);
    }

    fn take_from_held(&self, bytes: usize) {
        let held = sub(&self.held, bytes);
        if held < get(&self.low) {
            set(&self.low, held);
        }
    }

    fn returned(&self, bytes: usize) {
        add(&self.lost, bytes);
        self.purged.fetch_add(bytes as u64, Ordering::Relaxed); // Relaxed: a number
    }

    /// What free segments of the span may keep, when those of other spans hold `others`.
    pub(crate) fn limit(&self, others: usize, limits: &Limits) -> usize {
        let learned = (get(&self.budget) + BASE_BYTES).min(self.recent_peak());
        let all = learned.max(BASE_BYTES) + others;
        let (at_least, at_most) = limits.get();
        all.max(at_least).min(at_most).saturating_sub(others)
    }

    /// What free segments hold beyond the limit.
    pub(crate) fn excess(&self, others: usize, limits: &Limits) -> usize {
        self.held().saturating_sub(self.limit(others, limits))
    }

    /// What free segments hold.
    pub(crate) fn held(&self) -> usize {
        get(&self.held)
    }

    /// Lowers the budget if a tick has passed by this time, in milliseconds.
    pub(crate) fn tick(&self, now: u64) {
        let (now, last) = (now / TICK, self.ticks.load(Ordering::Relaxed)); // Relaxed: as in the module
        if now == last {
            return;
        }
        // Relaxed: one thread wins, and publishes nothing.
        let won = self
            .ticks
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            self.lower(now.saturating_sub(last).clamp(1, MOST_TICKS) as u32);
        }
    }

    /// The most of segments in use, in the recent past.
    pub(crate) fn recent_peak(&self) -> usize {
        get(&self.peak).max(get(&self.high))
    }

    /// Free segments were looked at so many ticks ago: in all ticks but the first none held much, or no thread needed any.
    fn lower(&self, ticks: u32) {
        let unneeded = get(&self.low) / 2;
        let budget = get(&self.budget).saturating_sub(unneeded) >> (ticks - 1);
        set(&self.budget, budget);
        set(&self.low, self.held());
        set(&self.lost, get(&self.lost) >> ticks);
        let high = get(&self.high);
        set(&self.peak, high.max(get(&self.peak) >> ticks));
        set(&self.high, get(&self.in_use));
    }

    /// Forgets what was learned.
    pub(crate) fn forget(&self) {
        set(&self.budget, 0);
        set(&self.lost, 0);
    }

    /// Bytes of pages returned to the system, and of those claimed again, ever.
    pub(crate) fn turnover(&self) -> (u64, u64) {
        // Relaxed (twice): numbers.
        let purged = self.purged.load(Ordering::Relaxed);
        (purged, self.refaulted.load(Ordering::Relaxed))
    }
}

/// What the program asked for, of all spans together, in bytes.
#[derive(Debug)]
pub(crate) struct Limits {
    at_least: AtomicUsize,
    at_most: AtomicUsize,
}

impl Limits {
    const_fn! {
        /// None.
        pub(crate) fn new() -> Self {
            Self {
                at_least: AtomicUsize::new(0),
                at_most: AtomicUsize::new(usize::MAX),
            }
        }
    }

    /// No byte is kept.
    pub(crate) fn nothing() -> Self {
        let limits = Self::new();
        limits.set(0, 0);
        limits
    }

    /// Free segments keep at least and at most so many bytes of pages from now on. If they contradict each other, the least counts
    /// less.
    pub(crate) fn set(&self, at_least: usize, at_most: usize) {
        set(&self.at_least, at_least);
        set(&self.at_most, at_most);
    }

    fn get(&self) -> (usize, usize) {
        (get(&self.at_least), get(&self.at_most))
    }
}

// Relaxed (all): see the module documentation.

fn get(word: &AtomicUsize) -> usize {
    word.load(Ordering::Relaxed) // Relaxed: as above
}

fn set(word: &AtomicUsize, value: usize) {
    word.store(value, Ordering::Relaxed); // Relaxed: as above
}

/// The sum.
fn add(word: &AtomicUsize, bytes: usize) -> usize {
    word.fetch_add(bytes, Ordering::Relaxed) + bytes // Relaxed: as above
}

/// The difference, or 0 if changes of other threads overtook each other.
fn sub(word: &AtomicUsize, bytes: usize) -> usize {
    // Relaxed: as above.
    word.fetch_sub(bytes, Ordering::Relaxed)
        .saturating_sub(bytes)
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
