//! Unsizing: `PoolBox<T>` to `PoolBox<dyn Trait>`, `PoolBox<[T; N]>` to `PoolBox<[T]>`, on stable Rust.
//!
//! `Box` does it by itself, through `CoerceUnsized`, which is unstable. What is stable is that a raw pointer does. So a
//! handle is taken apart into its raw pointer, the compiler coerces that (or refuses), and a handle of the new type is
//! made of it. The pointer is the handle's own throughout, so it keeps its provenance.

use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;

use crate::arc::{Counted, PoolArc, PoolWeak};
use crate::boxed::PoolBox;

/// Turns a handle of a value into a handle of a trait object or slice: `coerce!(handle => dyn Trait)`.
///
/// The handle is a [`PoolBox`] or [`PoolArc`], either of them pinned, or a [`PoolWeak`]. Whatever the compiler coerces for a `Box` it coerces here, and nothing
/// else: a value to any trait object that it implements, with auto traits and lifetime; an array to a slice; and, from
/// Rust 1.86 on, a trait object to one of a supertrait.
///
/// # Examples
///
/// ```
/// use segment_pool::{PoolBox, coerce};
/// use std::fmt::Display;
/// use std::pin::Pin;
///
/// let shown: [PoolBox<dyn Display + Send>; 2] = [
///     coerce!(PoolBox::new(7) => dyn Display + Send),
///     coerce!(PoolBox::new("seven") => dyn Display + Send),
/// ];
/// assert_eq!(format!("{} {}", shown[0], shown[1]), "7 seven");
///
/// let slice: PoolBox<[i32]> = coerce!(PoolBox::new([1, 2, 3]) => [i32]);
/// assert_eq!(slice.len(), 3);
///
/// let task: Pin<PoolBox<dyn Future<Output = i32> + Send>> =
///     coerce!(PoolBox::pin(async { 7 }) => dyn Future<Output = i32> + Send);
///
/// let twice = |x| 2 * x;
/// let function = coerce!(PoolBox::new(twice) => dyn Fn(i32) -> i32);
/// assert_eq!(function(4), 8);
/// ```
#[macro_export]
macro_rules! coerce {
    // A type, not tokens: nothing of the caller's may stand inside the unsafe block.
    ($handle:expr => $Unsized:ty) => {
        match ($handle, $crate::coerce::Target::<$Unsized>::NEW) {
            (handle, target) => {
                // SAFETY: the closure returns its argument, coerced.
                unsafe { $crate::coerce::coerced(handle, target, |pointer| pointer) }
            }
        }
    };
}

/// The type to coerce to.
#[derive(Debug)]
pub struct Target<U: ?Sized>(PhantomData<U>);

impl<U: ?Sized> Target<U> {
    /// The only value.
    pub const NEW: Self = Self(PhantomData);
}

/// A handle that [`coerce!`](crate::coerce) can take apart.
///
/// # Safety
///
/// `from_raw(into_raw(handle))` is the handle, and still is when the pointer is coerced in between.
pub unsafe trait Coerce: Sized {
    /// What the handle points to.
    type Value: ?Sized;
    /// The pointer inside, to whatever surrounds a value.
    type Raw<U: ?Sized>;
    /// The same handle for another value.
    type Handle<U: ?Sized>;

    /// Takes the handle apart.
    fn into_raw(self) -> Self::Raw<Self::Value>;

    /// Puts a handle together.
    ///
    /// # Safety
    ///
    /// The pointer came from `into_raw`, and was coerced at most; it is used once.
    unsafe fn from_raw<U: ?Sized>(raw: Self::Raw<U>) -> Self::Handle<U>;
}

/// What [`coerce!`](crate::coerce) calls.
///
/// # Safety
///
/// `coerce` does nothing but coerce its argument.
#[inline(always)]
pub unsafe fn coerced<H: Coerce, U: ?Sized>(
    handle: H,
    _target: Target<U>,
    coerce: impl FnOnce(H::Raw<H::Value>) -> H::Raw<U>,
) -> H::Handle<U> {
    // SAFETY: guaranteed by the caller.
    unsafe { H::from_raw(coerce(handle.into_raw())) }
}

// SAFETY: both are the box's own.
unsafe impl<T: ?Sized> Coerce for PoolBox<T> {
    type Value = T;
    type Raw<U: ?Sized> = *mut U;
    type Handle<U: ?Sized> = PoolBox<U>;

    #[inline(always)]
    fn into_raw(self) -> *mut T {
        Self::into_raw(self)
    }

    #[inline(always)]
    unsafe fn from_raw<U: ?Sized>(raw: *mut U) -> PoolBox<U> {
        // SAFETY: guaranteed by the caller.
        unsafe { PoolBox::from_raw(raw) }
    }
}

// SAFETY: both are the handle's own, and count as it does.
unsafe impl<T: ?Sized> Coerce for PoolArc<T> {
    type Value = T;
    type Raw<U: ?Sized> = *mut Counted<U>;
    type Handle<U: ?Sized> = PoolArc<U>;

    #[inline(always)]
    fn into_raw(self) -> *mut Counted<T> {
        self.into_counted().as_ptr()
    }

    #[inline(always)]
    unsafe fn from_raw<U: ?Sized>(raw: *mut Counted<U>) -> PoolArc<U> {
        // SAFETY: it came from a handle.
        let counted = unsafe { NonNull::new_unchecked(raw) };
        // SAFETY: the handle that was counted for it.
        unsafe { PoolArc::from_counted(counted) }
    }
}

// SAFETY: both are the handle's own, and count as it does.
unsafe impl<T: ?Sized> Coerce for PoolWeak<T> {
    type Value = T;
    type Raw<U: ?Sized> = *mut Counted<U>;
    type Handle<U: ?Sized> = PoolWeak<U>;

    #[inline(always)]
    fn into_raw(self) -> *mut Counted<T> {
        self.into_counted().as_ptr()
    }

    #[inline(always)]
    unsafe fn from_raw<U: ?Sized>(raw: *mut Counted<U>) -> PoolWeak<U> {
        // SAFETY: it came from a handle.
        PoolWeak::from_counted(unsafe { NonNull::new_unchecked(raw) })
    }
}

/// Pinned handles, one by one: `Pin` asks for a pointer that can be dereferenced, which a handle in general is not.
macro_rules! coerce_pinned {
    ($($Handle:ident),*) => {$(
        // SAFETY: as for the handle inside.
        unsafe impl<T: ?Sized> Coerce for Pin<$Handle<T>> {
            type Value = T;
            type Raw<U: ?Sized> = <$Handle<T> as Coerce>::Raw<U>;
            type Handle<U: ?Sized> = Pin<$Handle<U>>;

            #[inline(always)]
            fn into_raw(self) -> Self::Raw<T> {
                // SAFETY: nothing moves the value before it is pinned again.
                Coerce::into_raw(unsafe { Pin::into_inner_unchecked(self) })
            }

            #[inline(always)]
            unsafe fn from_raw<U: ?Sized>(raw: Self::Raw<U>) -> Pin<$Handle<U>> {
                // SAFETY: guaranteed by the caller.
                let handle = unsafe { <$Handle<T> as Coerce>::from_raw(raw) };
                // SAFETY: it was pinned when it was taken apart.
                unsafe { Pin::new_unchecked(handle) }
            }
        }
    )*};
}
coerce_pinned!(PoolBox, PoolArc);
