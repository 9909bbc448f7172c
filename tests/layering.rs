//! The architecture as a test: a file of `src` uses only files above it in `LAYERS`, and each raw thing (atomics, the
//! operating system, thread-locals) has the one entry point that `RULES` names.
//!
//! No parser of Rust, only a lexer: comments, strings and attributes are dropped, every path (`a::b::{c, d::e}`, in a
//! `use` or inline) is spelt out in full, and the rules look at those. Test code is not shipped and may use anything:
//! modules under `cfg(test)`, those named `tests` or `models` also under `cfg(segment_pool_loom)`, in files of their own too.
//!
//! `mod planted` holds bad texts for every rule, so that a rule which finds nothing is noticed.

#![cfg(not(miri))] // reads files

#[path = "common/sources.rs"]
mod sources;

use std::fs;
use std::path::Path;

use sources::rust_files;

/// The storeys of `src`, from the ground up, with the files of each. A file may use every storey below its own, and the files that
/// stand before it in its own. Where no files are listed, those of the storey may use each other.
const STOREYS: [(&str, &[&str]); 12] = [
    (
        "ground",
        &[
            "sync", "panics", "events", "refcount", "error", "pointer", "checker", "layout",
            "misuse", "os",
        ],
    ),
    ("hardened", &[]),
    ("slot", &["bytes", "free_list"]),
    (
        "memory",
        &["remote", "segment", "pins", "retention", "arena"],
    ),
    (
        "heap",
        &[
            "batch",
            "deferred",
            "lists",
            "bin",
            "permits",
            "queue",
            "gate",
            "pool_core",
            "fully_freed",
            "fields",
            "owner",
            "registry",
            "handover",
            "bounded",
            "remote_buffer",
        ],
    ),
    (
        "thread",
        &["held", "local", "heaps", "slow", "counted", "entry"],
    ),
    (
        "insight",
        &[
            "look", "census", "holder", "stats", "report", "snapshot", "leaks",
        ],
    ),
    (
        "pool",
        &[
            "large",
            "sizeless",
            "route",
            "builder",
            "segment_pool",
            "local",
            "waiting",
        ],
    ),
    ("boxed", &[]),
    ("arc", &[]),
    ("coerce", &[]),
    ("features", &[]),
];

/// What only some layers may name, `lib.rs` neither.
const RULES: [Rule; 8] = [
    Rule {
        what: "an atomic",
        doors: &["ground/sync"],
        // The modules above `atomic` count when they are imported whole.
        matches: |path| match path {
            ["core" | "std", "*"] | ["core" | "std", "sync"] => true,
            ["core" | "std", "sync", inside, ..] => matches!(*inside, "atomic" | "*"),
            _ => false,
        },
    },
    Rule {
        what: "loom",
        doors: &["ground/sync"],
        matches: |path| path.contains(&"loom"),
    },
    Rule {
        what: "the operating system",
        doors: &["ground/os"],
        matches: |path| matches!(path[0], "rustix" | "windows_sys" | "libc"),
    },
    Rule {
        what: "an allocator",
        doors: &["ground/os"],
        matches: |path| match path {
            ["std" | "core" | "alloc", "alloc", rest @ ..] => {
                !matches!(rest, ["handle_alloc_error" | "Layout" | "LayoutError", ..])
            }
            _ => false,
        },
    },
    Rule {
        what: "a thread-local",
        doors: &["ground/sync", "ground/events", "thread/local"],
        matches: |path| path.ends_with(&["thread_local"]),
    },
    // Readers and ThreadSanitizer both lose track of them. An ordering belongs on its operation.
    Rule {
        what: "a stand-alone fence",
        doors: &[],
        matches: |path| matches!(path, [.., "fence" | "compiler_fence"]),
    },
    // What an allocator gets back may have lost its provenance. Nothing else of the crate takes pointers from others.
    Rule {
        what: "exposed provenance",
        doors: &["features"],
        matches: |path| path.last().is_some_and(|name| name.contains("expose")),
    },
    // A racing `static`, and a pointer out of nowhere: never needed, no entry point.
    Rule {
        what: "`static mut` or `as usize as *`",
        doors: &[],
        matches: |path| matches!(path, ["static mut" | "as usize as *"]),
    },
];

/// Look-ups that are meant: (file's layer, layer it names, why). Empty, and better so.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

struct Rule {
    what: &'static str,
    doors: &'static [&'static str],
    matches: fn(&[&str]) -> bool,
}

#[test]
fn every_file_keeps_to_its_layer() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    let mut complaints = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&source).unwrap();
        if !is_test_only(name) {
            complaints.extend(check(name, &fs::read_to_string(file).unwrap()));
        }
    }
    assert!(
        files.contains(&source.join("ground/sync.rs")),
        "looked in the wrong place: {files:?}"
    );
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// By name alone: `check` sees to it that modules of these names are declared for tests only.
fn is_test_only(file: &Path) -> bool {
    let file = file.with_extension("");
    file.iter().any(|name| name == "models" || name == "tests")
}

/// What is wrong with one file, a line each. `file` is relative to `src`.
fn check(file: &Path, text: &str) -> Vec<String> {
    let tokens = without_test_modules_and_attributes(lex(text));
    let layer = layer_of(file);
    let mut complaints = Vec::new();
    if !tokens.is_empty() && layer != "lib" && rank(&layer).is_none() {
        complaints.push(format!("{}: not in the table of layers", file.display()));
    }
    for path in paths(&tokens) {
        if let Some(complaint) = check_path(&layer, &path) {
            complaints.push(format!("{}:{}: {complaint}", file.display(), path.line));
        }
    }
    complaints
}

/// `heap/bin.rs` and `heap/bin/tests.rs` are the layer `heap/bin`, `heap/mod.rs` is `heap`; where a storey lists no files, all of it
/// is one layer.
fn layer_of(file: &Path) -> String {
    let file = file.with_extension("");
    let mut names = file.iter().map(|name| name.to_str().unwrap());
    let room = names.next().unwrap();
    match names.next() {
        Some(name) if name != "mod" && !files_of(room).is_empty() => format!("{room}/{name}"),
        _ => room.to_owned(),
    }
}

fn files_of(room: &str) -> &'static [&'static str] {
    let mut storeys = STOREYS.iter();
    storeys
        .find(|(known, _)| *known == room)
        .map_or(&[], |(_, files)| files)
}

fn storey(room: &str) -> Option<usize> {
    STOREYS.iter().position(|(known, _)| *known == room)
}

/// Storey, and place in it; the page of a storey stands above its files.
fn rank(layer: &str) -> Option<(usize, usize)> {
    let (room, file) = layer.split_once('/').unwrap_or((layer, ""));
    let place = match file {
        "" => usize::MAX,
        file => files_of(room).iter().position(|known| *known == file)?,
    };
    Some((storey(room)?, place))
}

fn check_path(layer: &str, path: &UsedPath) -> Option<String> {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    if segments == ["mod", "models"] || segments == ["mod", "tests"] {
        return Some(format!(
            "`{}` without cfg(test) or cfg(segment_pool_loom)",
            segments.join(" ")
        ));
    }
    let broken = |rule: &&Rule| (rule.matches)(&segments) && !rule.doors.contains(&layer);
    match RULES.iter().find(broken) {
        Some(rule) => Some(format!(
            "`{}` is {}, {}",
            segments.join("::"),
            rule.what,
            whose(rule)
        )),
        None => check_look_up(layer, &segments),
    }
}

fn whose(rule: &Rule) -> String {
    match rule.doors {
        [] => "which is nobody's".to_string(),
        doors => format!("which is for {}", doors.join(" and ")),
    }
}

/// Only `super::x` where x is a file of the same storey is told from other modules; `super::super::x` is `crate::x`.
fn check_look_up(layer: &str, path: &[&str]) -> Option<String> {
    if layer == "lib" || !matches!(path[0], "crate" | "super") {
        return None;
    }
    let supers = path.iter().filter(|name| **name == "super").count();
    let names: Vec<&str> = path
        .iter()
        .copied()
        .filter(|name| !matches!(*name, "crate" | "super"))
        .collect();
    let room = layer.split('/').next()?;
    let in_room = supers == 1
        && names
            .first()
            .is_some_and(|name| files_of(room).contains(name));
    let used = match names.as_slice() {
        [file, ..] if in_room => format!("{room}/{file}"),
        [own, file, ..] if *own == room && !files_of(room).is_empty() => format!("{room}/{file}"),
        [other, ..] => (*other).to_owned(),
        [] => return None,
    };
    let meant = |(from, to, _why): &(&str, &str, &str)| (*from, *to) == (layer, used.as_str());
    match (rank(layer), rank(&used)) {
        _ if layer == used || EXCEPTIONS.iter().any(meant) => None,
        (Some(own), Some(other)) if looks_up(own, other) => Some(format!(
            "`{}` looks up, from {layer} to {used}",
            path.join("::")
        )),
        (_, None) if path[0] == "crate" => Some(format!(
            "`{}` goes around the table: name the file",
            path.join("::")
        )),
        _ => None,
    }
}

/// A storey that is used as a whole counts by itself, and the own one not at all: its page names what is above.
fn looks_up(own: (usize, usize), other: (usize, usize)) -> bool {
    if other.1 == usize::MAX {
        own.0 <= other.0
    } else {
        own < other
    }
}

// --- Paths ----------------------------------------------------------------------------------------------------------

/// A path in full, or one of the word groups that rules look for (`static mut`, `mod tests`), as if it were one.
#[derive(Debug)]
struct UsedPath {
    segments: Vec<String>,
    line: usize,
}

fn paths(tokens: &[Token]) -> Vec<UsedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let line = tokens[at].line;
        if let Some(group) = word_group(&tokens[at..]) {
            let segments = group.iter().map(|word| word.to_string()).collect();
            found.push(UsedPath { segments, line });
        }
        let in_visibility = at >= 2 && is(&tokens[at - 2..], &["(", "in"]);
        if is_name(&tokens[at]) && !in_visibility {
            at = path(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn word_group(tokens: &[Token]) -> Option<&'static [&'static str]> {
    let groups: [(&[&str], &[&str]); 4] = [
        (&["static", "mut"], &["static mut"]),
        (&["as", "usize", "as", "*"], &["as usize as *"]),
        (&["mod", "models"], &["mod", "models"]),
        (&["mod", "tests"], &["mod", "tests"]),
    ];
    let found = groups.into_iter().find(|(words, _)| is(tokens, words));
    found.map(|(_, path)| path)
}

/// Reads the path that starts at `at`, adds it (each branch of a group on its own), and says where it ends.
fn path(tokens: &[Token], mut at: usize, start: &[String], found: &mut Vec<UsedPath>) -> usize {
    let mut segments = start.to_vec();
    let line = tokens[at].line;
    loop {
        segments.push(tokens[at].text.clone());
        at += 1;
        if !is(&tokens[at..], &["::"]) || at + 1 == tokens.len() {
            break;
        }
        match &tokens[at + 1] {
            next if next.text == "{" => return group(tokens, at + 2, &segments, found),
            next if is_name(next) || next.text == "*" => at += 1,
            _ => break, // a turbofish
        }
    }
    if segments.last().is_some_and(|last| last == "self") {
        segments.pop(); // `a::{self}` is `a`
    }
    if !segments.is_empty() {
        found.push(UsedPath { segments, line });
    }
    at
}

/// Reads the branches of `{a, b::c}` up to and with the closing brace.
fn group(tokens: &[Token], mut at: usize, start: &[String], found: &mut Vec<UsedPath>) -> usize {
    while at < tokens.len() && tokens[at].text != "}" {
        if is_name(&tokens[at]) || tokens[at].text == "*" {
            at = path(tokens, at, start, found);
        } else {
            at += 1;
        }
    }
    at + 1
}

// --- Tokens ---------------------------------------------------------------------------------------------------------

/// A name, `::`, or one character of punctuation.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

fn is_name(token: &Token) -> bool {
    token
        .text
        .starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn is(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens
            .iter()
            .zip(words)
            .all(|(token, word)| token.text == *word)
}

/// Splits a file into tokens. Comments, strings, characters, lifetimes and numbers are left out.
fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest);
        let length = skipped.unwrap_or_else(|| token_length(rest));
        let (token, after) = rest.split_at(length);
        if skipped.is_none() && !first.is_whitespace() && !first.is_ascii_digit() {
            let text = token.trim_start_matches("r#").to_string();
            tokens.push(Token { text, line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

fn token_length(rest: &str) -> usize {
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    match name_length(&rest[raw..]) {
        0 if rest.starts_with("::") => 2,
        0 => first,
        name => raw + name,
    }
}

fn name_length(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len())
}

/// The length of what is no code at the start of `rest`.
fn skipped_length(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    raw_string_length(rest).or_else(|| quoted_length(rest))
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// `r"…"`, `br#"…"#` and so on.
fn raw_string_length(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let body = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + length)
}

/// `"…"`, `b'…'` and `'a`. A prefix is taken only with its quote.
fn quoted_length(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let prefix = rest.len() - body.len();
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if quote == '\'' && is_lifetime(body) {
        return Some(prefix + 1 + name_length(&body[1..]));
    }
    let mut characters = body.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            c if c == quote => return Some(prefix + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// A quote, a name, and no quote behind its first character.
fn is_lifetime(body: &str) -> bool {
    let mut characters = body.chars().skip(1);
    let name = characters
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_');
    name && characters.next() != Some('\'')
}

// --- What is not shipped --------------------------------------------------------------------------------------------

/// Leaves out attributes, `cfg!(…)`, and the modules behind a gate.
fn without_test_modules_and_attributes(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut gate = Gate::Open;
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if let Some(length) = attribute_length(rest) {
            gate = gate.max(Gate::of(&rest[..length]));
            at += length;
        } else if is(rest, &["cfg", "!"]) {
            at += 2 + closing(&rest[2..]);
        } else if gate.shuts_out(rest) {
            gate = Gate::Open;
            at += module_length(rest);
        } else {
            let length = visibility_length(rest);
            if length == 0 {
                gate = Gate::Open;
            }
            let length = length.max(1);
            kept.extend_from_slice(&rest[..length]);
            at += length;
        }
    }
    kept
}

/// What the attributes seen so far say of the item that follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gate {
    /// It is shipped.
    Open,
    /// It is there for loom: that may be a stand-in for shipped code, or models.
    Loom,
    /// It is there for tests only.
    Test,
}

impl Gate {
    /// `#[cfg(test)]`, `#[cfg(segment_pool_loom)]`, or an `all` of either with something else.
    fn of(attribute: &[Token]) -> Gate {
        let words: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
        let conditions = match words.as_slice() {
            ["#", "[", "cfg", "(", "all", "(", list @ .., ")", ")", "]"] => list,
            ["#", "[", "cfg", "(", one, ")", "]"] => std::slice::from_ref(one),
            _ => &[],
        };
        let names = |word| conditions.split(|c| *c == ",").any(|one| one == [word]);
        if names("test") {
            Gate::Test
        } else if names("segment_pool_loom") {
            Gate::Loom
        } else {
            Gate::Open
        }
    }

    fn shuts_out(self, tokens: &[Token]) -> bool {
        let for_tests = is(tokens, &["mod", "tests"]) || is(tokens, &["mod", "models"]);
        match self {
            Gate::Open => false,
            Gate::Loom => for_tests,
            Gate::Test => is(tokens, &["mod"]),
        }
    }
}

fn attribute_length(tokens: &[Token]) -> Option<usize> {
    if is(tokens, &["#", "["]) {
        Some(1 + closing(&tokens[1..]))
    } else if is(tokens, &["#", "!", "["]) {
        Some(2 + closing(&tokens[2..]))
    } else {
        None
    }
}

/// `pub` or `pub(…)`.
fn visibility_length(tokens: &[Token]) -> usize {
    if is(tokens, &["pub", "("]) {
        1 + closing(&tokens[1..])
    } else {
        usize::from(is(tokens, &["pub"]))
    }
}

/// `mod x;` or `mod x { … }`.
fn module_length(tokens: &[Token]) -> usize {
    if tokens.get(2).is_some_and(|token| token.text == "{") {
        2 + closing(&tokens[2..])
    } else {
        tokens.len().min(3)
    }
}

/// The length of what starts with a bracket, up to and with the one that closes it.
fn closing(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Texts, a line each: the file it might stand in, the text, and what must be found there, in order and nothing else.
mod planted {
    use super::*;

    const TEXTS: &str = r####"
        // Looking up, in every way to write it.
        slot/bytes.rs: use crate::heap::Heap; --> looks up, from slot/bytes to heap
        slot/bytes.rs: use crate::{ground::layout::X, heap}; --> `crate::heap` looks up
        slot/bytes.rs: use crate::{heap::{self, Heap}, ground::sync}; --> `crate::heap` looks up; `crate::heap::Heap` looks up
        slot/bytes.rs: use super::free_list; --> `super::free_list` looks up, from slot/bytes to slot/free_list
        slot/bytes.rs: use crate::slot::free_list::FreeList; --> from slot/bytes to slot/free_list
        heap/bin.rs: use crate::heap::{lists::Loose, owner::x}; --> `crate::heap::owner::x` looks up
        slot/mod.rs: use crate::memory::segment::Segment; --> looks up, from slot to memory
        slot/bytes.rs: fn f() { crate::heap::go::<u8>(1) } --> `crate::heap::go` looks up
        slot/bytes.rs: fn f<'a>(x: &'a str) -> char { crate::heap::x('\''); 'b' } --> looks up
        slot/bytes.rs: const S: &str = r#"a"b"#; use crate::heap; --> looks up
        slot/bytes/deep.rs: use super::super::heap::Heap; --> looks up
        boxed.rs: use crate::arc::PoolArc; --> from boxed to arc

        // Going around the table.
        boxed.rs: use crate::PoolArc; --> goes around
        boxed.rs: use crate::*; --> goes around
        util.rs: fn f() {} --> not in the table
        heap/util.rs: fn f() {} --> not in the table
        heap/bin.rs: use crate::heap::HeapRef; --> goes around the table: name the file
        heap/bin.rs: use crate::heap; --> looks up, from heap/bin to heap

        // Atomics and loom.
        heap/bin.rs: use core::sync::atomic::AtomicU64; --> an atomic
        heap/bin.rs: use std::sync::{Arc, atomic::{AtomicU8, Ordering}}; --> AtomicU8; Ordering
        heap/bin.rs: use std::sync::*; --> an atomic
        heap/bin.rs: use std::{fmt, sync}; --> `std::sync` is an atomic
        lib.rs: static N: std::sync::atomic::AtomicU8 = x(); --> an atomic
        heap/bin.rs: #[cfg(segment_pool_loom)] use loom::cell::Cell; --> is loom
        heap/bin.rs: #[cfg(segment_pool_loom)] mod imp { fn f() { loom::model(|| ()) } } --> is loom

        // Memory from the system.
        memory/arena.rs: use rustix::mm; --> the operating system
        memory/arena.rs: fn f() { unsafe { windows_sys::g() } } --> the operating system
        memory/arena.rs: use std::alloc::{Layout, alloc_zeroed}; --> `std::alloc::alloc_zeroed` is an allocator
        memory/arena.rs: use std::alloc; --> `std::alloc` is an allocator

        // The rest of the entry points, and what has none.
        heap/bin.rs: thread_local! { static X: u8 = 1; } --> a thread-local
        heap/bin.rs: std::thread_local!(static X: u8 = 1); --> a thread-local
        heap/bin.rs: crate::ground::sync::thread_local! {} --> a thread-local
        heap/bin.rs: fn f() { fence(Ordering::SeqCst) } --> nobody's
        heap/bin.rs: use crate::ground::sync::fence; --> nobody's
        pool/route.rs: fn f(p: *mut u8) { p.expose_provenance(); } --> exposed provenance
        pool/route.rs: use core::ptr::with_exposed_provenance; --> exposed provenance
        thread/local.rs: static mut X: u8 = 1; --> nobody's
        thread/local.rs: fn f(x: *mut u8) { g(x as usize as *mut u16) } --> nobody's

        // Test modules need their cfg, and it ends with them.
        heap/bin.rs: mod models { use loom::model; } --> without cfg; is loom
        heap/bin.rs: #[cfg(not(segment_pool_loom))] mod tests; --> without cfg
        heap/bin.rs: #[cfg(any(test, unix))] mod tests; --> without cfg
        heap/bin.rs: #[cfg(test)] mod tests { x! {} } use crate::arc; --> looks up
        heap/bin.rs: #[cfg(test)] use crate::arc; --> looks up
        heap/bin.rs: #[cfg(test)] fn f() {} mod x { use crate::arc; } --> looks up

        // Good texts.
        heap/bin.rs: use crate::ground::sync::{AtomicU64, Cell}; /* loom /* */ */ // crate::arc
        heap/bin.rs: #[doc = "loom"] #[cfg(segment_pool_loom)] pub(in crate::arc) fn f() { super::lists::g(self::h) }
        heap/bin.rs: #[cfg(all(test, not(segment_pool_loom)))] pub(crate) mod refusal { std::thread_local! {} }
        heap/bin.rs: #[cfg(all(test, segment_pool_loom))] mod models { use loom::x; use crate::arc; }
        heap/bin.rs: #[cfg(segment_pool_loom)] #[path = "x.rs"] mod models; const N: u8 = if cfg!(segment_pool_loom) { 2 } else { 3 };
        heap/bin.rs: fn f() { g("std::sync::atomic \" loom", b'"', '\'', crate::heap::bin::x as usize) }
        heap/bin.rs: macro_rules! m { ($x:ident) => { $crate::ground::sync::Cell } }
        pool/route.rs: use std::alloc::{Layout, handle_alloc_error}; use std::sync::Arc;
        ground/sync.rs: pub(crate) use core::sync::atomic::*; use loom::cell::Cell;
        ground/os.rs: use rustix::mm::mmap; use std::alloc::alloc;
        thread/local.rs: thread_local! { static X: u8 = const { 1 }; }
        lib.rs: mod arc; pub use crate::arc::PoolArc; pub use pool::SegmentPool;
        design.rs: //! Only words, crate::arc.
    "####;

    #[test]
    fn every_text_is_judged_right() {
        let lines = TEXTS.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
            let (text, expected) = line.split_once(" --> ").unwrap_or((line, ""));
            let (file, text) = text.split_once(": ").unwrap();
            let found = check(Path::new(file), text);
            let expected: Vec<&str> = expected.split("; ").filter(|e| !e.is_empty()).collect();
            let right = found.iter().zip(&expected).all(|(f, e)| f.contains(e));
            assert!(
                right && found.len() == expected.len(),
                "{line}\nfound {found:?}"
            );
        }
    }

    #[test]
    fn the_line_is_named() {
        let found = check(
            Path::new("slot/bytes.rs"),
            "/*\n*/ use crate::{\n    ground::sync,\n    heap,\n};\n",
        );
        assert_eq!(
            found,
            ["slot/bytes.rs:4: `crate::heap` looks up, from slot/bytes to heap"]
        );
    }
}
