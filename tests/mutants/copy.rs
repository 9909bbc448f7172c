//! The copy of the crate in which every mutant is a switch, and its build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bugs::{self, Bug};
use crate::orderings::{self, Site};

/// The models with every mutant in them, built.
#[derive(Debug)]
pub(crate) struct Mutants {
    pub(crate) program: PathBuf,
    pub(crate) sites: Vec<Site>,
    pub(crate) bugs: Vec<Bug>,
    /// Bugs that do not fit the sources any more, and why.
    pub(crate) unplanted: Vec<String>,
}

impl Mutants {
    pub(crate) fn build() -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
        write(&to.join("Cargo.toml"), &manifest(from));
        if let Ok(lock) = fs::read_to_string(from.join("Cargo.lock")) {
            write(&to.join("Cargo.lock"), &lock);
        }
        let bugs = bugs::bugs();
        let (sites, unplanted) = copy_sources(&from.join("src"), &to.join("src"), &bugs);
        let program = compile(&to);
        Self {
            program,
            sites,
            bugs,
            unplanted,
        }
    }
}

/// Without the targets and the members of the workspace, which are not copied.
fn manifest(from: &Path) -> String {
    let whole = fs::read_to_string(from.join("Cargo.toml")).unwrap();
    let mut manifest = String::from("[workspace]\n");
    let mut copies = true;
    for line in whole.lines() {
        if line.starts_with('[') {
            copies = !line.starts_with("[[") && !line.starts_with("[workspace]");
        }
        if copies {
            manifest += line;
            manifest += "\n";
        }
    }
    manifest
}

fn copy_sources(from: &Path, to: &Path, bugs: &[Bug]) -> (Vec<Site>, Vec<String>) {
    let changes = || bugs.iter().flat_map(|bug| &bug.changes);
    let mut sites = Vec::new();
    let mut unplanted = Vec::new();
    let mut planted = 0;
    for copied in files(to) {
        if !from.join(copied.strip_prefix(to).unwrap()).exists() {
            fs::remove_file(copied).unwrap(); // from an earlier run
        }
    }
    for path in files(from) {
        let file = path.strip_prefix(from).unwrap();
        let name = file.to_str().unwrap().replace('\\', "/");
        let mut text = fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|ext| ext == "rs") && !is_models(file) {
            let (switched, found) = orderings::switched(&name, &text);
            text = switched;
            sites.extend(found);
            for change in changes().filter(|change| change.file == name) {
                match change.plant(&text) {
                    Ok(planted) => text = planted,
                    Err(reason) => unplanted.push(reason),
                }
                planted += 1;
            }
        }
        if name == "ground/sync.rs" {
            text += include_str!("switch.rs").split_once("\n\n").unwrap().1;
        }
        write(&to.join(file), &text);
    }
    let all = changes().count();
    assert_eq!(planted, all, "a file that bugs.txt names is not there");
    (sites, unplanted)
}

fn is_models(file: &Path) -> bool {
    file.iter()
        .any(|part| part == "models" || part == "models.rs")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Leaves a file that is as it should be alone, and so is not compiled again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// As `.ci/run` builds the models, in the same folder, where what they depend on is built already.
fn compile(copy: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("loom");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let output = Command::new(env!("CARGO"))
        .args([
            "test",
            "--release",
            "--lib",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(copy)
        .env("RUSTFLAGS", format!("{flags} --cfg segment_pool_loom"))
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the copy in {} does not build",
        copy.display()
    );
    let messages = String::from_utf8(output.stdout).unwrap();
    let (_, program) = messages
        .rsplit_once(r#""executable":""#)
        .expect("a test program");
    let (program, _) = program.split_once('"').unwrap();
    PathBuf::from(program.replace(r"\\", r"\"))
}
