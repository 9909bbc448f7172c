//! What pointers to a value may do while a handle reads its layout: the handle does not access the contents.
//!
//! Compiled, every one of these passes with or without the bug. Miri judges, with both models of aliasing:
//!
//! ```sh
//! MIRIFLAGS=-Zmiri-ignore-leaks cargo +nightly miri test --test aliasing
//! MIRIFLAGS="-Zmiri-ignore-leaks -Zmiri-tree-borrows" cargo +nightly miri test --test aliasing
//! ```

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr;

use segment_pool::{PoolArc, PoolBox, PoolWeak};

/// A value whose destructor passes a pointer to the value, from a weak handle, to a function.
struct Knowing<A> {
    _align: A,
    visits: u32,
    myself: Cell<*const Self>,
    visit: fn(*const Self),
}

impl<A> Drop for Knowing<A> {
    fn drop(&mut self) {
        self.visits += 1;
        (self.visit)(self.myself.get());
        self.visits += 1; // still the only user of the contents
    }
}

/// Drops a value that has a pointer to itself, good for one weak handle.
fn drop_knowing<A>(align: A, visit: fn(*const Knowing<A>)) {
    let arc = PoolArc::new(Knowing {
        _align: align,
        visits: 0,
        myself: Cell::new(ptr::null()),
        visit,
    });
    arc.myself.set(PoolArc::downgrade(&arc).into_raw());
    drop(arc);
}

/// Makes the weak handle of the pointer that [`drop_knowing`] made, or of what it was coerced to.
fn make_handle<T: ?Sized>(myself: *const T) {
    // SAFETY: the pointer came from `into_raw`, is to a value of the same size and alignment, and is used once.
    drop(unsafe { PoolWeak::from_raw(myself) });
}

#[repr(align(64))]
struct Line;

#[test]
fn a_destructor_makes_a_weak_handle_of_a_pointer_to_its_value() {
    drop_knowing(0_u8, make_handle);
    drop_knowing(Line, make_handle);
}

#[test]
fn a_destructor_makes_a_weak_handle_of_a_wide_pointer_to_its_value() {
    trait Any {}
    impl<T> Any for T {}

    drop_knowing(0_u8, |myself| make_handle::<dyn Any>(myself));
    drop_knowing(Line, |myself| make_handle::<dyn Any>(myself));
    drop_knowing(Line, |myself| {
        make_handle(ptr::slice_from_raw_parts(myself, 1))
    });
}

/// A value with a mutable reference to a part of itself, as a future has. Its destructor uses it.
struct Entwined {
    number: u64,
    to_number: Option<&'static mut u64>,
    _pinned: PhantomPinned,
}

impl Entwined {
    const fn new() -> Self {
        Self {
            number: 0,
            to_number: None,
            _pinned: PhantomPinned,
        }
    }

    /// # Safety
    ///
    /// Nothing else uses the value, which stays where it is until it is dropped.
    unsafe fn entwine(this: *mut Self) {
        // SAFETY: guaranteed by the caller.
        let number = unsafe { &mut (*this).number };
        *number = 1;
        // SAFETY: guaranteed by the caller.
        unsafe { (*this).to_number = Some(number) };
    }
}

impl Drop for Entwined {
    fn drop(&mut self) {
        **self.to_number.as_mut().expect("entwined") += 1;
    }
}

#[test]
fn a_value_that_borrows_itself_is_dropped_by_its_box() {
    let mut boxed = PoolBox::new(Entwined::new());
    // SAFETY: the box is only dropped.
    unsafe { Entwined::entwine(PoolBox::as_mut_ptr(&mut boxed)) };
    drop(boxed);
}

#[test]
fn a_value_that_borrows_itself_is_dropped_by_its_last_handle() {
    let arc = PoolArc::new(Entwined::new());
    // SAFETY: the handles are only dropped.
    unsafe { Entwined::entwine(PoolArc::as_ptr(&arc).cast_mut()) };
    drop(arc);
}

#[test]
fn a_value_that_borrows_itself_is_found_by_its_pointer() {
    let arc = PoolArc::new(Entwined::new());
    let weak = PoolArc::downgrade(&arc).into_raw();
    let pointer = PoolArc::into_raw(arc);
    // SAFETY: the handles are only dropped.
    unsafe { Entwined::entwine(pointer.cast_mut()) };
    // SAFETY: the pointer came from `into_raw`, and what is counted is given up.
    unsafe { PoolArc::increment_strong_count(pointer) };
    // SAFETY: as above.
    unsafe { PoolArc::decrement_strong_count(pointer) };
    // SAFETY: the pointer came from `into_raw` and is used once.
    drop(unsafe { PoolArc::from_raw(pointer) });
    // SAFETY: as above.
    let weak = unsafe { PoolWeak::from_raw(weak) };
    assert!(weak.upgrade().is_none());
}
