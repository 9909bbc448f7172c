//! error[E0308]: a value is put in a pool for another type.

use segment_pool::{PoolBox, SegmentPool};

fn main() {
    let pool = SegmentPool::<u32>::new();
    drop(PoolBox::new_in("seven", &pool));
}
