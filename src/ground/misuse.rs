//! The misuses that the feature `hardened` detects, and how it reports one and aborts the process.
//!
//! A detected misuse is undefined behaviour that already happened. Nothing can be repaired, and the process
//! must not continue. A line on the standard error, or a hook of the program, reports the misuse; then the
//! process aborts.
//!
//! Nothing here takes a lock or allocates. In the child of a `fork`, a lock that another thread held stays
//! locked for ever. And the misuse may have been detected inside the global allocator itself. Any thread may
//! call this file; the hook is its only state.

use core::{mem, ptr};
use std::fmt;
use std::io::{self, Write};
use std::process;

use crate::ground::sync::{AtomicPtr, Ordering};

/// A misuse that the feature `hardened` detected.
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
    /// A slot that is already free was freed.
    DoubleFree,
    /// The freed pointer is not the start of a slot of the size of its type. It came from another allocator,
    /// points into a value, or belongs to a segment that was released since.
    ForeignPointer,
    /// A free slot was written to. This is detected when the slot or its list is used next.
    WriteAfterFree,
    /// The bytes behind a value were written to. This is detected when the value is freed.
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

/// A `fn(Misuse)`. Null stands for [`print()`].
static HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets the function that reports a misuse. Without one, a misuse prints `segment-pool: ` and its name on the
/// standard error. When the hook returns, or panics, the process aborts.
///
/// The hook runs on the thread that detected the misuse, in the middle of an allocation or a drop. The pool
/// is in an unknown state, so the hook must not use boxes or pools of this crate. It is meant for crash
/// reports, and for tests that observe them.
///
/// Detecting a misuse and printing the line take no lock, so the child of a `fork` aborts like its parent. A
/// hook that takes locks, as `eprintln!` does, may block there for ever.
///
/// # Examples
///
/// ```
/// segment_pool::set_misuse_hook(|misuse| eprintln!("heap damaged ({misuse}), build {}", env!("CARGO_PKG_VERSION")));
/// ```
pub fn set_misuse_hook(hook: fn(Misuse)) {
    // Relaxed: only the address of the function is published, and its code existed before; data that it reads
    // has orderings of its own.
    HOOK.store(hook as *mut (), Ordering::Relaxed);
}

fn hook() -> fn(Misuse) {
    // Relaxed: as in `set_misuse_hook`.
    let hook = HOOK.load(Ordering::Relaxed);
    if hook.is_null() {
        return print;
    }
    // SAFETY: `set_misuse_hook` stored the pointer, which it made from a function of this type.
    unsafe { mem::transmute::<*mut (), fn(Misuse)>(hook) }
}

fn print(misuse: Misuse) {
    let mut line = [0; 64];
    let mut rest = &mut line[..];
    // One write, so that it does not interleave with lines of other threads. If it fails, the abort still
    // shows the problem.
    let _ = writeln!(rest, "segment-pool: {misuse}");
    let unused = rest.len();
    let _ = write_to_standard_error(&line[..line.len() - unused]);
}

/// Writes without `io::stderr()`, whose lock another thread may have held when this process was forked.
#[cfg(unix)]
fn write_to_standard_error(line: &[u8]) -> io::Result<()> {
    use std::os::fd::{AsRawFd, FromRawFd};

    // SAFETY: the descriptor stays open for the life of the process; the file is not dropped, so it does not
    // close it.
    let file =
        mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(io::stderr().as_raw_fd()) });
    (&*file).write_all(line)
}

#[cfg(not(unix))]
fn write_to_standard_error(line: &[u8]) -> io::Result<()> {
    io::stderr().write_all(line)
}

/// Reports a misuse and aborts.
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
