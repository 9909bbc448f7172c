//! Runs the built examples as their users do: on good input, where the answer is known, and on bad input, which must
//! get a message on stderr, nothing on stdout, and the exit code 2. `tests/pipeline.rs` does the same for the largest.

#![cfg(not(miri))] // starts processes

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::example::built;

fn run(example: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(built(example));
    let mut process = command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that rejects its arguments may exit before it reads its input.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

fn stdout_of(example: &str, arguments: &[&str], input: &str) -> String {
    let output = run(example, arguments, input);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The message.
fn error_message_of(example: &str, arguments: &[&str], input: &str) -> String {
    let output = run(example, arguments, input);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.starts_with(&format!("{example}: ")) && message.lines().count() == 1,
        "{message}"
    );
    message
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn binary_trees_prints_what_the_benchmarks_game_expects() {
    let expected = "\
stretch tree of depth 11\t check: 4095
1024\t trees of depth 4\t check: 31744
256\t trees of depth 6\t check: 32512
64\t trees of depth 8\t check: 32704
16\t trees of depth 10\t check: 32752
long lived tree of depth 10\t check: 2047
";
    let printed = stdout_of("binary_trees", &["10"], "");
    assert!(printed.starts_with(expected), "{printed}");
    assert!(printed.contains("Box : PoolBox"), "{printed}");
}

#[test]
fn order_book_prints_the_trades_and_the_book_of_the_sample() {
    let expected = read("examples/order_book/sample.expected.txt");
    let sample = "examples/order_book/sample.txt";
    assert_eq!(stdout_of("order_book", &[sample], ""), expected);
    assert_eq!(stdout_of("order_book", &[], &read(sample)), expected);
    assert_eq!(stdout_of("order_book", &["-"], &read(sample)), expected);
}

#[test]
fn order_book_names_the_bad_line_and_trades_nothing() {
    let message = error_message_of("order_book", &[], "buy 1 5 @ 10\nsell 2 5 @ 10\nsell 3\n");
    assert!(
        message.contains("line 3: \"sell 3\" is neither"),
        "{message}"
    );
    let message = error_message_of("order_book", &["no such file"], "");
    assert!(message.contains("no such file: "), "{message}");
}

#[test]
fn echo_server_serves_every_message_of_both_kinds() {
    let arguments = ["--clients", "3", "--messages", "50", "--bytes", "1000"];
    let printed = stdout_of("echo_server", &arguments, "");
    assert!(printed.contains("messages per second"), "{printed}");
    assert!(printed.contains("99.9 %"), "{printed}");
}

#[test]
fn wrong_arguments_are_explained() {
    for (example, arguments) in [
        ("binary_trees", &["3"][..]),
        ("binary_trees", &["25"]),
        ("binary_trees", &["ten"]),
        ("binary_trees", &["10", "10"]),
        ("order_book", &["one", "two"]),
        ("echo_server", &["--port"]),
        ("echo_server", &["--clients"]),
        ("echo_server", &["--clients", "0"]),
        ("echo_server", &["--bytes", "1001"]),
        ("echo_server", &["--messages", "many"]),
    ] {
        let message = error_message_of(example, arguments, "");
        assert!(message.contains("--help"), "{message}");
    }
}

#[test]
fn help_is_printed_on_demand() {
    for example in ["binary_trees", "order_book", "echo_server"] {
        let help = stdout_of(example, &["--help"], "");
        assert!(help.contains(&format!("Usage: {example}")), "{help}");
    }
}
