//! Formats the result: a table, and a sentence with the conclusion.

use std::fmt::Write as _;
use std::num::NonZero;
use std::thread;

use crate::memory::Bytes;
use crate::rounds::Row;
use crate::statistics::{Spread, Verdict};

/// The width of the first column.
const NAMES: usize = 39;

pub(crate) fn text(rows: &[Row], bytes: &[Bytes]) -> String {
    let mut text = String::new();
    for part in [head(rows), table(rows), memory(bytes)] {
        text += &part;
        text += "\n";
    }
    let ratios: Vec<_> = rows.iter().map(Row::ratios).collect();
    text + &conclusion(&ratios)
}

fn head(rows: &[Row]) -> String {
    let rounds = rows.first().map_or(0, Row::rounds);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut text = format!(
        "PoolBox compared with Box, which uses the system's allocator.\n\
         Nanoseconds per value: medians of {rounds} rounds, in each of which both ran; {cores} cores.\n"
    );
    if cfg!(debug_assertions) {
        text += "(This build is not optimised. Use `cargo run --release`.)\n";
    }
    text
}

fn table(rows: &[Row]) -> String {
    let columns = [
        "values of 64 bytes, nodes of 24",
        "threads",
        "Box",
        "PoolBox",
    ];
    let [name, threads, boxed, pooled] = columns;
    let mut text = format!("{name:NAMES$}{threads:>7}{boxed:>9}{pooled:>9}   PoolBox is\n");
    for row in rows {
        let [boxed, pooled] = row.nanoseconds();
        let (name, threads) = (row.workload.name, row.workload.threads);
        let said = verdict_text(row.ratios());
        let _ = writeln!(
            text,
            "{name:NAMES$}{threads:>7}{boxed:>9.1}{pooled:>9.1}   {said}"
        );
    }
    text + "In brackets: the range of the middle half of the rounds.\n"
}

fn verdict_text(ratios: Spread) -> String {
    let Spread { low, median, high } = ratios;
    match ratios.verdict() {
        Verdict::Faster => format!("{median:.1}x faster ({low:.1} to {high:.1})"),
        Verdict::Slower => {
            let [slower, least, most] = [median, high, low].map(f64::recip);
            format!("{slower:.1}x slower ({least:.1} to {most:.1})")
        }
        Verdict::Alike => "equally fast".to_owned(),
        Verdict::TooNoisy => format!("? too noisy to tell ({low:.1} to {high:.1})"),
    }
}

fn memory(bytes: &[Bytes]) -> String {
    if bytes.is_empty() {
        return "Memory is only measured on Linux.\n".to_owned();
    }
    let title = "bytes of memory per value, of a million";
    let mut text = format!("{title:NAMES$}{:>16}{:>9}\n", "Box", "PoolBox");
    for Bytes { size, resident } in bytes {
        let [boxed, pooled] = resident;
        let name = format!("values of {size} bytes");
        let _ = writeln!(text, "{name:NAMES$}{boxed:>16.1}{pooled:>9.1}");
    }
    text
}

fn conclusion(ratios: &[Spread]) -> String {
    let count = |verdict| {
        let such = ratios.iter().filter(|ratios| ratios.verdict() == verdict);
        such.count()
    };
    let (all, noisy) = (ratios.len(), count(Verdict::TooNoisy));
    if noisy * 2 > all {
        return format!(
            "This machine was too noisy to tell: the rounds of {noisy} of {all} rows contradict each other.\n\
             Close other programs, and run it again.\n"
        );
    }
    let mut text = format!(
        "PoolBox was faster in {} of {all} rows",
        count(Verdict::Faster)
    );
    for (verdict, said) in [
        (Verdict::Slower, "slower"),
        (Verdict::Alike, "equally fast"),
        (Verdict::TooNoisy, "too noisy to tell"),
    ] {
        if count(verdict) > 0 {
            let _ = write!(text, ", {said} in {}", count(verdict));
        }
    }
    text += ".\n";
    if ratios.iter().filter(|ratios| ratios.is_wide()).count() * 2 > all {
        text += "The machine was busy, so the figures are rough. Close other programs, and run it again.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { low, median, high }
    }

    #[test]
    fn a_ratio_is_worded() {
        assert_eq!(
            verdict_text(spread(1.5, 2.0, 2.25)),
            "2.0x faster (1.5 to 2.2)"
        );
        assert_eq!(
            verdict_text(spread(0.4, 0.5, 0.8)),
            "2.0x slower (1.2 to 2.5)"
        );
        assert_eq!(verdict_text(spread(0.99, 1.0, 1.02)), "equally fast");
        assert_eq!(
            verdict_text(spread(0.5, 1.0, 1.4)),
            "? too noisy to tell (0.5 to 1.4)"
        );
    }

    #[test]
    fn the_conclusion_counts_every_row_once() {
        let ratios = [
            spread(2.8, 3.0, 3.2),
            spread(1.1, 1.2, 1.3),
            spread(0.5, 0.6, 0.65),
            spread(0.5, 1.0, 1.4),
        ];
        assert_eq!(
            conclusion(&ratios),
            "PoolBox was faster in 2 of 4 rows, slower in 1, too noisy to tell in 1.\n"
        );
    }

    #[test]
    fn mostly_noise_gives_no_conclusion() {
        let noise = spread(0.5, 1.0, 1.4);
        let said = conclusion(&[noise, noise, spread(2.0, 3.0, 4.0)]);
        assert!(said.starts_with("This machine was too noisy to tell: the rounds of 2 of 3 rows"));
        assert!(!said.contains("faster"));
    }

    #[test]
    fn wide_spreads_are_reported_as_rough() {
        let said = |high| conclusion(&[spread(2.0, 3.0, high), spread(2.0, 2.1, high - 1.8)]);
        assert!(said(4.5).contains("rough"));
        assert!(!said(4.0).contains("rough")); // one of two
    }

    #[test]
    fn missing_memory_figures_are_mentioned() {
        assert_eq!(memory(&[]), "Memory is only measured on Linux.\n");
    }
}
