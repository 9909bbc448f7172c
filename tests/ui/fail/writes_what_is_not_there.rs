//! error[E0133]: a slot is said to be initialised without saying it is unsafe.

use segment_pool::PoolBox;

fn main() {
    let slot = PoolBox::<u8>::new_uninit();
    drop(slot.assume_init());
}
