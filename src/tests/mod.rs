//! Tests that look inside of several parts at once. Those about the default pool have a process each.

mod audit;
mod batches;
#[cfg(not(feature = "hardened"))] // which finds the misuse itself
mod damage;
#[cfg(all(unix, not(miri)))]
mod kept;
mod model;
mod out_of_memory;
mod refusal;

use std::env;
use std::process::Command;

/// Runs the body of the test of this path in a process where no other test runs.
fn in_own_process(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "SEGMENT_POOL_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}: {}", output.status);
    assert!(said.contains("1 passed"), "there is no test named {test}");
}
