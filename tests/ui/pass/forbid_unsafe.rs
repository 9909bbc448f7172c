//! `coerce!` in a crate that forbids unsafe code.

#![forbid(unsafe_code)]

use segment_pool::{PoolBox, coerce};

fn main() {
    let shown = coerce!(PoolBox::new(7) => dyn std::fmt::Display);
    assert_eq!(shown.to_string(), "7");
}
