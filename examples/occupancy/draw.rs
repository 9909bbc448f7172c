//! Snapshots as an SVG: a panel each, in it a row for each heap, in that a square for each segment, in that a pixel for
//! each slot.
//!
//! The colours differ in brightness too, so that they can be told apart by people who see few colours, and in print.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use segment_pool::{
    HeapSnapshot, Holder, SegmentPool, SegmentSnapshot, SlotState, Snapshot, Stats,
};

const STATES: [(SlotState, &str, &str); 5] = [
    (SlotState::Live, "#17436b", "live"),
    (
        SlotState::InFlight,
        "#d55e00",
        "in flight: freed elsewhere, not yet home",
    ),
    (
        SlotState::AtHand,
        "#f7d23e",
        "at hand: free, in a list of the thread",
    ),
    (
        SlotState::Returned,
        "#a9b6c1",
        "home: free, on the segment's own list",
    ),
    (
        SlotState::Untouched,
        "#f3f5f7",
        "untouched: free, never used",
    ),
];

const WIDTH: usize = 1240;
const MARGIN: usize = 28;
/// Where the segments begin; before them stands whose they are.
const SEGMENTS_AT: usize = 230;
/// A segment's square, and the distance from one to the next.
const SQUARE: usize = 56;
const STEP: usize = SQUARE + 8;
const PER_LINE: usize = (WIDTH - MARGIN - SEGMENTS_AT) / STEP;

const HEADER: usize = 152;
/// From one pair of keys to the next.
const KEY_STEP: usize = 300;
const PANEL_TITLE: usize = 62;
const PANEL_GAP: usize = 30;
const ROW_GAP: usize = 16;

/// A snapshot, and what stands above it.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) snapshot: Snapshot,
    pub(crate) stats: Stats,
}

impl Panel {
    pub(crate) fn now<T>(title: &'static str, pool: &SegmentPool<T>) -> Self {
        let stats = pool.stats(); // first: a snapshot collects
        Self {
            title,
            snapshot: pool.snapshot(),
            stats,
        }
    }
}

/// The addresses of a heap's segments in any of the panels: each segment has its place in all of them.
type Places = Vec<usize>;

fn places(panels: &[Panel], heap: usize) -> Places {
    let heaps = panels
        .iter()
        .filter_map(|panel| panel.snapshot.heaps.get(heap));
    let segments: BTreeSet<_> = heaps
        .flat_map(|heap| &heap.segments)
        .map(|segment| (segment.slot_bytes, segment.address))
        .collect();
    segments.into_iter().map(|(_, address)| address).collect()
}

fn squares(heap: &HeapSnapshot, places: &Places) -> usize {
    heap.segment_count.max(places.len())
}

fn row_height(squares: usize) -> usize {
    squares.div_ceil(PER_LINE).max(1) * STEP + ROW_GAP
}

fn panel_height(panel: &Panel, places: &[Places]) -> usize {
    let rows = panel.snapshot.heaps.iter().zip(places);
    let rows = rows.map(|(heap, places)| row_height(squares(heap, places)));
    PANEL_TITLE + rows.sum::<usize>() + PANEL_GAP
}

/// The picture.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let mut out = String::new();
    draw(&mut out, panels).expect("a string takes what is written to it");
    out
}

fn draw(out: &mut String, panels: &[Panel]) -> fmt::Result {
    let heaps = panels.iter().map(|panel| panel.snapshot.heaps.len()).max();
    let places: Vec<_> = (0..heaps.unwrap_or(0))
        .map(|heap| places(panels, heap))
        .collect();
    let heights = panels.iter().map(|panel| panel_height(panel, &places));
    let height = HEADER + heights.sum::<usize>();
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>
  text {{ font-family: "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif; font-size: 13px; fill: #1f2933 }}
  .title {{ font-size: 22px; font-weight: bold }} .panel {{ font-size: 17px; font-weight: bold }}
  .small {{ font-size: 12px; fill: #52606d }}
</style>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##
    )?;
    draw_header(out, panels)?;
    let mut top = HEADER;
    for panel in panels {
        draw_panel(out, panel, &places, top)?;
        top += panel_height(panel, &places);
    }
    writeln!(out, "</svg>")
}

fn text(out: &mut String, x: usize, y: usize, class: &str, text: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        out,
        r#"<text x="{x}" y="{y}" class="{class}">{text}</text>"#
    )
}

fn draw_header(out: &mut String, panels: &[Panel]) -> fmt::Result {
    let name = panels.first().map_or("", |panel| panel.snapshot.name);
    text(
        out,
        MARGIN,
        42,
        "title",
        &format!("Occupancy of the pool “{name}”"),
    )?;
    let key = "Each row is a heap, each square a segment, each pixel a slot.";
    text(out, MARGIN, 66, "small", key)?;
    for (number, (state, colour, meaning)) in STATES.iter().enumerate() {
        let stroke = border(*state);
        let look = format!(r#"fill="{colour}"{stroke}"#);
        draw_key(out, number, &look, meaning)?;
    }
    draw_key(out, STATES.len(), GONE, "a segment that was given back")?;
    draw_key(
        out,
        STATES.len() + 1,
        UNKNOWN,
        "a segment not to be looked into",
    )
}

fn draw_key(out: &mut String, number: usize, look: &str, meaning: &str) -> fmt::Result {
    let (x, y) = (MARGIN + number / 2 * KEY_STEP, 84 + number % 2 * 26);
    writeln!(
        out,
        r#"<rect x="{x}" y="{y}" width="15" height="15" {look}/>"#
    )?;
    text(out, x + 22, y + 12, "small", meaning)
}

/// What is nearly white has a line around it.
fn border(state: SlotState) -> &'static str {
    match state {
        SlotState::Untouched => r##" stroke="#9aa5b1" stroke-width="1""##,
        _ => "",
    }
}

fn draw_panel(out: &mut String, panel: &Panel, places: &[Places], top: usize) -> fmt::Result {
    let Stats {
        segments,
        segment_bytes,
        spare_bytes,
        ..
    } = panel.stats;
    writeln!(
        out,
        r##"<line x1="{MARGIN}" y1="{top}" x2="{x}" y2="{top}" stroke="#cbd2d9"/>"##,
        x = WIDTH - MARGIN
    )?;
    text(out, MARGIN, top + 28, "panel", panel.title)?;
    let held = format!(
        "{segments} segments, {} KiB, and {} KiB of spare segments",
        segment_bytes >> 10,
        spare_bytes >> 10
    );
    text(out, SEGMENTS_AT, top + 28, "", &held)?;
    let mut top = top + PANEL_TITLE;
    for (number, (heap, places)) in panel.snapshot.heaps.iter().zip(places).enumerate() {
        draw_heap(out, number, heap, top)?;
        draw_segments(out, heap, places, top)?;
        top += row_height(squares(heap, places));
    }
    Ok(())
}

fn draw_heap(out: &mut String, number: usize, heap: &HeapSnapshot, top: usize) -> fmt::Result {
    let holder = match heap.holder {
        Holder::ThisThread => "this thread's",
        Holder::Nobody => "its thread has ended",
        _ => "a running thread's",
    };
    text(
        out,
        MARGIN,
        top + 16,
        "",
        &format!("heap {number}: {holder}"),
    )?;
    let [live, free] = [live(heap), free(heap)];
    let numbers = match heap.holder {
        Holder::OtherThread => format!("{live} live, {free} free, which only it knows"),
        _ => format!("{live} live, {free} free"),
    };
    text(
        out,
        MARGIN,
        top + 34,
        "small",
        &format!("{} segments", heap.segment_count),
    )?;
    text(out, MARGIN, top + 50, "small", &numbers)?;
    Ok(())
}

fn draw_segments(
    out: &mut String,
    heap: &HeapSnapshot,
    places: &Places,
    top: usize,
) -> fmt::Result {
    for number in 0..squares(heap, places) {
        let x = SEGMENTS_AT + number % PER_LINE * STEP;
        let y = top + number / PER_LINE * STEP;
        let address = places.get(number);
        let segment = heap
            .segments
            .iter()
            .find(|segment| Some(&segment.address) == address);
        match segment {
            Some(segment) if segment.slots.is_empty() => draw_square(out, x, y, UNKNOWN)?,
            Some(segment) => draw_segment(out, segment, x, y)?,
            None => draw_square(out, x, y, GONE)?,
        }
    }
    Ok(())
}

/// How the outlines of segments look that have no pixels.
const UNKNOWN: &str = r##"fill="none" stroke="#7b8794" stroke-dasharray="4 3""##;
const GONE: &str = r##"fill="none" stroke="#d3d9df""##;

fn draw_square(out: &mut String, x: usize, y: usize, look: &str) -> fmt::Result {
    writeln!(
        out,
        r#"<rect x="{x}" y="{y}" width="{SQUARE}" height="{SQUARE}" {look}/>"#
    )
}

fn live(heap: &HeapSnapshot) -> usize {
    heap.count(SlotState::Live)
}

fn free(heap: &HeapSnapshot) -> usize {
    let states = SlotState::ALL.map(|state| heap.count(state));
    states.iter().sum::<usize>() - live(heap)
}

/// One path for each state, of a run of pixels for each run of slots.
fn draw_segment(out: &mut String, segment: &SegmentSnapshot, x: usize, y: usize) -> fmt::Result {
    let columns = (1..).find(|n| n * n >= segment.slots.len()).unwrap_or(1);
    let side = SQUARE as f64 / columns as f64;
    // A hair's breadth between the pixels while they are large enough.
    let pixel = if side >= 4.0 { side - 0.8 } else { side };
    draw_square(out, x, y, r##"fill="#ffffff" stroke="#9aa5b1""##)?;
    for (state, colour, _) in STATES {
        let mut path = String::new();
        let of_state = segment
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| **slot == state);
        for (index, _) in of_state {
            let left = x as f64 + (index % columns) as f64 * side;
            let top = y as f64 + (index / columns) as f64 * side;
            write!(
                path,
                "M{left:.1} {top:.1}h{pixel:.1}v{pixel:.1}h-{pixel:.1}z"
            )?;
        }
        if !path.is_empty() {
            writeln!(out, r#"<path fill="{colour}" d="{path}"/>"#)?;
        }
    }
    Ok(())
}
