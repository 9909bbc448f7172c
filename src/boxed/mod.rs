//! `PoolBox<T>`: constructors, access, conversions, drop.
//!
//! A box consists only of the pointer to its value. The pointer keeps the provenance of the memory that contains the
//! storage, through every conversion, because the drop reads the header of the segment.
//!
//! User code (destructors, closures, `Clone`) may panic, allocate and free. While it runs, the owner of the storage is
//! either a whole box or a box of `MaybeUninit`, which only frees the slot.

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
mod waiting;

pub use self::call::{CallOnce, PoolFnOnce};
pub use self::slice::IntoIter;
pub(crate) use self::vacant::Vacant;
pub use self::waiting::Acquire;

/// An owning pointer to a value in a pool. It is used like `Box`, and is faster for many small objects.
///
/// The page `surface` of this documentation lists the interface of `Box`, item by item, and what `PoolBox` has of it.
/// Where a `Box` coerces to a `Box<dyn Trait>` implicitly, use [`coerce!`](crate::coerce!).
///
/// # Guarantees
///
/// **Size.** A box is as large as a pointer to `T`, and so is `Option<PoolBox<T>>`. A slot contains the value and no
/// header. A zero-sized value takes no memory. A value larger than 128 KiB, or with an alignment above 4 KiB, has a
/// dedicated mapping, with a header.
///
/// **Address.** The value does not move until it is dropped or taken out. It has the alignment of `T`. Moving, sending,
/// coercing or pinning the box does not touch the value.
///
/// **Pinning.** The slot of a pinned value is not reused before the value was dropped. A box that is forgotten or
/// leaked keeps its slot for ever, and therefore its segment, even beyond the end of its pool.
///
/// **Aliasing.** Unlike a `Box`, a `PoolBox` is not `noalias`. A pointer to the value from
/// [`as_mut_ptr`](Self::as_mut_ptr) stays usable when the box is moved, as long as no reference is made that conflicts
/// with its use. So a list may link its nodes by pointers and own them by boxes.
///
/// **Provenance.** The pointer from [`into_raw`](Self::into_raw) may be used to access the value and to make the box
/// again. A pointer made from a reference to the value may be used only to access the value.
///
/// **Threads.** A box is `Send` or `Sync` exactly if `T` is. It is covariant in `T`. Any thread may drop it.
///
/// **Lifetime.** A box is valid until it is dropped: after the thread that made it has ended, after its
/// [`SegmentPool`](crate::SegmentPool) was dropped, and inside destructors of thread-local values.
///
/// **Drop.** The thread that drops the box drops the value in place, and then frees its slot. Boxes in a scope or a
/// struct are dropped in the usual order. The slot is freed even if the value's `Drop` panics. User code (destructors,
/// closures, `Clone`) may allocate, free, and send boxes to other threads: while it runs, no lock is held and no list
/// is in an intermediate state.
///
/// **Unwinding.** User code that a constructor or a conversion calls may panic: no slot is lost, and no value is
/// dropped twice. Freeing a slot never unwinds, so a drop unwinds only if the value's destructor does.
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
// * any thread may free the slot.
unsafe impl<T: ?Sized + Send> Send for PoolBox<T> {}

// SAFETY: a shared box gives access to `&T` only.
unsafe impl<T: ?Sized + Sync> Sync for PoolBox<T> {}

impl<T: ?Sized> Unpin for PoolBox<T> {}

/// As for a `Box`: the box is the only owner of its value.
impl<T: ?Sized + UnwindSafe> UnwindSafe for PoolBox<T> {}

impl<T: ?Sized> Drop for PoolBox<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the value is valid until it is dropped below, so its layout may be read.
        let layout = unsafe { layout_of(self.value.as_ptr()) };
        let vacant = Vacant(self.value.cast(), layout);
        if mem::needs_drop::<T>() {
            // SAFETY: the box owns the valid value and is not used again. No pool state is borrowed. If the destructor
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
        // SAFETY: the box owns a valid value, and the reference borrows the box.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for PoolBox<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the box owns a valid value, and the reference borrows the box mutably.
        unsafe { self.value.as_mut() }
    }
}

static_assertions::assert_eq_size!(PoolBox<u8>, Option<PoolBox<u8>>, usize);
static_assertions::assert_eq_size!(PoolBox<dyn Send>, Option<PoolBox<dyn Send>>, [usize; 2]);
