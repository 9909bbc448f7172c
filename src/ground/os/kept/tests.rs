use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;

use super::{Kept, LOOKS};

const PAGE: usize = 4096;

/// Adjacent pages, and a stack that keeps ranges of them.
struct Pages {
    layout: Layout,
    start: NonNull<u8>,
    kept: Kept,
}

impl Pages {
    fn new(count: usize) -> Self {
        let layout = Layout::from_size_align(count * PAGE, 16 * PAGE).unwrap();
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        let kept = Kept::new();
        Self {
            layout,
            start,
            kept,
        }
    }

    fn at(&self, page: usize) -> NonNull<u8> {
        // SAFETY: the tests stay within the pages.
        unsafe { self.start.add(page * PAGE) }
    }

    fn keep(&self, page: usize, count: usize) {
        // SAFETY: the tests keep zeroed pages that no thread uses.
        unsafe { self.kept.keep(self.at(page), count * PAGE) };
    }

    /// Takes a range and returns the number of its first page.
    fn take(&self, count: usize, align: usize) -> Option<usize> {
        let take = self.kept.take(count * PAGE, align * PAGE)?;
        Some((take.addr().get() - self.start.addr().get()) / PAGE)
    }

    /// Unmaps the ranges for which `unmaps` returns true, by first page and number of pages. Returns all
    /// ranges that were tried.
    fn retry(&self, most: usize, unmaps: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
        let tried = RefCell::new(Vec::new());
        let unmap = |memory: NonNull<u8>, bytes: usize| {
            let first = (memory.addr().get() - self.start.addr().get()) / PAGE;
            tried.borrow_mut().push((first, bytes / PAGE));
            unmaps(first, bytes / PAGE)
        };
        // SAFETY: no thread uses a kept page, and the test does not really unmap them.
        unsafe { self.kept.retry(most, unmap) };
        tried.into_inner()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[test]
fn a_range_serves_a_mapping_of_its_size_and_alignment_and_reads_as_zero() {
    let pages = Pages::new(20);
    pages.keep(1, 3);
    pages.keep(16, 3);
    pages.keep(5, 2);
    assert_eq!(pages.kept.bytes(), 8 * PAGE);
    assert_eq!(pages.take(4, 1), None);
    assert_eq!(pages.take(3, 16), Some(16));
    // SAFETY: the test took the range, which has this size.
    let bytes = unsafe { std::slice::from_raw_parts(pages.at(16).as_ptr(), 3 * PAGE) };
    assert!(bytes.iter().all(|byte| *byte == 0));
    assert_eq!(pages.take(3, 16), None);
    assert_eq!(pages.take(3, 1), Some(1));
    assert_eq!(pages.take(2, 1), Some(5));
    assert_eq!((pages.take(2, 1), pages.kept.bytes()), (None, 0));
}

#[test]
fn a_range_deep_in_the_stack_is_found_when_a_mapping_fails() {
    let pages = Pages::new(LOOKS + 2);
    pages.keep(LOOKS, 2);
    (0..LOOKS).for_each(|page| pages.keep(page, 1));
    assert_eq!(pages.take(2, 1), None);
    assert_eq!(pages.kept.take_at_last(3 * PAGE, PAGE), None);
    let found = pages.kept.take_at_last(2 * PAGE, PAGE);
    assert_eq!(found, Some(pages.at(LOOKS)));
    assert_eq!(pages.kept.bytes(), LOOKS * PAGE, "the others are kept");
}

#[test]
fn neighbours_are_unmapped_as_one_in_whatever_order_they_came() {
    let pages = Pages::new(70);
    // Every page but 0, 23 and 69: those at multiples of 7 first, then those one further, and so on.
    for page in (0..7).flat_map(|rest| (rest..70).step_by(7)) {
        if ![0, 23, 69].contains(&page) {
            pages.keep(page, 1);
        }
    }
    assert_eq!(pages.retry(usize::MAX, |_, _| true), [(1, 22), (24, 45)]);
    assert_eq!(pages.kept.bytes(), 0);
    assert_eq!(pages.retry(usize::MAX, |_, _| true), []);
}

#[test]
fn ranges_that_stay_mapped_keep_their_sizes() {
    let pages = Pages::new(10);
    pages.keep(0, 2);
    pages.keep(4, 3);
    pages.keep(2, 2);
    pages.keep(8, 1);
    let tried = pages.retry(usize::MAX, |first, _| first == 8);
    assert_eq!(tried, [(0, 7), (8, 1)]);
    assert_eq!(pages.kept.bytes(), 7 * PAGE);
    assert_eq!(pages.take(3, 1), Some(4));
    let mut taken = [pages.take(2, 1), pages.take(2, 1)];
    taken.sort();
    assert_eq!(taken, [Some(0), Some(2)]);
}

#[test]
fn a_retry_tries_no_more_than_its_limit() {
    let pages = Pages::new(10);
    (0..5).for_each(|page| pages.keep(2 * page, 1));
    assert_eq!(pages.retry(2, |_, _| true), [(6, 1), (8, 1)]);
    assert_eq!(pages.retry(2, |_, _| false), [(2, 1), (4, 1)]);
    assert_eq!(pages.kept.bytes(), 3 * PAGE);
    assert_eq!(pages.retry(usize::MAX, |_, _| true).len(), 3);
}

/// Several threads keep, take and retry at once. Each range belongs to one thread at a time, and none is
/// lost.
#[test]
fn ranges_go_round_among_threads() {
    struct Shared(Pages);
    // SAFETY: only the thread that took a page uses it; the rest is atomics.
    unsafe impl Sync for Shared {}
    const PAGES: usize = 12;
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    let shared = &Shared(Pages::new(PAGES));
    (0..PAGES).for_each(|page| shared.0.keep(page, 1));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || {
                let pages = &shared.0;
                for _ in 0..rounds {
                    if let Some(page) = pages.take(1, 1) {
                        let last = pages.at(page + 1).as_ptr().wrapping_sub(1);
                        // SAFETY: this thread took the page.
                        let found = unsafe { last.replace(1) };
                        assert_eq!(found, 0, "no other thread has it");
                        // SAFETY: as above.
                        unsafe { last.write(0) };
                        pages.keep(page, 1);
                    }
                    if thread == 0 {
                        pages.retry(2, |_, _| false);
                    }
                }
            });
        }
    });
    assert_eq!(shared.0.kept.bytes(), PAGES * PAGE);
    let run = shared.0.retry(usize::MAX, |_, _| true);
    assert_eq!(run, [(0, PAGES)]);
}
