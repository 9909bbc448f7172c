//! error[E0277]: a handle of one thread is moved to another thread.

use segment_pool::SegmentPool;

static NUMBERS: SegmentPool<u64> = SegmentPool::new();

fn main() {
    let local = NUMBERS.local();
    std::thread::spawn(move || drop(local.alloc(7)));
}
