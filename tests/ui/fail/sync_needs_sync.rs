//! error[E0277]: a box of what is not `Sync` is shared between threads.

use segment_pool::PoolBox;
use std::cell::Cell;

fn main() {
    let boxed = PoolBox::new(Cell::new(7));
    std::thread::scope(|scope| {
        scope.spawn(|| boxed.set(8));
    });
}
