//! error[E0277]: a box of an object that does not say that it is `Send` is sent to a thread.

use segment_pool::{PoolBox, coerce};

fn main() {
    let object = coerce!(PoolBox::new(7) => dyn std::fmt::Display);
    std::thread::spawn(move || drop(object));
}
