//! What the tests cannot be, for they are always built to unwind: a program built with `panic = "abort"`. It sends boxes
//! between threads, drops a pool before its boxes, counts every slot, and then lets a destructor panic.
//!
//! ```sh
//! CARGO_PROFILE_RELEASE_PANIC=abort cargo run --release --example aborts
//! ```
//!
//! It must say that every slot is accounted for, and abort.

use std::sync::mpsc;
use std::thread;

use segment_pool::{PoolArc, PoolBox, SegmentPool};

const VALUES: u64 = 100_000;

static POOL: SegmentPool<[u64; 5]> = SegmentPool::new();

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Boxes made on one thread and dropped on another; both end.
fn send() {
    let dying = SegmentPool::new();
    let (sender, receiver) = mpsc::sync_channel(100);
    let dropper = thread::spawn(move || {
        let values = receiver.iter().map(
            |(of_default, of_pool, of_dying): (PoolBox<u64>, PoolBox<[u64; 5]>, PoolBox<u64>)| {
                assert_eq!((*of_default, *of_dying), (of_pool[4], of_pool[4]));
                *of_default
            },
        );
        assert_eq!(values.sum::<u64>(), VALUES * (VALUES - 1) / 2);
    });
    let maker = thread::spawn(move || {
        for value in 0..VALUES {
            let boxes = (
                PoolBox::new(value),
                POOL.alloc([value; 5]),
                dying.alloc(value),
            );
            sender.send(boxes).expect("the other thread receives");
        }
    });
    maker.join().expect("all was sent");
    dropper.join().expect("all was received");
}

fn main() {
    if cfg!(panic = "unwind") {
        eprintln!("built to unwind: nothing is shown");
        std::process::exit(2);
    }
    let shared = PoolArc::new(7);
    send();
    assert_eq!(*shared, 7);
    drop(shared);
    segment_pool::trim();
    for (validation, stats) in [
        (segment_pool::validate(), segment_pool::stats()),
        (POOL.validate(), POOL.stats()),
    ] {
        assert_eq!(
            validation.free + validation.live,
            validation.capacity,
            "{validation}"
        );
        assert_eq!((validation.live, stats.live()), (0, 0), "{stats}");
    }
    println!("every slot is accounted for");
    drop(PoolBox::new(PanicsWhenDropped));
    println!("unreachable");
}
