//! What a checked misuse is called, and the end that it puts to the process. Only with the feature `hardened`.
//!
//! A misuse that was found is undefined behaviour that already happened: nothing can be mended, and the process must
//! not go on. It is told what was found, by one line on its standard error or by a hook of the program's, and aborted.
//!
//! Nothing here takes a lock or allocates. In the child of a `fork` a lock that another thread held stays held for ever,
//! and a global allocator may itself be what the misuse was found in.

use core::{mem, ptr};
use std::fmt;
use std::io::{self, Write};
use std::process;

use crate::ground::sync::{AtomicPtr, Ordering};

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

/// A `fn(Misuse)`; null is [`print()`].
static HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets what is called, instead of printing `segment-pool: ` and what was found on the standard error, when a misuse is
/// found. When the hook returns, or panics, the process is aborted.
///
/// It runs on the thread on which the misuse was found, in the middle of an allocation or a drop, with the pool in an
/// unknown state: it must not use boxes or pools of this crate. For crash reports, and for tests that observe it.
///
/// Finding a misuse and printing the line take no lock, so the child of a `fork` aborts like its parent. A hook that takes
/// locks, as `eprintln!` does, may wait there for ever.
///
/// # Examples
///
/// ```
/// segment_pool::set_misuse_hook(|misuse| eprintln!("heap damaged ({misuse}), build {}", env!("CARGO_PKG_VERSION")));
/// ```
pub fn set_misuse_hook(hook: fn(Misuse)) {
    // Relaxed: the function is all that is published, and its code is older; what it reads has orderings of its own.
    HOOK.store(hook as *mut (), Ordering::Relaxed);
}

fn hook() -> fn(Misuse) {
    // Relaxed: as in `set_misuse_hook`.
    let hook = HOOK.load(Ordering::Relaxed);
    if hook.is_null() {
        return print;
    }
    // SAFETY: `set_misuse_hook` stored it, made from a function of this type.
    unsafe { mem::transmute::<*mut (), fn(Misuse)>(hook) }
}

fn print(misuse: Misuse) {
    let mut line = [0; 64];
    let mut rest = &mut line[..];
    // One write, so that lines of other threads stay whole. If that fails, the abort says enough.
    let _ = writeln!(rest, "segment-pool: {misuse}");
    let unused = rest.len();
    let _ = write_to_standard_error(&line[..line.len() - unused]);
}

/// Not by `io::stderr()`, whose lock another thread may have held when this process was forked.
#[cfg(unix)]
fn write_to_standard_error(line: &[u8]) -> io::Result<()> {
    use std::os::fd::{AsRawFd, FromRawFd};

    // SAFETY: the descriptor is the process's for good; the file is not dropped, and so does not close it.
    let file =
        mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(io::stderr().as_raw_fd()) });
    (&*file).write_all(line)
}

#[cfg(not(unix))]
fn write_to_standard_error(line: &[u8]) -> io::Result<()> {
    io::stderr().write_all(line)
}

/// Tells and aborts.
#[cold]
#[inline(never)]
pub(crate) fn report(misuse: Misuse) -> ! {
    let _whatever_the_hook_does = Abort;
    hook()(misuse);
    process::abort()
}

struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        process::abort()
    }
}
