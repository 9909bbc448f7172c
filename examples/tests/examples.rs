//! Runs the examples on good input with a known result, and on bad input, which must give a message on stderr, no output on
//! stdout, and the exit code 2. The other files here do the same for the larger examples.

#![cfg(not(miri))] // starts processes

mod common;

use std::fs;

use common::{error_message_of, name, stdout_of};

const BINARY_TREES: &str = env!("CARGO_BIN_EXE_binary_trees");
const ORDER_BOOK: &str = env!("CARGO_BIN_EXE_order_book");

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
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
    let printed = stdout_of(BINARY_TREES, &["10"], "");
    assert!(printed.starts_with(expected), "{printed}");
    assert!(printed.contains("Box : PoolBox"), "{printed}");
}

#[test]
fn order_book_prints_the_trades_and_the_book_of_the_sample() {
    let expected = read("order_book/sample.expected.txt");
    let sample = "order_book/sample.txt";
    assert_eq!(stdout_of(ORDER_BOOK, &[sample], ""), expected);
    assert_eq!(stdout_of(ORDER_BOOK, &[], &read(sample)), expected);
    assert_eq!(stdout_of(ORDER_BOOK, &["-"], &read(sample)), expected);
}

#[test]
fn order_book_names_the_bad_line_and_trades_nothing() {
    let message = error_message_of(ORDER_BOOK, &[], "buy 1 5 @ 10\nsell 2 5 @ 10\nsell 3\n");
    assert!(
        message.contains("line 3: \"sell 3\" is neither"),
        "{message}"
    );
    let message = error_message_of(ORDER_BOOK, &["no such file"], "");
    assert!(message.contains("no such file: "), "{message}");
}

#[test]
fn wrong_arguments_are_explained() {
    for (program, arguments) in [
        (BINARY_TREES, &["3"][..]),
        (BINARY_TREES, &["25"]),
        (BINARY_TREES, &["ten"]),
        (BINARY_TREES, &["10", "10"]),
        (ORDER_BOOK, &["one", "two"]),
    ] {
        let message = error_message_of(program, arguments, "");
        assert!(message.contains("--help"), "{message}");
    }
}

#[test]
fn help_is_printed_on_demand() {
    for program in [BINARY_TREES, ORDER_BOOK] {
        let help = stdout_of(program, &["--help"], "");
        assert!(
            help.contains(&format!("Usage: {}", name(program))),
            "{help}"
        );
    }
}
