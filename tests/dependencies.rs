//! What a program gets with this crate: its lock file has these packages, on whatever system, and no more.

#![cfg(not(miri))] // reads files

use std::fs;
use std::path::Path;

/// Those of the crate without features. `bitflags`, `errno` and `linux-raw-sys` are rustix's, `windows-link` is windows-sys's.
const PACKAGES: [&str; 9] = [
    "bitflags",
    "crossbeam-utils",
    "errno",
    "libc",
    "linux-raw-sys",
    "rustix",
    "static_assertions",
    "windows-link",
    "windows-sys",
];

/// A crate of the tests that depends on nothing else; CI builds it with `--locked`, so its lock file is true.
#[test]
fn a_users_lock_file_has_few_packages() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(manifest.join("tests/checked/Cargo.lock")).unwrap();
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = "));
    let others = names
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.starts_with("segment-pool"));
    assert_eq!(others.collect::<Vec<_>>(), PACKAGES);
}
