//! The shield, the part of `hardened` in each segment: the cookie, the geometry, and a byte per slot.
//!
//! ```text
//! | Shield | the rest of the header | a byte per slot | slots ...
//! ```
//!
//! The thread that claims the segment writes the geometry, and any thread reads it. The thread that owns a
//! slot writes its byte. Always holds: the byte is LIVE from the time a slot is handed out until it is freed,
//! and FREE otherwise.

use core::mem;
use core::ptr::NonNull;

use super::arenas::span_at;
use super::key::Cookie;
use crate::ground::layout::Span;
use crate::ground::sync::{AtomicU8, Ordering};

const FREE: u8 = 0;
const LIVE: u8 = 1;

/// Fraction bits of the reciprocal. With this many, the quotient of an offset in a segment (below 2^22) and a
/// stride (below 2^20) is exact.
const POINT: u32 = 42;

/// The first bytes of a segment. Constant while the segment is in use; its end clears the cookie.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Shield {
    cookie: Cookie,
    /// One divided by the stride, rounded up.
    reciprocal: u64,
    stride: usize,
    /// Bytes from the segment's start to the states, and to the slots.
    states: u32,
    first: u32,
    capacity: u32,
    bin: u32,
    span: Span,
}

impl Shield {
    /// Bytes of states for the slots that fit into `room` bytes.
    pub(crate) const fn states_bytes(room: usize, stride: usize) -> usize {
        room / stride
    }

    /// The shield of a segment at `memory`, whose slots begin at `first`, right behind their states.
    ///
    /// # Safety
    ///
    /// The caller owns the memory up to its first slot, which lies at least `capacity` bytes behind `states`.
    pub(crate) unsafe fn new(
        memory: NonNull<u8>,
        states: usize,
        first: usize,
        stride: usize,
        capacity: usize,
        bin: usize,
    ) -> Self {
        // SAFETY: guaranteed by the caller.
        let table = unsafe { memory.add(states) };
        const { assert!(FREE == 0) };
        // SAFETY: as above.
        unsafe { table.write_bytes(FREE, capacity) };
        Self {
            cookie: Cookie::new(memory.addr().get()),
            reciprocal: (1_u64 << POINT).div_ceil(stride as u64),
            stride,
            states: states as u32,
            first: first as u32,
            capacity: capacity as u32,
            bin: bin as u32,
            span: Span::of(stride),
        }
    }

    /// Marks the end of the segment.
    pub(crate) fn end(&self) {
        self.cookie.end();
    }

    fn index(&self, addr: usize) -> Option<usize> {
        let offset = addr & (self.span.bytes() - 1);
        let bytes = offset.checked_sub(self.first as usize)?;
        let index = ((bytes as u64 * self.reciprocal) >> POINT) as usize;
        let starts = index * self.stride == bytes && index < self.capacity as usize;
        starts.then_some(index)
    }
}

/// The location of a slot, after it was verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    shield: NonNull<Shield>,
    index: usize,
}

impl Place {
    /// The place of the slot that starts at `slot`, if one does. Any pointer may be checked.
    #[inline]
    pub(crate) fn of<T>(slot: NonNull<T>) -> Option<Self> {
        let addr = slot.addr().get();
        let span = span_at(addr)?;
        let header = slot.as_ptr().map_addr(|addr| addr & !(span.bytes() - 1));
        let shield = NonNull::new(header.cast::<Shield>())?;
        // SAFETY: the address lies in an arena, so the memory is mapped. The cookie says whether it is a
        // shield; until then only the cookie is read.
        let cookie = unsafe { &(*shield.as_ptr()).cookie };
        if !cookie.is_for(header.addr()) {
            return None;
        }
        // SAFETY: the cookie is that of a segment in use.
        let index = unsafe { shield.as_ref() }.index(addr)?;
        Some(Self { shield, index })
    }

    fn shield(&self) -> &Shield {
        // SAFETY: `of` found it. A segment may end while other code misuses one of its slots. Its memory
        // stays mapped while other segments of the arena are in use; if none is, the caller is at fault.
        unsafe { self.shield.as_ref() }
    }

    pub(crate) fn stride(&self) -> usize {
        self.shield().stride
    }

    /// Whether a value of this span and class may lie there. Bin 0 is that of pools of one type. With the
    /// canary, no value of the default pool is as small as its class.
    pub(crate) fn is_for(&self, span: Span, class: usize) -> bool {
        let Shield { span: own, bin, .. } = *self.shield();
        own == span && (bin as usize == class || bin == 0)
    }

    fn state(&self) -> &AtomicU8 {
        let states = self.shield().states as usize;
        // SAFETY: the table has a byte for each index.
        let state = unsafe { self.shield.byte_add(states + self.index) };
        // SAFETY: the bytes are initialised with the shield, and only accessed as atomics from then on.
        unsafe { state.cast::<AtomicU8>().as_ref() }
    }

    /// Whether the slot is free. Called by the owner of a list that contains the slot, or seems to.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        // Relaxed: the freeing thread handed the slot over to that list, with the same synchronisation that
        // orders its bytes.
        self.state().load(Ordering::Relaxed) == FREE
    }

    /// Makes a free slot live.
    #[inline]
    pub(crate) fn make_live(&self) {
        // Relaxed: the thread that frees the value received it from the allocating thread, with
        // synchronisation. A plain store: no other thread may change the byte of a free slot.
        self.state().store(LIVE, Ordering::Relaxed);
    }

    /// Makes a slot free. False if it was free already.
    #[inline]
    #[must_use]
    pub(crate) fn make_free(&self) -> bool {
        // Relaxed: all changes of one byte have one order, so of two frees only one finds the slot live. The
        // synchronisation that hands the slot over orders its bytes.
        self.state().swap(FREE, Ordering::Relaxed) == LIVE
    }
}

const _: () = assert!(mem::size_of::<Shield>() == 64);
