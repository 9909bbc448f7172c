//! Which files to read. Each is read through once before anything is timed: that finds those that cannot be read,
//! adds up the bytes for the line of progress, and leaves the files in the system's cache for all runs alike.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The files that can be read, and what became of the others.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) failures: Vec<Failure>,
}

/// A file or folder that could not be read, and why.
pub(crate) struct Failure {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl Input {
    /// Reads every file once.
    pub(crate) fn survey(files: Vec<PathBuf>) -> Input {
        let mut input = Input::default();
        for path in files {
            match read_through(&path) {
                Ok(bytes) => {
                    input.bytes += bytes;
                    input.files.push(path);
                }
                Err(error) => input.failures.push(Failure { path, error }),
            }
        }
        input
    }

    /// All text files below the current folder.
    pub(crate) fn below_current_folder() -> Input {
        let (mut files, mut failures) = (Vec::new(), Vec::new());
        walk(Path::new("."), &mut files, &mut failures);
        let mut input = Input::survey(files);
        failures.append(&mut input.failures);
        Input { failures, ..input }
    }
}

/// The number of bytes in a file. Pipes and the like are refused: they cannot be read twice.
fn read_through(path: &Path) -> io::Result<u64> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    io::copy(&mut File::open(path)?, &mut io::sink())
}

/// Collects text files in the order of their names. Symbolic links are not followed: they could lead in circles.
fn walk(folder: &Path, files: &mut Vec<PathBuf>, failures: &mut Vec<Failure>) {
    let entries = match sorted_entries(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let path = folder.to_path_buf();
            return failures.push(Failure { path, error });
        }
    };
    for (path, kind) in entries {
        if kind.is_dir() && !is_skipped(&path) {
            walk(&path, files, failures);
        } else if kind.is_file() && is_text(&path) {
            files.push(path);
        }
    }
}

fn sorted_entries(folder: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let mut entries = fs::read_dir(folder)?
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

fn is_skipped(folder: &Path) -> bool {
    folder
        .file_name()
        .is_some_and(|name| name == "target" || name.as_encoded_bytes().starts_with(b"."))
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("rs" | "md" | "toml"))
}
