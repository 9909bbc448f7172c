//! The same names without the feature `hardened`: no bytes and no instructions.

use super::SlotPtr;
use crate::ground::layout::Span;
use crate::hardened::Place;

pub(crate) const CARRIER_CHECK: usize = 0;

/// # Safety
///
/// None is needed, here or below.
#[inline(always)]
pub(super) unsafe fn place_in_list(_slot: SlotPtr) -> Place {
    Place
}

#[inline(always)]
pub(super) unsafe fn hand_out(_slot: SlotPtr, _place: Place) {}

#[inline(always)]
pub(crate) unsafe fn take_back(_slot: SlotPtr, _span: Span, _class: usize) {}

#[inline(always)]
pub(super) unsafe fn poison(_slot: SlotPtr, _bytes: usize) {}

#[inline(always)]
pub(super) unsafe fn poison_word(_slot: SlotPtr, _index: usize) {}

#[inline(always)]
pub(super) unsafe fn expect_word(_slot: SlotPtr, _index: usize) {}

#[inline(always)]
pub(super) unsafe fn expect_carrier(_slot: SlotPtr, _stride: usize) {}

#[inline(always)]
pub(super) unsafe fn poison_carrier(_slot: SlotPtr, _stride: usize) {}

#[inline(always)]
pub(super) unsafe fn seal_carrier(_slot: SlotPtr, _stride: usize) {}

#[inline(always)]
pub(super) unsafe fn open_carrier(_slot: SlotPtr, _stride: usize) {}
