//! Binary trees, after the benchmarks game: many small nodes made and dropped, once as `Box`, once as `PoolBox`.
//!
//! ```sh
//! cargo run --release --bin binary_trees -- 18
//! ```
//!
//! A tree one deeper than asked is made, counted and dropped; one as deep as asked lives from then on; meanwhile many
//! of each second depth are made, counted and dropped. All of it is generic over the pointer, so that both kinds do the
//! same work; they run in turns, and what they counted must be the same.

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::ops::{Deref, RangeInclusive};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use segment_pool::PoolBox;

const HELP: &str = "\
Makes, counts and drops binary trees, with std's Box and with PoolBox, and compares the two.

Usage: binary_trees [DEPTH]

  DEPTH     of the deepest lasting tree, 4 to 24 (16); it has 2^(DEPTH+1) - 1 nodes
  --help    this text
";

const DEPTHS: RangeInclusive<u32> = 4..=24;
const SHALLOWEST: u32 = 4;
/// Runs of each kind, in turns: a median of three forgives one disturbance.
const ROUNDS: usize = 3;

/// All the trees ask of an owning pointer.
trait Pointer: Deref<Target = Node<Self>> + Sized {
    fn new(node: Node<Self>) -> Self;
}

/// Two words: a node has two children or none.
struct Node<P>(Option<[P; 2]>);

/// A type that contains itself needs a name.
struct Boxed(Box<Node<Boxed>>);
struct Pooled(PoolBox<Node<Pooled>>);

impl Pointer for Boxed {
    fn new(node: Node<Self>) -> Self {
        Self(Box::new(node))
    }
}

impl Deref for Boxed {
    type Target = Node<Self>;

    fn deref(&self) -> &Node<Self> {
        &self.0
    }
}

impl Pointer for Pooled {
    fn new(node: Node<Self>) -> Self {
        Self(PoolBox::new(node))
    }
}

impl Deref for Pooled {
    type Target = Node<Self>;

    fn deref(&self) -> &Node<Self> {
        &self.0
    }
}

fn tree<P: Pointer>(depth: u32) -> P {
    P::new(Node(match depth {
        0 => None,
        _ => Some([tree(depth - 1), tree(depth - 1)]),
    }))
}

/// The nodes of a tree.
fn count<P: Pointer>(tree: &P) -> u64 {
    match &tree.0 {
        None => 1,
        Some([left, right]) => 1 + count(left) + count(right),
    }
}

/// What was counted: a tree, or many of one depth.
#[derive(Debug, PartialEq)]
enum Row {
    Stretch { depth: u32, nodes: u64 },
    Many { trees: u64, depth: u32, nodes: u64 },
    LongLived { depth: u32, nodes: u64 },
}

fn all_trees<P: Pointer>(depth: u32) -> Vec<Row> {
    let nodes = count(&tree::<P>(depth + 1));
    let mut rows = vec![Row::Stretch {
        depth: depth + 1,
        nodes,
    }];
    let long_lived = tree::<P>(depth);
    rows.extend((SHALLOWEST..=depth).step_by(2).map(|shallow| {
        let trees = 1 << (depth - shallow + SHALLOWEST);
        let nodes = (0..trees).map(|_| count(&tree::<P>(shallow))).sum();
        Row::Many {
            trees,
            depth: shallow,
            nodes,
        }
    }));
    let nodes = count(&long_lived);
    rows.push(Row::LongLived { depth, nodes });
    rows
}

fn nodes_of(row: &Row) -> u64 {
    match row {
        Row::Stretch { nodes, .. } | Row::Many { nodes, .. } | Row::LongLived { nodes, .. } => {
            *nodes
        }
    }
}

/// What came out of all rounds.
struct Comparison {
    rows: Vec<Row>,
    boxed: Vec<Duration>,
    pooled: Vec<Duration>,
    agree: bool,
}

/// Runs both kinds in turns, so that what else the machine does meets both.
fn compare(depth: u32) -> Comparison {
    let mut result = Comparison {
        rows: Vec::new(),
        boxed: Vec::new(),
        pooled: Vec::new(),
        agree: true,
    };
    for _ in 0..ROUNDS {
        let boxed = timed(&mut result.boxed, || all_trees::<Boxed>(depth));
        let pooled = timed(&mut result.pooled, || all_trees::<Pooled>(depth));
        result.agree &= boxed == pooled;
        result.rows = boxed;
    }
    result
}

fn timed<R>(times: &mut Vec<Duration>, work: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = work();
    times.push(start.elapsed());
    result
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn report(out: &mut dyn Write, result: &Comparison) -> io::Result<()> {
    for row in &result.rows {
        match row {
            Row::Stretch { depth, nodes } => {
                writeln!(out, "stretch tree of depth {depth}\t check: {nodes}")
            }
            Row::Many {
                trees,
                depth,
                nodes,
            } => writeln!(out, "{trees}\t trees of depth {depth}\t check: {nodes}"),
            Row::LongLived { depth, nodes } => {
                writeln!(out, "long lived tree of depth {depth}\t check: {nodes}")
            }
        }?;
    }
    report_speed(out, result)
}

fn report_speed(out: &mut dyn Write, result: &Comparison) -> io::Result<()> {
    let nodes: u64 = result.rows.iter().map(nodes_of).sum();
    let [boxed, pooled] = [&result.boxed, &result.pooled].map(|times| median(times).as_secs_f64());
    if cfg!(debug_assertions) {
        writeln!(out, "\n(not optimised: compare with `cargo run --release`)")?;
    }
    let runs = format!("median of {ROUNDS}");
    writeln!(out, "\n{runs:<20}{:>14}{:>14}", "Box", "PoolBox")?;
    writeln!(out, "{:<20}{boxed:>14.3}{pooled:>14.3}", "seconds")?;
    let [boxed_each, pooled_each] = [boxed, pooled].map(|seconds| seconds * 1e9 / nodes as f64);
    let label = "ns per node";
    writeln!(out, "{label:<20}{boxed_each:>14.1}{pooled_each:>14.1}")?;
    let ratio = boxed / pooled.max(f64::MIN_POSITIVE);
    writeln!(out, "{:<20}{ratio:>14.2}", "Box : PoolBox")
}

/// The depth to run, or nothing if help was asked for.
fn parse_arguments(arguments: &[OsString]) -> Result<Option<u32>, String> {
    match arguments {
        [] => Ok(Some(16)),
        [argument] if argument == "-h" || argument == "--help" => Ok(None),
        [argument] => argument
            .to_str()
            .and_then(|depth| depth.parse().ok())
            .filter(|depth| DEPTHS.contains(depth))
            .map(Some)
            .ok_or_else(|| {
                let (least, most) = DEPTHS.into_inner();
                format!("{argument:?} is no depth from {least} to {most}")
            }),
        _ => Err("one depth at most".to_string()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match parse_arguments(&arguments) {
        Ok(None) => print(|out| out.write_all(HELP.as_bytes())),
        Ok(Some(depth)) => {
            let result = compare(depth);
            if !result.agree {
                eprintln!("binary_trees: the two kinds counted differently");
                return ExitCode::FAILURE;
            }
            print(|out| report(out, &result))
        }
        Err(problem) => {
            eprintln!("binary_trees: {problem}; --help says what is possible");
            ExitCode::from(2)
        }
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("binary_trees: stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_count_what_the_formula_says() {
        let expected = vec![
            Row::Stretch {
                depth: 7,
                nodes: 255,
            },
            Row::Many {
                trees: 64,
                depth: 4,
                nodes: 64 * 31,
            },
            Row::Many {
                trees: 16,
                depth: 6,
                nodes: 16 * 127,
            },
            Row::LongLived {
                depth: 6,
                nodes: 127,
            },
        ];
        assert_eq!(all_trees::<Boxed>(6), expected);
        assert_eq!(all_trees::<Pooled>(6), expected);
    }

    #[test]
    fn a_node_is_two_words() {
        assert_eq!(size_of::<Node<Pooled>>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<Node<Boxed>>(), 2 * size_of::<usize>());
    }
}
