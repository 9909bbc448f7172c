//! error[E0594]: a shared value is assigned to.

use segment_pool::PoolArc;

fn main() {
    let mut shared = PoolArc::new(7);
    *shared = 8;
}
