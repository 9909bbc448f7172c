//! The command line: of the parent, and of the processes that it starts of itself.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
cargo run --release --manifest-path benches/peers/Cargo.toml -- [OPTIONS]

  --quick        short samples and 3 rounds instead of 9: to see whether it works, not to believe
  --only ROWS    rows whose id has one of these in it, separated by commas: 'new+drop,ring/16B'
  --peers NAMES  only these, separated by commas: 'PoolBox,mimalloc,bare'
  --out DIR      where table.md, the CSV files and the charts go; default: benches/peers/results";

/// What a whole run is to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) pace: Pace,
    pub(crate) only: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Full,
    Quick,
}

/// What a process is to do that the parent started.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) row: String,
    pub(crate) peers: Vec<String>,
    pub(crate) pace: Pace,
}

#[derive(Debug)]
pub(crate) enum Command {
    Run(Options),
    Measure(Request),
    Memory(Request),
    Help,
}

type ChildCommand = fn(Request) -> Command;

/// How the parent says it to a child.
pub(crate) const MEASURE: &str = "--measure";
pub(crate) const MEMORY: &str = "--memory";

impl Request {
    /// The arguments that make this request.
    pub(crate) fn arguments(&self, what: &str) -> Vec<String> {
        let mut arguments = vec![what.to_owned(), self.row.clone()];
        arguments.extend(["--peers".to_owned(), self.peers.join(",")]);
        if self.pace == Pace::Quick {
            arguments.push("--quick".to_owned());
        }
        arguments
    }
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut options = Options {
        pace: Pace::Full,
        only: Vec::new(),
        peers: Vec::new(),
        out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/results")),
    };
    let mut child: Option<(ChildCommand, String)> = None;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--quick" => options.pace = Pace::Quick,
            "--only" => options.only = list(&value()?),
            "--peers" => options.peers = list(&value()?),
            "--out" => options.out = PathBuf::from(value()?),
            MEASURE => child = Some((Command::Measure, value()?)),
            MEMORY => child = Some((Command::Memory, value()?)),
            "--help" | "-h" => return Ok(Command::Help),
            _ => return Err(format!("what is {argument}?")),
        }
    }
    Ok(match child {
        None => Command::Run(options),
        Some((command, row)) => command(Request {
            row,
            peers: options.peers,
            pace: options.pace,
        }),
    })
}

fn list(names: &str) -> Vec<String> {
    names
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect()
}
