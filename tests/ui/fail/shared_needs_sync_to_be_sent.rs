//! error[E0277]: a shared handle to what is `Send` but not `Sync` is sent to a thread.

use segment_pool::PoolArc;
use std::cell::Cell;

fn main() {
    let shared = PoolArc::new(Cell::new(7));
    std::thread::spawn(move || drop(shared));
}
