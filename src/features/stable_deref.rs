//! Feature `stable_deref_trait`: values do not move when their handles do.

use stable_deref_trait::{CloneStableDeref, StableDeref};

use crate::arc::PoolArc;
use crate::boxed::PoolBox;

// SAFETY: `deref` and `deref_mut` give the slot, which stays when the box moves. Not being `noalias`, the box may be
// moved while the value is borrowed.
unsafe impl<T: ?Sized> StableDeref for PoolBox<T> {}

// SAFETY: `deref` gives the slot, which stays when the handle moves.
unsafe impl<T: ?Sized> StableDeref for PoolArc<T> {}

// SAFETY: a clone is another handle to the same slot.
unsafe impl<T: ?Sized> CloneStableDeref for PoolArc<T> {}
