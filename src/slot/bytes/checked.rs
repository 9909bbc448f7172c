//! A slot's bytes under the feature `hardened`.
//!
//! ```text
//! live    | value                                    ... | canary |      the slot's last word
//! free    | link or poison | poison ...                           |      all of it, but for what a list keeps there
//! batch node | next | run | run ...   | check | poison ...       |      hidden like links; the check is over all of them
//! ```
//!
//! Every byte of a slot is poison from its free until it is handed out again, but for the first word (the link), the
//! second while the slot heads a magazine in a full magazines, and the first 64 bytes of a batch node. So a write to a free slot is
//! found when the slot is handed out, or the list read.

use super::{SlotPtr, runs_per_node};
use crate::ground::layout::{CANARY_BYTES, Span};
use crate::ground::misuse::{Misuse, report};
use crate::hardened::{Place, mix};

/// Half-words of a batch node that hold its check.
pub(crate) const NODE_CHECK: usize = 2;

/// No address and no small number.
const POISON: u8 = 0xf5;
const POISONED: u64 = u64::from_ne_bytes([POISON; 8]);

const _: () = assert!(CANARY_BYTES == size_of::<u64>());

/// The canary of a slot. Not what hides the link that a free slot starts with.
fn canary(slot: SlotPtr) -> u64 {
    mix(!slot.addr().get())
}

fn word(slot: SlotPtr, index: usize) -> *mut u64 {
    slot.as_ptr().cast::<u64>().wrapping_add(index)
}

/// Checks that what a link led to is a free slot.
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
/// The caller took the slot, whose place this is, out of a free list, and read its link.
#[inline]
pub(super) unsafe fn make_live(slot: SlotPtr, place: Place) {
    // SAFETY: the slot is the caller's. What the link said is nobody's business.
    unsafe { poison_word(slot, 0) };
    // SAFETY: as above.
    unsafe { expect_poison(slot, place.stride()) };
    let last = place.stride() / size_of::<u64>() - 1;
    // SAFETY: as above.
    unsafe { word(slot, last).write(canary(slot)) };
    place.make_live();
}

/// Checks that what is being freed is a live slot for a value of this span and class, and makes it free.
///
/// # Safety
///
/// The caller gives the slot up; if it is none, or not the caller's, that is found out.
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
    // SAFETY: the slot was live and is the caller's; `make_live` wrote its last word.
    if unsafe { word(slot, words - 1).read() } != canary(slot) {
        report(Misuse::Overrun);
    }
    // SAFETY: as above.
    unsafe { poison(slot, place.stride()) };
}

/// # Safety
///
/// The caller owns the free slot, which is at least so long.
#[inline]
pub(super) unsafe fn poison(slot: SlotPtr, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { slot.cast::<u8>().write_bytes(POISON, bytes) };
}

/// Makes a word poison again.
///
/// # Safety
///
/// The caller owns the free slot, which has so many words.
#[inline]
pub(super) unsafe fn poison_word(slot: SlotPtr, index: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { word(slot, index).write(POISONED) };
}

/// Reports a write unless this word is poison.
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

/// Reports a write unless the first so many bytes are poison.
///
/// # Safety
///
/// The caller owns the free slot, which was poisoned for so many bytes.
#[inline]
unsafe fn expect_poison(slot: SlotPtr, bytes: usize) {
    // SAFETY: guaranteed by the caller.
    let differs = |index| unsafe { word(slot, index).read() } ^ POISONED;
    // No way out of the loop, so that it takes more than a word at a time.
    if (0..bytes / size_of::<u64>()).fold(0, |sum, index| sum | differs(index)) != 0 {
        report(Misuse::WriteAfterFree);
    }
}

/// Bytes that a batch node uses.
fn node_bytes(stride: usize) -> usize {
    (node_halves(stride) + NODE_CHECK) * size_of::<u16>()
}

/// Reports a write if there was one where a batch node is about to be written.
///
/// # Safety
///
/// The caller owns the free slot, which was poisoned.
pub(super) unsafe fn expect_node(slot: SlotPtr, stride: usize) {
    // SAFETY: a batch node lies within the stride, and is whole words.
    unsafe { expect_poison(slot, node_bytes(stride)) };
}

/// Half-words of a batch node before its check.
fn node_halves(stride: usize) -> usize {
    1 + runs_per_node(stride)
}

/// Makes the bytes that a batch node used poison again.
///
/// # Safety
///
/// As for [`poison`].
#[inline]
pub(super) unsafe fn poison_node(slot: SlotPtr, stride: usize) {
    // SAFETY: a batch node lies within the stride.
    unsafe { poison(slot, node_bytes(stride)) };
}

/// Hides what a batch node says, and adds the check.
///
/// # Safety
///
/// The caller owns the slot, in which a batch node lies open.
pub(super) unsafe fn seal_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    let check = unsafe { cross(slot, stride, |open, _| open) };
    // SAFETY: the check has a place behind the half-words.
    unsafe { check_place(slot, stride).write_unaligned(check) };
}

/// Lays a sealed batch node open, if it is as it was sealed.
///
/// # Safety
///
/// The caller owns the slot, whose bytes [`seal_node`] was the last to write.
pub(super) unsafe fn open_node(slot: SlotPtr, stride: usize) {
    // SAFETY: guaranteed by the caller.
    let check = unsafe { cross(slot, stride, |_, open| open) };
    // SAFETY: `seal_node` wrote it.
    if unsafe { check_place(slot, stride).read_unaligned() } != check {
        report(Misuse::WriteAfterFree);
    }
}

fn check_place(slot: SlotPtr, stride: usize) -> *mut u32 {
    let halves = slot.as_ptr().cast::<u16>();
    halves.wrapping_add(node_halves(stride)).cast()
}

/// Turns each half-word of a batch node into the other of its two forms, and returns the check over that form which `open`
/// says, of the one before and the one after, is the open one.
///
/// # Safety
///
/// The caller owns the slot, in which a batch node lies.
unsafe fn cross(slot: SlotPtr, stride: usize, open: fn(u16, u16) -> u16) -> u32 {
    let key = mix(slot.addr().get());
    let mut check = key;
    for index in 0..node_halves(stride) {
        let half = slot.as_ptr().cast::<u16>().wrapping_add(index);
        // SAFETY: a batch node has so many half-words.
        let before = unsafe { half.read() };
        let after = before ^ key.rotate_left(7 * index as u32) as u16;
        // SAFETY: as above.
        unsafe { half.write(after) };
        check = mix((check ^ u64::from(open(before, after))) as usize);
    }
    (check >> 32) as u32 ^ check as u32
}
