//! The one picture of a run: a line for each row, and on it a dot for each general allocator, as many times to the right
//! of `PoolBox` as it is slower. Left of the line at 1 are those that are faster.
//!
//! Rows with several sizes are there with objects of 64 bytes. What is far slower stands at the right edge.

use crate::{
    chart::{Result, text},
    peers::OURS,
    results::Measured,
};
use plotters::{prelude::*, style::text_anchor::HPos};
use std::path::Path;

const FILE: &str = "overview.svg";

/// Whom a user would take instead, each with its colour.
const PEERS: [(&str, RGBColor); 5] = [
    ("Box", RGBColor(0x33, 0x33, 0x33)),
    ("mimalloc", RGBColor(0x1b, 0x9e, 0x77)),
    ("snmalloc", RGBColor(0x75, 0x70, 0xb3)),
    ("jemalloc", RGBColor(0xe7, 0x29, 0x8a)),
    ("rpmalloc", RGBColor(0x66, 0xa6, 0x1e)),
];
const BYTES: usize = 64;

const LINE: i32 = 18;
const TOP: i32 = 54;
const NAMES: i32 = 190;
const PLOT: i32 = 600;
const MARGIN: i32 = 16;

/// The ends of the logarithmic scale, and its marks.
const LEAST: f64 = 0.5;
const MOST: f64 = 16.0;
const MARKS: [f64; 6] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// Draws the picture into a folder.
pub(crate) fn draw(folder: &Path, results: &[Measured]) -> Result<()> {
    let rows: Vec<_> = results
        .iter()
        .filter(|row| is_shown(row, results))
        .collect();
    let size = (
        NAMES + PLOT + 2 * MARGIN,
        TOP + rows.len() as i32 * LINE + MARGIN,
    );
    let path = folder.join(FILE);
    let root = SVGBackend::new(&path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (n, (name, colour)) in PEERS.into_iter().enumerate() {
        let x = NAMES + n as i32 * 110;
        root.draw(&Circle::new((x, 14), 5, colour.filled()))?;
        text(&root, name, (x + 10, 14), HPos::Left, 14)?;
    }
    for mark in MARKS {
        let line = vec![(x(mark), TOP - 8), (x(mark), size.1 - MARGIN)];
        let colour = if mark == 1.0 { OURS_COLOUR } else { GRID };
        root.draw(&PathElement::new(
            line,
            colour.stroke_width(if mark == 1.0 { 3 } else { 1 }),
        ))?;
        text(
            &root,
            &format!("{mark}"),
            (x(mark), TOP - 18),
            HPos::Center,
            12,
        )?;
    }
    text(
        &root,
        "times PoolBox",
        (NAMES - 10, TOP - 18),
        HPos::Right,
        12,
    )?;
    for (n, row) in rows.into_iter().enumerate() {
        let y = TOP + n as i32 * LINE + LINE / 2;
        text(&root, &row.title(), (NAMES - 10, y), HPos::Right, 13)?;
        for (name, colour) in PEERS {
            if let Some(ratio) = ratio(row, name) {
                root.draw(&Circle::new((x(ratio), y), 5, colour.mix(0.85).filled()))?;
            }
        }
    }
    root.present()?;
    Ok(())
}

const OURS_COLOUR: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Whether a row has objects of the size that is shown, or its work has no such.
fn is_shown(row: &Measured, results: &[Measured]) -> bool {
    let has_size = |bytes: usize| {
        results
            .iter()
            .any(|other| other.name == row.name && other.bytes == bytes)
    };
    row.bytes == BYTES || !has_size(BYTES)
}

/// How many times as long as ours a peer took.
fn ratio(row: &Measured, peer: &str) -> Option<f64> {
    let median = |name| Some(row.peer(name)?.summary()?.median);
    Some(median(peer)? / median(OURS)?)
}

fn x(ratio: f64) -> i32 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    NAMES + (f64::from(PLOT) * share) as i32
}
