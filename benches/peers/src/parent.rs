//! A whole run: one process after the other, a progress bar, and the report.

use crate::{
    cli::{MEASURE, MEMORY, Options, Request},
    machine,
    measure::{self, Plan},
    peers::Contender,
    report,
    results::Measured,
    rows::{self, Row},
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// A child that prints nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(options: &Options) -> Result<(), String> {
    peers_are_optimised()?;
    let machine = machine::describe();
    let rows = chosen(options);
    if rows.is_empty() {
        return Err("no row is left of what you chose".to_owned());
    }
    let bar = bar(&rows, options);
    let mut results: Vec<Measured> = Vec::new();
    for row in &rows {
        bar.set_message(row.id());
        results.push(one_row(row, options, &bar));
        // After every row, so that a run that is broken off leaves what it has.
        report::write(&results, &machine, options).map_err(|error| error.to_string())?;
    }
    bar.finish_and_clear();
    println!("{}", report::summary(&results));
    println!("everything is in {}", options.out.display());
    Ok(())
}

/// The rows and peers that the options leave.
fn chosen(options: &Options) -> Vec<Row> {
    let mut rows = rows::all();
    let only =
        |id: &str| options.only.is_empty() || options.only.iter().any(|part| id.contains(part));
    rows.retain(|row| only(&row.id()));
    let wanted = |name: &str| {
        options.peers.is_empty()
            || options
                .peers
                .iter()
                .any(|peer| peer.eq_ignore_ascii_case(name))
    };
    for row in &mut rows {
        row.contenders.retain(|contender| wanted(contender.name));
    }
    rows.retain(|row| !row.contenders.is_empty());
    rows
}

/// One step for each sample, and one for each look at memory.
fn bar(rows: &[Row], options: &Options) -> ProgressBar {
    let steps = Plan::of(options.pace).rounds + 1;
    let peers: usize = rows.iter().map(|row| row.contenders.len()).sum();
    let style =
        ProgressStyle::with_template("{bar:30} {percent:>3} %  {elapsed} of {duration}  {msg}")
            .expect("the template is right");
    ProgressBar::new((peers * steps) as u64).with_style(style)
}

fn one_row(row: &Row, options: &Options, bar: &ProgressBar) -> Measured {
    let mut measured = Measured::new(row);
    let names = row
        .contenders
        .iter()
        .map(|contender| contender.name.to_owned());
    let request = Request {
        row: row.id(),
        peers: names.collect(),
        pace: options.pace,
    };
    let outcome = child(&request, MEASURE, |fields| {
        bar.inc(1);
        let peer = measured.peer_mut(fields.first()?)?;
        peer.samples.push(fields.get(2)?.parse().ok()?);
        Some(())
    });
    measured.failures.extend(outcome.err());
    for name in &request.peers {
        bar.inc(1);
        let outcome = memory(&request, name, &mut measured);
        measured.failures.extend(outcome.err());
    }
    measured
}

fn memory(request: &Request, peer: &str, measured: &mut Measured) -> Result<(), String> {
    let request = Request {
        peers: vec![peer.to_owned()],
        ..request.clone()
    };
    child(&request, MEMORY, |fields| {
        measured.peer_mut(peer)?.resident = fields.get(1)?.parse().ok();
        Some(())
    })
}

/// Runs this program on a request. `line` gets the fields of each line it prints, and says `None` if it does not
/// understand them.
fn child(
    request: &Request,
    what: &str,
    mut line: impl FnMut(&[&str]) -> Option<()>,
) -> Result<(), String> {
    let failed = |why: &str| format!("{} {what} {}: {why}", request.row, request.peers.join(","));
    let mut child = spawn(request, what).map_err(|error| failed(&error.to_string()))?;
    let outcome = lines(&mut child, |text| {
        line(&text.split('\t').collect::<Vec<_>>()).ok_or_else(|| format!("printed {text:?}"))
    });
    if outcome.is_err() {
        let _ = child.kill(); // it may have ended by itself
    }
    let status = child.wait().map_err(|error| failed(&error.to_string()))?;
    outcome.map_err(|why| failed(&why))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(&status.to_string())),
    }
}

fn spawn(request: &Request, what: &str) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(request.arguments(what))
        .stdout(Stdio::piped())
        .spawn()
}

/// Hands every line on, until the child closes its output or is silent for too long.
fn lines(
    child: &mut Child,
    mut line: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let output = child.stdout.take().expect("its output is a pipe");
    let (sender, receiver) = channel();
    let reader = thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines
            .take_while(|line| sender.send(line.clone()).is_ok())
            .for_each(drop);
    });
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(text) => line(&text)?,
            Err(RecvTimeoutError::Timeout) => return Err("hangs".to_owned()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    reader.join().map_err(|_| "its reader panicked".to_owned())
}

/// snmalloc's C++ is built unoptimised when the profile has debug information; then nothing that is measured against
/// it means anything.
fn peers_are_optimised() -> Result<(), String> {
    const SLOW: f64 = 30.0;
    const BESIDE_MIMALLOC: f64 = 4.0;
    if cfg!(debug_assertions) {
        return Err("this is a debug build: cargo run --release".to_owned());
    }
    let mut all = rows::all();
    let row = all
        .iter_mut()
        .find(|row| row.name == "new+drop" && row.bytes == 64);
    let row = row.ok_or("the row new+drop is gone")?;
    let look = |name| -> Result<f64, String> {
        let is = |contender: &&Contender| contender.name == name;
        let contender = row.contenders.iter().find(is);
        contender
            .map(measure::quick_look)
            .ok_or_else(|| format!("the peer {name} is gone"))
    };
    let (snmalloc, mimalloc) = (look("snmalloc")?, look("mimalloc")?);
    if snmalloc > SLOW && snmalloc > BESIDE_MIMALLOC * mimalloc {
        return Err(format!(
            "snmalloc takes {snmalloc:.0} ns for new+drop, mimalloc {mimalloc:.0} ns: it was built without \
             optimisation. Is there debug information in the release profile, or CARGO_PROFILE_RELEASE_DEBUG, \
             CFLAGS or CXXFLAGS in the environment?"
        ));
    }
    Ok(())
}
