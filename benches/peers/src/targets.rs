//! The speed that issue 5 asks for, and whether a run shows it.
//!
//! All figures are ratios of medians within one run: the time of ours divided by the time of the other.

use crate::{
    peers::{Kind, OURS, OURS_OWN_POOL},
    results::Measured,
};

/// What a row is to reach.
#[derive(Clone, Copy, Debug, Default)]
struct Target {
    fastest_peer: Option<f64>,
    limit: Option<f64>,
}

/// A promise held against a measurement.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) row: String,
    /// Who is compared, and with whom.
    pub(crate) ours: (&'static str, f64),
    pub(crate) other: (&'static str, f64),
    pub(crate) allowed: f64,
}

impl Verdict {
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.1 / self.other.1
    }

    pub(crate) fn is_met(&self) -> bool {
        self.ratio() <= self.allowed
    }
}

/// A SegmentPool against the default pool, in new+drop.
const OWN_POOL: f64 = 1.3;

/// All that can be said about a row.
pub(crate) fn verdicts(row: &Measured) -> Vec<Verdict> {
    let target = target(row.name, row.bytes);
    let against = |ours: &'static str, other: Option<(&'static str, f64)>, allowed: Option<f64>| {
        Some(Verdict {
            row: row.title(),
            ours: (ours, median(row, ours)?),
            other: other?,
            allowed: allowed?,
        })
    };
    let fastest = |kind| {
        row.fastest(kind)
            .map(|(peer, summary)| (peer.name, summary.median))
    };
    let default_pool = median(row, OURS).map(|median| (OURS, median));
    let own_pool = (row.name == "new+drop").then_some(OWN_POOL);
    [
        against(OURS, fastest(Kind::Peer), target.fastest_peer),
        against(OURS, fastest(Kind::Limit), target.limit),
        against(OURS_OWN_POOL, default_pool, own_pool),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn median(row: &Measured, peer: &str) -> Option<f64> {
    Some(row.peer(peer)?.summary()?.median)
}

/// The table of issue 5. Where it names no size, its figure is for all sizes.
fn target(name: &str, bytes: usize) -> Target {
    let by_size = |sizes: &[(usize, f64)]| {
        let size = sizes.iter().find(|&&(size, _)| size == bytes);
        size.map(|&(_, ratio)| ratio)
    };
    let (fastest_peer, limit) = match name {
        "new+drop" => (
            by_size(&[(16, 0.70), (32, 0.75), (64, 0.85)]),
            by_size(&[(16, 1.25), (32, 1.25), (64, 1.25)]),
        ),
        "1000 LIFO" | "1000 FIFO" | "1000 random" => (
            by_size(&[(16, 0.80), (64, 0.95)]),
            by_size(&[(16, 1.4), (64, 1.1)]),
        ),
        "churn 1k" => (Some(0.75), Some(1.3)),
        "churn 100k" => (Some(0.95), Some(1.3)),
        "churn 1M" => (Some(1.0), Some(1.3)),
        "binary-trees 18" => (Some(0.65), None),
        "ring" => (
            by_size(&[(16, 1.0), (64, 0.65)]),
            by_size(&[(16, 1.25), (64, 1.25)]),
        ),
        "batches of 256" | "msgpass 1/1" | "msgpass 2/2" => {
            (by_size(&[(16, 0.90), (64, 0.60)]), Some(1.5))
        }
        "xmalloc" => (by_size(&[(16, 0.60), (64, 0.80)]), None),
        "mailbox 4Ki" | "mstress" | "lotsofthreads" => (Some(0.80), None),
        "mailbox 64Ki" | "mailbox 1Mi" => (by_size(&[(16, 1.0), (64, 0.90)]), None),
        "larson" | "cache-scratch" => (Some(1.0), None),
        _ => (None, None),
    };
    Target {
        fastest_peer,
        limit,
    }
}
