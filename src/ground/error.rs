//! Errors of failed allocations, which carry the value that was not stored. There is no state here but a test
//! hook.

use core::alloc::Layout;
use core::error::Error;
use core::fmt;
use std::alloc::handle_alloc_error;

/// The reason why an allocation failed. More reasons may be added.
///
/// # Examples
///
/// ```
/// use segment_pool::{AllocErrorKind, PoolBox};
///
/// let kind = PoolBox::<[u64]>::try_new_uninit_slice(usize::MAX).unwrap_err();
/// assert_eq!(kind, AllocErrorKind::CapacityOverflow);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocErrorKind {
    /// The operating system did not map memory.
    OutOfMemory,
    /// The pool has as much memory as its builder allowed.
    LimitReached,
    /// A slice of this length, or a reservation for this many values, would exceed the address space.
    CapacityOverflow,
}

impl fmt::Display for AllocErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("the operating system refused to map memory"),
            Self::LimitReached => f.write_str("the pool has reached its limit"),
            Self::CapacityOverflow => f.write_str("the length overflows the address space"),
        }
    }
}

impl Error for AllocErrorKind {}

/// Ends an allocation that failed and has no error to return. It aborts the process or unwinds: on nightly, a
/// program can set a hook that panics. So the caller must keep the value where unwinding drops it.
#[cold]
pub(crate) fn refused(layout: Layout) -> ! {
    #[cfg(all(test, not(segment_pool_loom)))]
    hook::run();
    handle_alloc_error(layout)
}

/// Replaces, in tests, the hook that only nightly can set.
#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod hook {
    use core::cell::Cell;

    std::thread_local! {
        static PANICS: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `work` while the hook panics on this thread.
    pub(crate) fn while_it_panics<R>(work: impl FnOnce() -> R) -> R {
        PANICS.set(true);
        let result = work();
        PANICS.set(false);
        result
    }

    pub(super) fn run() {
        if PANICS.get() {
            std::panic::resume_unwind(Box::new("refused"));
        }
    }
}

/// A failed allocation, with the value that could not be stored.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// match PoolBox::try_new([0_u8; 64]) {
///     Ok(boxed) => assert_eq!(boxed.len(), 64),
///     Err(error) => {
///         eprintln!("{error}");
///         let value: [u8; 64] = error.into_inner();
///         assert_eq!(value.len(), 64);
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AllocError<T> {
    pub(crate) kind: AllocErrorKind,
    pub(crate) value: T,
}

impl<T> AllocError<T> {
    pub(crate) fn new(kind: AllocErrorKind, value: T) -> Self {
        Self { kind, value }
    }

    /// The reason why the allocation failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{AllocErrorKind, SegmentPool};
    ///
    /// let one = SegmentPool::<[u8; 200_000]>::builder().max_segments(1).build(); // a dedicated mapping for each
    /// let _first = one.alloc([1; 200_000]);
    /// assert_eq!(one.try_alloc([2; 200_000]).unwrap_err().kind(), AllocErrorKind::LimitReached);
    /// ```
    #[must_use]
    pub fn kind(&self) -> AllocErrorKind {
        self.kind
    }

    /// Returns the value that could not be stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let small = SegmentPool::builder().max_segments(1).build();
    /// let mut names = Vec::new();
    /// let error = loop {
    ///     match small.try_alloc(format!("name {}", names.len())) {
    ///         Ok(name) => names.push(name),
    ///         Err(error) => break error,
    ///     }
    /// };
    /// assert_eq!(error.into_inner(), format!("name {}", names.len()));
    /// ```
    #[must_use = "the value is dropped otherwise"]
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> fmt::Debug for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllocError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let type_name = core::any::type_name::<T>();
        write!(f, "no slot for a value of type {type_name}: {}", self.kind)
    }
}

impl<T> Error for AllocError<T> {}

/// Keeps the reason and drops the value.
impl<T> From<AllocError<T>> for AllocErrorKind {
    fn from(error: AllocError<T>) -> Self {
        error.kind
    }
}
