//! The pipeline. Every line is allocated on one thread and dropped on another, which is what `PoolBox` is for.
//!
//! ```text
//! files --> parser threads --[ pointers to lines, one bounded channel ]--> counting threads --> Tally
//! ```
//!
//! All of it is generic over the pointer, so that `Box` and `PoolBox` do exactly the same work.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::num::NonZero;
use std::ops::Deref;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender};
use segment_pool::PoolBox;

use crate::input::Failure;
use crate::progress::Progress;

/// Lines that may wait between parsers and counters.
const QUEUE: usize = 4096;

/// Most lines of source and prose fit, and a `Line` stays at 128 bytes.
const SHORT: usize = 126;

/// One line of a file, undecoded: in place, or on its own if it is long.
pub(crate) enum Line {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// All the pipeline asks of an owning pointer.
pub(crate) trait Pointer: Deref<Target = Line> + Send {
    fn new(line: Line) -> Self;
}

/// What was counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) lines: u64,
    pub(crate) words: HashMap<Box<str>, u64>,
    pub(crate) failures: Vec<Failure>,
    /// Of the default pool, in use when the parsers were done: the most that one of them saw.
    pub(crate) segments: u64,
}

impl Line {
    fn new(text: &[u8]) -> Line {
        if text.len() > SHORT {
            return Line::Long(text.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text);
        let len = text.len() as u8; // at most SHORT
        Line::Short { len, bytes }
    }

    fn text(&self) -> &[u8] {
        match self {
            Line::Short { len, bytes } => &bytes[..usize::from(*len)],
            Line::Long(bytes) => bytes,
        }
    }
}

impl Pointer for Box<Line> {
    fn new(line: Line) -> Self {
        Box::new(line)
    }
}

impl Pointer for PoolBox<Line> {
    fn new(line: Line) -> Self {
        PoolBox::new(line)
    }
}

/// Counts the words of all files. A file that fails half-way is counted up to there and named in the result.
pub(crate) fn run<P: Pointer>(files: &[PathBuf], progress: &Progress) -> Tally {
    let (send, receive) = crossbeam_channel::bounded::<P>(QUEUE);
    let next = AtomicUsize::new(0);
    let mut total = Tally::default();
    thread::scope(|scope| {
        let (mut parsers, mut counters) = (Vec::new(), Vec::new());
        for _ in 0..threads_of_each_sort() {
            let (send, receive, next) = (send.clone(), receive.clone(), &next);
            parsers.push(scope.spawn(move || parse_files(files, next, &send, progress)));
            counters.push(scope.spawn(move || count_lines(&receive)));
        }
        drop((send, receive)); // the channel ends with its last sender
        let threads = parsers.into_iter().chain(counters);
        threads.map(join).for_each(|part| total.add(part));
    });
    total
}

/// Half the cores parse, half count.
fn threads_of_each_sort() -> usize {
    let cores = thread::available_parallelism().map_or(2, NonZero::get);
    (cores / 2).clamp(1, 8)
}

/// Waits until the thread is gone. The end of a scope alone waits only for its closure: not for the destructors of its
/// thread-locals, in which a thread hands back what it holds of a pool.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|cause| panic::resume_unwind(cause))
}

/// A parser thread: takes files until there are no more.
fn parse_files<P: Pointer>(
    files: &[PathBuf],
    next: &AtomicUsize,
    send: &Sender<P>,
    progress: &Progress,
) -> Tally {
    let mut tally = Tally::default();
    // Relaxed: the number alone matters, the files were there before the threads.
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        if let Err(error) = parse_file(path, send, progress) {
            let path = path.clone();
            tally.failures.push(Failure { path, error });
        }
    }
    tally.segments = segment_pool::stats().segments;
    tally
}

fn parse_file<P: Pointer>(path: &Path, send: &Sender<P>, progress: &Progress) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 16, progress.watch(File::open(path)?));
    let mut text = Vec::new();
    while file.read_until(b'\n', &mut text)? > 0 {
        if send.send(P::new(Line::new(&text))).is_err() {
            break; // all counters have panicked; `join` will say so
        }
        text.clear();
    }
    Ok(())
}

/// A counting thread: counts and drops what the parsers made.
fn count_lines<P: Pointer>(receive: &Receiver<P>) -> Tally {
    let mut tally = Tally::default();
    for line in receive {
        tally.lines += 1;
        for word in words(&String::from_utf8_lossy(line.text())) {
            tally.count(word, 1);
        }
    }
    tally
}

/// The runs of letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

impl Tally {
    fn count(&mut self, word: &str, times: u64) {
        match self.words.get_mut(word) {
            Some(count) => *count += times,
            None => drop(self.words.insert(word.into(), times)),
        }
    }

    fn add(&mut self, part: Tally) {
        self.lines += part.lines;
        self.segments = self.segments.max(part.segments);
        self.failures.extend(part.failures);
        for (word, times) in &part.words {
            self.count(word, *times);
        }
    }

    /// The `top` most frequent words; equally frequent ones by the alphabet.
    pub(crate) fn most_frequent(&self, top: usize) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self.words.iter().map(|(w, n)| (&**w, *n)).collect();
        words.sort_unstable_by_key(|&(word, count)| (Reverse(count), word));
        words.truncate(top);
        words
    }

    /// Whether two runs counted the same.
    pub(crate) fn agrees_with(&self, other: &Tally) -> bool {
        self.lines == other.lines && self.words == other.words
    }
}
