//! What was measured, in the order of the rows.

use crate::{peers::Kind, rows::Row};

/// One row with all its samples.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    pub(crate) threads: usize,
    pub(crate) live: Option<usize>,
    pub(crate) peers: Vec<Series>,
    /// Why something is missing.
    pub(crate) failures: Vec<String>,
}

/// One peer's part of a row.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Nanoseconds per object, by round.
    pub(crate) samples: Vec<f64>,
    /// By how many bytes the resident set grew at most.
    pub(crate) resident: Option<u64>,
}

impl Measured {
    pub(crate) fn new(row: &Row) -> Self {
        let peers = row.contenders.iter().map(|contender| Series {
            name: contender.name,
            kind: contender.kind,
            samples: Vec::new(),
            resident: None,
        });
        Self {
            group: row.group,
            name: row.name,
            bytes: row.bytes,
            threads: row.threads,
            live: row.live,
            peers: peers.collect(),
            failures: Vec::new(),
        }
    }

    pub(crate) fn peer(&self, name: &str) -> Option<&Series> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    pub(crate) fn peer_mut(&mut self, name: &str) -> Option<&mut Series> {
        self.peers.iter_mut().find(|peer| peer.name == name)
    }

    /// The fastest of a kind that was measured.
    pub(crate) fn fastest(&self, kind: Kind) -> Option<(&Series, Summary)> {
        let of_kind = self.peers.iter().filter(|peer| peer.kind == kind);
        let measured = of_kind.filter_map(|peer| Some((peer, peer.summary()?)));
        measured.min_by(|a, b| a.1.median.total_cmp(&b.1.median))
    }

    /// For people.
    pub(crate) fn title(&self) -> String {
        let threads = match self.threads {
            1 => String::new(),
            threads => format!(", {threads} threads"),
        };
        format!("{}, {} B{threads}", self.name, self.bytes)
    }
}

/// What is left of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Series {
    /// `None` if nothing was measured.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Summary {
            median: *sorted.get(sorted.len() / 2)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}
