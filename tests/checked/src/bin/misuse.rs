//! Commits the misuse that its argument names, which a memory checker must report: `tests/caught.rs` runs them all.

use std::hint::black_box;
use std::{env, thread};

use segment_pool::{PoolBox, SegmentPool};

/// 42 bytes of a slot of 48.
type Value = [u8; 42];

static POOL: SegmentPool<Value> = SegmentPool::new();

fn boxed() -> PoolBox<Value> {
    PoolBox::new(black_box([7; 42]))
}

/// Where a value's bytes are.
fn bytes(boxed: &PoolBox<Value>) -> *mut u8 {
    PoolBox::as_ptr(boxed).cast_mut().cast()
}

/// Drops a value: where its bytes were.
fn dropped(boxed: PoolBox<Value>) -> *mut u8 {
    let bytes = bytes(&boxed);
    drop(boxed);
    bytes
}

fn read(byte: *mut u8) {
    // SAFETY: none, unless for "nothing".
    black_box(unsafe { byte.read_volatile() });
}

fn write(byte: *mut u8) {
    // SAFETY: as above.
    unsafe { byte.write_volatile(0) };
}

fn drop_again(byte: *mut u8) {
    // SAFETY: as above.
    drop(unsafe { PoolBox::<Value>::from_raw(byte.cast()) });
}

/// Does something with a value that another thread made.
fn elsewhere(misuse: fn(PoolBox<Value>)) {
    let boxed = thread::spawn(boxed).join().unwrap();
    misuse(boxed);
}

const MISUSES: &[(&str, fn())] = &[
    ("nothing", || {
        let boxed = boxed();
        (0..42).for_each(|n| write(bytes(&boxed).wrapping_add(n)));
        (0..42).for_each(|n| read(bytes(&boxed).wrapping_add(n)));
        drop_again(PoolBox::into_raw(boxed).cast());
        elsewhere(drop);
    }),
    ("read of the list data", || read(dropped(boxed()))),
    ("read behind the list data", || {
        read(dropped(boxed()).wrapping_add(41));
    }),
    ("write", || write(dropped(boxed()).wrapping_add(20))),
    ("second drop", || drop_again(dropped(boxed()))),
    ("read of a slot in the remote-free buffer", || {
        elsewhere(|boxed| read(dropped(boxed)));
    }),
    ("read of a slot on a remote list", || {
        let boxed = boxed();
        let bytes = bytes(&boxed);
        thread::spawn(move || drop(boxed)).join().unwrap(); // its end sends the batch
        read(bytes);
    }),
    ("second drop, by a stranger", || {
        elsewhere(|boxed| drop_again(dropped(boxed)));
    }),
    ("read in a segment that was given back", || {
        let _another = PoolBox::new(1_u64); // in the same arena
        let bytes = dropped(boxed());
        segment_pool::trim();
        read(bytes);
    }),
    ("read in a pool of one type", || {
        read(dropped(POOL.alloc([7; 42])));
    }),
    ("read of a slot that was never used", || {
        read(bytes(&boxed()).wrapping_add(48));
    }),
    ("write past the value", || {
        let boxed = boxed();
        write(bytes(&boxed).wrapping_add(42));
    }),
    ("read past a value that was mapped to a smaller one", || {
        let smaller = PoolBox::map(boxed(), |_| [7_u8; 41]);
        let bytes: *const u8 = PoolBox::as_ptr(&smaller).cast();
        read(bytes.cast_mut().wrapping_add(41));
    }),
];

fn main() {
    let asked = env::args().nth(1);
    for (name, misuse) in MISUSES {
        match &asked {
            None => println!("{name}"),
            Some(asked) if asked == name => misuse(),
            Some(_) => {}
        }
    }
}
