//! Which parts of the address space are arenas: two bits for each 4 MiB, zero or the span.

use core::ptr::NonNull;

use super::key;
use crate::ground::layout::{ARENA_BYTES, Span};
use crate::ground::sync::{AtomicU64, Ordering};

/// User space ends there, unless a program asks for addresses beyond.
pub(super) const ADDRESS_BITS: u32 = if usize::BITS == 64 { 48 } else { 32 };
/// Entries in one word.
const PER_WORD: usize = 32;
const WORDS: usize = (1 << (ADDRESS_BITS - ARENA_BYTES.trailing_zeros())) / PER_WORD;

/// 16 MiB of zeros, of which only those pages exist that tell of arenas.
static SPANS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

fn word(addr: usize) -> Option<(&'static AtomicU64, usize)> {
    let arena = addr / ARENA_BYTES;
    let word = SPANS.get(arena / PER_WORD)?;
    Some((word, arena % PER_WORD * 2))
}

/// Notes an arena, before anybody else knows it; false if it lies beyond all user space.
pub(crate) fn arena_mapped(base: NonNull<u8>, span: Span) -> bool {
    key::make();
    let Some((word, shift)) = word(base.addr().get()) else {
        return false;
    };
    // Relaxed: who asks about a slot got it, in the end, from whoever mapped the arena.
    word.fetch_or((span.index() as u64 + 1) << shift, Ordering::Relaxed);
    true
}

/// Forgets an arena, before it is unmapped.
pub(crate) fn arena_unmapped(base: NonNull<u8>) {
    if let Some((word, shift)) = word(base.addr().get()) {
        // Relaxed: nobody has a slot of it.
        word.fetch_and(!(3 << shift), Ordering::Relaxed);
    }
}

/// The span of the arena that an address lies in.
#[inline]
pub(super) fn span_at(addr: usize) -> Option<Span> {
    let (word, shift) = word(addr)?;
    // Relaxed: as in `arena_mapped`.
    match word.load(Ordering::Relaxed) >> shift & 3 {
        0 => None,
        entry => Some(Span::ALL[entry as usize - 1]),
    }
}
