//! Runs the models, each in a process of its own.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// No model runs that long, unless a mutant goes round in cache scopes.
const LIMIT: Duration = Duration::from_secs(120);
/// Most mutants are found with one forced change of threads, which is quicker than with two.
const PREEMPTIONS: [&str; 2] = ["1", "2"];

/// A model, and what it can see.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    reaches: BTreeSet<String>,
    took: Duration,
}

/// What the models say to a mutant.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This one failed.
    Caught(String),
    /// All that reach it passed.
    Missed,
    /// There is none that reaches it.
    Unreached,
}

/// Every model, after a run without a mutant, the quickest first.
pub(crate) fn models(program: &Path) -> Vec<Model> {
    let list = Command::new(program)
        .args(["--list", "--format=terse"])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    let mut models = on_every_core(&names, |name| Model::look(program, name));
    models.sort_by_key(|model| model.took);
    models
}

impl Model {
    fn look(program: &Path, name: &str) -> Self {
        let start = Instant::now();
        let output = command(program, name, "?", PREEMPTIONS[1])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} fails by itself: {said}");
        let reached = said
            .lines()
            .filter_map(|line| line.strip_prefix("reached "));
        Self {
            name: name.to_owned(),
            reaches: reached.map(str::to_owned).collect(),
            took: start.elapsed(),
        }
    }
}

fn command(program: &Path, model: &str, mutant: &str, preemptions: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", model])
        .env("SEGMENT_POOL_MUTANT", mutant)
        .env("LOOM_MAX_PREEMPTIONS", preemptions);
    command
}

/// Runs the models that reach a mutant until one fails.
pub(crate) fn judge(program: &Path, models: &[Model], mutant: &str) -> Verdict {
    let reaching = || models.iter().filter(|model| model.reaches.contains(mutant));
    for preemptions in PREEMPTIONS {
        for model in reaching() {
            if fails(command(program, &model.name, mutant, preemptions)) {
                return Verdict::Caught(model.name.clone());
            }
        }
    }
    if reaching().next().is_some() {
        Verdict::Missed
    } else {
        Verdict::Unreached
    }
}

/// Whether the model fails. One that does not come to an end is stopped, and counts as passed.
fn fails(mut command: Command) -> bool {
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut said = child.stdout.take().unwrap();
    let (tell, ended) = mpsc::channel();
    // What it says ends with it, and that can be waited for with a limit.
    thread::spawn(move || {
        let _ = io::copy(&mut said, &mut io::sink());
        let _ = tell.send(());
    });
    let in_time = ended.recv_timeout(LIMIT).is_ok();
    if !in_time {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    in_time && !status.success()
}

/// Calls `work` with each item and returns the results in the order of the items.
pub(crate) fn on_every_core<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    results.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
