//! error[E0382]: the value is used after its box was given away.

use segment_pool::PoolBox;

fn main() {
    let boxed = PoolBox::new(7);
    drop(boxed);
    assert_eq!(*boxed, 7);
}
