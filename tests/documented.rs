//! Every public function, type, trait and macro has an example that is run.
//!
//! rustc's `missing_docs` checks that there is a text, and the doctests run the examples. This test checks that there
//! is an example. Fields, variants and constants are documented with their type.

#![cfg(not(miri))] // reads files

#[path = "common/sources.rs"]
mod sources;

use std::fs;
use std::path::Path;

use sources::rust_files;

/// What [`coerce!`](segment_pool::coerce) expands to, hidden from the documentation.
const HIDDEN: [&str; 5] = [
    "Target",
    "Coerce",
    "coerced",
    "boxed_fn_once",
    "slots_touched",
];

#[test]
fn every_public_item_has_an_example() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut items, mut bare) = (0, Vec::new());
    for file in rust_files(&src) {
        for Item { name, has_example } in items_of(&fs::read_to_string(&file).unwrap()) {
            items += 1;
            if !has_example && !HIDDEN.contains(&name) {
                bare.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(items > 100, "only {items} public items were seen");
    assert!(bare.is_empty(), "no example:\n{}", bare.join("\n"));
}

#[test]
fn an_item_without_an_example_is_noticed() {
    let text = "\
/// With one.
///
/// ```
/// one();
/// ```
#[must_use]
pub const fn one() {}

/// Without, and unsafe.
pub unsafe fn two() {}

/// ```text
/// a picture
/// ```
pub struct Three;

/// Of the crate.
pub(crate) fn four() {}

/// Exported.
#[macro_export]
macro_rules! five { () => {} }
";
    let bare: Vec<_> = items_of(text)
        .filter(|item| !item.has_example)
        .map(|item| item.name)
        .collect();
    assert_eq!(bare, ["two", "Three", "five"]);
}

struct Item<'a> {
    name: &'a str,
    has_example: bool,
}

fn items_of(text: &str) -> impl Iterator<Item = Item<'_>> {
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let item_at = move |at: usize| {
        let above = lines[..at]
            .iter()
            .rposition(|line| !is_doc_or_attribute(line));
        let above = &lines[above.map_or(0, |line| line + 1)..at];
        Some(Item {
            name: public_name(lines[at], above.contains(&"#[macro_export]"))?,
            has_example: has_example(above.iter().copied()),
        })
    };
    (0..text.lines().count()).filter_map(item_at)
}

fn is_doc_or_attribute(line: &str) -> bool {
    line.starts_with("///") || line.starts_with("#[")
}

/// Whether one of the blocks of code in this text is Rust. Every other fence opens one.
fn has_example<'a>(doc: impl Iterator<Item = &'a str>) -> bool {
    let fences = doc.filter_map(|line| line.strip_prefix("/// ```"));
    let mut opened = fences.step_by(2);
    opened.any(|kind| matches!(kind, "" | "no_run" | "compile_fail" | "should_panic"))
}

/// What the line defines, if that is public.
fn public_name(line: &str, exported: bool) -> Option<&str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    let first = words.next()?;
    if exported && first == "macro_rules" {
        return words.find(|word| !word.is_empty());
    }
    if !line.starts_with("pub ") {
        return None;
    }
    let kinds = ["fn", "struct", "enum", "union", "trait", "type"];
    words
        .find(|word| !matches!(*word, "const" | "unsafe"))
        .filter(|kind| kinds.contains(kind))?;
    words.next()
}
