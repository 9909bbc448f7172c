//! A line on stderr with the percentage that has been read.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that all threads have read so far.
pub(crate) struct Progress {
    read: AtomicU64,
    /// `None` hides the line.
    all: Option<u64>,
}

/// A file whose reads are counted.
pub(crate) struct Watched<'a, R> {
    file: R,
    progress: &'a Progress,
}

impl Progress {
    pub(crate) fn new(all: u64) -> Self {
        let read = AtomicU64::new(0);
        Self {
            read,
            all: Some(all.max(1)),
        }
    }

    pub(crate) fn hidden() -> Self {
        Self {
            read: AtomicU64::new(0),
            all: None,
        }
    }

    pub(crate) fn watch<R: Read>(&self, file: R) -> Watched<'_, R> {
        Watched {
            file,
            progress: self,
        }
    }

    fn add(&self, bytes: u64) {
        if let Some(all) = self.all {
            // Relaxed: only the number matters.
            let before = self.read.fetch_add(bytes, Ordering::Relaxed);
            let [before, now] = [before, before + bytes].map(|read| read * 100 / all);
            if now > before {
                say(&format!("\r{now:3} %"));
            }
        }
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        if self.all.is_some() {
            say("\r     \r");
        }
    }
}

/// Ignores a closed stderr.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.progress.add(bytes as u64);
        Ok(bytes)
    }
}
