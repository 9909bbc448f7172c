//! The process that looks at the memory of one peer in one row: how far its resident set grew while the row was set up
//! and run for a fixed number of objects.
//!
//! That includes the row's own tables, which are the same for all whose handles are a word: 8 bytes for an object.

use crate::{
    cli::{Pace, Request},
    measure, race,
};
use std::fs;

/// How many objects the row makes.
fn objects(pace: Pace) -> u64 {
    match pace {
        Pace::Full => 4_000_000,
        Pace::Quick => 200_000,
    }
}

pub(crate) fn run(request: &Request) -> Result<(), String> {
    race::pin(0);
    for contender in measure::contenders(request)? {
        let before = resident("VmRSS:")?;
        // 5: forget the highest resident set so far. Where that is not allowed, start-up may count too.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let mut job = (contender.set_up)();
        job(objects(request.pace));
        let peak = resident("VmHWM:")?;
        println!("{}\t{}", contender.name, peak.saturating_sub(before));
    }
    Ok(())
}

/// Bytes, by the line of this name in the process's status.
fn resident(name: &str) -> Result<u64, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| format!("the system tells no {name}"))
}
