//! `PoolBox<T>`: constructors, access, drop.
//!
//! A box is the pointer to its value and nothing else. The pointer keeps the provenance of the memory the storage was
//! cut from, through every conversion, because dropping reads the segment's header beside the value.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use std::alloc::handle_alloc_error;

use crate::error::{AllocError, AllocErrorKind};
use crate::pool::{self, SegmentPool};

/// An owning pointer to a value in a pool: used like `Box`, faster where objects are small and many.
///
/// # Guarantees
///
/// * As large as a pointer to `T` (8 bytes for a sized `T`), and so is `Option<PoolBox<T>>`.
/// * The value does not move until it is dropped or taken out; moving the box does not touch it.
/// * `Send` and `Sync` exactly if `T` is; covariant in `T`. Dropping works on any thread.
/// * Valid until dropped: after the thread that made it has ended, after its [`SegmentPool`] was dropped, inside
///   destructors of thread-local values.
/// * The slot is freed when the value is dropped, also if the value's `Drop` panics. It may allocate, free, and send
///   boxes to other threads meanwhile.
/// * Not `noalias`: pointers into the value stay usable while the box is moved.
/// * A box that is forgotten or leaked keeps its slot for ever.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// let mut word = PoolBox::new(String::from("pool"));
/// word.push_str("ed");
/// let handle = std::thread::spawn(move || word.len());
/// assert_eq!(handle.join().unwrap(), 6);
/// ```
#[repr(transparent)]
pub struct PoolBox<T: ?Sized> {
    value: NonNull<T>,
    owns: PhantomData<T>,
}

static_assertions::assert_eq_size!(PoolBox<u8>, Option<PoolBox<u8>>, usize);
static_assertions::assert_eq_size!(PoolBox<dyn Send>, Option<PoolBox<dyn Send>>, [usize; 2]);
static_assertions::assert_impl_all!(PoolBox<u8>: Send, Sync, Unpin);
static_assertions::assert_impl_all!(PoolBox<core::cell::Cell<u8>>: Send);
static_assertions::assert_not_impl_any!(PoolBox<core::cell::Cell<u8>>: Sync);
static_assertions::assert_not_impl_any!(PoolBox<*const u8>: Send, Sync);
static_assertions::assert_not_impl_any!(PoolBox<std::sync::MutexGuard<'static, u8>>: Send);
static_assertions::assert_impl_all!(SegmentPool<*const u8>: Send, Sync);

// SAFETY:
// * a box owns its value, so sending the box sends the value, which `T: Send` allows;
// * the slot may be freed on any thread.
unsafe impl<T: ?Sized + Send> Send for PoolBox<T> {}

// SAFETY: a shared box gives out nothing but `&T`.
unsafe impl<T: ?Sized + Sync> Sync for PoolBox<T> {}

impl<T: ?Sized> Unpin for PoolBox<T> {}

/// Storage without a value, given back when dropped.
struct Vacant(NonNull<u8>, Layout);

impl Vacant {
    /// What dropping does, inlined.
    #[inline(always)]
    fn give_back(self) {
        let Self(storage, layout) = *ManuallyDrop::new(self);
        // SAFETY: as in `drop`, which will not run.
        unsafe { pool::return_slot(storage, layout) }
    }
}

impl Drop for Vacant {
    fn drop(&mut self) {
        // SAFETY: whoever makes one gives the storage of this layout to it.
        unsafe { pool::return_slot(self.0, self.1) }
    }
}

impl<T> PoolBox<T> {
    /// Puts a value in the default pool.
    ///
    /// Aborts the process, as `Box::new` does, when the operating system refuses memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(*PoolBox::new(7), 7);
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn new(value: T) -> Self {
        match pool::take() {
            // SAFETY: the storage was just taken for a `T`.
            Some(storage) => unsafe { Self::fill(storage, value) },
            None => refused::<T>(),
        }
    }

    /// Puts a value in the default pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(*PoolBox::try_new(7)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline]
    pub fn try_new(value: T) -> Result<Self, AllocError<T>> {
        // SAFETY: the storage was just taken for a `T`.
        unsafe { Self::try_fill(pool::take(), value, || AllocErrorKind::OutOfMemory) }
    }

    /// Puts a value in the given pool: the same as [`SegmentPool::alloc`].
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{PoolBox, SegmentPool};
    ///
    /// let pool = SegmentPool::new();
    /// assert_eq!(*PoolBox::new_in(7, &pool), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn new_in(value: T, pool: &SegmentPool<T>) -> Self {
        pool.alloc(value)
    }

    /// Takes the value out and frees its slot.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let name: String = PoolBox::into_inner(PoolBox::new(String::from("Ada")));
    /// assert_eq!(name, "Ada");
    /// ```
    #[inline]
    #[must_use = "to drop the value, drop the box"]
    pub fn into_inner(this: Self) -> T {
        let this = ManuallyDrop::new(this);
        // SAFETY: the value is read once: the box, which will not drop it, is not used again.
        let value = unsafe { this.value.read() };
        Vacant(this.value.cast(), Layout::new::<T>()).give_back();
        value
    }

    /// # Safety
    ///
    /// The storage is for a `T` and the caller's.
    #[inline(always)]
    unsafe fn fill(storage: NonNull<T>, value: T) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { storage.write(value) };
        Self {
            value: storage,
            owns: PhantomData,
        }
    }

    /// # Safety
    ///
    /// As for [`fill`](Self::fill).
    #[inline(always)]
    unsafe fn try_fill(
        storage: Option<NonNull<T>>,
        value: T,
        refusal: impl FnOnce() -> AllocErrorKind,
    ) -> Result<Self, AllocError<T>> {
        match storage {
            // SAFETY: guaranteed by the caller.
            Some(storage) => Ok(unsafe { Self::fill(storage, value) }),
            None => Err(AllocError::new(refusal(), value)),
        }
    }
}

#[cold]
fn refused<T>() -> ! {
    handle_alloc_error(Layout::new::<T>())
}

impl<T> SegmentPool<T> {
    /// Puts a value in the pool.
    ///
    /// Aborts the process, as `Box::new` does, when the operating system refuses memory; also when the pool has
    /// reached its limit, so a limited pool wants [`try_alloc`](Self::try_alloc).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(*pool.alloc("seven"), "seven");
    /// ```
    #[inline(always)]
    #[must_use]
    pub fn alloc(&self, value: T) -> PoolBox<T> {
        match self.take() {
            // SAFETY: the storage was just taken for a `T`.
            Some(storage) => unsafe { PoolBox::fill(storage, value) },
            None => refused::<T>(),
        }
    }

    /// Puts a value in the pool, or gives it back in the error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, or the pool has reached its limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::new();
    /// assert_eq!(*pool.try_alloc(7)?, 7);
    /// # Ok::<(), segment_pool::AllocError<i32>>(())
    /// ```
    #[inline]
    pub fn try_alloc(&self, value: T) -> Result<PoolBox<T>, AllocError<T>> {
        // SAFETY: the storage was just taken for a `T`.
        unsafe { PoolBox::try_fill(self.take(), value, || self.refusal()) }
    }
}

impl<T: ?Sized> PoolBox<T> {
    /// Gives the pointer away. The value lives until a box is made of the pointer again.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let pointer = PoolBox::into_raw(PoolBox::new(7));
    /// // SAFETY: the pointer came from `into_raw` and is used once.
    /// let boxed = unsafe { PoolBox::from_raw(pointer) };
    /// assert_eq!(*boxed, 7);
    /// ```
    #[inline]
    #[must_use = "the value is leaked unless a box is made of the pointer"]
    pub fn into_raw(this: Self) -> *mut T {
        ManuallyDrop::new(this).value.as_ptr()
    }

    /// Makes a box of a pointer that [`into_raw`](Self::into_raw) gave.
    ///
    /// # Safety
    ///
    /// * The pointer came from `into_raw` of a box of this type, or of one that it was cast or coerced from and whose
    ///   value has the same size and alignment.
    /// * It is that very pointer, or a copy of it: a pointer made from a reference to the value (as that of
    ///   [`leak`](Self::leak) is) may not reach the segment's header.
    /// * No other box is made of it.
    #[inline]
    pub unsafe fn from_raw(pointer: *mut T) -> Self {
        Self {
            // SAFETY: boxes never give out null.
            value: unsafe { NonNull::new_unchecked(pointer) },
            owns: PhantomData,
        }
    }

    /// Never drops the value, and gives a reference that may live as long as its contents. The slot is in use for
    /// ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let seven: &'static mut i32 = PoolBox::leak(PoolBox::new(7));
    /// *seven += 1;
    /// assert_eq!(*seven, 8);
    /// ```
    #[inline]
    #[must_use = "the value is leaked; a reference that is not used makes it useless too"]
    pub fn leak<'a>(this: Self) -> &'a mut T
    where
        T: 'a,
    {
        // SAFETY: the value is valid, and nobody else will ever reach it.
        unsafe { ManuallyDrop::new(this).value.as_mut() }
    }
}

impl<T: ?Sized> Drop for PoolBox<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the value is valid until it is dropped below.
        let layout = Layout::for_value(unsafe { self.value.as_ref() });
        let vacant = Vacant(self.value.cast(), layout);
        if mem::needs_drop::<T>() {
            // SAFETY: the box owns the value and is not used again. No pool state is borrowed; if the destructor
            // panics, `vacant` frees the slot.
            unsafe { self.value.drop_in_place() };
        }
        vacant.give_back();
    }
}

impl<T: ?Sized> Deref for PoolBox<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the box owns a valid value, borrowed as the box is.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for PoolBox<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the box is borrowed mutably.
        unsafe { self.value.as_mut() }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for PoolBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for PoolBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::refusal::while_refused;

    /// Refuses from the first heap on, on a thread that has none.
    #[test]
    fn refused_memory_gives_the_value_back() {
        let thread = std::thread::spawn(|| {
            // So many that no heap another test left behind can serve them all.
            let mut kept = Vec::new();
            let refused = while_refused(|| {
                loop {
                    match PoolBox::try_new([7_u64; 100]) {
                        Ok(boxed) => kept.push(boxed),
                        Err(error) => break error,
                    }
                }
            });
            assert_eq!(refused.kind(), AllocErrorKind::OutOfMemory);
            assert_eq!(refused.into_inner(), [7; 100]);
            assert_eq!(
                *PoolBox::new([8_u64; 100]),
                [8; 100],
                "and goes on when there is memory"
            );
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_refused_pool_is_as_before() {
        let pool = SegmentPool::<String>::new();
        let error = while_refused(|| pool.try_alloc("kept".to_owned())).unwrap_err();
        assert_eq!(error.into_inner(), "kept");
        assert_eq!(pool.stats(), SegmentPool::<String>::new().stats());
        assert_eq!(*pool.alloc("later".to_owned()), "later");
        let held = pool.alloc("one".to_owned());
        let census = pool.validate();
        assert_eq!(census.live, 1);
        drop(held);
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "large is the point")]
    fn a_value_with_a_mapping_of_its_own_comes_back_too() {
        let on_a_large_stack = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
            let big = [3_u8; 200_000];
            let error = while_refused(|| PoolBox::try_new(big)).unwrap_err();
            assert!(error.into_inner() == big);
            assert!(*PoolBox::new(big) == big);
        });
        on_a_large_stack.unwrap().join().unwrap();
    }
}
