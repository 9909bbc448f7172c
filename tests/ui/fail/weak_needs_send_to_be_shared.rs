//! error[E0277]: a weak handle to what is `Sync` but not `Send` is shared between threads.

use segment_pool::PoolArc;
use std::sync::{Mutex, MutexGuard};

fn main() {
    let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(7)));
    let shared = PoolArc::new(mutex.lock().unwrap());
    let weak = PoolArc::<MutexGuard<'static, i32>>::downgrade(&shared);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(weak.upgrade()));
    });
}
