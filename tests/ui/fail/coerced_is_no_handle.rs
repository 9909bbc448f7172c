//! error[E0277]: a `Box` is coerced, which is in no pool.

use segment_pool::coerce;

fn main() {
    coerce!(Box::new(7) => dyn std::fmt::Display);
}
