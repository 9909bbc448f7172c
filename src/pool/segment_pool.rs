//! `SegmentPool<T>`: a pool of one type.

use core::alloc::Layout;
use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::ground::error::{AllocErrorKind, Failure};
use crate::ground::layout::{Route, Span, pool_stride, route};
use crate::ground::panics;
use crate::heap::registry::{Handle, Plan, RegistryRef};
use crate::insight::leaks::LeakReport;
use crate::insight::report::Report;
use crate::insight::snapshot::Snapshot;
use crate::insight::stats::{Stats, Validation};
use crate::memory::segment::capacity;
use crate::pool::builder::{Limits, SegmentPoolBuilder};
use crate::pool::route::storage_for;
use crate::pool::{large, sizeless};
use crate::thread::{self, Asker};

/// A pool for the values of one type, with its own segments and its own statistics.
///
/// The segments of the pool contain only its own values. The slot size is the value's size rounded up to a multiple of
/// 8 bytes (of 64 bytes above 1 KiB), which may be less than the size class of the default pool. Any thread may
/// allocate, and each thread has its own segments.
///
/// The boxes are ordinary [`PoolBox`](crate::PoolBox)es. Any thread may drop them, and they stay valid when the pool is
/// dropped. After that, each segment is returned when its last box is dropped. The remaining memory is returned when
/// every thread that used the pool has allocated or freed some more, has called `idle`, or has ended. A leaked box
/// keeps its segment for ever.
///
/// Zero-sized values take no memory and are not counted. Values larger than 128 KiB, or with an alignment above 4 KiB,
/// get a dedicated mapping each and are counted as [`large`](Stats::large).
///
/// A pool can have a limit: see [`builder`](Self::builder).
///
/// # Examples
///
/// ```
/// use segment_pool::{PoolBox, SegmentPool};
///
/// struct Packet([u8; 100]);
///
/// static PACKETS: SegmentPool<Packet> = SegmentPool::new();
///
/// let packet: PoolBox<Packet> = PACKETS.alloc(Packet([0; 100]));
/// std::thread::spawn(move || drop(packet)).join().unwrap();
/// assert_eq!(PACKETS.stats().allocations, 1);
/// ```
pub struct SegmentPool<T> {
    pub(super) handle: Handle,
    /// Instead of `handle`, if the values are counted: so the fast path, which finds nothing in `handle`, need not ask.
    pub(super) counted: Handle,
    pub(super) limits: Limits,
    pub(super) name: Option<&'static str>,
    pub(super) on_leak: Option<fn(&LeakReport)>,
    pub(super) values: PhantomData<fn(T) -> T>,
}

impl<T> SegmentPool<T> {
    pub(super) const LAYOUT: Layout = Layout::new::<T>();

    /// The size of a segment of this pool in bytes: 64 KiB, 512 KiB or 4 MiB. It is 0 if the values use no segments,
    /// because they are zero-sized or have dedicated mappings.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// type Packets = SegmentPool<[u8; 1500]>;
    /// static PACKETS: Packets = Packets::builder().max_bytes(2 * Packets::SEGMENT_BYTES).build();
    /// assert_eq!(Packets::SEGMENT_BYTES, 512 << 10);
    /// # let _ = &PACKETS;
    /// ```
    pub const SEGMENT_BYTES: usize = match route(Self::LAYOUT) {
        Route::Class(_, span) => span.bytes(),
        Route::Zero | Route::Own => 0,
    };

    /// The number of values that fit into one segment, or 0 if the values use no segments.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// type Packets = SegmentPool<[u8; 1500]>;
    /// let pool = Packets::builder().max_segments(1).build();
    /// let packets: Vec<_> = (0..).map_while(|_| pool.try_alloc([0; 1500]).ok()).collect();
    /// assert_eq!(packets.len(), Packets::SLOTS_PER_SEGMENT);
    /// ```
    pub const SLOTS_PER_SEGMENT: usize = match route(Self::LAYOUT) {
        Route::Class(..) => capacity(pool_stride(Self::LAYOUT)),
        Route::Zero | Route::Own => 0,
    };

    /// Whether the values use slots. Zero-sized values and values with dedicated mappings do not.
    pub(crate) const HAS_SLOTS: bool = matches!(route(Self::LAYOUT), Route::Class(..));

    /// Makes a pool without memory. The first allocation takes some.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// static EVENTS: SegmentPool<(u64, f32)> = SegmentPool::new();
    ///
    /// assert_eq!(EVENTS.stats().segments, 0);
    /// assert_eq!(EVENTS.alloc((7, 0.5)).0, 7);
    /// assert_eq!(EVENTS.stats().segments, 1);
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self::builder().build()
    }

    /// Makes a builder for a pool with a name or with limits.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{AllocErrorKind, SegmentPool};
    ///
    /// static SMALL: SegmentPool<[u64; 8]> = SegmentPool::builder().max_bytes(1 << 20).build();
    ///
    /// let mut boxes = Vec::new();
    /// let error = loop {
    ///     match SMALL.try_alloc([boxes.len() as u64; 8]) {
    ///         Ok(boxed) => boxes.push(boxed),
    ///         Err(error) => break error,
    ///     }
    /// };
    /// assert_eq!(error.kind(), AllocErrorKind::LimitReached);
    /// assert_eq!(error.into_inner(), [boxes.len() as u64; 8]); // the value is not lost
    /// boxes.pop();
    /// assert!(SMALL.try_alloc([0; 8]).is_ok());
    /// ```
    #[must_use]
    pub const fn builder() -> SegmentPoolBuilder<T> {
        SegmentPoolBuilder {
            limits: Limits::NONE,
            name: None,
            on_leak: None,
            values: PhantomData,
        }
    }

    /// Returns the free slots in the lists of this thread's heap, and of the pool's abandoned heaps, to their segments,
    /// and releases empty segments, as [`trim`](crate::trim) does for the default pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// drop((0..100_000).map(|n| pool.alloc(n)).collect::<Vec<_>>());
    /// pool.trim();
    /// assert_eq!(pool.stats().segments, 0);
    /// ```
    pub fn trim(&self) {
        if let Some(registry) = self.registry() {
            thread::trim_pool(registry);
            thread::emit_events();
        }
    }

    /// Maps segments for at least `slots` further values of this thread. Allocating these values then needs the
    /// operating system only for the first touch of each page. The call does nothing for values with dedicated mappings
    /// and for zero-sized values.
    ///
    /// It reserves memory for all of the values or for none: if it fails, it unmaps what it had mapped. Cost: about 4
    /// KiB of memory and one or two microseconds per segment. If the reservation needs more than one arena of 4 MiB,
    /// the function first checks that the system grants the whole size.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](AllocErrorKind::OutOfMemory) if the system has no memory,
    /// [`LimitReached`](AllocErrorKind::LimitReached) if the pool's limit allows less, and
    /// [`CapacityOverflow`](AllocErrorKind::CapacityOverflow) for more than `isize::MAX` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// pool.reserve(10_000)?;
    /// let before = pool.stats().segments;
    /// let boxes: Vec<_> = (0..10_000).map(|n| pool.alloc(n)).collect();
    /// assert_eq!(pool.stats().segments, before);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    pub fn reserve(&self, slots: usize) -> Result<(), AllocErrorKind> {
        self.map_ahead(slots, false)
    }

    /// As [`reserve`](Self::reserve), and also touches the pages.
    ///
    /// In a pool with a limit, allocations of other threads wait until the call is done, and fail after two seconds. So
    /// prefault before the threads start, or in steps. A million pages take about a second.
    ///
    /// # Errors
    ///
    /// As for [`reserve`](Self::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// pool.prefault(10_000)?;
    /// assert_eq!(*pool.alloc(7), 7);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    pub fn prefault(&self, slots: usize) -> Result<(), AllocErrorKind> {
        self.map_ahead(slots, true)
    }

    fn map_ahead(&self, slots: usize, touch: bool) -> Result<(), AllocErrorKind> {
        if !matches!(route(Self::LAYOUT), Route::Class(..)) {
            return Ok(());
        }
        let stride = pool_stride(Self::LAYOUT);
        let segments = slots.div_ceil(capacity(stride));
        let bytes = segments.checked_mul(Span::of(stride).bytes());
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(AllocErrorKind::CapacityOverflow);
        }
        if segments > self.limit() || slots > self.limits.values_of(Self::LAYOUT) {
            thread::emit_failure(self.name());
            return Err(AllocErrorKind::LimitReached);
        }
        let pool = self
            .registry_or_create()
            .ok_or(AllocErrorKind::OutOfMemory)?;
        thread::map_ahead(pool, segments, touch)
    }

    /// Returns the name that the builder was given, or the type name of the values.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// static PACKETS: SegmentPool<[u8; 100]> = SegmentPool::builder().name("packets").build();
    /// assert_eq!(PACKETS.name(), "packets");
    /// assert_eq!(SegmentPool::<u32>::new().name(), "u32");
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.unwrap_or_else(type_name::<T>)
    }

    /// Returns the pool's counters. Cost: a few loads per heap.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// let kept = pool.alloc(1);
    /// drop(pool.alloc(2));
    /// let stats = pool.stats();
    /// assert_eq!((stats.allocations, stats.local_frees, stats.live()), (2, 1, 1));
    /// # drop(kept);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let unused = || Stats::unused(self.name);
        self.registry()
            .map_or_else(unused, |pool| Stats::of(pool, self.name))
    }

    /// Returns the pool's [`Stats`] by slot size, and the memory of the process. Cost: see [`memory`](crate::memory()).
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let pool = SegmentPool::builder().name("packets").build();
    /// let _packets: Vec<_> = (0..1000).map(|n| pool.alloc([n; 100])).collect();
    /// println!("{}", pool.report());
    /// ```
    #[must_use]
    pub fn report(&self) -> Report {
        match self.registry() {
            Some(pool) => Report::of(pool, self.name(), self.name),
            None => Report::unused(self.name(), self.name),
        }
    }

    /// Returns the state of each slot of the pool, as [`snapshot`](crate::snapshot()) does for the default pool.
    ///
    /// # Panics
    ///
    /// Panics if a list is damaged.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{SegmentPool, SlotState};
    ///
    /// let pool = SegmentPool::new();
    /// let mut boxes: Vec<_> = (0..10).map(|n| pool.alloc(n)).collect();
    /// boxes.truncate(7);
    /// assert_eq!(pool.snapshot().count(SlotState::Live), 7);
    /// pool.trim();
    /// assert_eq!(pool.snapshot().count(SlotState::AtHand), 0); // they were returned to their segment
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let name = self.name();
        self.registry()
            .map_or_else(|| Snapshot::unused(name), |pool| Snapshot::of(pool, name))
    }

    /// Returns the number of live values of the pool. Frees by other threads count once the owner has collected them:
    /// see [`Stats`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// let boxes: Vec<_> = (0..10).map(|n| pool.alloc(n)).collect();
    /// assert_eq!(pool.live(), 10);
    /// drop(boxes);
    /// assert_eq!(pool.live(), 0);
    /// ```
    #[must_use]
    pub fn live(&self) -> u64 {
        self.stats().live()
    }

    /// Returns a report of the values that were not dropped, or `None` if all were. It first collects everything that
    /// this thread can reach, as [`trim`](Self::trim) does, so that dropped values do not count.
    ///
    /// A pool in a `static` is never dropped; call this at the end of the program or of a test. Zero-sized values are
    /// not counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// static ORDERS: SegmentPool<u64> = SegmentPool::builder().name("orders").build();
    ///
    /// let order = ORDERS.alloc(1);
    /// let report = ORDERS.leaks().unwrap();
    /// assert_eq!(report.to_string(), "pool orders: 1 value of type u64 is alive");
    /// drop(order);
    /// assert_eq!(ORDERS.leaks(), None);
    /// ```
    #[must_use]
    pub fn leaks(&self) -> Option<LeakReport> {
        let report = self.leaks_without_events();
        thread::emit_events();
        report
    }

    fn leaks_without_events(&self) -> Option<LeakReport> {
        let pool = self.registry()?;
        LeakReport::of(pool, self.name(), type_name::<T>())
    }

    /// Drops the pool and reports whether all of its values were dropped before. Values that were not dropped stay
    /// valid. The function set by [`on_leak`](SegmentPoolBuilder::on_leak) is not called.
    ///
    /// # Errors
    ///
    /// Returns a [`LeakReport`] if values are still alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::SegmentPool;
    ///
    /// let pool = SegmentPool::new();
    /// let boxed = pool.alloc(String::from("forgotten"));
    /// let report = pool.close().unwrap_err();
    /// assert_eq!((report.live, report.type_name), (1, "alloc::string::String"));
    /// assert_eq!(*boxed, "forgotten");
    /// ```
    pub fn close(mut self) -> Result<(), LeakReport> {
        self.on_leak = None;
        match self.leaks() {
            None => Ok(()),
            Some(report) => Err(report),
        }
    }

    /// Checks the pool's lists and counts its slots, as [`validate`](crate::validate) does for the default pool.
    ///
    /// # Panics
    ///
    /// Panics if a list is damaged.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// let boxes: Vec<_> = (0..10).map(|n| pool.alloc(n)).collect();
    /// assert_eq!(pool.validate().live, 10);
    /// drop(boxes);
    /// let validation = pool.validate();
    /// assert_eq!((validation.live, validation.free), (0, validation.capacity));
    /// ```
    #[must_use]
    pub fn validate(&self) -> Validation {
        self.registry().map(Validation::of).unwrap_or_default()
    }

    /// Allocates storage for a value.
    #[inline(always)]
    pub(crate) fn alloc_storage(&self) -> Result<NonNull<T>, Failure> {
        match const { route(Self::LAYOUT) } {
            Route::Zero if !self.limits.count_values(Self::LAYOUT) => Ok(NonNull::dangling()),
            Route::Class(..) => match self.handle.get() {
                Some(pool) => thread::alloc_from_pool(pool)
                    .map(storage_for::<T>)
                    .ok_or_else(|| AllocErrorKind::OutOfMemory.into()),
                None => match self.alloc_at_hand() {
                    Some(storage) => Ok(storage),
                    None => self.alloc_counted(),
                },
            },
            _ => self.alloc_storage_slow(Asker::Passing),
        }
    }

    /// Storage for a value of a pool that counts its values, if there is a permit, and a slot in the heap that the thread used last.
    #[inline(never)]
    fn alloc_at_hand(&self) -> Option<NonNull<T>> {
        let slot = self.counted.get().and_then(thread::alloc_at_hand);
        slot.map(storage_for)
    }

    /// As [`alloc_storage`](Self::alloc_storage), of a pool whose `handle` has nothing.
    #[cold]
    #[inline(never)]
    fn alloc_counted(&self) -> Result<NonNull<T>, Failure> {
        match self.counted.get() {
            Some(pool) => thread::alloc_counted(pool, Asker::Passing).map(storage_for),
            None => self.alloc_storage_slow(Asker::Passing),
        }
    }

    /// Storage for a value of a pool that counts its values, or has not been used yet, or has a mapping for each of them.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_storage_slow(&self, asker: Asker) -> Result<NonNull<T>, Failure> {
        let counts = self.is_counted();
        if !counts && Self::LAYOUT.size() == 0 {
            return Ok(NonNull::dangling());
        }
        let out_of_memory = || Failure::from(AllocErrorKind::OutOfMemory);
        let pool = self.registry_or_create().ok_or_else(out_of_memory)?;
        let layout = Self::LAYOUT;
        let storage = match (route(layout), counts) {
            (Route::Zero, _) => sizeless::alloc(pool, asker)?,
            (Route::Class(..), true) => {
                let at_hand = thread::alloc_at_hand(pool);
                let slot = at_hand.map_or_else(|| thread::alloc_counted(pool, asker), Ok);
                storage_for::<T>(slot?).cast()
            }
            (Route::Class(..), false) => thread::alloc_from_pool(pool)
                .map(storage_for::<T>)
                .ok_or_else(out_of_memory)?
                .cast(),
            (Route::Own, true) => large::map_counted(layout, pool, asker)?,
            (Route::Own, false) => large::map(layout, Some(pool)).ok_or_else(out_of_memory)?,
        };
        Ok(storage.cast())
    }

    /// Whether the values are counted.
    pub(super) fn is_counted(&self) -> bool {
        self.limits.count_values(Self::LAYOUT)
    }

    /// The maximum number of segments, or of values with dedicated mappings.
    fn limit(&self) -> usize {
        self.limits.of(Self::LAYOUT)
    }

    #[inline(always)]
    pub(super) fn registry(&self) -> Option<RegistryRef> {
        self.handle.get().or_else(|| self.counted.get())
    }

    pub(crate) fn registry_or_create(&self) -> Option<RegistryRef> {
        let handle = if self.is_counted() {
            &self.counted
        } else {
            &self.handle
        };
        handle.get_or_create(|| thread::with_room_for(0, || RegistryRef::create_as(&self.plan())))
    }

    #[cold]
    fn plan(&self) -> Plan {
        Plan {
            stride: pool_stride(Self::LAYOUT),
            limit: self.limit(),
            values: if self.is_counted() {
                self.limits.values_of(Self::LAYOUT)
            } else {
                usize::MAX
            },
            align: Self::LAYOUT.align(),
            name: self.name(),
        }
    }
}

impl<T> SegmentPoolBuilder<T> {
    /// Makes the pool, still without memory.
    ///
    /// # Panics
    ///
    /// Panics if a limit allows no value: it is smaller than one segment, or smaller than the mapping of one large
    /// value. In a `static` or a `const` this is a compile error. The size of a segment is
    /// [`SegmentPool::SEGMENT_BYTES`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::builder().max_segments(100).build();
    /// assert_eq!(*pool.alloc(7), 7);
    /// ```
    #[must_use]
    pub const fn build(self) -> SegmentPool<T> {
        self.limits.expect_room_for_one(SegmentPool::<T>::LAYOUT);
        SegmentPool {
            handle: Handle::new(),
            counted: Handle::new(),
            limits: self.limits,
            name: self.name,
            on_leak: self.on_leak,
            values: PhantomData,
        }
    }
}

impl<T> Drop for SegmentPool<T> {
    fn drop(&mut self) {
        let Some(registry) = self.registry() else {
            return;
        };
        let on_leak = self.on_leak;
        let leaked = on_leak.and_then(|on_leak| Some((on_leak, self.leaks_without_events()?)));
        // SAFETY: the handle's reference to the registry, which is not used afterwards.
        unsafe { thread::close(registry) };
        // Foreign code runs last: a subscriber and the user's function. Both may use pools, and the function may panic.
        thread::emit_events();
        if let Some((on_leak, report)) = leaked {
            report_leak(on_leak, &report);
        }
    }
}

/// Calls the user's function. If it panics in a destructor that runs because of another panic, that panic is caught: a
/// second panic would abort the process.
fn report_leak(on_leak: fn(&LeakReport), report: &LeakReport) {
    if std::thread::panicking() {
        panics::contain(|| on_leak(report));
    } else {
        on_leak(report);
    }
}

impl<T> Default for SegmentPool<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for SegmentPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentPool")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish()
    }
}
