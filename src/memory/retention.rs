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

use crate::ground::sync::Gauge;

/// What free segments of a span may keep in any case, in bytes.
pub(crate) const BASE_BYTES: usize = 512 << 10;
/// Milliseconds between two looks at what was not needed.
pub(crate) const TICK: u64 = 200;
/// Ticks after which nothing is left of what was not needed.
const MOST_TICKS: usize = 31;

/// See the module documentation. In bytes.
#[derive(Debug)]
pub(crate) struct Retention {
    /// Free segments with pages.
    held: Gauge,
    /// The least of `held` since the last tick.
    low: Gauge,
    /// What `held` may be.
    budget: Gauge,
    /// Pages returned to the system in the recent past and not claimed again.
    lost: Gauge,
    /// Segments in use.
    in_use: Gauge,
    /// The most of `in_use` since the last tick.
    high: Gauge,
    /// The same of the recent past: halved in each tick, but not below `high`.
    peak: Gauge,
    /// The time of the last tick, in ticks.
    ticks: Gauge,
    /// Pages returned to the system, ever.
    purged: Gauge,
    /// What of them was claimed again, ever.
    refaulted: Gauge,
}

impl Retention {
    pub(crate) const fn new() -> Self {
        Self {
            held: Gauge::new(),
            low: Gauge::new(),
            budget: Gauge::new(),
            lost: Gauge::new(),
            in_use: Gauge::new(),
            high: Gauge::new(),
            peak: Gauge::new(),
            ticks: Gauge::new(),
            purged: Gauge::new(),
            refaulted: Gauge::new(),
        }
    }

    /// Notes that a segment is in use.
    pub(crate) fn claimed(&self, bytes: usize, had_pages: bool) {
        let in_use = self.in_use.add(bytes);
        if in_use > self.high.get() {
            self.high.set(in_use);
        }
        if had_pages {
            self.take_from_held(bytes);
        } else {
            self.count_again(bytes);
        }
    }

    /// A segment was claimed that has no pages: some that were returned would have served.
    fn count_again(&self, bytes: usize) {
        if self.lost.get() == 0 {
            return;
        }
        let again = self.lost.take(bytes);
        if again > 0 {
            let budget = self.budget.get() + again;
            self.budget.set(budget.min(self.recent_peak()));
            self.refaulted.add(again);
        }
    }

    /// Notes that a segment is free; whether it keeps its pages. `others` is what is held in other spans.
    #[must_use = "otherwise the segment is to be purged"]
    pub(crate) fn released(&self, bytes: usize, others: usize, limits: &Limits) -> bool {
        self.in_use.sub(bytes);
        let held = self.held.add(bytes);
        let keeps = held <= self.limit(others, limits);
        if !keeps {
            self.held.sub(bytes);
            self.returned(bytes);
        }
        keeps
    }

    /// Notes that a segment is free whose pages were returned to the system before.
    pub(crate) fn released_purged(&self, bytes: usize) {
        self.in_use.sub(bytes);
        self.returned(bytes);
    }

    /// Notes that a free segment's pages, which were held, were returned to the system.
    pub(crate) fn purged(&self, bytes: usize) {
        self.take_from_held(bytes);
        self.returned(bytes);
    }

    fn take_from_held(&self, bytes: usize) {
        let held = self.held.sub(bytes);
        if held < self.low.get() {
            self.low.set(held);
        }
    }

    fn returned(&self, bytes: usize) {
        self.lost.add(bytes);
        self.purged.add(bytes);
    }

    /// What free segments of the span may keep, when those of other spans hold `others`.
    pub(crate) fn limit(&self, others: usize, limits: &Limits) -> usize {
        let learned = (self.budget.get() + BASE_BYTES).min(self.recent_peak());
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
        self.held.get()
    }

    /// Lowers the budget if a tick has passed by this time, in milliseconds.
    pub(crate) fn tick(&self, now: u64) {
        let (now, last) = ((now / TICK) as usize, self.ticks.get());
        if now != last && self.ticks.replace(last, now) {
            self.lower(now.saturating_sub(last).clamp(1, MOST_TICKS) as u32);
        }
    }

    /// The most of segments in use, in the recent past.
    pub(crate) fn recent_peak(&self) -> usize {
        self.peak.get().max(self.high.get())
    }

    /// Free segments were looked at so many ticks ago: in all ticks but the first none held much, or no thread needed any.
    fn lower(&self, ticks: u32) {
        let unneeded = self.low.get() / 2;
        let budget = self.budget.get().saturating_sub(unneeded) >> (ticks - 1);
        self.budget.set(budget);
        self.low.set(self.held());
        self.lost.set(self.lost.get() >> ticks);
        let high = self.high.get();
        self.peak.set(high.max(self.peak.get() >> ticks));
        self.high.set(self.in_use.get());
    }

    /// Forgets what was learned.
    pub(crate) fn forget(&self) {
        self.budget.set(0);
        self.lost.set(0);
    }

    /// Bytes of pages returned to the system, and of those claimed again, ever.
    pub(crate) fn turnover(&self) -> (u64, u64) {
        (self.purged.get() as u64, self.refaulted.get() as u64)
    }
}

/// What the program asked for, of all spans together, in bytes.
#[derive(Debug)]
pub(crate) struct Limits {
    at_least: Gauge,
    /// `usize::MAX` less the bound, so that a new one is 0.
    below_most: Gauge,
}

impl Limits {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            at_least: Gauge::new(),
            below_most: Gauge::new(),
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
        self.at_least.set(at_least);
        self.below_most.set(usize::MAX - at_most);
    }

    fn get(&self) -> (usize, usize) {
        (self.at_least.get(), usize::MAX - self.below_most.get())
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
