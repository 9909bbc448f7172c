//! `SegmentPoolBuilder<T>`: the name and the limits of a pool, both constants.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;

use crate::ground::layout::{Route, Span, pool_stride, route};
use crate::insight::leaks::LeakReport;
use crate::memory::segment::capacity;
use crate::pool::large;

/// The limits that a builder was given. `bytes` counts whole pages, and the page size is known only at run time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    segments: usize,
    bytes: usize,
    values: usize,
}

impl Limits {
    pub(super) const NONE: Self = Self {
        segments: usize::MAX,
        bytes: usize::MAX,
        values: usize::MAX,
    };

    /// # Panics
    ///
    /// Panics if the limits allow no value. The text is a constant, as required in a `const fn`.
    pub(super) const fn expect_room_for_one(self, layout: Layout) {
        assert!(self.values > 0, "the limit of a pool is below one value");
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

    /// Whether the values are counted.
    #[inline(always)]
    pub(super) const fn count_values(self, layout: Layout) -> bool {
        let bounds_memory = self.segments != usize::MAX || self.bytes != usize::MAX;
        let has_memory = !matches!(route(layout), Route::Zero);
        self.values != usize::MAX || (bounds_memory && has_memory)
    }

    /// Whether `max_values` is one of them.
    pub(super) const fn bounds_values(self) -> bool {
        self.values != usize::MAX
    }

    pub(super) const fn with_values(self, values: usize) -> Self {
        Self { values, ..self }
    }

    /// How many values may be alive, because of one limit or the other.
    pub(super) fn values_of(self, layout: Layout) -> usize {
        let each = match route(layout) {
            Route::Zero | Route::Own => 1,
            Route::Class(..) => capacity(pool_stride(layout)),
        };
        self.values.min(self.of(layout).saturating_mul(each))
    }

    /// Returns the limit as a number of segments, or of mappings. All segments of a pool of one type have the same
    /// size.
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

/// Builds a [`SegmentPool`](crate::SegmentPool) with a name or with limits. All methods are `const`, so a pool can be a
/// `static`.
///
/// A pool takes memory in segments: 64 KiB for values up to 1 KiB, 512 KiB up to 16 KiB, and 4 MiB up to 128 KiB. Each
/// larger value takes a dedicated mapping.
///
/// An allocation from a pool with a limit fails only if the pool has no free slot. All threads share the free slots:
/// any thread can allocate a slot that another thread freed, whatever the other thread does afterwards.
///
/// This has a cost. No thread keeps free slots of such a pool, so an allocation and a drop take two atomic
/// read-modify-writes each. While several threads use the pool at the same moment, an allocation waits for its turn, as
/// with a short lock. A drop does not wait. An allocation that finds the limit reached also waits for drops that are in
/// progress. These waits end after at most two seconds, in case a thread is stopped in the middle of an operation on
/// the pool.
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
    /// Sets the name of the pool in reports, metrics and events. The default is the type name of its values.
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

    /// Sets a function that is called when the pool is dropped while values of it are still alive. By default the pool
    /// does not look for such values. A pool in a `static` is never dropped: see
    /// [`SegmentPool::leaks`](crate::SegmentPool::leaks).
    ///
    /// `report` is called once, after the pool was dropped, on the thread that dropped it. It may use pools.
    ///
    /// `report` may panic, and the panic leaves the drop of the pool. If the pool is dropped while another panic
    /// unwinds, the panic of `report` is caught after the panic hook has run, and the first panic continues. So values
    /// that a failing test leaves behind do not hide its own failure.
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

    /// At most so many values of the pool alive at once. The least of several limits counts.
    ///
    /// A value counts from before it is made until after it was dropped, taken out of its box, or given back in an error; so does a slot
    /// for a value to come ([`alloc_uninit`](crate::SegmentPool::alloc_uninit)). A value that is leaked or forgotten counts for ever.
    /// Values of no size count, and those with a mapping of their own.
    ///
    /// The count is exact, however many threads there are: a request is refused only if so many values are alive, or are being made or
    /// dropped at that moment; and as soon as any is dropped, on whatever thread, the next request of any thread is
    /// served. The memory of the pool may be more than that of so many values: each thread keeps free slots, as in a pool without a
    /// limit.
    ///
    /// Price: an atomic read-modify-write on a word of the pool for each value that is made, and one for each that is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// static JOBS: SegmentPool<String> = SegmentPool::builder().max_values(2).build();
    ///
    /// let one = JOBS.alloc("one".to_owned());
    /// let _two = JOBS.alloc("two".to_owned());
    /// let refused = JOBS.try_alloc("three".to_owned()).unwrap_err();
    /// drop(one);
    /// assert_eq!(*JOBS.try_alloc(refused.into_inner())?, "three");
    /// # Ok::<(), segment_pool::AllocError<String>>(())
    /// ```
    #[must_use]
    pub const fn max_values(mut self, values: usize) -> Self {
        if values < self.limits.values {
            self.limits.values = values;
        }
        self
    }

    /// Limits the number of segments, or of values with a dedicated mapping. If several limits are set, the smallest
    /// applies.
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

    /// Limits the bytes of all segments, or of all dedicated mappings. If several limits are set, the smallest applies.
    ///
    /// A dedicated mapping consists of whole pages, which are 4 KiB on most systems and up to 64 KiB on some. It
    /// contains the value and a header of 64 bytes, or of the value's alignment if that is larger.
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
    /// In a `static`, a limit that allows no value is a compile error:
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
            .field("max_values", &self.limits.values)
            .field("max_segments", &self.limits.segments)
            .field("max_bytes", &self.limits.bytes)
            .finish()
    }
}
