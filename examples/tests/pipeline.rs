//! Runs `pipeline` as its user does, and compares what it prints with a plain count by `std`.

#![cfg(not(miri))] // starts a process

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Counts = HashMap<String, u64>;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The counts in the order in which they were printed.
fn printed_counts(output: &Output) -> Vec<(String, u64)> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .skip_while(|line| *line != "most frequent words")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (count, word) = line.trim_start().split_once("  ").unwrap();
            (word.to_string(), count.parse().unwrap())
        })
        .collect()
}

/// The value of a row such as `lines    123`.
fn printed_value(output: &Output, name: &str) -> u64 {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let row = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    row.unwrap_or_else(|| panic!("no row {name} in\n{text}"))
        .trim()
        .parse()
        .unwrap()
}

fn counts_by_std(text: &[u8]) -> Counts {
    let mut counts = Counts::new();
    let mut word = String::new();
    for c in String::from_utf8_lossy(text).chars().chain(['\n']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else if !word.is_empty() {
            *counts.entry(std::mem::take(&mut word)).or_default() += 1;
        }
    }
    counts
}

/// Everything that might be counted wrongly, then enough plain lines to fill several segments.
fn fixed_text() -> Vec<u8> {
    let mut text = b"\n\nthe end_of the: the\r\nna\xc3\xafve \xc3\x9cber \xe6\x97\xa5\xe6\x9c\xac x\xff\xfey \xc3\n".to_vec();
    text.extend(b"word ".repeat(100)); // longer than a short line
    text.extend(b"w".repeat(1000)); // longer, and one word
    for length in 124..130 {
        text.push(b'\n');
        text.extend(b"v".repeat(length)); // around the longest short line
    }
    for number in 0..5_000_u64 {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        text.extend(format!("\nline {number} of w{mixed} and w{}", mixed % 7).bytes());
    }
    text.extend(b"\nlast line without an end");
    text
}

#[test]
fn counts_equal_those_of_std() {
    let folder = folder("counts_equal_those_of_std");
    let text = fixed_text();
    fs::write(folder.join("text"), &text).unwrap();
    let output = run(&folder, &["--top", "1000000", "text"]);
    assert!(output.status.success(), "{output:?}");
    let printed = printed_counts(&output);
    let expected = counts_by_std(&text);
    assert_eq!(printed.len(), expected.len());
    assert_eq!(printed.into_iter().collect::<Counts>(), expected);
    assert_eq!(
        printed_value(&output, "different words"),
        expected.len() as u64
    );
    assert_eq!(
        printed_value(&output, "lines"),
        text.split(|byte| *byte == b'\n').count() as u64
    );
}

#[test]
fn equally_frequent_words_come_by_the_alphabet() {
    let folder = folder("equally_frequent_words_come_by_the_alphabet");
    fs::write(folder.join("text"), "d b d a c b e").unwrap();
    let words: Vec<_> = printed_counts(&run(&folder, &["--top", "4", "text"]));
    let expected = [("b", 2), ("d", 2), ("a", 1), ("c", 1)];
    assert_eq!(
        words,
        expected.map(|(word, count)| (word.to_string(), count))
    );
}

#[test]
fn every_line_is_allocated_once_per_round() {
    let folder = folder("every_line_is_allocated_once_per_round");
    fs::write(folder.join("text"), "one line\n".repeat(1000)).unwrap();
    let output = run(&folder, &["text"]);
    let allocations = printed_value(&output, "allocations");
    assert!(allocations > 0 && allocations % 1000 == 0, "{output:?}");
    let freed = printed_value(&output, "local frees") + printed_value(&output, "remote frees");
    assert_eq!(
        freed + printed_value(&output, "not yet collected"),
        allocations
    );
}

#[test]
fn a_missing_file_is_named_and_the_others_are_counted() {
    let folder = folder("a_missing_file_is_named_and_the_others_are_counted");
    fs::write(folder.join("good"), "word word").unwrap();
    let output = run(&folder, &["good", "missing"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(printed_counts(&output), [("word".to_string(), 2)]);
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaints.lines().count(), 1, "{complaints}");
    assert!(
        complaints.starts_with("pipeline: missing: "),
        "{complaints}"
    );
}

#[test]
fn without_any_readable_file_it_fails_and_says_so() {
    let folder = folder("without_any_readable_file_it_fails_and_says_so");
    let output = run(&folder, &["."]);
    assert_eq!(output.status.code(), Some(1));
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        complaints,
        "pipeline: .: not a regular file\npipeline: nothing to read\n"
    );
}

#[test]
fn by_default_it_reads_the_text_files_below_the_current_folder() {
    let folder = folder("by_default_it_reads_the_text_files_below_the_current_folder");
    let files = [
        "a.rs",
        "deep/er/b.md",
        "deep/c.toml",
        "d.txt",
        "target/e.rs",
        ".git/f.md",
        "deep/.h/g.rs",
    ];
    for file in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.replace(['.', '/'], "_")).unwrap();
    }
    let output = run(&folder, &[]);
    assert!(output.status.success(), "{output:?}");
    let words: Vec<_> = printed_counts(&output)
        .into_iter()
        .map(|(word, _)| word)
        .collect();
    assert_eq!(words, ["a_rs", "deep_c_toml", "deep_er_b_md"]);
}

#[test]
fn wrong_arguments_are_explained() {
    let folder = folder("wrong_arguments_are_explained");
    for arguments in [&["--tpo"][..], &["--top"], &["--top", "many"]] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let help = run(&folder, &["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Counts the words"));
}
