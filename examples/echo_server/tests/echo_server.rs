//! Runs the built program: the server and its load.

#![cfg(not(miri))] // starts a process

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{error_message_of, stdout_of};

const ECHO_SERVER: &str = env!("CARGO_BIN_EXE_echo_server");

#[test]
fn it_serves_every_message_of_both_kinds() {
    let arguments = ["--clients", "3", "--messages", "50", "--bytes", "1000"];
    let printed = stdout_of(ECHO_SERVER, &arguments, "");
    assert!(printed.contains("messages per second"), "{printed}");
    assert!(printed.contains("99.9 %"), "{printed}");
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [
        &["--port"][..],
        &["--clients"],
        &["--clients", "0"],
        &["--bytes", "1001"],
        &["--messages", "many"],
    ] {
        let message = error_message_of(ECHO_SERVER, arguments, "");
        assert!(message.contains("--help"), "{message}");
    }
}

#[test]
fn help_is_printed_on_demand() {
    let help = stdout_of(ECHO_SERVER, &["--help"], "");
    assert!(help.contains("Usage: echo_server"), "{help}");
}
