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
    /// As many values of the pool are alive as its builder allowed, or as fit into the memory that it allowed.
    LimitReached,
    /// A request waited at the limit of a pool until its timeout.
    TimedOut,
    /// A request would wait at the limit of a pool whose waits were [ended](crate::SegmentPool::end_waits).
    WaitsEnded,
    /// A slice of this length, or a reservation for this many values, would exceed the address space.
    CapacityOverflow,
}

impl fmt::Display for AllocErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("the operating system refused to map memory"),
            Self::LimitReached => f.write_str("the pool has reached its limit"),
            Self::TimedOut => {
                f.write_str("the pool has reached its limit, and the time to wait is over")
            }
            Self::WaitsEnded => {
                f.write_str("the pool has reached its limit, and nobody waits for it any more")
            }
            Self::CapacityOverflow => f.write_str("the length overflows the address space"),
        }
    }
}

impl Error for AllocErrorKind {}

/// A bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) pool: &'static str,
    pub(crate) bound: usize,
    pub(crate) in_use: usize,
}

/// Why no storage could be had, in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: AllocErrorKind,
    pub(crate) reached: Option<Reached>,
}

impl Failure {
    pub(crate) fn at_bound(pool: &'static str, bound: usize, in_use: usize) -> Self {
        let reached = Reached {
            pool,
            bound,
            in_use,
        };
        Self {
            kind: AllocErrorKind::LimitReached,
            reached: Some(reached),
        }
    }
}

impl From<AllocErrorKind> for Failure {
    fn from(kind: AllocErrorKind) -> Self {
        Self {
            kind,
            reached: None,
        }
    }
}

impl From<Failure> for AllocErrorKind {
    fn from(failure: Failure) -> Self {
        failure.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Reached {
            pool,
            bound,
            in_use,
        }) = self.reached
        else {
            return self.kind.fmt(f);
        };
        let end = match self.kind {
            AllocErrorKind::TimedOut => ", and the time to wait is over",
            AllocErrorKind::WaitsEnded => ", and nobody waits for it any more",
            _ => "",
        };
        write!(
            f,
            "the pool {pool} has reached its limit: {in_use} values of at most {bound} are in use{end}"
        )
    }
}

/// What ends an allocation that failed at the bound of a pool and has no error to return: it panics, where unwinding drops the value.
#[cold]
#[track_caller]
pub(crate) fn refused_at_bound(failure: Failure) -> ! {
    panic!(
        "{failure}; `try_alloc` would give the value back, `alloc_blocking`, `alloc_timeout` and `acquire` wait"
    )
}

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
    pub(crate) failure: Failure,
    pub(crate) value: T,
}

impl<T> AllocError<T> {
    pub(crate) fn new(failure: impl Into<Failure>, value: T) -> Self {
        Self {
            failure: failure.into(),
            value,
        }
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
        self.failure.kind
    }

    /// The name of the pool that has reached its bound; `None` if it was another reason that the allocation failed for.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let jobs = SegmentPool::builder().name("jobs").max_values(2).build();
    /// let _two = [jobs.alloc(1), jobs.alloc(2)];
    /// let refused = jobs.try_alloc(3).unwrap_err();
    /// assert_eq!(refused.pool_name(), Some("jobs"));
    /// assert_eq!(
    ///     refused.to_string(),
    ///     "no slot for a value of type i32: the pool jobs has reached its limit: 2 values of at most 2 are in use"
    /// );
    /// ```
    #[must_use]
    pub fn pool_name(&self) -> Option<&'static str> {
        self.failure.reached.map(|reached| reached.pool)
    }

    /// How many values of the pool may be alive, if it has reached that bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// type Jobs = SegmentPool<u64>;
    /// let jobs = Jobs::builder().max_segments(1).build();
    /// let _all: Vec<_> = (0..).map_while(|n| jobs.try_alloc(n).ok()).collect();
    /// assert_eq!(jobs.try_alloc(1).unwrap_err().bound(), Some(Jobs::SLOTS_PER_SEGMENT));
    /// ```
    #[must_use]
    pub fn bound(&self) -> Option<usize> {
        self.failure.reached.map(|reached| reached.bound)
    }

    /// How many values of the pool were alive, or being made or dropped, when it had reached its bound. If it is one less than the
    /// bound, that one is reserved for a request that waits, and was overtaken before.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::builder().max_values(1).build();
    /// let _one = pool.alloc(1);
    /// assert_eq!(pool.try_alloc(2).unwrap_err().in_use(), Some(1));
    /// ```
    #[must_use]
    pub fn in_use(&self) -> Option<usize> {
        self.failure.reached.map(|reached| reached.in_use)
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
            .field("kind", &self.failure.kind)
            .field("reached", &self.failure.reached)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let type_name = core::any::type_name::<T>();
        write!(
            f,
            "no slot for a value of type {type_name}: {}",
            self.failure
        )
    }
}

impl<T> Error for AllocError<T> {}

/// Keeps the reason and drops the value.
impl<T> From<AllocError<T>> for AllocErrorKind {
    fn from(error: AllocError<T>) -> Self {
        error.failure.kind
    }
}
