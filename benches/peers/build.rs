//! Tells the harness which compiler built it.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=RUSTC");
    let rustc = env::var_os("RUSTC").expect("cargo says which compiler it uses");
    let version = Command::new(rustc).arg("--version").output();
    let version = version.expect("the compiler can be asked").stdout;
    let version = String::from_utf8_lossy(&version);
    println!("cargo:rustc-env=RUSTC_VERSION={}", version.trim());
}
