//! Which programs there are, and how each gets a process of its own.

use std::env;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::figure::Figure;
use crate::{adopt, free_only, heaps, larson, mleak, owner, threads_alive};

/// How much of the full work is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
}

impl Scale {
    /// The one or the other.
    pub(crate) fn pick<N>(self, full: N, quick: N) -> N {
        if self.quick { quick } else { full }
    }
}

type Program = (&'static str, fn(Scale) -> Vec<Figure>);

const PROGRAMS: &[Program] = &[
    ("free_only_in_order", free_only::in_order),
    ("free_only_at_random", free_only::at_random),
    ("mleak", mleak::run),
    ("threads_alive", threads_alive::run),
    ("adopt_half_freed_by_the_owner", adopt::freed_by_the_owner),
    ("adopt_half_freed_elsewhere", adopt::freed_elsewhere),
    ("heaps_at_peak", heaps::run),
    ("sleeping_owner_in_order", owner::sleeping_in_order),
    ("sleeping_owner_at_random", owner::sleeping_at_random),
    ("busy_owner_in_order", owner::busy_in_order),
    ("busy_owner_at_random", owner::busy_at_random),
    ("larson", larson::run),
];

/// Before the name of the one program that this process is to run.
const ONE: &str = "--one";
const QUICK: &str = "--quick";

pub(crate) fn run() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let scale = Scale {
        quick: args.iter().any(|arg| arg == QUICK),
    };
    let one = args.iter().position(|arg| arg == ONE);
    match one.and_then(|place| args.get(place + 1)) {
        Some(name) => run_one(name, scale),
        None => run_each(&args, scale),
    }
}

fn run_one(name: &str, scale: Scale) -> ExitCode {
    if let Some(figure) = threads_alive::raw_figure(name, scale) {
        println!("{figure}");
        return ExitCode::SUCCESS;
    }
    let program = PROGRAMS.iter().find(|(known, _)| *known == name);
    let (_, program) = program.expect("a program of this name");
    let figures = program(scale);
    figures.iter().for_each(|figure| println!("{figure}"));
    let met = figures.iter().all(Figure::is_met);
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs those whose name contains one of the words, or all, and says whether every bound was met.
fn run_each(args: &[String], scale: Scale) -> ExitCode {
    let words: Vec<_> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(*word));
    println!("{}", Figure::HEAD);
    let mut missed = 0;
    for (name, _) in PROGRAMS.iter().filter(|(name, _)| wanted(name)) {
        let start = Instant::now();
        eprintln!("-- {name}");
        let status = child(name, scale).status().expect("the program starts");
        eprintln!("-- {name}: {:.1?}", start.elapsed());
        missed += usize::from(!status.success());
    }
    println!("{missed} missed");
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// This program again, to run one of the programs.
pub(crate) fn child(name: &str, scale: Scale) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.args([ONE, name]);
    if scale.quick {
        command.arg(QUICK);
    }
    command
}
