//! What a handle passes on to its value, each thing once with a value that would show the difference; and what errors,
//! pools and builders say of themselves.

#![cfg(not(segment_pool_loom))]

use std::any::Any;
use std::cmp::Ordering;
use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use segment_pool::{AllocErrorKind, PoolArc, PoolBox, SegmentPool, coerce};

/// Its comparisons are its own, and do not agree with each other.
#[derive(Debug)]
struct Contrary;

impl PartialEq for Contrary {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl PartialOrd for Contrary {
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
    fn lt(&self, _: &Self) -> bool {
        true
    }
    fn le(&self, _: &Self) -> bool {
        false
    }
    fn gt(&self, _: &Self) -> bool {
        true
    }
    fn ge(&self, _: &Self) -> bool {
        false
    }
}

#[test]
fn comparisons_are_the_values_own() {
    let (a, b) = (PoolBox::new(Contrary), PoolBox::new(Contrary));
    assert_eq!(a.partial_cmp(&b), None);
    assert_eq!((a < b, a <= b, a > b, a >= b), (true, false, true, false));
    let (a, b) = (PoolArc::new(Contrary), PoolArc::new(Contrary));
    assert_eq!(a.partial_cmp(&b), None);
    assert_eq!((a < b, a <= b, a > b, a >= b), (true, false, true, false));
}

/// Counts down, and says something else about its length than the default would.
struct Steps(u32);

impl Iterator for Steps {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        self.nth(0)
    }
    fn nth(&mut self, n: usize) -> Option<u32> {
        self.0 = self.0.checked_sub(n as u32 + 1)?;
        Some(self.0)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0 as usize, Some(1000))
    }
}

impl DoubleEndedIterator for Steps {
    fn next_back(&mut self) -> Option<u32> {
        Some(7)
    }
    fn nth_back(&mut self, n: usize) -> Option<u32> {
        Some(n as u32 + 70)
    }
}

#[test]
fn iterators_keep_their_own_shortcuts() {
    let mut steps = PoolBox::new(Steps(10));
    assert_eq!(steps.size_hint(), (10, Some(1000)));
    assert_eq!((steps.nth(3), steps.next()), (Some(6), Some(5)));
    assert_eq!((steps.next_back(), steps.nth_back(2)), (Some(7), Some(72)));
}

#[cfg(unix)]
#[test]
fn file_descriptors_are_the_files_own() {
    use std::os::fd::{AsFd, AsRawFd};
    let file = PoolBox::new(std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap());
    assert_eq!(file.as_raw_fd(), (*file).as_raw_fd());
    assert_eq!(file.as_fd().as_raw_fd(), file.as_raw_fd());
}

/// An error with distinct answers for every method.
#[derive(Debug)]
struct Old;

impl fmt::Display for Old {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("old")
    }
}

impl Error for Old {
    fn description(&self) -> &str {
        "described"
    }
    fn cause(&self) -> Option<&dyn Error> {
        Some(self)
    }
}

#[test]
#[expect(deprecated, reason = "the value may still have them")]
fn errors_answer_for_themselves() {
    let boxed = PoolBox::new(Old);
    assert_eq!(Error::description(&boxed), "described");
    assert!(Error::cause(&boxed).is_some() && Error::source(&boxed).is_none());
    let said = PoolBox::<dyn Error>::from_message("said");
    assert_eq!(format!("{said} {said:?}"), "said \"said\"");
}

#[test]
fn text_moves_to_the_standard_librarys_shared_pointers() {
    let (rc, arc) = (
        Rc::<str>::from(PoolBox::from("text")),
        Arc::<str>::from(PoolBox::from("text")),
    );
    assert_eq!((&*rc, &*arc), ("text", "text"));
}

#[test]
fn a_shared_value_of_another_type_comes_back() {
    let any = coerce!(PoolArc::new(7) => dyn Any + Send + Sync);
    let any = any.downcast::<String>().unwrap_err();
    assert_eq!(*any.downcast::<i32>().unwrap(), 7);
}

#[test]
fn an_error_names_the_type_and_the_reason() {
    let pool = SegmentPool::<u64>::builder().max_segments(1).build();
    let mut boxes = Vec::new();
    let refused = loop {
        match pool.try_alloc(7) {
            Ok(boxed) => boxes.push(boxed),
            Err(refused) => break refused,
        }
    };
    assert_eq!(
        refused.to_string(),
        format!(
            "no slot for a value of type u64: the pool u64 has reached its limit: {0} values of at most {0} are in use",
            boxes.len()
        )
    );
    assert!(format!("{refused:?}").contains("LimitReached"));
    assert_eq!(AllocErrorKind::from(refused), AllocErrorKind::LimitReached);
    for (kind, word) in [
        (AllocErrorKind::OutOfMemory, "memory"),
        (AllocErrorKind::CapacityOverflow, "overflows"),
        (AllocErrorKind::LimitReached, "limit"),
        (AllocErrorKind::TimedOut, "time"),
        (AllocErrorKind::WaitsEnded, "nobody waits"),
    ] {
        assert!(kind.to_string().contains(word), "{kind}");
    }
}

#[test]
fn a_builder_shows_the_least_of_the_limits_it_was_given() {
    let builder = SegmentPool::<u64>::builder().max_bytes(200 << 10);
    let builder = builder.max_segments(9).max_segments(7).max_bytes(300 << 10);
    assert!(format!("{builder:?}").ends_with("max_segments: 7, max_bytes: 204800 }"));
    assert!(format!("{:?}", builder.build()).contains("allocations: 0"));
}
