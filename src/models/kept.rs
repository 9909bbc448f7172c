//! Ranges that the system did not unmap: two threads keep, take, retry and put back at once.

use core::ptr::NonNull;
use std::sync::Arc;

use loom::thread;

use super::model;
use crate::ground::os::kept::Kept;
use crate::ground::sync::UnsafeCell;

/// A range, with a watched cell behind the record.
#[repr(C, align(64))]
struct Page {
    record: [usize; 2],
    contents: UnsafeCell<u64>,
}

const BYTES: usize = size_of::<Page>();

fn page() -> NonNull<u8> {
    let page = Page {
        record: [0; 2],
        contents: UnsafeCell::new(0),
    };
    NonNull::from(Box::leak(Box::new(page))).cast()
}

/// Writes to a page that the caller owns.
fn use_page(memory: NonNull<u8>) {
    let page = unsafe { memory.cast::<Page>().as_ref() };
    page.contents.with_mut(|contents| unsafe { *contents += 1 });
}

/// Takes a page, uses it and keeps it.
fn take_and_keep(kept: &Kept) {
    if let Some(memory) = kept.take(BYTES, 1) {
        use_page(memory);
        unsafe { kept.keep(memory, BYTES) };
    }
}

/// Tries to unmap all pages, uses them and puts them back.
fn retry(kept: &Kept) {
    let fail = |memory, _| {
        use_page(memory);
        false
    };
    unsafe { kept.retry(usize::MAX, fail) };
}

/// Checks that every page is kept exactly once.
fn check(kept: &Kept, mut pages: Vec<NonNull<u8>>) {
    assert_eq!(kept.bytes(), pages.len() * BYTES);
    while let Some(memory) = kept.take(BYTES, 1) {
        let place = pages.iter().position(|page| *page == memory);
        pages.swap_remove(place.expect("a page is kept once"));
        use_page(memory);
        drop(unsafe { Box::from_raw(memory.cast::<Page>().as_ptr()) });
    }
    assert!(pages.is_empty(), "no page is lost");
}

fn at_once(mine: fn(&Kept), other: fn(&Kept)) {
    model(move || {
        let (kept, pages) = (Arc::new(Kept::new()), vec![page(), page()]);
        for memory in &pages {
            use_page(*memory);
            unsafe { kept.keep(*memory, BYTES) };
        }
        let theirs = Arc::clone(&kept);
        let thread = thread::spawn(move || other(&theirs));
        mine(&kept);
        thread.join().unwrap();
        check(&kept, pages);
    });
}

/// Catches: a range that two threads take; a range that is visible before it was given up.
#[test]
fn two_threads_take_and_keep_ranges() {
    at_once(take_and_keep, take_and_keep);
}

/// Catches: ranges that are lost, or visible too soon, when the tried ranges are put back.
#[test]
fn ranges_are_tried_again_against_take_and_keep() {
    at_once(take_and_keep, retry);
}

/// Catches: as above, for two lists that are put back at once.
#[test]
fn two_threads_try_ranges_again() {
    at_once(retry, retry);
}
