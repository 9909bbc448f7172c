//! `SegmentPool<T>`, and the one place where a layout's way is chosen: no memory, a slot, or a mapping of its own.
//!
//! [`take`] and [`return_slot`] are the doors between values and storage. Below them nothing knows `T`; above them
//! nothing knows whether the thread is at home.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::layout::{Route, pool_stride, route};
use crate::os;
use crate::registry::{Registry, RegistryRef};
use crate::stats::{Census, Stats};
use crate::sync::{AtomicPtr, Ordering};
use crate::thread;

/// Storage for a `T` from the default pool; `None` when memory is refused.
#[inline(always)]
pub(crate) fn take<T>() -> Option<NonNull<T>> {
    match const { route(Layout::new::<T>()) } {
        Route::Zero => Some(NonNull::dangling()),
        Route::Class(class, _) => thread::take(class).map(NonNull::cast),
        Route::Own => map_own::<T>(),
    }
}

/// Storage for a value whose layout is known only now; `None` when memory is refused.
pub(crate) fn take_layout(layout: Layout) -> Option<NonNull<u8>> {
    match route(layout) {
        Route::Zero => NonNull::new(ptr::without_provenance_mut(layout.align())),
        Route::Class(class, _) => thread::take(class).map(NonNull::cast),
        Route::Own => os::map(layout.size(), layout.align()),
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
        && new.size() <= pool_stride(old)
        && (new.align() <= old.align() || new.align() <= 8)
}

#[cold]
fn map_own<T>() -> Option<NonNull<T>> {
    os::map(size_of::<T>(), align_of::<T>()).map(NonNull::cast)
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
        // SAFETY: the class and span of the layout; guaranteed by the caller.
        Route::Class(class, span) => unsafe { thread::give(storage.cast(), span, class) },
        // SAFETY: mapped for this layout.
        Route::Own => unsafe { unmap_own(storage, layout) },
    }
}

/// # Safety
///
/// The storage was mapped for this layout, and the caller gives it up.
#[cold]
unsafe fn unmap_own(storage: NonNull<u8>, layout: Layout) {
    // SAFETY: guaranteed by the caller.
    unsafe { os::unmap(storage, layout.size(), layout.align()) }
}

/// A pool of one type: isolated, and counted by itself.
///
/// Its boxes come from segments that hold nothing but this pool's values, so they lie closer together than the size
/// classes of the default pool allow, and never next to strangers. Any thread may allocate; each gets segments of its
/// own. The boxes are ordinary [`PoolBox`](crate::PoolBox)es: they may be dropped anywhere, and stay valid when the
/// pool is dropped; the memory goes when the last of them and the last thread that used the pool have gone.
///
/// Values of no size take no memory, and values larger than 128 KiB, or aligned beyond 4 KiB, get a mapping of their
/// own each.
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
    /// Null until the first allocation; then the handle's reference to the registry.
    registry: AtomicPtr<Registry>,
    values: PhantomData<fn(T) -> T>,
}

impl<T> SegmentPool<T> {
    /// A pool without memory: the first allocation gets some.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            registry: AtomicPtr::new(ptr::null_mut()),
            values: PhantomData,
        }
    }

    /// What the pool did so far. Values with a mapping of their own are not counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.registry().map(Stats::of).unwrap_or_default()
    }

    /// Checks the pool's lists, as [`validate`](crate::validate) does those of the default pool.
    ///
    /// # Panics
    ///
    /// If a list is damaged.
    #[must_use]
    pub fn validate(&self) -> Census {
        self.registry().map(Census::of).unwrap_or_default()
    }

    /// Storage for a value; `None` when memory is refused.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<NonNull<T>> {
        match const { route(Layout::new::<T>()) } {
            Route::Zero => Some(NonNull::dangling()),
            Route::Class(..) => thread::take_from(self.registry_or_create()?).map(NonNull::cast),
            Route::Own => map_own::<T>(),
        }
    }

    #[inline(always)]
    fn registry(&self) -> Option<RegistryRef> {
        // Acquire: from the Release in `create`, the registry's contents.
        let registry = NonNull::new(self.registry.load(Ordering::Acquire))?;
        // SAFETY: the handle's reference keeps it alive.
        Some(unsafe { RegistryRef::from_ptr(registry) })
    }

    #[inline(always)]
    fn registry_or_create(&self) -> Option<RegistryRef> {
        let registry = self.registry();
        if registry.is_some() {
            registry
        } else {
            self.create()
        }
    }

    #[cold]
    fn create(&self) -> Option<RegistryRef> {
        let new = RegistryRef::create(pool_stride(Layout::new::<T>()))?;
        let null = ptr::null_mut();
        // Release: publishes the registry. Acquire on failure: another thread's, as in `registry`.
        let won = self.registry.compare_exchange(
            null,
            new.as_ptr(),
            Ordering::Release,
            Ordering::Acquire,
        );
        if won.is_err() {
            // SAFETY: its only reference, never published.
            unsafe { new.give_up(1) };
        }
        self.registry()
    }
}

impl<T> Drop for SegmentPool<T> {
    fn drop(&mut self) {
        if let Some(registry) = self.registry() {
            // SAFETY: the handle's reference.
            unsafe { registry.give_up(1) };
        }
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
            .field("stats", &self.stats())
            .finish()
    }
}
