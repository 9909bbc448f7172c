//! What is resident of this process, and what was at the most.

use std::fs;

/// Bytes resident now. Counted page by page: the sum in `status` lags behind by some pages per processor.
pub(crate) fn resident() -> usize {
    line("/proc/self/smaps_rollup", "Rss:")
}

/// Bytes resident at the most, so far.
pub(crate) fn peak() -> usize {
    line("/proc/self/status", "VmHWM:").max(resident())
}

fn line(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(file).expect("Linux has this file");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.expect("a line of this name")
        .parse::<usize>()
        .expect("a number of KiB")
        << 10
}
