//! The heaps of one pool: append-only list, count of the abandoned ones, and who frees the pool last.
//!
//! A thread that needs a heap adopts an abandoned one, else makes one and adds it to the list, so there are never
//! more heaps than threads were alive at once (and pushers at work). Heaps stay listed as long as the pool.
//!
//! The pool is freed by whoever gives up its last reference. There is one for each segment in use, one for each heap
//! a thread holds, and one for the pool's handle; the default pool's handle is a static and never given up. Whoever
//! empties segments of a heap abandons it first and only then gives up the references of these segments, and touches
//! nothing after: with the last one the heap is gone.

use core::ptr::{self, NonNull};

use crate::arena::Arenas;
use crate::heap::{Heap, HeapRef, PoolCore};
use crate::os;
use crate::sync::{AtomicPtr, AtomicUsize, Guess, Ordering};

/// See the module.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Registry {
    core: PoolCore,
    heaps: AtomicPtr<Heap>,
    /// Abandoned heaps: a hint, never too low.
    abandoned: AtomicUsize,
}

// SAFETY: the pointer in `core` is to a table of atomics that outlives the registry.
unsafe impl Sync for Registry {}

#[cfg(not(loom))]
static ARENAS: Arenas = Arenas::new();

#[cfg(not(loom))]
static DEFAULT: Registry = Registry::new(arenas(), 0);

#[cfg(not(loom))]
const fn arenas() -> NonNull<Arenas> {
    NonNull::new((&raw const ARENAS).cast_mut()).unwrap()
}

/// The default pool's registry.
#[cfg(not(loom))]
pub(crate) fn default() -> RegistryRef {
    RegistryRef(NonNull::from(&DEFAULT))
}

impl Registry {
    crate::sync::const_fn! {
        fn new(arenas: NonNull<Arenas>, stride: usize) -> Self {
            Self {
                core: PoolCore {
                    arenas,
                    stride,
                    refs: AtomicUsize::new(1),
                },
                heaps: AtomicPtr::new(ptr::null_mut()),
                abandoned: AtomicUsize::new(0),
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
    #[cfg(not(loom))]
    pub(crate) fn create(stride: usize) -> Option<Self> {
        Self::create_in(arenas(), stride)
    }

    pub(crate) fn create_in(arenas: NonNull<Arenas>, stride: usize) -> Option<Self> {
        let registry = os::map(size_of::<Registry>(), align_of::<Registry>())?.cast::<Registry>();
        // SAFETY: mapped above, large enough.
        unsafe { registry.write(Registry::new(arenas, stride)) };
        Some(Self(registry))
    }

    pub(crate) fn as_ptr(self) -> *mut Registry {
        self.0.as_ptr()
    }

    /// # Safety
    ///
    /// The pointer came from [`as_ptr`](Self::as_ptr), and the registry is alive.
    pub(crate) unsafe fn from_ptr(registry: NonNull<Registry>) -> Self {
        Self(registry)
    }

    fn get<'a>(self) -> &'a Registry {
        // SAFETY: a `RegistryRef` is of a registry that is alive.
        unsafe { self.0.as_ref() }
    }

    /// A heap for the thread with this token: an abandoned one if there is any, else a new one. `None` when memory is
    /// refused.
    pub(crate) fn acquire(self, token: u64) -> Option<HeapRef> {
        let heap = self.adopt(token).or_else(|| self.create_heap(token))?;
        self.count_held();
        Some(heap)
    }

    /// An abandoned heap for the thread with this token, if there is any.
    pub(crate) fn acquire_abandoned(self, token: u64) -> Option<HeapRef> {
        let heap = self.adopt(token)?;
        self.count_held();
        Some(heap)
    }

    fn count_held(self) {
        // Relaxed: the caller knows of a reference, so the count is not zero.
        self.get().core.refs.fetch_add(1, Ordering::Relaxed);
    }

    fn adopt(self, token: u64) -> Option<HeapRef> {
        // Relaxed: a hint; a heap abandoned just now is found by the next thread.
        if !cfg!(loom) && self.get().abandoned.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let heap = self.heaps().find(|heap| heap.inbox().adopt())?;
        // Relaxed: as above.
        self.get().abandoned.fetch_sub(1, Ordering::Relaxed);
        heap.set_owner(token);
        Some(heap)
    }

    fn create_heap(self, token: u64) -> Option<HeapRef> {
        // SAFETY: heaps are freed with their registry.
        let heap = unsafe { HeapRef::create(self.0.cast(), token) }?;
        let list = &self.get().heaps;
        let mut first = list.guess();
        loop {
            // Relaxed: the heap is not published yet.
            heap.next().store(first, Ordering::Relaxed);
            // Release: publishes the heap to `heaps`; a push upon a push keeps the earlier ones published. Relaxed on
            // failure: only another guess.
            match list.compare_exchange_weak(
                first,
                heap.as_ptr().as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(heap),
                Err(current) => first = current,
            }
        }
    }

    /// Every heap of the pool, the newest first.
    pub(crate) fn heaps(self) -> impl Iterator<Item = HeapRef> {
        // Acquire: from the Release in `create_heap`.
        let first = heap_ref(self.get().heaps.load(Ordering::Acquire));
        core::iter::successors(first, |heap| {
            // Relaxed: written before the heap was published.
            heap_ref(heap.next().load(Ordering::Relaxed))
        })
    }

    /// Gives up `n` references; the last one frees the pool.
    ///
    /// # Safety
    ///
    /// The references were the caller's, which touches nothing of the pool from here on but what others keep alive.
    pub(crate) unsafe fn give_up(self, n: usize) {
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
        let mut next = heap_ref(self.get().heaps.load(Ordering::Relaxed)); // Relaxed: the last reference is gone
        while let Some(heap) = next {
            next = heap_ref(heap.next().load(Ordering::Relaxed)); // Relaxed: as above
            // SAFETY: without references there are no segments, and no thread holds the heap.
            unsafe { heap.free() };
        }
        // SAFETY: mapped by `create_in`: the default registry keeps its handle's reference.
        unsafe { os::unmap(self.0.cast(), size_of::<Registry>(), align_of::<Registry>()) };
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

/// Ends a thread's holding of a heap.
///
/// # Safety
///
/// The calling thread got the heap from [`RegistryRef::acquire`] and does not use it any more.
pub(crate) unsafe fn leave(heap: HeapRef) {
    let registry = registry_of(heap);
    // Relaxed: a hint; counted before the heap is abandoned so that it is never too low.
    registry.get().abandoned.fetch_add(1, Ordering::Relaxed);
    let released = heap.leave();
    // SAFETY: the released segments' references and the thread's own.
    unsafe { registry.give_up(released + 1) };
}

/// Serves an abandoned heap that the caller acquired by a push.
///
/// # Safety
///
/// The push returned `Delivered::Acquired`.
pub(crate) unsafe fn serve(heap: HeapRef) {
    let registry = registry_of(heap);
    let released = heap.serve_and_leave();
    // SAFETY: the released segments' references; if there are none, nothing is touched.
    unsafe { registry.give_up(released) };
}
