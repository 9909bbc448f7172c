//! Ranges that the system did not unmap, kept for later mappings of the same size.
//!
//! Linux fails an `munmap` that would split a mapping if the process has as many mappings as it may
//! (`vm.max_map_count`, 65530 by default). It happens, for instance, if every other one of 100 000 values
//! with dedicated mappings is dropped. The pages are returned all the same; the addresses are not. Such a
//! range stores its own record in its first bytes, so it costs one page. A separate table is not possible: at
//! that limit the system may have no memory for one.
//!
//! ```text
//! first ---> | next, bytes | zeros ... |     keep    pushes a range
//!               |                            take    a mapping of this size searches the ranges kept last
//!               v                            retry   after an unmapping there may be room for a split: two ranges are
//!            | next, bytes | zeros ... |             unmapped with each, and all by `trim`; adjacent ones as one range
//! ```
//!
//! A range whose neighbours are unmapped is at the end of its mapping or is all of it, so no limit prevents
//! its unmapping. For the same reason adjacent ranges are unmapped as one: each alone might lie between two
//! others.
//!
//! The stack has no ABA problem, because no thread pops a single range: a thread takes all, owns them
//! exclusively, and puts the rest back. Another thread that comes meanwhile finds none and makes a fresh
//! mapping. If the system has no memory for it, the thread searches again. No thread waits for another. A
//! child of `fork` loses only the ranges that a thread had taken.
//!
//! Any thread may use the stack. Always holds: the record of a range is written by the thread that owns the
//! range, and all bytes of a kept range behind its record are zero.

use core::mem;
use core::ptr::{self, NonNull};

use crate::ground::sync::{AtomicPtr, AtomicUsize, Guess, Ordering, const_fn, yield_now};

/// Ranges that a mapping searches before it calls the system.
const LOOKS: usize = 32;
/// How often a mapping that failed searches for ranges that another thread has taken.
const PATIENCE: usize = 16;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Kept {
    first: AtomicPtr<Range>,
    /// Bytes of all ranges, including those that a thread has taken.
    bytes: AtomicUsize,
}

/// The record of a range, at its start.
#[derive(Debug)]
struct Range {
    next: Option<NonNull<Range>>,
    bytes: usize,
}

impl Kept {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                first: AtomicPtr::new(ptr::null_mut()),
                bytes: AtomicUsize::new(0),
            }
        }
    }

    /// Bytes of address space that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) // Relaxed: only a number
    }

    /// Keeps a range.
    ///
    /// # Safety
    ///
    /// The range is mapped, consists of whole pages, and reads as zero. The caller gives it up.
    pub(crate) unsafe fn keep(&self, memory: NonNull<u8>, bytes: usize) {
        let range = memory.cast::<Range>();
        // SAFETY: guaranteed by the caller; a page is larger than a record, and at least as aligned.
        unsafe { range.write(Range { next: None, bytes }) };
        // Relaxed: only a number.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.push(range);
    }

    fn push(&self, mut range: NonNull<Range>) {
        let mut first = self.first.guess();
        loop {
            // SAFETY: until the push succeeds, this thread owns the range exclusively.
            unsafe { range.as_mut() }.next = NonNull::new(first);
            // Release: the record and the range, to `take_all`. Relaxed on failure: the value is only another
            // guess.
            let pushed = self.first.compare_exchange_weak(
                first,
                range.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match pushed {
                Ok(_) => return,
                Err(current) => first = current,
            }
        }
    }

    /// Takes a range of exactly `bytes` bytes, all zero, with this alignment, from the ranges kept last.
    pub(crate) fn take(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.take_of(LOOKS, bytes, align).0
    }

    /// As [`take`](Self::take), from all ranges. For a mapping that failed.
    pub(crate) fn take_at_last(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        for _ in 0..PATIENCE {
            let (taken, looked) = self.take_of(usize::MAX, bytes, align);
            if taken.is_some() || looked > 0 || self.bytes() == 0 {
                return taken;
            }
            yield_now();
        }
        None
    }

    /// Takes a range, if one of the first `most` fits. Also returns how many were searched.
    fn take_of(&self, most: usize, bytes: usize, align: usize) -> (Option<NonNull<u8>>, usize) {
        let fits =
            |range: NonNull<Range>| bytes_of(range) == bytes && range.addr().get() % align == 0;
        let (mut rest, mut passed) = (self.take_all(), List::new());
        let (mut found, mut looked) = (None, 0);
        while found.is_none() && looked < most {
            let Some(range) = rest.pop() else { break };
            looked += 1;
            if fits(range) {
                found = Some(range);
            } else {
                passed.push(range);
            }
        }
        rest.push_all(passed);
        self.put(rest);
        (found.map(|range| self.reuse(range)), looked)
    }

    fn reuse(&self, range: NonNull<Range>) -> NonNull<u8> {
        self.uncount(bytes_of(range));
        // SAFETY: the range was taken off the stack, so this thread owns it exclusively.
        unsafe { range.write_bytes(0, 1) };
        range.cast()
    }

    /// Tries to unmap at most `most` ranges, those kept last. Adjacent ones are unmapped as one.
    ///
    /// # Safety
    ///
    /// `unmap` gets mapped ranges that no thread uses. It returns true if it unmapped the range, and
    /// otherwise leaves it unchanged.
    pub(crate) unsafe fn retry(&self, most: usize, unmap: impl Fn(NonNull<u8>, usize) -> bool) {
        let (mut rest, mut tried) = (self.take_all(), List::new());
        let ranges = core::iter::from_fn(|| rest.pop()).take(most);
        ranges.for_each(|range| tried.push(range));
        let mut tried = tried.sorted(true);
        while let Some(run) = tried.pop_run() {
            if unmap(run.start, run.bytes) {
                self.uncount(run.bytes);
            } else {
                rest.push_all(run.ranges);
            }
        }
        self.put(rest);
    }

    fn uncount(&self, bytes: usize) {
        // Relaxed: only a number.
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn take_all(&self) -> List {
        // Acquire: the records, and earlier accesses to the ranges, from the Release in `push` and `put`.
        let first = self.first.swap(ptr::null_mut(), Ordering::Acquire);
        List {
            first: NonNull::new(first),
        }
    }

    /// Puts a list back, whatever its length. Ranges that were pushed meanwhile, usually few, are added to it
    /// first.
    fn put(&self, mut list: List) {
        while let Some(first) = list.first {
            // Release: the records and the ranges, to `take_all`. Relaxed on failure: nothing was read.
            let put = self.first.compare_exchange(
                ptr::null_mut(),
                first.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if put.is_ok() {
                return;
            }
            list.push_all(self.take_all());
        }
    }
}

fn bytes_of(range: NonNull<Range>) -> usize {
    // SAFETY: the callers own the range exclusively, so they may read its record.
    unsafe { range.as_ref() }.bytes
}

/// Ranges that one thread owns.
struct List {
    first: Option<NonNull<Range>>,
}

/// Adjacent ranges.
struct Run {
    ranges: List,
    start: NonNull<u8>,
    bytes: usize,
}

impl List {
    fn new() -> Self {
        Self { first: None }
    }

    fn push(&mut self, mut range: NonNull<Range>) {
        // SAFETY: this thread owns the range exclusively.
        unsafe { range.as_mut() }.next = self.first;
        self.first = Some(range);
    }

    fn pop(&mut self) -> Option<NonNull<Range>> {
        let range = self.first?;
        // SAFETY: as above.
        self.first = unsafe { range.as_ref() }.next;
        Some(range)
    }

    fn push_all(&mut self, mut other: Self) {
        while let Some(range) = other.pop() {
            self.push(range);
        }
    }

    /// Removes the first range and those that follow it without a gap.
    fn pop_run(&mut self) -> Option<Run> {
        let first = self.pop()?;
        let (mut ranges, mut bytes) = (Self::new(), bytes_of(first));
        ranges.push(first);
        while let Some(next) = self.first {
            if next.addr().get() != first.addr().get() + bytes {
                break;
            }
            self.pop();
            ranges.push(next);
            bytes += bytes_of(next);
        }
        Some(Run {
            ranges,
            start: first.cast(),
            bytes,
        })
    }

    /// Sorts by address, ascending or descending: sorts two halves in the other order and merges them from
    /// their ends.
    fn sorted(mut self, ascending: bool) -> Self {
        let (mut one, mut other) = (Self::new(), Self::new());
        while let Some(range) = self.pop() {
            one.push(range);
            mem::swap(&mut one, &mut other);
        }
        if one.first.is_none() {
            return other; // one range, or none
        }
        let (mut one, mut other) = (one.sorted(!ascending), other.sorted(!ascending));
        while let Some(range) = Self::pop_last(&mut one, &mut other, ascending) {
            self.push(range);
        }
        self
    }

    /// Removes the later one, in this order, of the first ranges of two lists.
    fn pop_last(one: &mut Self, other: &mut Self, ascending: bool) -> Option<NonNull<Range>> {
        let from_one = match (one.first, other.first) {
            (Some(a), Some(b)) => (a > b) == ascending,
            (a, _) => a.is_some(),
        };
        if from_one { one.pop() } else { other.pop() }
    }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests;
