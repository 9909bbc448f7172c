//! error[E0277]: a handle of one thread is borrowed by another thread.

use segment_pool::SegmentPool;

static NUMBERS: SegmentPool<u64> = SegmentPool::new();

fn main() {
    let local = NUMBERS.local();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(local.alloc(7)));
    });
}
