//! Measures the resident bytes per value. A child process measures each kind, so that no earlier allocation counts.

use std::cell::Cell;
use std::env;
use std::fs;
use std::hint::black_box;
use std::process::Command;

use crate::workloads::{Boxed, Pointer, Pooled};

/// The argument that selects the measurement of a child process.
pub(crate) const OPTION: &str = "--bytes-of";

/// The number of values that a child process allocates.
const MADE: usize = 1_000_000;

/// The measurements of `Box` and of `PoolBox`.
type Counters = [fn() -> Option<f64>; 2];

/// The sizes of the values, each with its measurements.
const SIZES: [(usize, Counters); 2] = [
    (24, [bytes_of::<Boxed, 2>, bytes_of::<Pooled, 2>]),
    (64, [bytes_of::<Boxed, 7>, bytes_of::<Pooled, 7>]),
];

/// The resident bytes per value of one size: `Box` and `PoolBox`.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) size: usize,
    pub(crate) resident: [f64; 2],
}

/// Returns an empty list if the system does not report resident memory.
pub(crate) fn measure() -> Vec<Bytes> {
    let rows = SIZES.iter().enumerate().map(|(row, (size, _))| {
        let [boxed, pooled] = [0, 1].map(|kind| Question { row, kind }.ask());
        Some(Bytes {
            size: *size,
            resident: [boxed?, pooled?],
        })
    });
    rows.flatten().collect()
}

/// A place in `SIZES`.
#[derive(Debug)]
pub(crate) struct Question {
    row: usize,
    kind: usize,
}

impl Question {
    pub(crate) fn parse(row: &str, kind: &str) -> Option<Self> {
        let row = row.parse().ok().filter(|row| *row < SIZES.len())?;
        let kind = kind.parse().ok().filter(|kind| *kind < 2)?;
        Some(Self { row, kind })
    }

    fn ask(self) -> Option<f64> {
        let question = [OPTION, &self.row.to_string(), &self.kind.to_string()];
        let child = Command::new(env::current_exe().ok()?)
            .args(question)
            .output();
        std::str::from_utf8(&child.ok()?.stdout).ok()?.parse().ok()
    }

    /// Returns the bytes per value as text for `ask`. The text is empty if the system does not report resident memory.
    pub(crate) fn answer(self) -> String {
        let (_, count) = SIZES[self.row];
        count[self.kind]().map_or_else(String::new, |bytes| bytes.to_string())
    }
}

/// A node of a linked list: the values hold each other, and no other memory is needed.
struct Link<P: Pointer, const WORDS: usize> {
    next: Cell<Option<P::To<Self>>>,
    _data: [usize; WORDS],
}

fn bytes_of<P: Pointer, const WORDS: usize>() -> Option<f64> {
    let before = resident_bytes()?;
    let mut list = None;
    for number in 0..MADE {
        list = Some(P::new(Link::<P, WORDS> {
            next: Cell::new(list),
            _data: [number; WORDS],
        }));
    }
    black_box(&list);
    let after = resident_bytes();
    // One by one: the recursive drop of a list this long would overflow the stack.
    while let Some(link) = list {
        list = link.next.take();
    }
    Some((after? - before) as f64 / MADE as f64)
}

/// The resident memory of this process, on Linux.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_as_large_as_the_table_says() {
        assert_eq!(size_of::<Link<Boxed, 2>>(), size_of::<[usize; 3]>());
        assert_eq!(size_of::<Link<Pooled, 7>>(), size_of::<[usize; 8]>());
    }

    #[test]
    fn a_value_takes_as_many_bytes_as_it_has_at_least() {
        for kind in 0..2 {
            let answer = Question { row: 1, kind }.answer();
            if let Ok(bytes) = answer.parse::<f64>() {
                assert!(bytes > 32.0 && bytes < 256.0, "{bytes}"); // a value has 64 bytes on 64-bit systems
            }
        }
    }

    #[test]
    fn questions_that_there_are_not_are_refused() {
        assert!(Question::parse("0", "1").is_some());
        for (row, kind) in [("2", "0"), ("0", "2"), ("-1", "0"), ("", "")] {
            assert!(Question::parse(row, kind).is_none());
        }
    }
}
