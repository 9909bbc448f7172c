//! A chart for each group: a panel for each row, and in it a bar for each peer, as long as its median, with a whisker
//! from the lowest to the highest sample.
//!
//! Bars begin at zero. A peer that is far slower than ours would make all others look the same, so its bar is cut off
//! at the panel's end and has a gap; the number beside it is right.

use crate::{
    peers::Kind,
    report::ns,
    results::{Measured, Series, Summary},
};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::{error::Error, path::Path};

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const COLUMNS: usize = 3;
const WIDTH: i32 = 380;
const TITLE: i32 = 26;
const BAR: i32 = 16;
const MARGIN: i32 = 10;
const NAME_WIDTH: i32 = 92;
const VALUE_WIDTH: i32 = 48;
const BAR_WIDTH: i32 = WIDTH - NAME_WIDTH - VALUE_WIDTH - MARGIN;

/// The longest bar is so many times the fastest peer's or ours, whichever is longer.
const CUT_OFF: f64 = 4.0;

const FONT: &str = "sans-serif";
pub(crate) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// The name of a group's chart.
pub(crate) fn file(group: &str) -> String {
    let mut name = String::new();
    for word in group
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        name += if name.is_empty() { "" } else { "-" };
        name += word;
    }
    name + ".svg"
}

pub(crate) fn draw(path: &Path, rows: &[Measured]) -> Result<()> {
    let columns = COLUMNS.min(rows.len());
    let lines = rows.len().div_ceil(columns);
    let bars = rows.iter().map(|row| row.peers.len()).max().unwrap_or(0);
    let height = TITLE + bars as i32 * BAR + MARGIN;
    let size = (WIDTH as u32 * columns as u32, height as u32 * lines as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, row) in root.split_evenly((lines, columns)).iter().zip(rows) {
        draw_row(panel, row)?;
    }
    root.present()?;
    Ok(())
}

fn draw_row(panel: &Panel<'_>, row: &Measured) -> Result<()> {
    let title = format!("{} (ns)", row.title());
    text(panel, &title, (MARGIN, TITLE / 2 + 2), HPos::Left, 17)?;
    let longest = longest(row);
    let mut peers: Vec<_> = row
        .peers
        .iter()
        .filter_map(|peer| Some((peer, peer.summary()?)))
        .collect();
    peers.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    for (line, (peer, summary)) in peers.into_iter().enumerate() {
        draw_bar(panel, TITLE + line as i32 * BAR, peer, summary, longest)?;
    }
    Ok(())
}

/// What a full bar means.
fn longest(row: &Measured) -> f64 {
    let medians = row
        .peers
        .iter()
        .filter_map(|peer| Some(peer.summary()?.median));
    let slowest = medians.fold(0.0, f64::max);
    let anchors = [Kind::Ours, Kind::Peer]
        .into_iter()
        .filter_map(|kind| row.fastest(kind));
    let anchor = anchors
        .map(|(_, summary)| summary.median)
        .fold(0.0, f64::max);
    match anchor > 0.0 {
        true => slowest.min(anchor * CUT_OFF),
        false => slowest,
    }
}

fn draw_bar(
    panel: &Panel<'_>,
    top: i32,
    peer: &Series,
    summary: Summary,
    longest: f64,
) -> Result<()> {
    let x = |time: f64| NAME_WIDTH + (BAR_WIDTH as f64 * (time / longest).min(1.0)) as i32;
    let middle = top + BAR / 2;
    let end = x(summary.median);
    text(panel, peer.name, (NAME_WIDTH - 5, middle), HPos::Right, 14)?;
    let bar = [(NAME_WIDTH, top + 2), (end, top + BAR - 2)];
    panel.draw(&Rectangle::new(bar, colour(peer.kind).filled()))?;
    if summary.median > longest {
        let gap = [(end - 12, top + 2), (end - 8, top + BAR - 2)];
        panel.draw(&Rectangle::new(gap, WHITE.filled()))?;
    } else {
        let whisker = vec![(x(summary.min), middle), (x(summary.max), middle)];
        panel.draw(&PathElement::new(whisker, INK))?;
    }
    let value_at = x(summary.max).max(end) + 5;
    text(
        panel,
        &ns(summary.median),
        (value_at, middle),
        HPos::Left,
        12,
    )
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Ours => RGBColor(0xd9, 0x5f, 0x02),
        Kind::Peer => RGBColor(0x8d, 0xa6, 0xc4),
        Kind::Special => RGBColor(0xc9, 0xd6, 0xc0),
        Kind::Limit => RGBColor(0xbb, 0xbb, 0xbb),
    }
}

pub(crate) fn text(
    panel: &Panel<'_>,
    text: &str,
    at: (i32, i32),
    anchor: HPos,
    size: i32,
) -> Result<()> {
    let style = (FONT, size)
        .into_font()
        .color(&INK)
        .pos(Pos::new(anchor, VPos::Center));
    panel.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}
