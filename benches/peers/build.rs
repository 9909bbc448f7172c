//! Tells the harness which compiler built it, and refuses to build a peer with its assertions on.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=RUSTC");
    println!("cargo:rerun-if-env-changed=CXXFLAGS");
    without_assertions();
    let rustc = env::var_os("RUSTC").expect("cargo says which compiler it uses");
    let version = Command::new(rustc).arg("--version").output();
    let version = version.expect("the compiler can be asked").stdout;
    let version = String::from_utf8_lossy(&version);
    println!("cargo:rustc-env=RUSTC_VERSION={}", version.trim());
}

/// snmalloc-rs (feature `build_cc`) leaves this to the environment.
fn without_assertions() {
    let flags = env::var("CXXFLAGS").unwrap_or_default();
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    assert!(
        !release || flags.contains("-DNDEBUG"),
        "CXXFLAGS must contain -DNDEBUG, or snmalloc is built with its assertions. .cargo/config.toml at the root says \
         so: run cargo from the repository, and leave CXXFLAGS alone."
    );
}
