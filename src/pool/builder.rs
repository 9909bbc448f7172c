//! `SegmentPoolBuilder<T>`: the name and the limits of a pool, which are constants.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;

use crate::ground::layout::{Route, Span, pool_stride, route};
use crate::insight::leaks::LeakReport;
use crate::pool::large;

/// What a builder was told; the size of a page, in which `bytes` count, is known when the program runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    segments: usize,
    bytes: usize,
}

impl Limits {
    pub(super) const NONE: Self = Self {
        segments: usize::MAX,
        bytes: usize::MAX,
    };

    /// # Panics
    ///
    /// If they allow no value. The text is a constant, as it must be for the compiler.
    pub(super) const fn expect_room_for_one(self, layout: Layout) {
        let (least, text) = match route(layout) {
            Route::Zero => return,
            Route::Class(_, span) => match span {
                Span::Small => (
                    span.bytes(),
                    "the limit of a pool is below one segment of 64 KiB",
                ),
                Span::Medium => (
                    span.bytes(),
                    "the limit of a pool is below one segment of 512 KiB",
                ),
                Span::Large => (
                    span.bytes(),
                    "the limit of a pool is below one segment of 4 MiB",
                ),
            },
            Route::Own => (
                layout.size(),
                "the limit of a pool is below one value with a mapping of its own",
            ),
        };
        assert!(self.segments > 0 && self.bytes >= least, "{}", text);
    }

    /// How many segments that is, or mappings: all those of a pool of one type are of one size.
    pub(super) fn of(self, layout: Layout) -> usize {
        let each = match route(layout) {
            Route::Zero => return usize::MAX,
            Route::Class(..) => Some(Span::of(pool_stride(layout)).bytes()),
            Route::Own => large::mapping_bytes(layout),
        };
        let by_bytes = match self.bytes {
            usize::MAX => usize::MAX,
            bytes => each.map_or(0, |each| bytes / each),
        };
        self.segments.min(by_bytes)
    }
}

/// Name and limits of a [`SegmentPool`](crate::SegmentPool), which [`build`](Self::build) makes. All may be used in a `static`.
///
/// A pool takes memory by the segment: 64 KiB for values up to 1 KiB, 512 KiB up to 16 KiB, 4 MiB up to 128 KiB; each
/// larger value takes a dedicated mapping.
///
/// A pool with a limit refuses a value only if no slot of it is free. The threads that use it share all of its free slots: a
/// slot that one thread frees, any thread gets, whatever the first does afterwards. That has a price. No thread keeps slots for
/// itself, so an allocation and a drop take two atomic read-modify-writes each, and while several threads are at work on the
/// pool at the same moment, an allocation waits for its turn, as at a short lock; a drop does not wait. An allocation that finds
/// the limit reached also waits for drops that are under way. These waits end after two seconds at the most, should a thread be
/// stopped in the middle of its work on the pool.
///
/// # Examples
///
/// ```
/// use segment_pool::{SegmentPool, SegmentPoolBuilder};
///
/// const LIMITS: SegmentPoolBuilder<[u8; 100]> = SegmentPool::builder().max_bytes(1 << 20);
/// static PACKETS: SegmentPool<[u8; 100]> = LIMITS.build();
///
/// assert_eq!(PACKETS.alloc([7; 100])[99], 7);
/// ```
pub struct SegmentPoolBuilder<T> {
    pub(super) limits: Limits,
    pub(super) name: Option<&'static str>,
    pub(super) on_leak: Option<fn(&LeakReport)>,
    pub(super) values: PhantomData<fn(T) -> T>,
}

impl<T> SegmentPoolBuilder<T> {
    /// What reports, metrics and events call the pool. Without a name they call it by the type of its values.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// static PACKETS: SegmentPool<[u8; 100]> = SegmentPool::builder().name("packets").build();
    /// let _packet = PACKETS.alloc([0; 100]);
    /// assert!(PACKETS.report().to_string().starts_with("pool packets\n"));
    /// ```
    #[must_use]
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Calls `report` when the pool is dropped while values of it are alive. Without it nothing is reported, and nothing
    /// is looked for. A pool in a `static` is never dropped: see [`SegmentPool::leaks`](crate::SegmentPool::leaks).
    ///
    /// It is called once, after the pool was dropped, on the thread that dropped it. It may use pools.
    ///
    /// It may panic, and then the drop of the pool does. When the pool is dropped while another panic unwinds, the panic of
    /// `report` ends there, after the panic hook, and the first one goes on: the values that a failing test leaves do not
    /// hide its own failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let pool = SegmentPool::builder()
    ///     .name("packets")
    ///     .on_leak(|report| eprintln!("{report}"))
    ///     .build();
    /// let packet = pool.alloc([0_u8; 100]);
    /// drop(pool); // pool packets: 1 value of type [u8; 100] is alive
    /// # drop(packet);
    /// ```
    #[must_use]
    pub const fn on_leak(mut self, report: fn(&LeakReport)) -> Self {
        self.on_leak = Some(report);
        self
    }

    /// At most so many segments, or values with a dedicated mapping. The least of several limits counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let pool = SegmentPool::builder().max_segments(1).build();
    /// let boxes: Vec<_> = (0_u64..).map_while(|n| pool.try_alloc(n).ok()).collect();
    /// assert_eq!(boxes.len(), pool.validate().capacity); // 64 KiB of slots, less the header
    /// ```
    #[must_use]
    pub const fn max_segments(mut self, segments: usize) -> Self {
        if segments < self.limits.segments {
            self.limits.segments = segments;
        }
        self
    }

    /// At most so many bytes of segments, or of mappings. The least of several limits counts.
    ///
    /// A mapping for one value is whole pages, of 4 KiB on most systems and up to 64 KiB on some. It holds a header of 64
    /// bytes, or as much as the value's alignment if that is more, and the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let pool = SegmentPool::<u64>::builder().max_bytes(128 << 10).build(); // two segments
    /// assert!(pool.reserve(1000).is_ok());
    /// assert!(pool.reserve(20_000).is_err());
    ///
    /// ```
    ///
    /// A limit that allows no value does not compile in a `static`:
    ///
    /// ```compile_fail
    /// # use segment_pool::SegmentPool;
    /// static NONE: SegmentPool<u64> = SegmentPool::builder().max_bytes(1000).build();
    /// ```
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        if bytes < self.limits.bytes {
            self.limits.bytes = bytes;
        }
        self
    }
}

impl<T> fmt::Debug for SegmentPoolBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentPoolBuilder")
            .field("name", &self.name)
            .field("max_segments", &self.limits.segments)
            .field("max_bytes", &self.limits.bytes)
            .finish()
    }
}
