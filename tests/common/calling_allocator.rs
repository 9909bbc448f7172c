//! A global allocator that is foreign code: at a call that a test chooses, or at every so-manieth one, it does something to
//! pools. Underneath is the system's.
//!
//! What it does while it is doing something calls it again, and is served without more.

#![allow(dead_code, reason = "each user needs a part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use segment_pool::PoolBox;

/// What an allocator does to pools.
pub(crate) type Deed = fn();

/// The deeds that need no preparation.
pub(crate) const DEEDS: [(&str, Deed); 10] = [
    ("trims", segment_pool::trim),
    ("idles", segment_pool::idle),
    ("flushes", segment_pool::flush),
    ("makes and drops", || drop(PoolBox::new([7_u64; 100]))),
    ("makes and keeps", make_and_keep),
    ("drops what was kept", drop_what_was_kept),
    ("validates", || _ = segment_pool::validate()),
    ("takes a snapshot", || drop(segment_pool::snapshot())),
    ("reports", || drop(segment_pool::report())),
    ("reads numbers", || {
        assert!(segment_pool::stats().heaps < 1000);
    }),
];

/// Boxes that were made in the allocator, for whatever thread comes next.
static KEPT: [AtomicPtr<[u64; 20]>; 64] = [const { AtomicPtr::new(ptr::null_mut()) }; 64];

fn make_and_keep() {
    swap_kept(PoolBox::into_raw(PoolBox::new([7; 20])));
}

fn drop_what_was_kept() {
    swap_kept(ptr::null_mut());
}

/// Drops every box that was allocated in the allocator and retained, and flushes.
pub(crate) fn drop_all_kept() {
    KEPT.iter().for_each(|_| drop_what_was_kept());
    segment_pool::flush();
}

/// Puts a box in the next place, and drops the one that is there.
fn swap_kept(pointer: *mut [u64; 20]) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed) % KEPT.len();
    // AcqRel: releases the box put there, acquires the one found there.
    let found = KEPT[place].swap(pointer, Ordering::AcqRel);
    if !found.is_null() {
        // SAFETY: out of `into_raw`, and the swap took it away.
        let boxed = unsafe { PoolBox::from_raw(found) };
        assert_eq!(*boxed, [7; 20]);
    }
}

/// The global allocator.
pub(crate) struct CallingAllocator;

#[derive(Clone, Copy)]
enum Plan {
    /// As `EVERY` says.
    Usual,
    /// Nothing: it is doing something, or there is nothing to do.
    Nothing,
    /// The action, after this many calls.
    Once(usize, Deed),
}

thread_local! {
    static PLAN: Cell<Plan> = const { Cell::new(Plan::Usual) };
}

/// Deeds that were planned and done.
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Calls from one deed to the next, or 0 if none is done; and calls so far.
static EVERY: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// From here on every so-manieth call, whichever thread's, does one of [`DEEDS`], by turns.
pub(crate) fn act_every(calls: usize) {
    CALLS.store(0, Ordering::Relaxed);
    EVERY.store(calls, Ordering::Relaxed);
}

/// From now on the allocator does nothing more, and the boxes that it retained are dropped. Call this while no other
/// thread is working.
pub(crate) fn act_no_more() {
    act_every(0);
    drop_all_kept();
}

/// Runs the work, and makes the allocator perform an action in the nth call of this thread. Also returns whether there
/// was such a call.
pub(crate) fn acting_at<R>(call: usize, deed: Deed, work: impl FnOnce() -> R) -> (R, bool) {
    act_at(call, deed);
    let result = work();
    let came = !matches!(PLAN.replace(Plan::Usual), Plan::Once(..));
    (result, came)
}

/// How many deeds of [`act_at`] were done.
pub(crate) fn deeds_done() -> usize {
    DONE.load(Ordering::Relaxed)
}

/// Makes the allocator perform an action in the nth call of this thread from now on.
pub(crate) fn act_at(call: usize, deed: Deed) {
    PLAN.set(Plan::Once(call, deed));
}

fn called() {
    match PLAN.get() {
        Plan::Nothing => {}
        Plan::Once(0, deed) => {
            act(deed);
            DONE.fetch_add(1, Ordering::Relaxed);
        }
        Plan::Once(calls, deed) => PLAN.set(Plan::Once(calls - 1, deed)),
        Plan::Usual => act_if_it_is_time(),
    }
}

fn act_if_it_is_time() {
    let every = EVERY.load(Ordering::Relaxed);
    if every == 0 {
        return;
    }
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    let (turn, rest) = (calls / every, calls % every);
    if rest == 0 {
        act(DEEDS[turn % DEEDS.len()].1);
    }
}

fn act(deed: Deed) {
    PLAN.set(Plan::Nothing);
    deed();
    PLAN.set(Plan::Usual);
}

// SAFETY: the system's allocator; what is done before it is called does not unwind, or the tests fail by it.
unsafe impl GlobalAlloc for CallingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        called();
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        called();
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, storage: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        called();
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(storage, layout, bytes) }
    }

    unsafe fn dealloc(&self, storage: *mut u8, layout: Layout) {
        called();
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(storage, layout) }
    }
}
