//! Runs `occupancy` as its user does, and looks at the picture as far as a test can.

#![cfg(not(miri))] // starts a process

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_occupancy"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("occupancy")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_picture_shows_every_state_before_and_fewer_segments_after() {
    let folder = folder("picture");
    let output = run(&folder, &["new/folder"]);
    assert!(output.status.success(), "{output:?}");
    let svg = fs::read_to_string(folder.join("new/folder/occupancy.svg")).unwrap();
    let (before, after) = svg.split_once("After trim()").unwrap();
    for (colour, what, stays) in [
        ("#17436b", "live", true),
        ("#d55e00", "in flight", false),
        ("#f7d23e", "at hand", false),
        ("#a9b6c1", "returned", true),
    ] {
        let path = format!("<path fill=\"{colour}\"");
        assert!(before.contains(&path), "{what}");
        assert_eq!(after.contains(&path), stays, "{what}");
    }
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    let text = String::from_utf8(output.stdout).unwrap();
    let segments = if cfg!(feature = "hardened") { 2 } else { 9 }; // 512 KiB or 64
    let counted = format!(", {segments} segments: ");
    let of_other = |line: &&str| line.starts_with("heap 1: of thread ") && line.contains(&counted);
    assert_eq!(text.lines().filter(of_other).count(), 2, "{text}");
    let is_settled = |line: &&str| line.contains("0 in flight, 0 at hand");
    let settled = text.lines().filter(is_settled);
    assert_eq!(settled.filter(|line| !of_other(line)).count(), 2, "{text}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder("taken");
    fs::write(folder.join("taken"), "").unwrap();
    let output = run(&folder, &["taken"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).starts_with("occupancy: taken/occupancy.svg: "),
        "{output:?}"
    );
}

#[test]
fn wrong_arguments_are_distinguished_from_folders() {
    let folder = folder("wrong");
    for (arguments, problem) in [
        (&["--frame"][..], "unknown option --frame"),
        (&["one", "two"], "only one folder"),
        (&[""], "no name"),
    ] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains(problem), "{output:?}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    let help = run(&folder, &["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Draws"));
}
