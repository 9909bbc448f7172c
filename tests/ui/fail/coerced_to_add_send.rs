//! error[E0277]: a box is coerced to an object that is `Send`, which its value is not.

use segment_pool::{PoolBox, coerce};
use std::rc::Rc;

fn main() {
    coerce!(PoolBox::new(Rc::new(7)) => dyn std::fmt::Display + Send);
}
