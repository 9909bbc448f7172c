//! Const arithmetic of sizes: class of a layout, stride, size of segment, lengths of magazines and batches.
//!
//! ```text
//! layout (size, align) --route--> Zero                       no memory at all
//!                                 Class(c) --stride_of--> stride --Span::of--> 64 KiB | 512 KiB | 4 MiB
//!                                 Own                        a dedicated mapping
//! ```
//!
//! Always holds: a class's stride is at least the size and a multiple of the alignment; the waste is at most 12.5 %
//! above 64 bytes; the span depends on the *size* alone (a `SegmentPool` packs tighter than the class, but never into
//! a segment of another span), because `drop` knows only the size when it looks for a slot's segment.

use core::alloc::Layout;

/// Bytes and alignment of an arena, the mapping that segments are sliced from.
pub(crate) const ARENA_BYTES: usize = 4 << 20;
/// Classes of the default pool: 16 in steps of 8 to 128 bytes, then 8 per doubling to 128 KiB.
pub(crate) const CLASSES: usize = 96;
/// The largest stride that comes from segments.
pub(crate) const MAX_STRIDE: usize = 128 << 10;
/// The largest alignment that comes from segments: a page.
pub(crate) const MAX_ALIGN: usize = 4 << 10;

/// Bytes at the end of each slot that are no value's: the feature `hardened` keeps a word there.
pub(crate) const CANARY_BYTES: usize = if cfg!(all(feature = "hardened", not(segment_pool_loom))) {
    8
} else {
    0
};

/// How a layout gets its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nothing to store: a dangling pointer, no shared state touched.
    Zero,
    /// A slot of this class, and the span of segment it is found in.
    Class(usize, Span),
    /// A dedicated mapping: larger than the largest stride, or aligned beyond a page.
    Own,
}

/// Where a value of this layout lives. A const for every sized `T`.
#[inline(always)]
pub(crate) const fn route(layout: Layout) -> Route {
    let size = slot_bytes(layout);
    if size == 0 {
        Route::Zero
    } else if size > MAX_STRIDE || layout.align() > MAX_ALIGN {
        Route::Own
    } else {
        Route::Class(class_of(size), Span::of(size))
    }
}

/// What a value of this layout takes of a slot: a multiple of its alignment; 0 if it takes none.
#[inline(always)]
pub(crate) const fn slot_bytes(layout: Layout) -> usize {
    let (size, align) = (layout.size(), layout.align());
    if size == 0 {
        return 0;
    }
    // No overflow: a layout's padded size is at most half the address space.
    (size + CANARY_BYTES + align - 1) & !(align - 1)
}

/// The class of a size from 1 to [`MAX_STRIDE`].
///
/// A size that is a multiple of an alignment gets a stride that is, too: where classes lie closer than the alignment
/// the size is itself a class, and elsewhere their distance is a multiple of it.
#[inline(always)]
pub(crate) const fn class_of(size: usize) -> usize {
    if size <= 128 {
        return (size - 1) / 8;
    }
    let doubling = (size - 1).ilog2() as usize; // size is in (2^doubling, 2^(doubling + 1)]
    let eighth = (size - 1) >> (doubling - 3); // 8..=15: which eighth of the doubling
    16 + (doubling - 7) * 8 + (eighth - 8)
}

/// Bytes from one slot of a class to the next.
#[inline]
pub(crate) const fn stride_of(class: usize) -> usize {
    if class < 16 {
        return (class + 1) * 8;
    }
    let doubling = 7 + (class - 16) / 8;
    (8 + (class - 16) % 8 + 1) << (doubling - 3)
}

/// The stride of a pool of one type: tighter than a class, and found in the same span.
#[inline]
pub(crate) const fn pool_stride(layout: Layout) -> usize {
    let bytes = slot_bytes(layout);
    let unit = if bytes > 1024 { 64 } else { 8 };
    bytes.next_multiple_of(unit)
}

/// The size of a segment: a power of two, so that masking a slot's address finds the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Span {
    /// 64 KiB, for strides up to 1 KiB.
    Small = 16,
    /// 512 KiB, for strides up to 16 KiB.
    Medium = 19,
    /// 4 MiB, a whole arena, for strides up to 128 KiB.
    Large = 22,
}

impl Span {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The span of segments with this stride, or of the class of this size: the borders are classes.
    #[inline(always)]
    pub(crate) const fn of(stride: usize) -> Self {
        match stride {
            0..=1024 => Self::Small,
            1025..=16384 => Self::Medium,
            _ => Self::Large,
        }
    }

    #[inline(always)]
    pub(crate) const fn shift(self) -> u32 {
        self as u32
    }

    #[inline(always)]
    pub(crate) const fn bytes(self) -> usize {
        1 << self.shift()
    }

    /// Segments of this span in one arena: 64, 8 or 1.
    pub(crate) const fn per_arena(self) -> usize {
        ARENA_BYTES >> self.shift()
    }

    /// A small dense number, for tables with an entry per span.
    pub(crate) const fn index(self) -> usize {
        (self.shift() as usize - 16) / 3
    }

    /// Log2 of the unit of a slot's offset, chosen so that every offset plus one fits 16 bits.
    #[inline]
    pub(crate) const fn offset_shift(self) -> u32 {
        match self {
            Self::Small => 3,
            Self::Medium | Self::Large => 6,
        }
    }
}

/// Bytes from the segment's start, or the end of the arena's head in the arena's first segment, to its first slot:
/// rounded up to whatever power of two, up to a page, the stride is a multiple of.
pub(crate) const fn first_slot(head_bytes: usize, stride: usize) -> usize {
    let natural = 1 << stride.trailing_zeros();
    head_bytes.next_multiple_of(if natural < MAX_ALIGN {
        natural
    } else {
        MAX_ALIGN
    })
}

/// Slots that make a full magazine: 16 KiB of them, at least 2 and at most 256.
pub(crate) const fn magazine_slots(stride: usize) -> usize {
    if cfg!(segment_pool_loom) {
        return 2;
    }
    match (16 << 10) / stride {
        0..=1 => 2,
        slots @ 2..=255 => slots,
        _ => 256,
    }
}

/// Slots the free side may collect before it must push them: at most [`BATCH_SLOTS`], at most 8 KiB of memory.
pub(crate) const fn batch_slots(stride: usize) -> usize {
    let slots = (8 << 10) / stride;
    match slots {
        0 => 1,
        _ if slots < BATCH_SLOTS => slots,
        _ => BATCH_SLOTS,
    }
}

/// The longest batch of remote frees: what makes an entry of the remote-free buffer two cache lines.
pub(crate) const BATCH_SLOTS: usize = if cfg!(segment_pool_loom) { 2 } else { 56 };

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size_with_little_waste() {
        for size in 1..=MAX_STRIDE {
            let class = class_of(size);
            let stride = stride_of(class);
            assert!(class < CLASSES && stride >= size, "size {size}");
            assert!(
                class == 0 || stride_of(class - 1) < size,
                "size {size} has a smaller class"
            );
            assert!(
                size <= 64 || (stride - size) * 8 <= stride,
                "size {size}: more than 12.5 % waste"
            );
        }
    }

    #[test]
    fn strides_keep_the_alignment() {
        for align in (0..=12).map(|bit| 1 << bit) {
            for size in (align..=MAX_STRIDE).step_by(align) {
                assert_eq!(
                    stride_of(class_of(size)) % align,
                    0,
                    "size {size}, align {align}"
                );
                let pool = pool_stride(Layout::from_size_align(size, align).unwrap());
                assert_eq!(pool % align, 0, "size {size}, align {align}");
                assert_eq!(first_slot(16896, pool) % align, 0);
            }
        }
    }

    #[test]
    fn a_pool_of_one_type_uses_the_span_of_the_class() {
        for bytes in 1..=MAX_STRIDE - CANARY_BYTES {
            let layout = Layout::from_size_align(bytes, 1).unwrap();
            let (size, pool) = (slot_bytes(layout), pool_stride(layout));
            assert!(pool >= size && pool <= stride_of(class_of(size)).next_multiple_of(64));
            assert_eq!(Span::of(pool), Span::of(size), "size {size}");
            assert_eq!(
                Span::of(stride_of(class_of(size))),
                Span::of(size),
                "size {size}"
            );
        }
    }

    #[test]
    fn offsets_fit_sixteen_bits() {
        for class in 0..CLASSES {
            let stride = stride_of(class);
            let span = Span::of(stride);
            assert_eq!(stride % (1 << span.offset_shift()), 0, "stride {stride}");
            assert!((span.bytes() - stride) >> span.offset_shift() < usize::from(u16::MAX));
        }
    }
}
