//! Compares `PoolBox` with `Box`: the time and the memory of a program with many small values.
//!
//! ```sh
//! cargo run --release
//! ```
//!
//! `workloads.rs` has the measured work, generic over the pointer. `rounds.rs` runs both kinds alternately.
//! `statistics.rs` has medians, spreads and verdicts. `memory.rs` measures bytes per value in child processes.
//! `report.rs` formats the result.

mod memory;
mod report;
mod rounds;
mod statistics;
mod workloads;

use std::env;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "\
Allocates and drops small values with std's Box and with PoolBox, and compares time and memory.

Usage: compare [--seconds N]

  --seconds N   the time to measure, 0 to 3600 (8); 0 measures five rounds
  --help        this text
";

const MOST_SECONDS: u64 = 3600;

enum Command {
    Help,
    Compare(Duration),
    /// The command of a child process; see `memory.rs`.
    Memory(memory::Question),
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match parse_arguments(&arguments) {
        Ok(Command::Help) => print(HELP),
        Ok(Command::Compare(time)) => print(&compare(time)),
        Ok(Command::Memory(question)) => print(&question.answer()),
        Err(problem) => {
            eprintln!("compare: {problem}; --help says what is possible");
            ExitCode::from(2)
        }
    }
}

fn parse_arguments(arguments: &[&str]) -> Result<Command, String> {
    match arguments {
        [] => Ok(Command::Compare(Duration::from_secs(8))),
        ["-h" | "--help"] => Ok(Command::Help),
        ["--seconds", seconds] => match seconds.parse() {
            Ok(seconds) if seconds <= MOST_SECONDS => {
                Ok(Command::Compare(Duration::from_secs(seconds)))
            }
            _ => Err(format!("--seconds wants a number from 0 to {MOST_SECONDS}")),
        },
        ["--seconds"] => Err("--seconds wants a number".to_owned()),
        [memory::OPTION, row, kind] => memory::Question::parse(row, kind)
            .map(Command::Memory)
            .ok_or_else(|| format!("{} wants the numbers of a row and a kind", memory::OPTION)),
        [argument, ..] => Err(format!("unknown argument {argument:?}")),
    }
}

fn compare(time: Duration) -> String {
    let rows = rounds::measure(time);
    let bytes = memory::measure();
    report::text(&rows, &bytes)
}

/// Writes to stdout. A closed pipe (`| head`) is not a failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("compare: stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
