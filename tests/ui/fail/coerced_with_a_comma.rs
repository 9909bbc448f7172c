//! error: a comma is written instead of an arrow.

use segment_pool::{PoolBox, coerce};

fn main() {
    coerce!(PoolBox::new(7), dyn std::fmt::Display);
}
