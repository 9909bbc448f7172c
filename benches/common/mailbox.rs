//! A mailbox of entries that always hold an object: what is put into an entry takes out what was there.
//!
//! Any thread may swap any entry; a swap passes one object in and one out, and is all the synchronisation there is.

use crate::common::Pointer;
use segment_pool::PoolBox;
use std::{
    marker::PhantomData,
    sync::atomic::{AtomicPtr, Ordering::AcqRel},
};

/// See the top of this file.
pub(crate) struct Mailbox<P: RawPointer<W>, const W: usize> {
    entries: Box<[AtomicPtr<[u64; W]>]>,
    passes: PhantomData<fn(P) -> P>, // threads exchange what they own, and share none of it
}

impl<P: RawPointer<W>, const W: usize> Mailbox<P, W> {
    pub(crate) fn new(len: usize, make: impl Fn(u64) -> P) -> Self {
        let entries = (0..len as u64)
            .map(|n| AtomicPtr::new(make(n).into_raw()))
            .collect();
        Self {
            entries,
            passes: PhantomData,
        }
    }

    /// Puts `object` into entry `n`.
    pub(crate) fn swap(&self, n: usize, object: P) -> P {
        // AcqRel: what is put in is written before, what is taken out is read after; pairs with itself on all threads.
        let raw = self.entries[n].swap(object.into_raw(), AcqRel);
        // SAFETY: an entry holds what `into_raw` gave, and the swap took it out.
        unsafe { P::from_raw(raw) }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<P: RawPointer<W>, const W: usize> Drop for Mailbox<P, W> {
    fn drop(&mut self) {
        for entry in &mut self.entries {
            // SAFETY: an entry holds what `into_raw` gave, and is not looked at again.
            drop(unsafe { P::from_raw(*entry.get_mut()) });
        }
    }
}

/// A pointer that can wait in an `AtomicPtr`.
pub(crate) trait RawPointer<const W: usize>: Pointer<W> + Send {
    fn into_raw(self) -> *mut [u64; W];

    /// # Safety
    /// `raw` comes from `into_raw`, and is used once.
    unsafe fn from_raw(raw: *mut [u64; W]) -> Self;
}

impl<const W: usize> RawPointer<W> for PoolBox<[u64; W]> {
    fn into_raw(self) -> *mut [u64; W] {
        PoolBox::into_raw(self)
    }

    unsafe fn from_raw(raw: *mut [u64; W]) -> Self {
        // SAFETY: promised by the caller.
        unsafe { PoolBox::from_raw(raw) }
    }
}

impl<const W: usize> RawPointer<W> for Box<[u64; W]> {
    fn into_raw(self) -> *mut [u64; W] {
        Box::into_raw(self)
    }

    unsafe fn from_raw(raw: *mut [u64; W]) -> Self {
        // SAFETY: promised by the caller.
        unsafe { Box::from_raw(raw) }
    }
}
