//! The checks of a slot's bytes without the feature `hardened`: the same names, no bytes and no instructions.

use super::SlotPtr;
use crate::ground::layout::Span;
use crate::hardened::Place;

pub(crate) const NODE_CHECK: usize = 0;

/// A place without contents.
///
/// # Safety
///
/// No conditions apply, here or below.
#[inline(always)]
pub(super) unsafe fn place_in_list(_slot: SlotPtr) -> Place {
    Place
}

#[inline(always)]
pub(super) unsafe fn make_live(_slot: SlotPtr, _place: Place) {}

#[inline(always)]
pub(crate) unsafe fn make_free(_slot: SlotPtr, _span: Span, _class: usize) {}

#[inline(always)]
pub(super) unsafe fn poison(_slot: SlotPtr, _bytes: usize) {}

#[inline(always)]
pub(super) unsafe fn poison_word(_slot: SlotPtr, _index: usize) {}

#[inline(always)]
pub(super) unsafe fn expect_word(_slot: SlotPtr, _index: usize) {}

#[inline(always)]
pub(super) unsafe fn expect_node(_slot: SlotPtr, _stride: usize) {}

#[inline(always)]
pub(super) unsafe fn poison_node(_slot: SlotPtr, _stride: usize) {}

#[inline(always)]
pub(super) unsafe fn seal_node(_slot: SlotPtr, _stride: usize) {}

#[inline(always)]
pub(super) unsafe fn open_node(_slot: SlotPtr, _stride: usize) {}
