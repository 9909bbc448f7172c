//! The files of a run: `table.md` for people, `samples.csv` and `memory.csv` for machines, a chart for each group.

use crate::{
    chart,
    cli::{Options, Pace},
    measure::Plan,
    overview,
    results::{Measured, Series},
    targets::{self, Verdict},
};
use std::{error::Error, fmt::Write as _, fs};

/// Bytes per object are told from so many objects on: below, it is the size of a page that shows.
const ENOUGH_OBJECTS: usize = 1000;

pub(crate) fn write(
    results: &[Measured],
    machine: &str,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let out = &options.out;
    fs::create_dir_all(out)?;
    fs::write(out.join("table.md"), table(results, machine, options.pace))?;
    fs::write(out.join("samples.csv"), samples(results))?;
    fs::write(out.join("memory.csv"), memory(results))?;
    for (group, rows) in groups(results) {
        chart::draw(&out.join(chart::file(group)), rows)?;
    }
    overview::draw(out, results)
}

/// Rows of a group stand together.
fn groups(results: &[Measured]) -> impl Iterator<Item = (&'static str, &[Measured])> {
    let groups = results.chunk_by(|a, b| a.group == b.group);
    groups.map(|rows| (rows[0].group, rows))
}

/// What is printed in the end.
pub(crate) fn summary(results: &[Measured]) -> String {
    let verdicts: Vec<_> = results.iter().flat_map(targets::verdicts).collect();
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    let mut text = format!("{met} of {} targets met", verdicts.len());
    for verdict in verdicts.iter().filter(|verdict| !verdict.is_met()) {
        let (ours, other) = (verdict.ours.0, verdict.other.0);
        let (ratio, allowed) = (verdict.ratio(), verdict.allowed);
        let _ = write!(
            text,
            "\n  {}: {ours} / {other} = {ratio:.2}, not {allowed:.2}",
            verdict.row
        );
    }
    for failure in failures(results) {
        let _ = write!(text, "\n  failed: {failure}");
    }
    text
}

fn failures(results: &[Measured]) -> impl Iterator<Item = &String> {
    results.iter().flat_map(|row| &row.failures)
}

// --- Markdown ------------------------------------------------------------------------------------------------------

fn table(results: &[Measured], machine: &str, pace: Pace) -> String {
    let rounds = Plan::of(pace).rounds;
    let mut text = format!("# segment-pool and its peers\n\n{machine}");
    text += &format!(
        "* medians of {rounds} rounds, in which the peers of a row take turns; small: lowest and highest\n"
    );
    if pace == Pace::Quick {
        text += "\n**A quick run: short samples, few rounds. Nothing here is a result.**\n";
    }
    text += &targets_table(results);
    for (group, rows) in groups(results) {
        text += &format!("\n## {group}\n\n![{group}]({})\n", chart::file(group));
        text += "\nNanoseconds per object. **Bold**: the fastest that is not a limit.\n\n";
        text += &matrix(rows, time_cell);
        text += "\nPeak growth of the resident set, in KiB";
        text += " / bytes per live object.\n\n";
        text += &matrix(rows, memory_cell);
    }
    if failures(results).next().is_some() {
        text += "\n## What failed\n\n";
        failures(results).for_each(|failure| text += &format!("* {failure}\n"));
    }
    text
}

/// What was promised, and what came out.
fn targets_table(results: &[Measured]) -> String {
    let verdicts: Vec<_> = results.iter().flat_map(targets::verdicts).collect();
    let met = verdicts.iter().filter(|verdict| verdict.is_met()).count();
    let mut text = format!("\n## Targets: {met} of {} met\n\n", verdicts.len());
    text += "| row | ours | ns | against | ns | ratio | at most | |\n|---|---|---:|---|---:|---:|---:|---|\n";
    verdicts
        .iter()
        .for_each(|verdict| text += &verdict_line(verdict));
    text
}

fn verdict_line(verdict: &Verdict) -> String {
    let Verdict {
        row,
        ours,
        other,
        allowed,
    } = verdict;
    let met = match verdict.is_met() {
        true => "met",
        false => "**missed**",
    };
    format!(
        "| {row} | {} | {:.1} | {} | {:.1} | {:.2} | {allowed:.2} | {met} |\n",
        ours.0,
        ours.1,
        other.0,
        other.1,
        verdict.ratio()
    )
}

/// A line for each row, a column for each peer.
fn matrix(rows: &[Measured], cell: fn(&Measured, &Series) -> String) -> String {
    let names = names(rows);
    let mut text = format!("| | {} |\n|---|", names.join(" | "));
    text += &"---:|".repeat(names.len());
    for row in rows {
        let cells = names
            .iter()
            .map(|name| row.peer(name).map_or(String::new(), |peer| cell(row, peer)));
        text += &format!(
            "\n| {} | {} |",
            row.title(),
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    text + "\n"
}

/// Every peer of the rows, in the order of its first row.
fn names(rows: &[Measured]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for peer in rows.iter().flat_map(|row| &row.peers) {
        if !names.contains(&peer.name) {
            names.push(peer.name);
        }
    }
    names
}

fn time_cell(row: &Measured, peer: &Series) -> String {
    let Some(summary) = peer.summary() else {
        return "failed".to_owned();
    };
    let bold = if is_fastest(row, peer) { "**" } else { "" };
    let [median, min, max] = [summary.median, summary.min, summary.max].map(ns);
    format!("{bold}{median}{bold} <sub>{min}–{max}</sub>")
}

fn is_fastest(row: &Measured, peer: &Series) -> bool {
    use crate::peers::Kind;
    let fastest = [Kind::Ours, Kind::Peer]
        .into_iter()
        .filter_map(|kind| row.fastest(kind));
    let fastest = fastest.min_by(|a, b| a.1.median.total_cmp(&b.1.median));
    fastest.is_some_and(|(fastest, _)| fastest.name == peer.name)
}

/// Three digits.
pub(crate) fn ns(time: f64) -> String {
    match time {
        ..9.95 => format!("{time:.2}"),
        ..99.5 => format!("{time:.1}"),
        _ => format!("{time:.0}"),
    }
}

fn memory_cell(row: &Measured, peer: &Series) -> String {
    let Some(bytes) = peer.resident else {
        return "failed".to_owned();
    };
    let growth = bytes >> 10;
    match row.live {
        Some(live) if live >= ENOUGH_OBJECTS => format!("{growth} / {}", bytes / live as u64),
        _ => growth.to_string(),
    }
}

// --- CSV -----------------------------------------------------------------------------------------------------------

fn samples(results: &[Measured]) -> String {
    csv(results, "round,ns_per_object", |peer| {
        let samples = peer.samples.iter().enumerate();
        samples
            .map(|(round, ns)| format!("{round},{ns:.4}"))
            .collect()
    })
}

fn memory(results: &[Measured]) -> String {
    csv(results, "peak_growth_bytes", |peer| {
        peer.resident.iter().map(u64::to_string).collect()
    })
}

/// Lines of a row's and a peer's columns and those that `values` gives, which are named `columns`.
fn csv(results: &[Measured], columns: &str, values: fn(&Series) -> Vec<String>) -> String {
    let mut text = format!("group,row,bytes,threads,live,peer,kind,{columns}\n");
    for row in results {
        let Measured {
            group,
            name,
            bytes,
            threads,
            live,
            ..
        } = row;
        let live = live.map_or(String::new(), |live| live.to_string());
        for peer in &row.peers {
            for value in values(peer) {
                let (peer, kind) = (peer.name, peer.kind);
                let _ = writeln!(
                    text,
                    "\"{group}\",{name},{bytes},{threads},{live},{peer},{kind:?},{value}"
                );
            }
        }
    }
    text
}
