//! Runs `compare` as `cargo run` at the root does. The measured times are not checked.

#![cfg(not(miri))] // starts a process

mod common;

use std::sync::LazyLock;

use common::{error_message_of, run, stdout_of};

const COMPARE: &str = env!("CARGO_BIN_EXE_compare");

/// The output of the shortest run.
static PRINTED: LazyLock<String> = LazyLock::new(|| {
    let output = run(COMPARE, &["--seconds", "0"], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"measuring for 0 s\n"); // no terminal, no progress
    String::from_utf8(output.stdout).unwrap()
});

#[test]
fn every_row_has_both_times_and_what_they_say() {
    let said = &*PRINTED;
    let rows = said.lines().filter(|line| {
        let mut words = line[..line.len().min(64)].split_whitespace().rev();
        words
            .by_ref()
            .take(2)
            .all(|time| time.parse::<f64>().is_ok())
            && words
                .next()
                .is_some_and(|threads| threads == "1" || threads == "2")
    });
    assert_eq!(rows.count(), 7, "{said}");
    assert!(said.contains("of 5 rounds"), "{said}");
    let sentence = said.lines().any(|line| {
        line.starts_with("PoolBox was faster in") || line.starts_with("This machine was too noisy")
    });
    assert!(sentence, "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_counted_for_both_sizes() {
    let said = &*PRINTED;
    for name in ["values of 24 bytes ", "values of 64 bytes "] {
        let row = said.lines().find_map(|line| line.strip_prefix(name));
        let bytes = row.unwrap_or_else(|| panic!("no {name}in\n{said}"));
        let bytes: Vec<f64> = bytes
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        assert!(
            matches!(bytes[..], [boxed, pooled] if boxed > 20.0 && pooled > 20.0),
            "{said}"
        );
    }
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [
        &["--seconds"][..],
        &["--seconds", "ten"],
        &["--seconds", "3601"],
        &["--bytes-of", "7", "7"],
        &["fast"],
    ] {
        let message = error_message_of(COMPARE, arguments, "");
        assert!(message.contains("--help"), "{message}");
    }
}

#[test]
fn help_is_printed_on_demand() {
    assert!(stdout_of(COMPARE, &["--help"], "").contains("Usage: compare"));
}
