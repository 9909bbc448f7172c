//! Where the built examples are.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `cargo test` builds examples along with tests, next to the folder of the test's own binary. `cargo test --test` does
/// not, and may find none or an old one.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources =
        [package.join("src"), package.join("examples")].map(|folder| newest(&folder, name));
    let built = example.metadata().and_then(|file| file.modified()).ok();
    assert!(
        built >= sources.into_iter().max(),
        "{} is missing or old: run all of `cargo test`, or `cargo build --example {name}` first",
        example.display()
    );
    example
}

/// When a source file in the folder was last changed; sample input, the library's own tests, and other examples than the
/// one of this name do not count.
fn newest(folder: &Path, name: &str) -> SystemTime {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !is_another_example(path, name) && !is_of_tests(path));
    let times = entries.filter_map(|path| match path.extension() {
        _ if path.is_dir() => Some(newest(&path, name)),
        Some(extension) if extension == "rs" => path.metadata().unwrap().modified().ok(),
        _ => None,
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn is_another_example(path: &Path, name: &str) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    folder.is_some_and(|folder| folder == "examples")
        && path.file_stem().is_some_and(|stem| stem != name)
}

fn is_of_tests(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| stem == "tests" || stem == "models")
}
