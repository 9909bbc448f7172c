//! error[E0277]: a reference to a handle is coerced.

use segment_pool::{PoolBox, coerce};

fn main() {
    let boxed = PoolBox::new(7);
    coerce!(&boxed => dyn std::fmt::Display);
}
