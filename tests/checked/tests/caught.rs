//! Every misuse of `src/bin/misuse.rs` is reported by the checker that this is built for, and correct use is not.

#![cfg(any(asan_slots, memcheck_slots))]

use std::process::{Command, Output};

const MISUSE: &str = env!("CARGO_BIN_EXE_misuse");

/// The program with that argument, under the checker.
fn run(argument: Option<&str>) -> Output {
    let mut command = if cfg!(memcheck_slots) {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=1", MISUSE]);
        valgrind
    } else {
        Command::new(MISUSE)
    };
    command.args(argument).output().unwrap()
}

/// What the report begins with.
fn complaint(misuse: &str) -> &'static str {
    match misuse {
        _ if cfg!(asan_slots) => "use-after-poison",
        _ if misuse.contains("second drop") => "Invalid free()",
        _ if misuse.contains("write") => "Invalid write",
        _ => "Invalid read",
    }
}

fn is_caught(misuse: &str) -> bool {
    let output = run(Some(misuse));
    let report = String::from_utf8_lossy(&output.stderr);
    println!("--- {misuse}: {}\n{report}", output.status);
    !output.status.success() && report.contains(complaint(misuse))
}

#[test]
fn every_misuse_is_reported() {
    let names = String::from_utf8(run(None).stdout).unwrap();
    let misuses: Vec<&str> = names.lines().filter(|name| *name != "nothing").collect();
    assert!(misuses.len() > 10, "{misuses:?}");
    let missed: Vec<_> = misuses
        .into_iter()
        .filter(|name| !is_caught(name))
        .collect();
    assert!(missed.is_empty(), "not reported: {missed:?}");
}

#[test]
fn correct_use_is_not_reported() {
    let output = run(Some("nothing"));
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && report.is_empty(), "{report}");
}
