//! What must compile, and what must not.
//!
//! The first line of a `fail` file says which error it must be; the compiler's whole answer is beside it. As that
//! changes with the compiler, it is compared for one version only: `TRYBUILD=overwrite cargo test --test ui` writes it
//! anew.

#![cfg(not(any(miri, asan_slots)))] // runs the compiler

use std::fs;
use std::path::Path;
use std::process::Command;

/// The compiler whose messages are in `tests/ui/fail`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn what_must_compile_and_what_must_not() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    if is_the_compiler() {
        cases.compile_fail("tests/ui/fail/*.rs");
    }
}

fn is_the_compiler() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    String::from_utf8_lossy(&version.stdout).starts_with(COMPILER)
}

#[test]
fn each_fails_for_the_reason_it_states_and_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/fail");
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&file).unwrap();
            let answer = fs::read_to_string(file.with_extension("stderr")).unwrap();
            let reason = text.trim_start_matches("//! ").split(": ").next().unwrap();
            let errors: Vec<&str> = answer
                .lines()
                .filter(|line| line.starts_with("error"))
                .collect();
            assert!(!errors.is_empty(), "{}", file.display());
            assert!(
                errors.iter().all(|error| error.contains(reason)),
                "{}: {errors:?}",
                file.display()
            );
            cases += 1;
        }
    }
    assert!(cases >= 20);
}
