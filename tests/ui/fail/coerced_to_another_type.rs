//! error[E0308]: a box is coerced to a sized type that its value is not of.

use segment_pool::{PoolBox, coerce};

fn main() {
    coerce!(PoolBox::new(7_u32) => i32);
}
