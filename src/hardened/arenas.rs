//! The table of arenas in the address space: two bits for each 4 MiB, zero or the span. Any thread reads it.
//! The thread that maps or unmaps an arena changes the two bits by a read-modify-write. Always holds: an
//! arena has its bits set while any of its segments is in use.

use core::ptr::NonNull;

use super::key;
use crate::ground::layout::{ARENA_BYTES, Span};
use crate::ground::sync::{AtomicU64, Ordering};

/// The end of user space, unless a program requests addresses beyond.
pub(super) const ADDRESS_BITS: u32 = if usize::BITS == 64 { 48 } else { 32 };
/// Entries in one word.
const PER_WORD: usize = 32;
const WORDS: usize = (1 << (ADDRESS_BITS - ARENA_BYTES.trailing_zeros())) / PER_WORD;

/// 16 MiB of zeros. Only the pages with entries of arenas are resident.
static SPANS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

fn word(addr: usize) -> Option<(&'static AtomicU64, usize)> {
    let arena = addr / ARENA_BYTES;
    let word = SPANS.get(arena / PER_WORD)?;
    Some((word, arena % PER_WORD * 2))
}

/// Records an arena before it is published. False if it lies beyond user space.
pub(crate) fn arena_mapped(base: NonNull<u8>, span: Span) -> bool {
    key::make();
    let Some((word, shift)) = word(base.addr().get()) else {
        return false;
    };
    // Relaxed: a thread that checks a slot received it, directly or not, from the thread that mapped the
    // arena.
    word.fetch_or((span.index() as u64 + 1) << shift, Ordering::Relaxed);
    true
}

/// Removes an arena before it is unmapped.
pub(crate) fn arena_unmapped(base: NonNull<u8>) {
    if let Some((word, shift)) = word(base.addr().get()) {
        // Relaxed: no thread has a slot of it.
        word.fetch_and(!(3 << shift), Ordering::Relaxed);
    }
}

/// The span of the arena that contains an address.
#[inline]
pub(super) fn span_at(addr: usize) -> Option<Span> {
    let (word, shift) = word(addr)?;
    // Relaxed: as in `arena_mapped`.
    match word.load(Ordering::Relaxed) >> shift & 3 {
        0 => None,
        entry => Some(Span::ALL[entry as usize - 1]),
    }
}
