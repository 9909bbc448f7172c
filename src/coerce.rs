//! Unsizing: `PoolBox<T>` to `PoolBox<dyn Trait>`, `PoolBox<[T; N]>` to `PoolBox<[T]>`, on stable Rust.
//!
//! `Box` coerces implicitly, through `CoerceUnsized`, which is unstable. The coercion of a raw pointer is stable. So
//! `coerce!` converts the handle into its raw pointer, the compiler coerces that (or reports an error), and the result
//! becomes a handle of the new type. The pointer is that of the handle throughout, so it keeps its provenance.

use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;

use crate::arc::{Counted, PoolArc, PoolWeak};
use crate::boxed::PoolBox;

/// Coerces a handle of a value to a handle of a trait object or a slice: `coerce!(handle => dyn Trait)`.
///
/// The handle is a [`PoolBox`] or [`PoolArc`], either of them pinned, or a [`PoolWeak`]. The macro allows exactly the
/// coercions that the compiler allows for a `Box`: a value to any trait object that it implements, with auto traits and
/// lifetime; an array to a slice; and, from Rust 1.86 on, a trait object to one of a supertrait.
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
    ($handle:expr => dyn FnOnce $($signature:tt)*) => {
        ($crate::coerce::boxed_fn_once(), $crate::coerce!($handle => (dyn FnOnce $($signature)*))).1
    };
    // A type, not tokens: no code of the caller may appear inside the unsafe block.
    ($handle:expr => $Unsized:ty) => {
        match ($handle, $crate::coerce::Target::<$Unsized>::NEW) {
            (handle, target) => {
                // SAFETY: the closure only returns its argument, coerced.
                unsafe { $crate::coerce::coerced(handle, target, |pointer| pointer) }
            }
        }
    };
    ($handle:expr $(, $($rest:tt)*)?) => {
        ::core::compile_error!("`coerce!` takes a handle, an arrow and a type: `coerce!(handle => dyn Trait)`")
    };
}

/// Warns about a handle of a `dyn FnOnce`, which nothing can call.
#[deprecated(
    note = "a `dyn FnOnce(A, B) -> R` in a pool cannot be called: coerce the closure to \
            `dyn CallOnce<(A, B), Output = R>`, and call it with `PoolBox::call_once(boxed, (a, b))`"
)]
pub const fn boxed_fn_once() {}

/// The target type of a coercion.
#[derive(Debug)]
pub struct Target<U: ?Sized>(PhantomData<U>);

impl<U: ?Sized> Target<U> {
    /// The only value.
    pub const NEW: Self = Self(PhantomData);
}

/// A handle that [`coerce!`](crate::coerce) can convert to a raw pointer and back.
///
/// # Safety
///
/// `from_raw(into_raw(handle))` returns the handle, also if the pointer is coerced in between.
#[diagnostic::on_unimplemented(
    message = "`coerce!` takes a `PoolBox`, `PoolArc` or `PoolWeak`, not a `{Self}`",
    label = "not a handle of a value in a pool",
    note = "the macro takes the handle itself, not a reference to it; `Box` and `Arc` need no macro"
)]
pub unsafe trait Coerce: Sized {
    /// The type of the value.
    type Value: ?Sized;
    /// The raw pointer inside, to the value and what surrounds it in the slot.
    type Raw<U: ?Sized>;
    /// The same kind of handle for another type of value.
    type Handle<U: ?Sized>;

    /// Converts the handle into its raw pointer.
    fn into_raw(self) -> Self::Raw<Self::Value>;

    /// Makes a handle from a raw pointer.
    ///
    /// # Safety
    ///
    /// The pointer came from `into_raw` and was at most coerced. It is used only once.
    unsafe fn from_raw<U: ?Sized>(raw: Self::Raw<U>) -> Self::Handle<U>;
}

/// Performs the coercion for [`coerce!`](crate::coerce).
///
/// # Safety
///
/// `coerce` only coerces its argument.
#[inline(always)]
pub unsafe fn coerced<H: Coerce, U: ?Sized>(
    handle: H,
    _target: Target<U>,
    coerce: impl FnOnce(H::Raw<H::Value>) -> H::Raw<U>,
) -> H::Handle<U> {
    // SAFETY: guaranteed by the caller.
    unsafe { H::from_raw(coerce(handle.into_raw())) }
}

// SAFETY: both functions convert the pointer of the box and keep its ownership.
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

// SAFETY: both functions convert the pointer of the handle and keep its share of the count.
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
        // SAFETY: the pointer came from a handle, so it is not null.
        let counted = unsafe { NonNull::new_unchecked(raw) };
        // SAFETY: the handle that was converted counted for it, and is gone.
        unsafe { PoolArc::from_counted(counted) }
    }
}

// SAFETY: both functions convert the pointer of the handle and keep its share of the count.
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
        // SAFETY: the pointer came from a handle, so it is not null.
        PoolWeak::from_counted(unsafe { NonNull::new_unchecked(raw) })
    }
}

/// Pinned handles, one by one: `Pin` requires a pointer that implements `Deref`, which not every handle does.
macro_rules! coerce_pinned {
    ($($Handle:ident),*) => {$(
        // SAFETY: as for the handle inside the `Pin`.
        unsafe impl<T: ?Sized> Coerce for Pin<$Handle<T>> {
            type Value = T;
            type Raw<U: ?Sized> = <$Handle<T> as Coerce>::Raw<U>;
            type Handle<U: ?Sized> = Pin<$Handle<U>>;

            #[inline(always)]
            fn into_raw(self) -> Self::Raw<T> {
                // SAFETY: the value is not moved before the pointer is pinned again.
                Coerce::into_raw(unsafe { Pin::into_inner_unchecked(self) })
            }

            #[inline(always)]
            unsafe fn from_raw<U: ?Sized>(raw: Self::Raw<U>) -> Pin<$Handle<U>> {
                // SAFETY: guaranteed by the caller.
                let handle = unsafe { <$Handle<T> as Coerce>::from_raw(raw) };
                // SAFETY: the handle was pinned before its conversion.
                unsafe { Pin::new_unchecked(handle) }
            }
        }
    )*};
}
coerce_pinned!(PoolBox, PoolArc);
