//! Runs the rounds. In each round every workload runs with `Box` and with `PoolBox`, in alternating order. So other load on
//! the machine affects both, and each round has its own ratio.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::statistics::Spread;
use crate::workloads::{WORKLOADS, Workload};

/// The lowest number of rounds that has a meaningful spread.
const FEWEST: usize = 5;

/// The times of one workload.
pub(crate) struct Row {
    pub(crate) workload: &'static Workload,
    rounds: Vec<[Duration; 2]>,
}

impl Row {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The median nanoseconds per value of `Box` and of `PoolBox`.
    pub(crate) fn nanoseconds(&self) -> [f64; 2] {
        [0, 1].map(|kind| {
            let times = self.rounds.iter().map(|round| round[kind]);
            Spread::of(times.map(|time| time.as_secs_f64() * 1e9)).median
                / self.workload.values as f64
        })
    }

    /// The ratio of the time of `Box` to that of `PoolBox`, over all rounds.
    pub(crate) fn ratios(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|[boxed, pooled]| {
            boxed.as_secs_f64() / pooled.as_secs_f64().max(f64::MIN_POSITIVE)
        }))
    }
}

/// Runs one warm-up round, then as many rounds as the time allows.
pub(crate) fn measure(time: Duration) -> Vec<Row> {
    let mut rows: Vec<_> = WORKLOADS.iter().map(Row::empty).collect();
    let progress = Progress::start(time);
    for row in &rows {
        row.round(false);
    }
    for number in 0.. {
        if number >= FEWEST && progress.is_over() {
            break;
        }
        for row in &mut rows {
            let round = row.round(number % 2 == 1);
            row.rounds.push(round);
            progress.show();
        }
    }
    progress.end();
    rows
}

impl Row {
    fn empty(workload: &'static Workload) -> Self {
        Self {
            workload,
            rounds: Vec::new(),
        }
    }

    fn round(&self, pooled_first: bool) -> [Duration; 2] {
        let [boxed, pooled] = self.workload.turns;
        if pooled_first {
            let pooled = pooled();
            [boxed(), pooled]
        } else {
            [boxed(), pooled()]
        }
    }
}

/// A line on stderr with the remaining time.
struct Progress {
    start: Instant,
    time: Duration,
    is_terminal: bool,
}

impl Progress {
    fn start(time: Duration) -> Self {
        let progress = Self {
            start: Instant::now(),
            time,
            is_terminal: io::stderr().is_terminal(),
        };
        if !progress.is_terminal {
            progress.say(&format!("measuring for {} s\n", time.as_secs()));
        }
        progress
    }

    fn is_over(&self) -> bool {
        self.start.elapsed() >= self.time
    }

    fn show(&self) {
        if self.is_terminal {
            let left = self.time.saturating_sub(self.start.elapsed());
            self.say(&format!(
                "\rmeasuring: {:3.0} s left ",
                left.as_secs_f64().ceil()
            ));
        }
    }

    fn end(&self) {
        if self.is_terminal {
            self.say("\r                     \r");
        }
    }

    /// Ignores a closed stderr.
    fn say(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
