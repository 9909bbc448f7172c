//! Runs a program and checks its output.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program in the folder of the package.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    let mut process = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that rejects its arguments may exit before it reads its input.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

/// The output of a successful run.
pub(crate) fn stdout_of(program: &str, arguments: &[&str], input: &str) -> String {
    let output = run(program, arguments, input);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The message on stderr of a run that fails with exit code 2: one line, which begins with the name of the program.
pub(crate) fn error_message_of(program: &str, arguments: &[&str], input: &str) -> String {
    let output = run(program, arguments, input);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    let starts = message.starts_with(&format!("{}: ", name(program)));
    assert!(starts && message.lines().count() == 1, "{message}");
    message
}

pub(crate) fn name(program: &str) -> &str {
    Path::new(program).file_stem().unwrap().to_str().unwrap()
}
