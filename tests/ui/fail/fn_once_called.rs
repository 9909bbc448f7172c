//! error: a boxed `FnOnce` is called.

use segment_pool::{PoolBox, coerce};

fn main() {
    let word = String::from("pool");
    let take = coerce!(PoolBox::new(move || word) => dyn FnOnce() -> String);
    take();
}
