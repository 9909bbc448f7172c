//! Feature `stable_deref_trait`: moving a handle does not move its value.

use stable_deref_trait::{CloneStableDeref, StableDeref};

use crate::arc::PoolArc;
use crate::boxed::PoolBox;

// SAFETY: `deref` and `deref_mut` return a reference to the slot, which does not move with the box. The box is not
// `noalias`, so it may be moved while the value is borrowed.
unsafe impl<T: ?Sized> StableDeref for PoolBox<T> {}

// SAFETY: `deref` returns a reference to the slot, which does not move with the handle.
unsafe impl<T: ?Sized> StableDeref for PoolArc<T> {}

// SAFETY: a clone is another handle to the same slot, so it dereferences to the same address.
unsafe impl<T: ?Sized> CloneStableDeref for PoolArc<T> {}
