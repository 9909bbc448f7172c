//! The two fast paths as functions of their own, to look at what the compiler made of them:
//!
//! ```sh
//! cargo build --release --bin fast_path
//! objdump -d --no-show-raw-insn -M intel --disassemble=new_16 target/release/fast_path
//! objdump -d --no-show-raw-insn -M intel --disassemble=drop_16 target/release/fast_path
//! ```
//!
//! Quoted in `benches/README.md`.

use segment_pool::PoolBox;

/// A 16-byte allocation.
#[inline(never)]
#[unsafe(no_mangle)]
pub fn new_16(value: [u64; 2]) -> PoolBox<[u64; 2]> {
    PoolBox::new(value)
}

/// A 16-byte drop.
#[inline(never)]
#[unsafe(no_mangle)]
pub fn drop_16(boxed: PoolBox<[u64; 2]>) {
    drop(boxed);
}

fn main() {
    drop_16(new_16([1, 2]));
    println!("{}", segment_pool::stats());
}
