//! The checks of a slot's bytes under the feature `hardened`.
//!
//! ```text
//! live        | value                                    ... | canary |    the slot's last word
//! free        | link or poison | poison ...                           |    all bytes but the words that a list keeps there
//! batch node  | next | run | run ...   | check | poison ...           |    masked like links; the check covers all of them
//! ```
//!
//! A free slot is all poison until it is handed out, with these exceptions: the first word (the link), the
//! second word while the slot is the first of a full magazine, and the first 64 bytes of a batch node. So a
//! write to a free slot is detected when the slot is handed out or its list is read.
//!
//! The thread that owns the slot touches its bytes, as in `slot/bytes.rs`.

use super::{SlotPtr, runs_per_node};
use crate::ground::layout::{CANARY_BYTES, Span};
use crate::ground::misuse::{Misuse, report};
use crate::hardened::{Place, mix};

/// Half-words of a batch node that hold its check.
pub(crate) const NODE_CHECK: usize = 2;

/// A value that is neither an address nor a small number.
const POISON: u8 = 0xf5;
const POISONED: u64 = u64::from_ne_bytes([POISON; 8]);

const _: () = assert!(CANARY_BYTES == size_of::<u64>());

/// The canary of a slot. It differs from the mask of the link that a free slot starts with.
fn canary(slot: SlotPtr) -> u64 {
    mix(!slot.addr().get())
}

fn word(slot: SlotPtr, index: usize) -> *mut u64 {
    slot.as_ptr().cast::<u64>().wrapping_add(index)
}

/// Checks that a link led to a free slot.
///
/// # Safety
///
/// The caller owns the list.
#[inline]
pub(super) unsafe fn place_in_list(slot: SlotPtr) -> Place {
    match Place::of(slot).filter(Place::is_free) {
        Some(place) => place,
        None => report(Misuse::WriteAfterFree),
    }
}

/// Checks the bytes of a free slot that is about to be used, and makes it live.
///
/// # Safety
///
/// The caller took the slot, which is at `place`, out of a free list and read its link.
#[inline]
pub(super) unsafe fn make_live(slot: SlotPtr, place: Place) {
    // SAFETY: the caller owns the slot. The link must not leak into the value's memory.
    unsafe { poison_word(slot, 0) };
    // SAFETY: as above.
    unsafe { expect_poison(slot, place.stride()) };
    let last = place.stride() / size_of::<u64>() - 1;
    // SAFETY: as above.
    unsafe { word(slot, last).write(canary(slot)) };
    place.make_live();
}

/// Checks that the freed pointer is a live slot for a value of this span and class, and makes it free.
///
/// # Safety
///
/// The caller gives up the slot. A pointer that is no slot, or that the caller does not own, is reported.
#[inline]
pub(crate) unsafe fn make_free(slot: SlotPtr, span: Span, class: usize) {
    let place = Place::of(slot).filter(|place| place.is_for(span, class));
    let Some(place) = place else {
        report(Misuse::ForeignPointer);
    };
    if !place.make_free() {
        report(Misuse::DoubleFree);
    }
    let words = place.stride() / size_of::<u64>();
    // SAFETY: the slot was live and the caller owns it; `make_live` wrote its last word.
    if unsafe { word(slot, words - 1).read() } != canary(slot) {
        report(Misuse::Overrun);
    }
    // SAFETY: as above.
    unsafe { poison(slot, place.stride()) };
}

/// Poisons the first `bytes` bytes.
///
/// # Safety
///
/// The caller owns the free slot, which is at least that long.
#[inline]
pub(super) unsafe fn poison(slot: SlotPtr, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot.cast::<u8>().write_bytes(POISON, bytes) };
}

/// Poisons one word again.
///
/// # Safety
///
/// The caller owns the free slot, which has a word of this index.
#[inline]
pub(super) unsafe fn poison_word(slot: SlotPtr, index: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { word(slot, index).write(POISONED) };
}

/// Reports a write after free unless this word is poison.
///
/// # Safety
///
/// The caller owns the free slot, whose word was poisoned.
#[inline]
pub(super) unsafe fn expect_word(slot: SlotPtr, index: usize) {
    // SAFETY: guaranteed by the caller.
    if unsafe { word(slot, index).read() } != POISONED {
        report(Misuse::WriteAfterFree);
    }
}

/// Reports a write after free unless the first `bytes` bytes are poison.
///
/// # Safety
///
/// The caller owns the free slot, whose first `bytes` bytes were poisoned.
#[inline]
unsafe fn expect_poison(slot: SlotPtr, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    let differs = |index| unsafe { word(slot, index).read() } ^ POISONED;
    // The loop has no early exit, so that the compiler vectorises it.
    if (0..bytes / size_of::<u64>()).fold(0, |sum, index| sum | differs(index)) != 0 {
        report(Misuse::WriteAfterFree);
    }
}

/// Bytes that a batch node uses.
fn node_bytes(stride: usize) -> usize {
    (node_halves(stride) + NODE_CHECK) * size_of::<u16>()
}

/// Reports a write after free if the bytes for a new batch node are not poison.
///
/// # Safety
///
/// The caller owns the free slot, which was poisoned.
pub(super) unsafe fn expect_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller; a batch node lies within the stride, and consists of whole words.
    unsafe { expect_poison(slot, node_bytes(stride)) };
}

/// Half-words of a batch node before its check.
fn node_halves(stride: usize) -> usize {
    1 + runs_per_node(stride)
}

/// Poisons the bytes of a batch node again.
///
/// # Safety
///
/// As for [`poison`].
#[inline]
pub(super) unsafe fn poison_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller; a batch node lies within the stride.
    unsafe { poison(slot, node_bytes(stride)) };
}

/// Masks the half-words of a batch node and writes the check.
///
/// # Safety
///
/// The caller owns the slot, which contains an open batch node.
pub(super) unsafe fn seal_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    let check = unsafe { cross(slot, stride, |open, _| open) };
    // SAFETY: the caller owns the slot, and the check lies behind the half-words, within the stride.
    unsafe { check_place(slot, stride).write_unaligned(check) };
}

/// Unmasks a sealed batch node. Reports a write after free if it was changed since it was sealed.
///
/// # Safety
///
/// The caller owns the slot, whose bytes [`seal_node`] wrote last.
pub(super) unsafe fn open_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    let check = unsafe { cross(slot, stride, |_, open| open) };
    // SAFETY: the caller owns the slot, and `seal_node` wrote the check.
    if unsafe { check_place(slot, stride).read_unaligned() } != check {
        report(Misuse::WriteAfterFree);
    }
}

fn check_place(slot: SlotPtr, stride: usize) -> *mut u32 {
    let halves = slot.as_ptr().cast::<u16>();
    halves.wrapping_add(node_halves(stride)).cast()
}

/// Masks or unmasks each half-word of a batch node. Returns the check of the open half-words. `open` selects
/// the open one of a half-word before and after the change.
///
/// # Safety
///
/// The caller owns the slot, which contains a batch node.
unsafe fn cross(slot: SlotPtr, stride: usize, open: fn(u16, u16) -> u16) -> u32 {
    let key = mix(slot.addr().get());
    let mut check = key;
    for index in 0..node_halves(stride) {
        let half = slot.as_ptr().cast::<u16>().wrapping_add(index);
        // SAFETY: the caller owns the slot, and a batch node has a half-word of this index.
        let before = unsafe { half.read() };
        let after = before ^ key.rotate_left(7 * index as u32) as u16;
        // SAFETY: as above.
        unsafe { half.write(after) };
        check = mix((check ^ u64::from(open(before, after))) as usize);
    }
    (check >> 32) as u32 ^ check as u32
}
