//! error: the type to coerce to is left out.

use segment_pool::{PoolBox, coerce};

fn main() {
    let _: PoolBox<dyn std::fmt::Display> = coerce!(PoolBox::new(7));
}
