//! The numbers the crate promises for the life of a thread, each measured and compared with its bound.
//!
//! ```text
//! cargo bench --bench bounds                      every program, a few minutes
//! cargo bench --bench bounds -- --quick           the same, scaled down to less than one
//! cargo bench --bench bounds -- owner larson      those with such a name
//! ```
//!
//! Each program runs in a process of its own, so that what is resident there is its own. It prints a row per figure:
//! name, figure, bound, `ok` or `MISSED`. The exit status says whether a bound was missed. What a program does is told
//! at the head of its file; progress is told on stderr.

#[cfg(target_os = "linux")]
mod adopt;
#[cfg(target_os = "linux")]
mod figure;
#[cfg(target_os = "linux")]
mod free_only;
#[cfg(target_os = "linux")]
mod heaps;
#[cfg(target_os = "linux")]
mod larson;
#[cfg(target_os = "linux")]
mod mleak;
#[cfg(target_os = "linux")]
mod owner;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod resident;
#[cfg(target_os = "linux")]
mod rng;
#[cfg(target_os = "linux")]
mod threads_alive;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    programs::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("bounds: the figures are read from Linux's /proc");
}
