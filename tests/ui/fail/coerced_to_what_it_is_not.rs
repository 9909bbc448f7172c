//! error[E0277]: a box is coerced to a trait that its value does not implement.

use segment_pool::{PoolBox, coerce};

struct Mute;

fn main() {
    coerce!(PoolBox::new(Mute) => dyn std::fmt::Display);
}
