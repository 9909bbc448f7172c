//! The heaps of one pool: an append-only list, a count of the abandoned ones, and the references whose last
//! one frees the pool.
//!
//! A thread that needs a heap adopts an abandoned one, or else creates one and appends it to the list. So a
//! pool never has more heaps than threads were alive at once, pushing threads included. Heaps stay listed as
//! long as the pool, the oldest first. The oldest abandoned heap is also adopted first. So heaps that a peak
//! of threads needed stay unused after the peak.
//!
//! The thread that releases the last reference frees the pool. There is one reference for each segment in
//! use, one for each heap that a thread holds, one for each deferred reclaim, and one for the pool's handle.
//! The handle of the default pool is a static, whose reference is never released.
//!
//! Any thread may touch every field: all of them are atomics, or constant. Always holds: a listed heap stays
//! listed and alive until the pool is freed, and `abandoned` is never too low.

use core::ptr::{self, NonNull};

use crate::ground::events::{self, Happened};
#[cfg(not(segment_pool_loom))]
use crate::ground::layout::ARENA_BYTES;
use crate::ground::os;
use crate::ground::sync::{Alive, AtomicPtr, AtomicUsize, Ordering, yield_now};
use crate::heap::fields::{Heap, HeapRef};
use crate::heap::gate::Gate;
use crate::heap::pool_core::{Large, PoolCore};
use crate::memory::arena::Arenas;
#[cfg(not(segment_pool_loom))]
use crate::memory::arena::Usage;
use crate::memory::segment::{OwnerId, Sight};

/// How often a thread without a heap searches the list for an abandoned one.
const ADOPTION_LOOKS: usize = if cfg!(segment_pool_loom) { 1 } else { 16 };

/// See the module documentation.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Registry {
    core: PoolCore,
    alive: Alive,
    /// The oldest heap.
    heaps: AtomicPtr<Heap>,
    /// The newest heap, or an older one.
    newest: AtomicPtr<Heap>,
    /// Abandoned heaps, including those with a temporary owner. A hint, never too low.
    abandoned: AtomicUsize,
    /// 1 after the handle was dropped: threads should abandon their heaps of this pool. A hint to threads
    /// that hold one.
    closed: AtomicUsize,
    /// To which it was mapped.
    align: usize,
}

/// What a pool is to be.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Bytes from one slot to the next.
    pub(crate) stride: usize,
    /// Segments, or values with a mapping of their own, that it may have.
    pub(crate) limit: usize,
    /// Values that may be alive; `usize::MAX` are not counted.
    pub(crate) values: usize,
    /// Its address serves as that of values without size, which are so aligned.
    pub(crate) align: usize,
    pub(crate) name: &'static str,
}

// SAFETY: the pointer in `core` is to a table of atomics that outlives the registry.
unsafe impl Sync for Registry {}

#[cfg(not(segment_pool_loom))]
static ARENAS: Arenas = Arenas::new();

#[cfg(not(segment_pool_loom))]
static DEFAULT: Registry = Registry::new(
    arenas(),
    &Plan {
        stride: 0,
        limit: usize::MAX,
        values: usize::MAX,
        align: 1,
        name: "default",
    },
);

#[cfg(not(segment_pool_loom))]
const fn arenas() -> NonNull<Arenas> {
    NonNull::new((&raw const ARENAS).cast_mut()).unwrap()
}

/// The registry of the default pool.
#[cfg(not(segment_pool_loom))]
pub(crate) fn default() -> RegistryRef {
    RegistryRef(NonNull::from(&DEFAULT))
}

/// The memory that the arenas of all pools take.
#[cfg(not(segment_pool_loom))]
pub(crate) fn arena_usage() -> Usage {
    ARENAS.usage()
}

/// The address space of all arenas, in bytes: an upper bound of what can be returned to the system.
#[cfg(not(segment_pool_loom))]
pub(crate) fn arena_bytes() -> usize {
    ARENAS.mapped() * ARENA_BYTES
}

/// Returns pages of free segments that were not needed lately, of all pools: at most about so many bytes of each span.
#[cfg(not(segment_pool_loom))]
#[inline]
pub(crate) fn return_excess(most: usize) {
    if ARENAS.may_have_excess() {
        ARENAS.return_excess(os::milliseconds(), most);
    }
}

/// Bounds the pages that free segments of all pools keep, in bytes, and returns those beyond.
#[cfg(not(segment_pool_loom))]
pub(crate) fn retain(at_least: usize, at_most: usize) {
    ARENAS.set_limits(at_least, at_most);
    ARENAS.return_excess(os::milliseconds(), usize::MAX);
}

/// Gives the memory of free segments to the operating system, of all pools, and what it did not take back before.
#[cfg(not(segment_pool_loom))]
pub(crate) fn trim_arenas() {
    ARENAS.trim();
    os::unmap_kept();
}

impl Registry {
    crate::ground::sync::const_fn! {
        fn new(arenas: NonNull<Arenas>, plan: &Plan) -> Self {
            Self {
                core: PoolCore {
                    arenas,
                    stride: plan.stride,
                    refs: AtomicUsize::new(1),
                    limit: plan.limit,
                    in_use: AtomicUsize::new(0),
                    starved: AtomicUsize::new(0),
                    frees_under_way: AtomicUsize::new(0),
                    name: plan.name,
                    large: Large::new(),
                    gate: Gate::new(plan.values),
                },
                alive: Alive::new(),
                heaps: AtomicPtr::new(ptr::null_mut()),
                newest: AtomicPtr::new(ptr::null_mut()),
                abandoned: AtomicUsize::new(0),
                closed: AtomicUsize::new(0),
                align: plan.align,
            }
        }
    }
}

/// A registry that is alive. The code that creates or copies one guarantees that some reference outlasts its
/// use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RegistryRef(NonNull<Registry>);

impl RegistryRef {
    /// Creates a pool of one stride, with the reference of its handle.
    #[cfg(not(segment_pool_loom))]
    pub(crate) fn create_as(plan: &Plan) -> Option<Self> {
        Self::place(Registry::new(arenas(), plan))
    }

    /// A pool that does not count its values.
    #[cfg(all(test, not(segment_pool_loom)))]
    pub(crate) fn create(stride: usize, limit: usize, name: &'static str) -> Option<Self> {
        Self::create_as(&Plan {
            stride,
            limit,
            values: usize::MAX,
            align: 1,
            name,
        })
    }

    #[cfg(segment_pool_loom)]
    pub(crate) fn create_in(arenas: NonNull<Arenas>, stride: usize, limit: usize) -> Option<Self> {
        Self::place(Registry::new(
            arenas,
            &Plan {
                stride,
                limit,
                values: usize::MAX,
                align: 1,
                name: "model",
            },
        ))
    }

    fn place(contents: Registry) -> Option<Self> {
        let align = contents.align.max(align_of::<Registry>());
        let contents = Registry { align, ..contents };
        let registry = os::map(size_of::<Registry>(), align)?.cast::<Registry>();
        // SAFETY: mapped above, large enough and aligned.
        unsafe { registry.write(contents) };
        let registry = Self(registry);
        #[cfg(segment_pool_loom)]
        registry.core().arenas().count_user();
        Some(registry)
    }

    pub(crate) fn as_ptr(self) -> *mut Registry {
        self.0.as_ptr()
    }

    /// Its address, which serves as that of values of no size.
    pub(crate) fn address(self) -> NonNull<u8> {
        self.0.cast()
    }

    /// The registry at an [`address`](Self::address).
    ///
    /// # Safety
    ///
    /// As for whoever makes one.
    pub(crate) unsafe fn from_address(address: NonNull<u8>) -> Self {
        Self(address.cast())
    }

    fn get<'a>(self) -> &'a Registry {
        // SAFETY: `RegistryRef` guarantees that the registry is alive; all its fields are atomics or
        // constant.
        let registry = unsafe { self.0.as_ref() };
        registry.alive.used();
        registry
    }

    /// Returns a heap for the thread with this token, which then holds it: an abandoned one if there is any,
    /// else a new one. `None` if the system has no memory.
    pub(crate) fn acquire(self, token: u64) -> Option<HeapRef> {
        let heap = self.adopt(token).or_else(|| self.create_heap(token))?;
        self.add_ref();
        Some(heap)
    }

    /// Adds the reference of a heap that was adopted.
    pub(crate) fn add_ref(self) {
        // Relaxed: a reference exists, so the count is not zero.
        self.get().core.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Adopts an abandoned heap. Searches more than once, and yields between the searches. A heap with a
    /// temporary owner is soon abandoned again, while an additional heap would stay for ever.
    fn adopt(self, token: u64) -> Option<HeapRef> {
        let mut looks = (0..ADOPTION_LOOKS).take_while(|_| self.has_abandoned());
        let heap = looks.find_map(|look| {
            if look > 0 {
                yield_now();
            }
            self.heaps().find(|heap| self.adopt_one(*heap))
        })?;
        heap.set_owner(token);
        Some(heap)
    }

    /// Makes the caller the temporary owner of this heap of the pool, if it is abandoned. The heap still
    /// counts as abandoned.
    pub(crate) fn adopt_temporarily(self, heap: HeapRef) -> bool {
        heap.pending().adopt()
    }

    /// Makes the caller the owner of this heap of the pool, if it is abandoned.
    pub(crate) fn adopt_one(self, heap: HeapRef) -> bool {
        let adopted = heap.pending().adopt();
        if adopted {
            // Relaxed: a hint.
            self.get().abandoned.fetch_sub(1, Ordering::Relaxed);
        }
        adopted
    }

    /// As [`adopt_one`](Self::adopt_one). If the heap has an owner, signals it to collect and release before
    /// it abandons the heap.
    pub(crate) fn adopt_or_signal(self, heap: HeapRef) -> bool {
        let adopted = heap.pending().adopt_or_signal();
        if adopted {
            // Relaxed: a hint.
            self.get().abandoned.fetch_sub(1, Ordering::Relaxed);
        }
        adopted
    }

    /// The heap listed after this one of the pool.
    pub(crate) fn after(self, heap: HeapRef) -> Option<HeapRef> {
        // Acquire: from the Release in `list`.
        heap_ref(heap.next().load(Ordering::Acquire))
    }

    /// Whether a search for an abandoned heap may succeed.
    pub(crate) fn has_abandoned(self) -> bool {
        // Relaxed: a hint; the next thread finds a heap that was abandoned just now.
        cfg!(segment_pool_loom) || self.get().abandoned.load(Ordering::Relaxed) != 0
    }

    /// Counts a heap that is about to be abandoned. Not called by pushing threads, whose heaps are still
    /// counted. Called before the heap is abandoned, so that the hint is never too low.
    pub(crate) fn count_abandoned(self) {
        // Relaxed: a hint.
        self.get().abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that threads abandon their heaps of the pool.
    pub(crate) fn close(self) {
        // Relaxed: `Closings` notifies threads that hold heaps of the pool, and `adopt_or_signal` the others.
        self.get().closed.store(1, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(self) -> bool {
        // Relaxed: as in `close`.
        self.get().closed.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn core<'a>(self) -> &'a PoolCore {
        &self.get().core
    }

    /// The pointer that the heaps of the pool hold.
    #[inline(always)]
    pub(crate) fn core_ptr(self) -> NonNull<PoolCore> {
        self.0.cast()
    }

    /// Creates a heap that the caller owns, with this token. `None` if the system has no memory.
    pub(crate) fn create_heap(self, token: u64) -> Option<HeapRef> {
        // SAFETY: the heaps are freed with their registry, so the registry outlives the heap.
        let heap = unsafe { HeapRef::create(self.core_ptr(), token) }?;
        self.list(heap);
        events::note(Happened::HeapMade, self.core().name, 0);
        Some(heap)
    }

    /// Appends a heap to the list.
    fn list(self, heap: HeapRef) {
        let Registry { heaps, newest, .. } = self.get();
        let added = heap.as_ptr().as_ptr();
        // Acquire: from the Release below, before that heap is read.
        let mut last = heap_ref(newest.load(Ordering::Acquire));
        loop {
            let end = last.as_ref().map_or(heaps, |last| last.next());
            // Release: publishes the heap to `heaps` and `after`. Acquire on failure: from the same Release
            // of another thread.
            match end.compare_exchange(ptr::null_mut(), added, Ordering::Release, Ordering::Acquire)
            {
                Ok(_) => break,
                Err(next) => last = heap_ref(next),
            }
        }
        // Release: publishes the heap to the load above. An older heap stored late only costs a few more
        // steps.
        newest.store(added, Ordering::Release);
    }

    /// Every heap of the pool, the oldest first.
    pub(crate) fn heaps(self) -> impl Iterator<Item = HeapRef> {
        // Acquire: from the Release in `list`.
        let first = heap_ref(self.get().heaps.load(Ordering::Acquire));
        core::iter::successors(first, move |heap| self.after(*heap))
    }

    /// Calls `visit` with every segment of the pool, in any order, and its stride: see [`Arenas::look`]. What is seen in the making,
    /// and names a bin that there is not, is passed by.
    pub(crate) fn look(self, mut visit: impl FnMut(Sight, usize)) {
        let core = self.core();
        core.arenas().look(self.id(), |sight| {
            if sight.bin < core.bins() {
                visit(sight, core.stride(sight.bin));
            }
        });
    }

    /// The strides of the bins.
    pub(crate) fn strides(self) -> impl Iterator<Item = usize> {
        let core = self.core();
        (0..core.bins()).map(|bin| core.stride(bin))
    }

    /// How segments name the pool.
    pub(crate) fn id(self) -> *mut OwnerId {
        self.core_ptr().as_ptr().cast()
    }

    /// Gives up `n` references; the last one frees the pool.
    ///
    /// # Safety
    ///
    /// The caller owned the references. From here on it touches only those parts of the pool that other
    /// references keep alive.
    pub(crate) unsafe fn release_refs(self, n: usize) {
        if n == 0 {
            return;
        }
        // AcqRel. Release: everything this thread did to the pool, to the thread that frees it. Acquire: if
        // this is that thread, everything all other threads did.
        if self.get().core.refs.fetch_sub(n, Ordering::AcqRel) == n {
            // SAFETY: no references are left.
            unsafe { self.free() };
        }
    }

    /// Frees the heaps and the registry.
    ///
    /// # Safety
    ///
    /// No references are left.
    unsafe fn free(self) {
        let mut next = self.heaps().next();
        while let Some(heap) = next {
            next = self.after(heap);
            // SAFETY: without references there are no segments, and no thread holds the heap.
            unsafe { heap.free() };
        }
        self.get().alive.ended();
        #[cfg(segment_pool_loom)]
        self.core().arenas().uncount_user();
        let align = self.get().align;
        // SAFETY: mapped by `place`; the default registry is never freed, because the reference of its handle
        // is never released.
        unsafe { os::unmap(self.0.cast(), size_of::<Registry>(), align) };
    }
}

/// The handle of a pool. It is null until the first allocation, and then holds the handle's reference to the
/// registry.
#[derive(Debug)]
pub(crate) struct Handle(AtomicPtr<Registry>);

impl Handle {
    crate::ground::sync::const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicPtr::new(ptr::null_mut()))
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<RegistryRef> {
        // Acquire: the registry's contents, from the Release in `create`.
        NonNull::new(self.0.load(Ordering::Acquire)).map(RegistryRef)
    }

    #[inline(always)]
    pub(crate) fn get_or_create(
        &self,
        create: impl FnOnce() -> Option<RegistryRef>,
    ) -> Option<RegistryRef> {
        let registry = self.get();
        if registry.is_some() {
            registry
        } else {
            self.create(create)
        }
    }

    #[cold]
    fn create(&self, create: impl FnOnce() -> Option<RegistryRef>) -> Option<RegistryRef> {
        let new = create()?;
        // Release: publishes the registry to `get`. Relaxed on failure: `get` acquires the other thread's
        // registry.
        let won = self.0.compare_exchange(
            ptr::null_mut(),
            new.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if won.is_err() {
            // SAFETY: its only reference, never published.
            unsafe { new.release_refs(1) };
        }
        self.get()
    }
}

/// The number of pools ever closed. A thread that reads a new number checks which of its pools are closed.
#[derive(Debug)]
pub(crate) struct Closings(AtomicUsize);

impl Closings {
    crate::ground::sync::const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// Counts a pool that was closed.
    pub(crate) fn add(&self) {
        // Release: pairs with the load in `count`. A thread that reads the new number must see the pool as
        // closed, because it does not check again.
        self.0.fetch_add(1, Ordering::Release);
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        // Acquire: pairs with the addition in `add`.
        self.0.load(Ordering::Acquire)
    }
}

fn heap_ref(heap: *mut Heap) -> Option<HeapRef> {
    // SAFETY: the list contains heaps that live as long as the registry.
    NonNull::new(heap).map(|heap| unsafe { HeapRef::from_ptr(heap) })
}

/// The registry of a heap.
pub(crate) fn registry_of(heap: HeapRef) -> RegistryRef {
    RegistryRef(heap.pool_ptr().cast())
}

#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod tests;
