//! error[E0599]: a handle that others may share is pinned.

use segment_pool::PoolArc;

fn main() {
    let shared = PoolArc::new(std::marker::PhantomPinned);
    let _pinned = PoolArc::into_pin(shared);
}
