//! error[E0382]: a box is used after it was coerced.

use segment_pool::{PoolBox, coerce};

fn main() {
    let boxed = PoolBox::new(7);
    let _object = coerce!(boxed => dyn std::fmt::Display);
    assert_eq!(*boxed, 7);
}
