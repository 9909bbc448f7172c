//! Tests that use the internals of several layers. Those about the default pool run in a process of their own.

mod audit;
mod batches;
#[cfg(not(feature = "hardened"))] // which detects the misuse itself
mod damage;
#[cfg(all(unix, not(miri)))]
mod kept;
mod model;
mod out_of_memory;
mod refusal;

use std::env;
use std::process::Command;

/// Runs the body of the test at this path in a process that runs no other test.
fn in_own_process(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "SEGMENT_POOL_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    print!("{stdout}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}: {}", output.status);
    assert!(stdout.contains("1 passed"), "there is no test named {test}");
}
