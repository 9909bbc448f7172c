//! error[E0133]: an unsafe operation in what is to be coerced.

use segment_pool::{PoolBox, coerce};

unsafe fn make() -> PoolBox<[i32; 1]> {
    PoolBox::new([7])
}

fn main() {
    coerce!(make() => [i32]);
}
