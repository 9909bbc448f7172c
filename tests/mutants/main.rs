//! Would the loom models notice? Every Acquire and Release in `src` is weakened, one at a time, and every bug of
//! `bugs.txt` is planted: each time some model has to fail.
//!
//! Nothing is compiled per mutant. The program copies the crate, makes each mutant a switch that a variable throws, and
//! builds the models once. Then it runs, for each mutant, the models that reach it, the quickest first, until one
//! fails. It takes a minute or more, so it is run by
//!
//! ```sh
//! cargo test --release --test mutants -- --ignored --nocapture
//! ```
//!
//! What no model can see stands in a table with the reason (`orderings::UNSEEN`). What stands there and is seen fails,
//! too.

#![cfg(not(any(segment_pool_loom, miri)))] // starts processes

mod bugs;
mod copy;
mod orderings;
mod trial;

use std::sync::LazyLock;

use self::copy::Mutants;
use self::orderings::UNSEEN;
use self::trial::{Model, Verdict};

struct Subject {
    mutants: Mutants,
    models: Vec<Model>,
}

static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let mutants = Mutants::build();
    let models = trial::models(&mutants.program);
    println!("{} models", models.len());
    Subject { mutants, models }
});

#[test]
#[ignore = "takes minutes; `.ci/run` runs it"]
fn every_ordering_is_guarded() {
    let sites = &SUBJECT.mutants.sites;
    let complaints = trial::on_every_core(sites, |site| {
        let verdict = judge(&site.name());
        let line = format!("{}:{} {}", site.file, site.line, site.what);
        let (good, said) = match (verdict, site.unseen()) {
            (Verdict::Caught(model), None) => (true, format!("seen by {model}")),
            (Verdict::Caught(model), Some(_)) => {
                (false, format!("in `UNSEEN`, but seen by {model}"))
            }
            (Verdict::Missed | Verdict::Unreached, Some(reason)) => {
                (true, format!("unseen: {reason}"))
            }
            (Verdict::Missed, None) => (false, "MISSED".to_owned()),
            (Verdict::Unreached, None) => (false, "MISSED: no model gets there".to_owned()),
        };
        report(&line, good, &said)
    });
    let gone = UNSEEN.iter().filter(|(file, what, _)| {
        !sites
            .iter()
            .any(|site| site.file == *file && site.what == *what)
    });
    let gone = gone.map(|(file, what, _)| {
        Some(format!(
            "{file} {what}: in `UNSEEN`, but not in the sources"
        ))
    });
    conclude("orderings", complaints.into_iter().chain(gone));
}

#[test]
#[ignore = "takes minutes; `.ci/run` runs it"]
fn every_planted_bug_is_caught() {
    let complaints = trial::on_every_core(&SUBJECT.mutants.bugs, |bug| match judge(bug.name) {
        Verdict::Caught(model) => report(bug.name, true, &format!("caught by {model}")),
        Verdict::Missed => report(bug.name, false, "MISSED"),
        Verdict::Unreached => report(bug.name, false, "MISSED: no model gets there"),
    });
    let unplanted = SUBJECT.mutants.unplanted.iter().cloned().map(Some);
    conclude("planted bugs", complaints.into_iter().chain(unplanted));
}

fn judge(mutant: &str) -> Verdict {
    trial::judge(&SUBJECT.mutants.program, &SUBJECT.models, mutant)
}

/// Prints the line, and returns it if it is a complaint.
fn report(mutant: &str, good: bool, said: &str) -> Option<String> {
    let line = format!("{mutant:50} {said}");
    println!("{line}");
    (!good).then_some(line)
}

fn conclude(what: &str, complaints: impl IntoIterator<Item = Option<String>>) {
    let all: Vec<_> = complaints.into_iter().collect();
    let bad: Vec<_> = all.iter().flatten().map(String::as_str).collect();
    println!("{} {what}, {} complaints", all.len(), bad.len());
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}
