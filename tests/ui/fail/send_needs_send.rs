//! error[E0277]: a box of what is not `Send` is sent to a thread.

use segment_pool::PoolBox;
use std::rc::Rc;

fn main() {
    let boxed = PoolBox::new(Rc::new(7));
    std::thread::spawn(move || drop(boxed));
}
