//! Ranges that the system did not take back, kept for later mappings of their size.
//!
//! Linux refuses an `munmap` that would split a mapping while the process has as many mappings as it may
//! (`vm.max_map_count`, 65530 if nobody changes it): of values with dedicated mappings, for instance, when every other
//! one of 100 000 is dropped. The pages go back all the same, the addresses do not. Such a range holds its own record, in
//! its first bytes, for at that limit the system may refuse memory for a table, too; so it costs a page.
//!
//! ```text
//! first ---> | next, bytes | zeros ... |       keep    one is pushed
//!               |                              take    a mapping of this size finds one among those kept last
//!               v                              retry   a mapping went, so there may be room to split: two are unmapped
//!            | next, bytes | zeros ... |               with it, and all by `trim`, neighbours as one range
//! ```
//!
//! A range whose neighbours are gone is at the end of its mapping, or is all of it, and no limit keeps it. A run of
//! neighbours is unmapped whole for that reason: each alone might lie between two of them.
//!
//! The stack has no ABA problem, for nobody takes one range off it: a thread takes all, has them to itself, and puts the
//! rest back. Another thread that comes meanwhile finds none, which costs it a fresh mapping; when the system refuses that,
//! it looks again. No thread waits for another, and a child of `fork` loses what a thread had in hand, no more.

use core::mem;
use core::ptr::{self, NonNull};

use crate::ground::sync::{AtomicPtr, AtomicUsize, Guess, Ordering, const_fn, yield_now};

/// How many ranges a mapping looks at before it asks the system.
const LOOKS: usize = 32;
/// How often a mapping that the system refused looks for what another thread has in hand.
const PATIENCE: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Kept {
    first: AtomicPtr<Range>,
    /// In all ranges, also those that a thread has in hand.
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
        self.bytes.load(Ordering::Relaxed) // Relaxed: a number
    }

    /// Keeps a range.
    ///
    /// # Safety
    ///
    /// The range is mapped, whole pages, and reads as zero; the caller gives it up.
    pub(crate) unsafe fn keep(&self, memory: NonNull<u8>, bytes: usize) {
        let range = memory.cast::<Range>();
        // SAFETY: guaranteed by the caller; a page is larger than a record, and as much aligned.
        unsafe { range.write(Range { next: None, bytes }) };
        // Relaxed: a number.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.push(range);
    }

    fn push(&self, mut range: NonNull<Range>) {
        let mut first = self.first.guess();
        loop {
            // SAFETY: until the push succeeds the range is this thread's alone.
            unsafe { range.as_mut() }.next = NonNull::new(first);
            // Release: the record and the range, to `take_all`. Relaxed on failure: only another guess.
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

    /// A range of exactly so many bytes, all zero, aligned as asked, of those kept last.
    pub(crate) fn take(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.take_of(LOOKS, bytes, align).0
    }

    /// The same of all, for a mapping that the system refused.
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

    /// A range, if one of the first `most` fits; also how many were looked at.
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
        // SAFETY: out of the stack, so it is this thread's alone.
        unsafe { range.write_bytes(0, 1) };
        range.cast()
    }

    /// Unmaps at most so many ranges, those kept last, as far as `unmap` succeeds. Neighbours among them go as one.
    ///
    /// # Safety
    ///
    /// `unmap` is told of mapped ranges that nobody uses. It returns true if it unmapped the range, and otherwise leaves it
    /// as it is.
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
        // Relaxed: a number.
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn take_all(&self) -> List {
        // Acquire: from the Release in `push` and `put`, the records, and what was done in the ranges before.
        let first = self.first.swap(ptr::null_mut(), Ordering::Acquire);
        List {
            first: NonNull::new(first),
        }
    }

    /// Puts a list back, however long. The ranges that came meanwhile, mostly few, join it first.
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
    // SAFETY: the callers have the range in hand, so its record is theirs to read.
    unsafe { range.as_ref() }.bytes
}

/// Ranges that one thread has in hand.
struct List {
    first: Option<NonNull<Range>>,
}

/// Neighbours.
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
        // SAFETY: a range in hand is nobody else's.
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

    /// The first range and those that follow it without a gap.
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

    /// In the order of addresses, or the reverse: halves in the other order are merged from their ends.
    fn sorted(mut self, ascending: bool) -> Self {
        let (mut one, mut other) = (Self::new(), Self::new());
        while let Some(range) = self.pop() {
            one.push(range);
            mem::swap(&mut one, &mut other);
        }
        if one.first.is_none() {
            return other; // of one range, or none
        }
        let (mut one, mut other) = (one.sorted(!ascending), other.sorted(!ascending));
        while let Some(range) = Self::pop_last(&mut one, &mut other, ascending) {
            self.push(range);
        }
        self
    }

    /// Of the first ranges of two lists, the one that comes later in this order.
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
