//! no rules expected: what follows the arrow is a type, so no statement of the caller gets into the unsafe block of the macro.

use segment_pool::{PoolBox, coerce};

fn main() {
    let address = 16_usize as *const u64;
    let read;
    coerce!(PoolBox::new(1) => i32>(PoolBox::new(2), |p| p); read = std::ptr::read(address); f::<i32);
    let _: u64 = read;
}
