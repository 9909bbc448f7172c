//! The process that measures one row: every peer is set up and warmed up, then they take turns, round by round.
//!
//! It prints one line for each sample, which the parent reads.

use crate::{
    cli::{Pace, Request},
    job::{Job, Sample},
    peers::Contender,
    race, rows,
};
use std::{
    io::{self, Write},
    time::Duration,
};

/// How long and how often.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    sample: Duration,
}

impl Plan {
    pub(crate) fn of(pace: Pace) -> Self {
        match pace {
            Pace::Full => Self {
                rounds: 9,
                sample: Duration::from_millis(120),
            },
            Pace::Quick => Self {
                rounds: 3,
                sample: Duration::from_millis(20),
            },
        }
    }
}

/// The first try of a job that nobody knows yet.
const FIRST: u64 = 1000;
/// A sample has at most so many objects.
const MOST: u64 = 100_000_000;

pub(crate) fn run(request: &Request) -> Result<(), String> {
    let plan = Plan::of(request.pace);
    race::pin(0);
    let mut peers: Vec<_> = contenders(request)?
        .iter()
        .map(|c| Runner::new(c, &plan))
        .collect();
    for round in 0..plan.rounds {
        for peer in &mut peers {
            let sample = (peer.job)(peer.objects);
            report(peer.name, round, sample).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The contenders of the row that is asked for.
pub(crate) fn contenders(request: &Request) -> Result<Vec<Contender>, String> {
    let row = rows::all().into_iter().find(|row| row.id() == request.row);
    let mut row = row.ok_or_else(|| format!("there is no row {}", request.row))?;
    row.contenders
        .retain(|c| request.peers.iter().any(|name| name == c.name));
    Ok(row.contenders)
}

fn report(peer: &str, round: usize, sample: Sample) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{peer}\t{round}\t{}\t{}",
        sample.ns_per_object(),
        sample.objects
    )?;
    out.flush()
}

/// A peer in the middle of a row.
struct Runner {
    name: &'static str,
    job: Job,
    /// For one sample.
    objects: u64,
}

impl Runner {
    fn new(contender: &Contender, plan: &Plan) -> Self {
        let mut job = (contender.set_up)();
        Self {
            name: contender.name,
            objects: warm_up(&mut job, plan.sample),
            job,
        }
    }
}

/// Runs the job until two samples in succession take long enough to say something, and says how many objects a sample
/// is to have. One would not do: a thread that waits for its core makes a short sample look long.
fn warm_up(job: &mut Job, sample: Duration) -> u64 {
    let mut objects = FIRST;
    let mut long_enough = 0;
    loop {
        let run = job(objects);
        let share = run.time.as_secs_f64() / sample.as_secs_f64();
        objects = (run.objects as f64 * (1.0 / share).clamp(0.2, 20.0)) as u64;
        objects = objects.clamp(1, MOST);
        long_enough = if share > 0.3 { long_enough + 1 } else { 0 };
        if long_enough == 2 || objects == MOST {
            return objects;
        }
    }
}

/// New and drop of one small object, for a look at a peer before anything else.
pub(crate) fn quick_look(contender: &Contender) -> f64 {
    let plan = Plan::of(Pace::Quick);
    let mut runner = Runner::new(contender, &plan);
    let samples = (0..plan.rounds).map(|_| (runner.job)(runner.objects).ns_per_object());
    samples.fold(f64::INFINITY, f64::min)
}
