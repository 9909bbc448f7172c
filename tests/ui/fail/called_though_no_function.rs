//! error[E0277]: a number is called.

use segment_pool::PoolBox;

fn main() {
    PoolBox::call_once(PoolBox::new(7), ());
}
