//! Draws which slots of a pool hold values: a picture of each heap's segments, before and after a trim.
//!
//! `main.rs` is the command line and the scene, `draw.rs` makes an SVG of snapshots.

mod draw;

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;

use draw::Panel;
use segment_pool::{PoolBox, SegmentPool};

const HELP: &str = "\
Draws which slots of a pool hold values, before and after a trim.

Usage: occupancy [FOLDER]

  FOLDER    where occupancy.svg is written, made if need be (target)
  --help    this text
";

/// 63 of them to a segment of 64 KiB.
type Packet = [u64; 128];

type Boxes = Vec<PoolBox<Packet>>;

static PACKETS: SegmentPool<Packet> = SegmentPool::builder().name("packets").build();

fn main() -> ExitCode {
    match parse_arguments(std::env::args_os().skip(1)) {
        Ok(None) => exit_code(print(HELP)),
        Ok(Some(folder)) => exit_code(draw_into(&folder)),
        Err(problem) => {
            complain(&format!("{problem}; --help says what is possible"));
            ExitCode::from(2)
        }
    }
}

/// The folder, or none if help is wanted.
fn parse_arguments(arguments: impl Iterator<Item = OsString>) -> Result<Option<PathBuf>, String> {
    let mut folder = None;
    for argument in arguments {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some(option) if option.starts_with('-') => {
                return Err(format!("unknown option {option}"));
            }
            Some("") => return Err("the folder has no name".to_string()),
            _ if folder.is_some() => return Err("only one folder is wanted".to_string()),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    Ok(Some(folder.unwrap_or_else(|| PathBuf::from("target"))))
}

/// True if the picture was written.
fn draw_into(folder: &Path) -> bool {
    let file = folder.join("occupancy.svg");
    let panels = act();
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, draw::svg(&panels)));
    if let Err(error) = written {
        complain(&format!("{}: {error}", file.display()));
        return false;
    }
    let told: Vec<_> = panels
        .iter()
        .map(|panel| format!("{}\n{}\n\n", panel.title, panel.snapshot))
        .collect();
    print(&format!(
        "{}{}\n\n{} shows it\n",
        told.concat(),
        PACKETS.report(),
        file.display()
    ))
}

/// Three threads fill their heaps: this one, one that runs on, and one that ends. Then this one drops some of its values
/// and of the ended thread's, and has another thread drop some.
fn act() -> [Panel; 2] {
    let (filled, drawn) = (Barrier::new(2), Barrier::new(2));
    let mut random = Random(2);
    let mut mine = fill(63 * 16);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _kept = fill(63 * 9);
            filled.wait();
            drawn.wait();
        });
        filled.wait();
        let ended = scope.spawn(|| fill(63 * 12)).join();
        let mut ended = ended.unwrap_or_default();
        keep_some(&mut ended, &mut random);
        keep_some(&mut mine, &mut random);
        let passed_on = mine.split_off(mine.len() - mine.len() / 3);
        scope.spawn(|| drop(passed_on)).join().unwrap_or_default();
        let before = Panel::now("Before trim()", &PACKETS);
        PACKETS.trim();
        let after = Panel::now("After trim()", &PACKETS);
        drawn.wait();
        [before, after]
    })
}

fn fill(packets: u64) -> Boxes {
    (0..packets).map(|n| PACKETS.alloc([n; 128])).collect()
}

/// Drops the most of the first half and a few of the second, here and there.
fn keep_some(boxes: &mut Boxes, random: &mut Random) {
    let half = boxes.len() / 2;
    let mut index = 0;
    boxes.retain(|_| {
        index += 1;
        let dropped_in_100 = if index < half { 99 } else { 35 };
        random.below(100) >= dropped_in_100
    });
}

/// The same picture each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// False if there is nowhere to write to. A reader that has seen enough is no problem.
fn print(text: &str) -> bool {
    let written = io::stdout().write_all(text.as_bytes());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("cannot write: {error}"));
            false
        }
        _ => true,
    }
}

fn complain(problem: &str) {
    let _ = writeln!(io::stderr(), "occupancy: {problem}");
}

fn exit_code(success: bool) -> ExitCode {
    if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
