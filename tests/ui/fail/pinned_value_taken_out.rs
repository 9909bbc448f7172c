//! error[E0277]: a value that must not move is taken out of a pinned box.

use segment_pool::PoolBox;
use std::pin::Pin;

fn main() {
    let pinned = PoolBox::pin(std::marker::PhantomPinned);
    PoolBox::into_inner(Pin::into_inner(pinned));
}
