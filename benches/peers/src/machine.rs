//! What a result belongs to: the machine, the compiler, the versions of the peers.

use crate::race;
use std::{fs, thread};

/// The crates whose versions matter, as in Cargo.lock.
const CRATES: [&str; 13] = [
    "segment-pool",
    "mimalloc",
    "snmalloc-rs",
    "tikv-jemallocator",
    "rpmalloc",
    "plurality",
    "shared_arena",
    "sharded-slab",
    "infinity_pool",
    "object-pool",
    "opool",
    "slab",
    "bumpalo",
];

/// A list in Markdown.
pub(crate) fn describe() -> String {
    format!(
        "* {cpu}, {cores} cores, Linux {kernel}, glibc's allocator behind `Box`\n\
         * load when the run began: {load}\n\
         * {rustc}, release profile with fat LTO\n\
         * {versions}\n",
        cpu = cpu(),
        cores = thread::available_parallelism().map_or(race::cores().len(), usize::from),
        kernel = line_of("/proc/sys/kernel/osrelease"),
        load = line_of("/proc/loadavg"),
        rustc = env!("RUSTC_VERSION"),
        versions = CRATES.map(version).join(", "),
    )
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn version(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
    let version = after.and_then(|(_, rest)| rest.split('"').next());
    format!("{name} {}", version.unwrap_or("unknown"))
}
