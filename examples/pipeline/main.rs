//! Counts the words of text files with lines that travel between threads, once as `Box`, once as `PoolBox`.
//!
//! `main.rs` is the command line and the report, `input.rs` finds the files, `count.rs` is the pipeline itself,
//! and `progress.rs` says how far it is.
//! Both kinds of pointer run through the same code, in turns, on files the system has already cached.

mod count;
mod input;
mod progress;

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use segment_pool::PoolBox;

use count::{Line, Tally};
use input::{Failure, Input};
use progress::Progress;

const HELP: &str = "\
Counts the words of text files, with std's Box and with PoolBox, and compares the two.

Usage: pipeline [--top N] [FILE...]

  FILE      text files; without any: all .rs, .md and .toml files below the
            current folder, except in target and in hidden folders
  --top N   how many of the most frequent words to print (10)
  --help    this text

A word is a run of letters, digits and underscores. What is not UTF-8 separates words.
A file that cannot be read is named on stderr; the others are counted, and the exit status is 1.
";

/// Input is read again until each kind of pointer has carried this much, or `MOST_ROUNDS` are done.
const ENOUGH_BYTES: u64 = 32 << 20;
const MOST_ROUNDS: u64 = 9;

/// Shorter input is done before a line of progress would help.
const LONG_INPUT: u64 = 64 << 20;

type Run = fn(&[PathBuf], &Progress) -> Tally;

/// The same pipeline, once per kind of pointer.
const KINDS: [(&str, Run); 2] = [
    ("Box", count::run::<Box<Line>>),
    ("PoolBox", count::run::<PoolBox<Line>>),
];

enum Command {
    Help,
    Compare { files: Vec<PathBuf>, top: usize },
}

/// What came out of all rounds.
struct Comparison {
    tally: Tally,
    times: [Vec<Duration>; KINDS.len()],
    failures: Vec<Failure>,
    /// The most of the pool's segments in use at the end of a run.
    segments: u64,
    /// Every run counted the same. Not so when a file changes meanwhile.
    agree: bool,
}

fn main() -> ExitCode {
    match parse_arguments(std::env::args_os().skip(1)) {
        Ok(Command::Help) => exit_code(print(|out| out.write_all(HELP.as_bytes()))),
        Ok(Command::Compare { files, top }) => exit_code(compare_and_print(files, top)),
        Err(problem) => {
            complain(&format!("{problem}; --help says what is possible"));
            ExitCode::from(2)
        }
    }
}

fn parse_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut files, mut top) = (Vec::new(), 10);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help),
            Some("--top") => top = parse_top(arguments.next())?,
            Some("--") => files.extend(arguments.by_ref().map(PathBuf::from)),
            Some(option) if option.starts_with('-') => {
                return Err(format!("unknown option {option}"));
            }
            _ => files.push(PathBuf::from(argument)),
        }
    }
    Ok(Command::Compare { files, top })
}

fn parse_top(value: Option<OsString>) -> Result<usize, String> {
    value
        .and_then(|value| value.to_str()?.parse().ok())
        .ok_or_else(|| "--top wants a number".to_string())
}

/// True if every file could be read and all runs counted the same.
fn compare_and_print(files: Vec<PathBuf>, top: usize) -> bool {
    let input = if files.is_empty() {
        Input::below_current_folder()
    } else {
        Input::survey(files)
    };
    complain_about(&input.failures);
    if input.files.is_empty() {
        complain("nothing to read");
        return false;
    }
    let result = compare(&input);
    complain_about(&result.failures);
    if !result.agree {
        complain("the runs counted differently: did a file change meanwhile?");
    }
    let printed = print(|out| report(out, &input, &result, top));
    printed && result.agree && input.failures.is_empty() && result.failures.is_empty()
}

/// Runs both kinds in turns, so that what else the machine does meets both.
fn compare(input: &Input) -> Comparison {
    let rounds = rounds(input.bytes);
    let progress = progress(input.bytes, rounds);
    let mut result = Comparison {
        tally: Tally::default(),
        times: Default::default(),
        failures: Vec::new(),
        segments: 0,
        agree: true,
    };
    for round in 0..rounds {
        for (kind, (_, run)) in KINDS.iter().enumerate() {
            let start = Instant::now();
            let mut tally = run(&input.files, &progress);
            result.times[kind].push(start.elapsed());
            result.failures.append(&mut tally.failures);
            result.segments = result.segments.max(tally.segments);
            if (round, kind) == (0, 0) {
                result.tally = tally;
            } else {
                result.agree &= result.tally.agrees_with(&tally);
            }
        }
    }
    progress.end();
    result
}

fn rounds(bytes: u64) -> u64 {
    (ENOUGH_BYTES / bytes.max(1)).clamp(1, MOST_ROUNDS)
}

fn progress(bytes: u64, rounds: u64) -> Progress {
    if bytes < LONG_INPUT || !io::stderr().is_terminal() {
        return Progress::hidden();
    }
    Progress::new(bytes * rounds * KINDS.len() as u64)
}

fn report(out: &mut dyn Write, input: &Input, result: &Comparison, top: usize) -> io::Result<()> {
    let tally = &result.tally;
    row(out, "files", input.files.len() as u64)?;
    row(out, "bytes", input.bytes)?;
    row(out, "lines", tally.lines)?;
    row(out, "different words", tally.words.len() as u64)?;
    writeln!(out, "\nmost frequent words")?;
    for (word, count) in tally.most_frequent(top) {
        writeln!(out, "{count:>12}  {word}")?;
    }
    report_speed(out, result)?;
    report_pool(out, result.segments)
}

fn report_speed(out: &mut dyn Write, result: &Comparison) -> io::Result<()> {
    let rounds = result.times[0].len();
    let [boxed, pooled] = result.times.each_ref().map(|times| {
        let seconds = median(times).as_secs_f64();
        result.tally.lines as f64 / seconds.max(f64::MIN_POSITIVE)
    });
    let [(left, _), (right, _)] = KINDS;
    let runs = format!("median of {rounds}");
    writeln!(out, "\n{runs:<20}{left:>14}{right:>14}")?;
    let label = "lines per second";
    writeln!(out, "{label:<20}{boxed:>14.0}{pooled:>14.0}")
}

/// What the default pool did in all rounds. All its threads have ended and were joined, so they have reported.
fn report_pool(out: &mut dyn Write, segments: u64) -> io::Result<()> {
    let stats = segment_pool::stats();
    writeln!(out, "\nthe pool, all rounds")?;
    for (name, value) in [
        ("heaps", stats.heaps),
        ("segments at work", segments),
        ("segments left", stats.segments),
        ("allocations", stats.allocations),
        ("local frees", stats.local_frees),
        ("remote frees", stats.remote_frees),
        ("batches", stats.batches),
        // Freed, but the next owner of their heap has yet to collect and count them.
        ("not yet collected", stats.live()),
    ] {
        row(out, name, value)?;
    }
    Ok(())
}

fn row(out: &mut dyn Write, name: &str, value: u64) -> io::Result<()> {
    writeln!(out, "{name:<20}{value:>14}")
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> bool {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("stdout: {error}"));
            false
        }
        _ => true,
    }
}

fn complain_about(failures: &[Failure]) {
    for failure in failures {
        complain(&failure.to_string());
    }
}

/// One line on stderr. If even that is closed there is nobody left to tell.
fn complain(problem: &str) {
    let _ = writeln!(io::stderr(), "pipeline: {problem}");
}

fn exit_code(success: bool) -> ExitCode {
    if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
