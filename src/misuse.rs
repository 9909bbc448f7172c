//! What a checked misuse is called, and the end that it puts to the process. Only with the feature `hardened`.
//!
//! A misuse that was found is undefined behaviour that already happened: nothing can be mended, and the process must
//! not go on. It is told what was found, by one line on its standard error or by a hook of the program's, and aborted.

use std::fmt;
use std::io::{self, Write};
use std::process;
use std::sync::{PoisonError, RwLock};

/// What the feature `hardened` found.
///
/// # Examples
///
/// ```
/// use segment_pool::Misuse;
///
/// assert_eq!(Misuse::DoubleFree.to_string(), "double free");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// A slot was freed that is free.
    DoubleFree,
    /// What was freed is not the start of a slot of the size that its type takes: it came from elsewhere, points into
    /// a value, or belongs to a segment that was released since.
    ForeignPointer,
    /// A free slot was written to: found when the slot is used next, or the list that it is in.
    WriteAfterFree,
    /// The bytes behind a value were written to: found when the value is freed.
    Overrun,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoubleFree => "double free",
            Self::ForeignPointer => "free of a foreign pointer",
            Self::WriteAfterFree => "write after free",
            Self::Overrun => "write beyond the end of a value",
        })
    }
}

static HOOK: RwLock<fn(Misuse)> = RwLock::new(print);

/// Sets what is called, instead of printing `segment-pool: ` and what was found on the standard error, when a misuse is
/// found. When the hook returns, or panics, the process is aborted.
///
/// It runs on the thread on which the misuse was found, in the middle of an allocation or a drop, with the pool in an
/// unknown state: it must not use boxes or pools of this crate. For crash reports, and for tests that observe it.
///
/// # Examples
///
/// ```
/// segment_pool::set_misuse_hook(|misuse| eprintln!("heap damaged ({misuse}), build {}", env!("CARGO_PKG_VERSION")));
/// ```
pub fn set_misuse_hook(hook: fn(Misuse)) {
    *HOOK.write().unwrap_or_else(PoisonError::into_inner) = hook;
}

fn print(misuse: Misuse) {
    // One write, so that lines of other threads stay whole. If nobody can be told, the abort says enough.
    let line = format!("segment-pool: {misuse}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Tells and aborts.
#[cold]
#[inline(never)]
pub(crate) fn report(misuse: Misuse) -> ! {
    let _whatever_the_hook_does = Abort;
    let hook = *HOOK.read().unwrap_or_else(PoisonError::into_inner);
    hook(misuse);
    process::abort()
}

struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        process::abort()
    }
}
