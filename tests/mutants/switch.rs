//! Not part of any build of the crate: `copy.rs` appends this to `ground/sync.rs` in the copy that it makes.

/// The switch of every mutant. One is on at most, named by a variable.
pub(crate) mod mutants {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{LazyLock, Mutex};

    use super::Ordering;

    static CHOSEN: LazyLock<String> =
        LazyLock::new(|| std::env::var("SEGMENT_POOL_MUTANT").unwrap_or_default());
    static REACHED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

    /// Whether this is the mutant to run. If the variable says `?`, says that it was asked.
    pub(crate) fn on(name: &'static str) -> bool {
        if *CHOSEN == "?" && REACHED.lock().unwrap().insert(name) {
            // Not `eprintln`, which the test harness swallows.
            let _ = writeln!(std::io::stderr(), "reached {name}");
        }
        *CHOSEN == name
    }

    /// The ordering, weakened if the mutant is on, whose name ends with what it takes away.
    pub(crate) fn without(order: Ordering, name: &'static str) -> Ordering {
        match order {
            order if !on(name) => order,
            Ordering::AcqRel if name.ends_with("Acquire") => Ordering::Release,
            Ordering::AcqRel => Ordering::Acquire,
            _ => Ordering::Relaxed,
        }
    }
}
