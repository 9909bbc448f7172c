//! The heaps of one pool: append-only list, count of the abandoned ones, and who frees the pool last.
//!
//! A thread that needs a heap adopts an abandoned one, else makes one and adds it to the list, so there are never
//! more heaps than threads were alive at once (and pushers at work). Heaps stay listed as long as the pool, the oldest
//! first: it is the one that is adopted first too, so that what a crowd of threads needed once is not what the few that
//! come after it use.
//!
//! The pool is freed by whoever gives up its last reference. There is one for each segment in use, one for each heap
//! a thread holds, and one for the pool's handle; the default pool's handle is a static and never given up.

use core::ptr::{self, NonNull};

use crate::ground::events::{self, Happened};
#[cfg(not(segment_pool_loom))]
use crate::ground::layout::ARENA_BYTES;
use crate::ground::os;
use crate::ground::sync::{Alive, AtomicPtr, AtomicUsize, Ordering, yield_now};
use crate::heap::fields::{Heap, HeapRef};
use crate::heap::pool_core::{Large, PoolCore};
use crate::memory::arena::Arenas;
#[cfg(not(segment_pool_loom))]
use crate::memory::arena::Usage;
use crate::memory::segment::{OwnerId, Sight};

/// How often a thread without a heap looks through the list for an abandoned one.
const ADOPTION_LOOKS: usize = if cfg!(segment_pool_loom) { 1 } else { 16 };

/// See the module.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Registry {
    core: PoolCore,
    alive: Alive,
    /// The oldest heap.
    heaps: AtomicPtr<Heap>,
    /// The newest heap, or an older one.
    newest: AtomicPtr<Heap>,
    /// Abandoned heaps, and those that somebody has for a moment: a hint, never too low.
    abandoned: AtomicUsize,
    /// 1 when the handle was dropped: threads should let go of the pool's heaps. A hint to those that hold one.
    closed: AtomicUsize,
}

// SAFETY: the pointer in `core` is to a table of atomics that outlives the registry.
unsafe impl Sync for Registry {}

#[cfg(not(segment_pool_loom))]
static ARENAS: Arenas = Arenas::new();

#[cfg(not(segment_pool_loom))]
static DEFAULT: Registry = Registry::new(arenas(), 0, usize::MAX, "default");

#[cfg(not(segment_pool_loom))]
const fn arenas() -> NonNull<Arenas> {
    NonNull::new((&raw const ARENAS).cast_mut()).unwrap()
}

/// The default pool's registry.
#[cfg(not(segment_pool_loom))]
pub(crate) fn default() -> RegistryRef {
    RegistryRef(NonNull::from(&DEFAULT))
}

/// What the arenas of all pools take.
#[cfg(not(segment_pool_loom))]
pub(crate) fn arena_usage() -> Usage {
    ARENAS.usage()
}

/// The address space of all arenas, in bytes: more than that cannot be given back.
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
        fn new(arenas: NonNull<Arenas>, stride: usize, limit: usize, name: &'static str) -> Self {
            Self {
                core: PoolCore {
                    arenas,
                    stride,
                    refs: AtomicUsize::new(1),
                    limit,
                    in_use: AtomicUsize::new(0),
                    starved: AtomicUsize::new(0),
                    frees_under_way: AtomicUsize::new(0),
                    name,
                    large: Large::new(),
                },
                alive: Alive::new(),
                heaps: AtomicPtr::new(ptr::null_mut()),
                newest: AtomicPtr::new(ptr::null_mut()),
                abandoned: AtomicUsize::new(0),
                closed: AtomicUsize::new(0),
            }
        }
    }
}

/// A registry that is alive. Whoever makes or copies one knows of a reference that outlasts its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RegistryRef(NonNull<Registry>);

impl RegistryRef {
    /// A pool of one stride, with the reference of its handle.
    #[cfg(not(segment_pool_loom))]
    pub(crate) fn create(stride: usize, limit: usize, name: &'static str) -> Option<Self> {
        Self::place(Registry::new(arenas(), stride, limit, name))
    }

    #[cfg(segment_pool_loom)]
    pub(crate) fn create_in(arenas: NonNull<Arenas>, stride: usize, limit: usize) -> Option<Self> {
        Self::place(Registry::new(arenas, stride, limit, "model"))
    }

    fn place(contents: Registry) -> Option<Self> {
        let registry = os::map(size_of::<Registry>(), align_of::<Registry>())?.cast::<Registry>();
        // SAFETY: mapped above, large enough.
        unsafe { registry.write(contents) };
        let registry = Self(registry);
        #[cfg(segment_pool_loom)]
        registry.core().arenas().count_user();
        Some(registry)
    }

    pub(crate) fn as_ptr(self) -> *mut Registry {
        self.0.as_ptr()
    }

    fn get<'a>(self) -> &'a Registry {
        // SAFETY: a `RegistryRef` is of a registry that is alive.
        let registry = unsafe { self.0.as_ref() };
        registry.alive.used();
        registry
    }

    /// A heap for the thread with this token: an abandoned one if there is any, else a new one. `None` when memory is
    /// refused.
    pub(crate) fn acquire(self, token: u64) -> Option<HeapRef> {
        let heap = self.adopt(token).or_else(|| self.create_heap(token))?;
        self.add_ref();
        Some(heap)
    }

    /// Counts the reference of a heap that was adopted.
    pub(crate) fn add_ref(self) {
        // Relaxed: the caller knows of a reference, so the count is not zero.
        self.get().core.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks more than once, and lets others run meanwhile: a heap that a pusher or a stealing thread has for a moment is
    /// soon abandoned again, and one more heap would stay for ever.
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

    /// Makes the caller the owner of this heap of the pool for a moment, if it is abandoned. To the hint it stays so.
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

    /// As [`adopt_one`](Self::adopt_one), but if the heap has an owner, that will collect and release it before it leaves.
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

    /// Whether looking for an abandoned heap may be worth while.
    pub(crate) fn has_abandoned(self) -> bool {
        // Relaxed: a hint; a heap abandoned just now is found by the next thread.
        cfg!(segment_pool_loom) || self.get().abandoned.load(Ordering::Relaxed) != 0
    }

    /// To be called before a heap is abandoned by other than a pusher, so that the hint is never too low.
    pub(crate) fn count_abandoned(self) {
        // Relaxed: a hint.
        self.get().abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks the threads that hold heaps of the pool to let go of them.
    pub(crate) fn close(self) {
        // Relaxed: `Closings` tells threads that hold heaps of it, and `adopt_or_signal` the others.
        self.get().closed.store(1, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(self) -> bool {
        // Relaxed: as in `close`.
        self.get().closed.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn core<'a>(self) -> &'a PoolCore {
        &self.get().core
    }

    /// What its heaps know it by.
    #[inline(always)]
    pub(crate) fn core_ptr(self) -> NonNull<PoolCore> {
        self.0.cast()
    }

    /// A new heap that the caller owns, with this token. `None` when the system has no memory.
    pub(crate) fn create_heap(self, token: u64) -> Option<HeapRef> {
        // SAFETY: heaps are freed with their registry.
        let heap = unsafe { HeapRef::create(self.core_ptr(), token) }?;
        self.list(heap);
        events::note(Happened::HeapMade, self.core().name, 0);
        Some(heap)
    }

    /// Appends a heap.
    fn list(self, heap: HeapRef) {
        let Registry { heaps, newest, .. } = self.get();
        let added = heap.as_ptr().as_ptr();
        // Acquire: from the Release below, to look into that heap.
        let mut last = heap_ref(newest.load(Ordering::Acquire));
        loop {
            let end = last.as_ref().map_or(heaps, |last| last.next());
            // Release: publishes the heap to `heaps` and `after`. Acquire on failure: from the same, of another thread.
            match end.compare_exchange(ptr::null_mut(), added, Ordering::Release, Ordering::Acquire)
            {
                Ok(_) => break,
                Err(next) => last = heap_ref(next),
            }
        }
        // Release: publishes the heap to the load above. An older heap stored late costs a few steps more.
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
    /// The references were the caller's, which touches nothing of the pool from here on but what others keep alive.
    pub(crate) unsafe fn release_refs(self, n: usize) {
        if n == 0 {
            return;
        }
        // AcqRel: releases what this thread did to the pool to the thread that frees it, and acquires, if that is
        // this one, what all others did.
        if self.get().core.refs.fetch_sub(n, Ordering::AcqRel) == n {
            // SAFETY: no references are left.
            unsafe { self.free() };
        }
    }

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
        // SAFETY: mapped by `place`: the default registry keeps its handle's reference.
        unsafe { os::unmap(self.0.cast(), size_of::<Registry>(), align_of::<Registry>()) };
    }
}

/// The handle of a pool: nothing until the first allocation, and then the handle's reference to the registry.
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
        // Acquire: from the Release in `create`, the registry's contents.
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
        // Release: publishes the registry to `get`. Relaxed on failure: `get` acquires the other thread's.
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

/// How many pools were ever closed: a thread that sees a new number looks which of its pools are.
#[derive(Debug)]
pub(crate) struct Closings(AtomicUsize);

impl Closings {
    crate::ground::sync::const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// Counts a pool, after it was closed.
    pub(crate) fn add(&self) {
        // Release: with the load in `count`. Who sees the number sees the pool closed, for it will not look again.
        self.0.fetch_add(1, Ordering::Release);
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        // Acquire: with the addition in `add`.
        self.0.load(Ordering::Acquire)
    }
}

fn heap_ref(heap: *mut Heap) -> Option<HeapRef> {
    // SAFETY: the list holds heaps that live as long as the registry.
    NonNull::new(heap).map(|heap| unsafe { HeapRef::from_ptr(heap) })
}

/// The registry of a heap.
pub(crate) fn registry_of(heap: HeapRef) -> RegistryRef {
    RegistryRef(heap.pool_ptr().cast())
}

#[cfg(all(test, not(segment_pool_loom)))]
pub(crate) mod tests;
