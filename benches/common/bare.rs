//! The limit of the local rows: the least that a thread-local pool can do.
//!
//! One intrusive LIFO list per slot size and thread, filled from chunks that are never given back. No owner check, no
//! count, no remote free: memory freed on another thread would be that thread's for good (so [`Bare`] is not `Send`),
//! and none is ever returned. It shows what those things cost, and is no allocator.

use crate::common::Pointer;
use std::{
    alloc::{Layout, alloc, handle_alloc_error},
    cell::Cell,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A free slot. The memory behind it is as large as the list it is on says.
struct Slot {
    next: Link,
}

type Link = Option<NonNull<Slot>>;

/// A slot is a whole number of these.
const WORD: usize = size_of::<u64>();
const LARGEST: usize = 1024;
const LISTS: usize = LARGEST / WORD + 1;
const CHUNK: Layout = match Layout::from_size_align(64 << 10, 64) {
    Ok(layout) => layout,
    Err(_) => panic!("the size is no multiple of the alignment"),
};

thread_local! {
    /// The free slots of `n` words are on list `n`. Nothing here has a destructor, so access is a plain load.
    static FREE: [Cell<Link>; LISTS] = const { [const { Cell::new(None) }; LISTS] };
}

/// An owning pointer into the lists of this thread.
#[derive(Debug)]
pub(crate) struct Bare<T>(NonNull<T>);

impl<T> Bare<T> {
    /// Which list, as a constant. Does not compile for a payload that has none.
    const LIST: usize = {
        let size = size_of::<T>();
        assert!(size % WORD == 0 && WORD <= size && size <= LARGEST && align_of::<T>() <= WORD);
        size / WORD
    };
}

impl<const W: usize> Pointer<W> for Bare<[u64; W]> {
    const NAME: &'static str = "bare";

    fn new(value: [u64; W]) -> Self {
        let slot = FREE.with(|free| pop(&free[Self::LIST], W * WORD)).cast();
        // SAFETY: the slot has the size of the value, at least its alignment, and is on no list any more.
        unsafe { slot.write(value) };
        Self(slot)
    }
}

impl<T> Drop for Bare<T> {
    fn drop(&mut self) {
        // SAFETY: the value is valid until here, by `new`, and is not used again.
        unsafe { self.0.drop_in_place() };
        // SAFETY: the slot is of this list's size and came from `pop`; nobody uses it any more.
        FREE.with(|free| unsafe { push(&free[Self::LIST], self.0.cast()) });
    }
}

impl<T> Deref for Bare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: holds a valid T, and the borrow of `self` excludes a mutable one.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Bare<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: holds a valid T, and the borrow of `self` excludes any other.
        unsafe { self.0.as_mut() }
    }
}

fn pop(head: &Cell<Link>, size: usize) -> NonNull<Slot> {
    let slot = head.get().unwrap_or_else(|| chunk(size));
    // SAFETY: what is on a list was written by `push` or `chunk`.
    head.set(unsafe { slot.read() }.next);
    slot
}

/// # Safety
/// `slot` is memory of this list's size that nobody uses.
unsafe fn push(head: &Cell<Link>, slot: NonNull<Slot>) {
    // SAFETY: a slot is at least a word, aligned to it, and ours by the caller's promise.
    unsafe { slot.write(Slot { next: head.get() }) };
    head.set(Some(slot));
}

/// A new chunk as a list of slots in the order of their addresses.
#[cold]
fn chunk(size: usize) -> NonNull<Slot> {
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc(CHUNK) };
    let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(CHUNK));
    let list = Cell::new(None);
    for n in (0..CHUNK.size() / size).rev() {
        // SAFETY: slot n ends inside the chunk.
        let slot = unsafe { memory.byte_add(n * size) };
        // SAFETY: memory of this size that nobody else has.
        unsafe { push(&list, slot.cast()) };
    }
    list.get().expect("a chunk holds at least one slot")
}
