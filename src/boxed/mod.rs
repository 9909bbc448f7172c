//! `PoolBox<T>`: constructors, access, conversions, drop.
//!
//! A box is the pointer to its value and nothing else. The pointer keeps the provenance of the memory the storage was
//! cut from, through every conversion, because dropping reads the segment's header beside the value.
//!
//! User code (destructors, closures, `Clone`) may panic, allocate and free: while it runs, whatever holds storage is
//! either a whole box or a box of `MaybeUninit`, which frees the slot and nothing else.

use core::marker::PhantomData;
use core::mem;
use core::ops::{Deref, DerefMut};
use core::panic::UnwindSafe;
use core::ptr::NonNull;

use crate::ground::pointer::layout_of;

mod call;
mod constructors;
mod convert;
mod dynamic;
pub(crate) mod forward;
mod raw;
mod slice;
mod take;
#[cfg(test)]
mod tests;
mod text;
mod traits;
mod uninit;
mod vacant;

pub use self::call::{CallOnce, PoolFnOnce};
pub use self::slice::IntoIter;
pub(crate) use self::vacant::Vacant;

/// An owning pointer to a value in a pool: used like `Box`, faster where objects are small and many.
///
/// What of `Box` it has, item by item, is listed in the page `surface` of this documentation. Where a `Box` would turn
/// into a `Box<dyn Trait>` by itself, [`coerce!`](crate::coerce!) does it.
///
/// # Guarantees
///
/// **Size.** As large as a pointer to `T`, and so is `Option<PoolBox<T>>`. A slot holds the value and no header; a value of
/// no size takes no memory, and one above 128 KiB, or aligned beyond 4 KiB, has a dedicated mapping, with a header.
///
/// **Address.** The value does not move until it is dropped or taken out, and is aligned as `T` asks.
/// Moving the box, sending it, coercing or pinning it does not touch the value.
///
/// **Pinning.** The slot of a pinned value is not used again before the value was dropped. A box that is forgotten or
/// leaked keeps its slot for ever, and with it its segment, also beyond the end of its pool.
///
/// **Aliasing.** Unlike a `Box`, a `PoolBox` is not `noalias`: a pointer to the value that was made by
/// [`as_mut_ptr`](Self::as_mut_ptr) stays usable when the box is moved, so long as nobody makes a reference that conflicts
/// with its use. A list may link nodes by pointers and own them by boxes.
///
/// **Provenance.** The pointer of [`into_raw`](Self::into_raw) is good for the value and for making a box again. A pointer
/// made from a reference to the value is only good for the value.
///
/// **Threads.** `Send` and `Sync` exactly if `T` is; covariant in `T`. Dropping works on any thread.
///
/// **Lifetime.** Valid until dropped: after the thread that made it has ended, after its
/// [`SegmentPool`](crate::SegmentPool) was dropped, inside destructors of thread-local values.
///
/// **Drop.** The value is dropped where it is, by the thread that drops the box, before its slot is freed; boxes in a
/// scope or a struct are dropped in the order of any values there. The slot is freed also if the value's `Drop` panics.
/// User code (destructors, closures, `Clone`) may allocate, free, and send boxes to other threads: no lock is held and no
/// list is half changed while it runs.
///
/// **Unwinding.** Code of yours that a constructor or conversion calls may panic: no slot is lost, and no value is dropped
/// twice. Freeing a slot never unwinds, so a drop does only if the value's does.
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

// SAFETY:
// * a box owns its value, so sending the box sends the value, which `T: Send` allows;
// * the slot may be freed on any thread.
unsafe impl<T: ?Sized + Send> Send for PoolBox<T> {}

// SAFETY: a shared box gives out nothing but `&T`.
unsafe impl<T: ?Sized + Sync> Sync for PoolBox<T> {}

impl<T: ?Sized> Unpin for PoolBox<T> {}

/// As for a `Box`: the box is its value's owner, not one of those who share it.
impl<T: ?Sized + UnwindSafe> UnwindSafe for PoolBox<T> {}

impl<T: ?Sized> Drop for PoolBox<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the value is valid until it is dropped below.
        let layout = unsafe { layout_of(self.value.as_ptr()) };
        let vacant = Vacant(self.value.cast(), layout);
        if mem::needs_drop::<T>() {
            // SAFETY: the box owns the value and is not used again. No pool state is borrowed; if the destructor
            // panics, `vacant` frees the slot.
            unsafe { self.value.drop_in_place() };
        }
        vacant.dealloc();
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

static_assertions::assert_eq_size!(PoolBox<u8>, Option<PoolBox<u8>>, usize);
static_assertions::assert_eq_size!(PoolBox<dyn Send>, Option<PoolBox<dyn Send>>, [usize; 2]);
