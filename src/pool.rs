//! `SegmentPool<T>`, and the one place where a layout's way is chosen: no memory, a slot, or a mapping of its own.
//!
//! [`take`] and [`return_slot`] are the doors between values and storage. Below them nothing knows `T`; above them
//! nothing knows whether the thread is at home. Neither unwinds, whatever a subscriber does: a value may wait, where no
//! destructor would find it, while they are called. What may unwind is what a caller makes of a refusal.

use core::alloc::Layout;
use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::checker;
use crate::error::AllocErrorKind;
use crate::layout::{CANARY_BYTES, Route, Span, pool_stride, route};
use crate::leaks::LeakReport;
use crate::own;
use crate::panics;
use crate::registry::{Handle, RegistryRef};
use crate::report::Report;
use crate::segment::capacity;
use crate::slot::SlotPtr;
use crate::snapshot::Snapshot;
use crate::stats::{Census, ClassStats, Stats};
use crate::thread;

/// Storage for a `T` from the default pool; `None` when memory is refused.
#[inline(always)]
pub(crate) fn take<T>() -> Option<NonNull<T>> {
    match const { route(Layout::new::<T>()) } {
        Route::Zero => Some(NonNull::dangling()),
        Route::Class(class, _) => thread::take(class).map(storage_for::<T>),
        Route::Own => own::map(Layout::new::<T>(), None).map(NonNull::cast),
    }
}

#[inline(always)]
pub(crate) fn storage_for<T>(slot: SlotPtr) -> NonNull<T> {
    checker::handed_out(slot.cast(), Layout::new::<T>()).cast()
}

/// As [`take`], with the reason of a refusal.
#[inline(always)]
pub(crate) fn try_take<T>() -> Result<NonNull<T>, AllocErrorKind> {
    take().ok_or(AllocErrorKind::OutOfMemory)
}

/// Storage for a value whose layout is known only now; `None` when memory is refused.
pub(crate) fn take_layout(layout: Layout) -> Option<NonNull<u8>> {
    match route(layout) {
        Route::Zero => NonNull::new(ptr::without_provenance_mut(layout.align())),
        Route::Class(class, _) => {
            let slot = thread::take(class)?;
            Some(checker::handed_out(slot.cast(), layout))
        }
        Route::Own => own::map(layout, None),
    }
}

/// Whether storage of the default pool for layout `old` may be used, and given back, as storage for layout `new`.
pub(crate) const fn same_slot(old: Layout, new: Layout) -> bool {
    match (route(old), route(new)) {
        (Route::Class(old_class, _), Route::Class(new_class, _)) => old_class == new_class,
        (Route::Own, Route::Own) => old.size() == new.size() && old.align() == new.align(),
        _ => false,
    }
}

/// The same for storage of any pool: `new` must be no larger and no more aligned than a pool of one type, which packs
/// tighter than a class, makes a slot for a value of layout `old`.
pub(crate) const fn interchangeable(old: Layout, new: Layout) -> bool {
    same_slot(old, new)
        && new.size() + CANARY_BYTES <= pool_stride(old)
        && (new.align() <= old.align() || new.align() <= 8)
}

/// Notes that storage for layout `old` is used as storage for layout `new`, which it may be.
pub(crate) fn refit(storage: NonNull<u8>, old: Layout, new: Layout) {
    if let Route::Class(..) = route(old) {
        checker::refitted(storage, old, new);
    }
}

/// Gives storage back, on whatever thread and from whatever pool.
///
/// # Safety
///
/// `storage` came from [`take`], [`take_layout`] or a `SegmentPool`'s `take` for this layout or one
/// [`interchangeable`] with it, with its provenance, and the caller gives it up.
#[inline(always)]
pub(crate) unsafe fn return_slot(storage: NonNull<u8>, layout: Layout) {
    match route(layout) {
        Route::Zero => {}
        Route::Class(class, span) => {
            checker::taken_back(storage, layout);
            // SAFETY: the class and span of the layout; guaranteed by the caller.
            unsafe { thread::give(storage.cast(), span, class) }
        }
        // SAFETY: mapped for this layout.
        Route::Own => unsafe { own::unmap(storage, layout) },
    }
}

/// A pool of one type: isolated, and counted by itself.
///
/// Its boxes come from segments that hold nothing but this pool's values, so they lie closer together than the size
/// classes of the default pool allow, and never next to strangers. Any thread may allocate; each gets segments of its
/// own. The boxes are ordinary [`PoolBox`](crate::PoolBox)es: they may be dropped anywhere, and stay valid when the
/// pool is dropped; then each segment goes when its last box goes, and the rest when every thread that used the pool
/// has allocated or freed some more, idled, or ended. A leaked box keeps its segment for ever.
///
/// Values of no size take no memory, and values larger than 128 KiB, or aligned beyond 4 KiB, get a mapping of their
/// own each.
///
/// A pool can be limited: see [`builder`](Self::builder).
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
    handle: Handle,
    limits: Limits,
    name: Option<&'static str>,
    on_leak: Option<fn(&LeakReport)>,
    values: PhantomData<fn(T) -> T>,
}

impl<T> SegmentPool<T> {
    const LAYOUT: Layout = Layout::new::<T>();

    /// Bytes of one segment of the pool: 64 KiB, 512 KiB or 4 MiB. 0 if its values lie in no segments, because they have no size,
    /// or a mapping each.
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

    /// Values that fit into one segment; 0 if they lie in no segments.
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

    /// Whether the values lie in slots, neither without memory nor in mappings of their own.
    pub(crate) const HAS_SLOTS: bool = matches!(route(Self::LAYOUT), Route::Class(..));

    /// A pool without memory: the first allocation gets some.
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

    /// Makes a pool with a name or with limits.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{AllocErrorKind, SegmentPool};
    ///
    /// static SMALL: SegmentPool<[u64; 8]> = SegmentPool::builder().max_bytes(1 << 20).build();
    ///
    /// let mut boxes = Vec::new();
    /// let refused = loop {
    ///     match SMALL.try_alloc([boxes.len() as u64; 8]) {
    ///         Ok(boxed) => boxes.push(boxed),
    ///         Err(refused) => break refused,
    ///     }
    /// };
    /// assert_eq!(refused.kind(), AllocErrorKind::LimitReached);
    /// assert_eq!(refused.into_inner(), [boxes.len() as u64; 8]); // nothing is lost
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

    /// Brings every free slot that this thread's heap, or one that no thread holds, has in its lists home, and gives
    /// empty segments back, as [`trim`](crate::trim) does for the default pool.
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
            thread::tell();
        }
    }

    /// Maps segments for at least `slots` further values of this thread, so that they need nothing of the operating
    /// system but the first touch of each page. Values with a mapping of their own cannot be reserved for, and those
    /// without size need not.
    ///
    /// It reserves for all of them or for none: what it had mapped when it failed goes back. Cost: some 4 KiB of memory and
    /// a microsecond or two per segment. If that takes more than one arena of 4 MiB, it first asks the system whether it may
    /// have the whole.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](AllocErrorKind::OutOfMemory) when the system refuses memory,
    /// [`LimitReached`](AllocErrorKind::LimitReached) when the pool's limit allows less, and
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

    /// As [`reserve`](Self::reserve), and touches the pages too.
    ///
    /// # Errors
    ///
    /// As `reserve`.
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
        if segments > self.limit() {
            thread::tell_of_refusal(self.name());
            return Err(AllocErrorKind::LimitReached);
        }
        let pool = self
            .registry_or_create()
            .ok_or(AllocErrorKind::OutOfMemory)?;
        thread::map_ahead(pool, segments, touch)
    }

    /// As [`take`](Self::take), with the reason of a refusal.
    #[inline(always)]
    pub(crate) fn try_take(&self) -> Result<NonNull<T>, AllocErrorKind> {
        self.take().ok_or_else(|| self.refusal())
    }

    #[cold]
    pub(crate) fn refusal(&self) -> AllocErrorKind {
        match self.registry() {
            Some(pool) if pool.core().refused_by_limit() => AllocErrorKind::LimitReached,
            _ => AllocErrorKind::OutOfMemory,
        }
    }

    /// The name that the builder was given, or that of the type.
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

    /// What the pool did so far. Cost: a few loads per heap.
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
        let unused = Stats {
            name: self.name,
            ..Stats::default()
        };
        self.registry()
            .map_or(unused, |pool| Stats::of(pool, self.name))
    }

    /// The pool's [`Stats`], by size of slot, beside what the process holds. Cost: see [`memory`](crate::memory).
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
        let classes = self.registry().map(ClassStats::of).unwrap_or_default();
        Report::new(self.name(), self.stats(), classes)
    }

    /// What is where: the state of each slot, as [`snapshot`](crate::snapshot()) says of the default pool.
    ///
    /// # Panics
    ///
    /// If a list is damaged.
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
    /// assert_eq!(pool.snapshot().count(SlotState::AtHand), 0); // the free ones went home
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let name = self.name();
        self.registry()
            .map_or_else(|| Snapshot::unused(name), |pool| Snapshot::of(pool, name))
    }

    /// How many values of the pool are alive, as far as its threads have noticed: see [`Stats`].
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

    /// The values that were not dropped, if there are any. It first brings home what this thread may bring home, as
    /// [`trim`](Self::trim) does, so that what was dropped does not count.
    ///
    /// For a pool in a `static`, which is never dropped, call this at the end of the program or of a test. Values of no
    /// size are not counted.
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
        let report = self.leaks_untold();
        thread::tell();
        report
    }

    fn leaks_untold(&self) -> Option<LeakReport> {
        let pool = self.registry()?;
        LeakReport::of(pool, self.name(), type_name::<T>())
    }

    /// Drops the pool, and says whether all of its values were dropped before. Those that were not stay valid, as ever.
    /// What [`on_leak`](SegmentPoolBuilder::on_leak) set is not called.
    ///
    /// # Errors
    ///
    /// When values are alive; see [`LeakReport`].
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

    /// Checks the pool's lists, as [`validate`](crate::validate) does those of the default pool.
    ///
    /// # Panics
    ///
    /// If a list is damaged.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// let boxes: Vec<_> = (0..10).map(|n| pool.alloc(n)).collect();
    /// assert_eq!(pool.validate().live, 10);
    /// drop(boxes);
    /// let census = pool.validate();
    /// assert_eq!((census.live, census.free), (0, census.capacity));
    /// ```
    #[must_use]
    pub fn validate(&self) -> Census {
        self.registry().map(Census::of).unwrap_or_default()
    }

    /// Storage for a value; `None` when memory is refused.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<NonNull<T>> {
        match const { route(Self::LAYOUT) } {
            Route::Zero => Some(NonNull::dangling()),
            Route::Class(..) => thread::take_from(self.registry_or_create()?).map(storage_for::<T>),
            Route::Own => {
                let pool = self.registry_or_create()?;
                own::map(Self::LAYOUT, Some(pool)).map(NonNull::cast)
            }
        }
    }

    /// Segments, or values with a mapping of their own, that the pool may have.
    fn limit(&self) -> usize {
        self.limits.of(Self::LAYOUT)
    }

    #[inline(always)]
    fn registry(&self) -> Option<RegistryRef> {
        self.handle.get()
    }

    #[inline(always)]
    pub(crate) fn registry_or_create(&self) -> Option<RegistryRef> {
        let create = || RegistryRef::create(pool_stride(Self::LAYOUT), self.limit(), self.name());
        self.handle
            .get_or_create(|| thread::with_room_for(0, create))
    }
}

impl<T> Drop for SegmentPool<T> {
    fn drop(&mut self) {
        let Some(registry) = self.registry() else {
            return;
        };
        let on_leak = self.on_leak;
        let leaked = on_leak.and_then(|on_leak| Some((on_leak, self.leaks_untold()?)));
        // SAFETY: the handle's reference.
        unsafe { thread::close(registry) };
        // Foreign code comes last, a subscriber and the user's function: it may use pools, and the function may panic.
        thread::tell();
        if let Some((on_leak, report)) = leaked {
            report_leak(on_leak, &report);
        }
    }
}

/// Calls the user's function. A second panic, out of a destructor that runs because of the first, would abort the process.
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

/// What a builder was told; the size of a page, in which `bytes` count, is known when the program runs.
#[derive(Debug, Clone, Copy)]
struct Limits {
    segments: usize,
    bytes: usize,
}

impl Limits {
    const NONE: Self = Self {
        segments: usize::MAX,
        bytes: usize::MAX,
    };

    /// # Panics
    ///
    /// If they allow no value. The text is a constant, as it must be for the compiler.
    const fn expect_room_for_one(self, layout: Layout) {
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
    fn of(self, layout: Layout) -> usize {
        let each = match route(layout) {
            Route::Zero => return usize::MAX,
            Route::Class(..) => Some(Span::of(pool_stride(layout)).bytes()),
            Route::Own => own::mapping_bytes(layout),
        };
        let by_bytes = match self.bytes {
            usize::MAX => usize::MAX,
            bytes => each.map_or(0, |each| bytes / each),
        };
        self.segments.min(by_bytes)
    }
}

/// Name and limits of a [`SegmentPool`], which [`build`](Self::build) makes. All may be used in a `static`.
///
/// A pool takes memory by the segment: 64 KiB for values up to 1 KiB, 512 KiB up to 16 KiB, 4 MiB up to 128 KiB; each
/// larger value takes a mapping of its own.
///
/// A pool with a limit refuses a value only if no slot of it is free. The threads that use it share all of its free slots: a
/// slot that one thread frees, any thread gets, whatever the first does afterwards. That has a price. No thread keeps slots for
/// itself, so an allocation and a drop take two atomic read-modify-writes each, and while several threads are at work on the
/// pool at the same moment, an allocation waits for its turn, as at a short lock; a drop does not wait. An allocation that finds
/// the limit reached also waits for drops that are under way. These waits end after some seconds at the most, should a thread be
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
    limits: Limits,
    name: Option<&'static str>,
    on_leak: Option<fn(&LeakReport)>,
    values: PhantomData<fn(T) -> T>,
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
    /// is looked for. A pool in a `static` is never dropped: see [`SegmentPool::leaks`].
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

    /// At most so many segments, or values with a mapping of their own. The least of several limits counts.
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

    /// The pool, without memory yet.
    ///
    /// # Panics
    ///
    /// If a limit allows no value, because it is below one segment or below the mapping of one large value. In a `static` or a
    /// `const` that is an error of the compiler. The size of a segment is [`SegmentPool::SEGMENT_BYTES`].
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
            limits: self.limits,
            name: self.name,
            on_leak: self.on_leak,
            values: PhantomData,
        }
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

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
