//! segment-pool beside every allocator and pool that one might take instead: all rows, all peers, one run.
//!
//! The parent runs each row in a process of its own (`measure.rs`), where the peers take turns round by round, and
//! then each peer of the row alone in a fresh process, to see its memory (`memory.rs`). So no row finds a heap that
//! another left behind. What comes back goes into a table, charts and CSV files (`report.rs`), and is held against the
//! targets (`targets.rs`).
//!
//! `rows.rs` lists what is measured, `peers.rs` who takes part.

mod chart;
mod cli;
#[path = "../../common/mod.rs"]
#[expect(
    dead_code,
    reason = "`object` of the other benchmarks: here, not every peer is a pointer"
)]
mod common;
mod job;
mod machine;
mod measure;
mod memory;
mod overview;
mod parent;
mod peers;
mod race;
mod report;
mod results;
mod rows;
#[path = "../../common/ring.rs"]
mod spsc;
mod targets;

use cli::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match cli::parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => parent::run(&options),
        Ok(Command::Measure(request)) => measure::run(&request),
        Ok(Command::Memory(request)) => memory::run(&request),
        Ok(Command::Help) => {
            println!("{}", cli::HELP);
            Ok(())
        }
        Err(message) => Err(format!("{message}\n\n{}", cli::HELP)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
