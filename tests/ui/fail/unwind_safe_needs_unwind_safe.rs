//! error[E0277]: a box of a mutable reference crosses a `catch_unwind`.

use segment_pool::PoolBox;

fn main() {
    let mut number = 7;
    let boxed = PoolBox::new(&mut number);
    let _ = std::panic::catch_unwind(move || drop(boxed));
}
