//! Const arithmetic of sizes: the class of a layout, strides, spans of segments, lengths of magazines and
//! batches.
//!
//! ```text
//! layout (size, align) --route--> Zero                       no memory
//!                                 Class(c) --stride_of--> stride --Span::of--> 64 KiB | 512 KiB | 4 MiB
//!                                 Own                        a dedicated mapping
//! ```
//!
//! There is no state here; any thread may call these functions. Always holds:
//!
//! * A class's stride is at least the size and a multiple of the alignment.
//! * The waste is at most 12.5 % above 64 bytes.
//! * The span depends on the *size* alone, because `drop` knows only the size when it masks a slot's address.
//!   A `SegmentPool` packs slots tighter than the class, but never into a segment of another span.

use core::alloc::Layout;

/// Bytes and alignment of an arena, the mapping that is sliced into segments.
pub(crate) const ARENA_BYTES: usize = 4 << 20;
/// Classes of the default pool: 16 in steps of 8 to 128 bytes, then 8 per doubling to 128 KiB.
pub(crate) const CLASSES: usize = 96;
/// The largest stride of a segment.
pub(crate) const MAX_STRIDE: usize = 128 << 10;
/// The largest alignment that a segment provides: a page.
pub(crate) const MAX_ALIGN: usize = 4 << 10;

/// Bytes at the end of each slot that no value uses. The feature `hardened` keeps a canary word there.
pub(crate) const CANARY_BYTES: usize = if cfg!(all(feature = "hardened", not(segment_pool_loom))) {
    8
} else {
    0
};

/// How a layout gets its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The value has no bytes: a dangling pointer, and no shared state is touched.
    Zero,
    /// A slot of this class, in a segment of this span.
    Class(usize, Span),
    /// A dedicated mapping, for values larger than the largest stride or aligned beyond a page.
    Own,
}

/// The route of a layout. It is a constant for every sized `T`.
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

/// Bytes of a slot that a value of this layout takes: a multiple of its alignment, or 0 if it has no bytes.
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
/// If the size is a multiple of an alignment, the stride is too. Where classes are closer together than the
/// alignment, the size is itself a class. Elsewhere their distance is a multiple of the alignment.
#[inline(always)]
pub(crate) const fn class_of(size: usize) -> usize {
    if size <= 128 {
        return (size - 1) / 8;
    }
    let doubling = (size - 1).ilog2() as usize; // size is in (2^doubling, 2^(doubling + 1)]
    let eighth = (size - 1) >> (doubling - 3); // 8..=15: the eighth of the doubling
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

/// The stride of a pool of one type. It is tighter than a class, and its segments have the same span.
#[inline]
pub(crate) const fn pool_stride(layout: Layout) -> usize {
    let bytes = slot_bytes(layout);
    let unit = if bytes > 1024 { 64 } else { 8 };
    bytes.next_multiple_of(unit)
}

/// The size of a segment: a power of two, so that masking a slot's address yields the segment.
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

    /// The span of segments with this stride, or of the class of this size. The limits between spans are
    /// classes.
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

    /// A small dense number, for tables with one entry per span.
    pub(crate) const fn index(self) -> usize {
        (self.shift() as usize - 16) / 3
    }

    /// Log2 of the unit of a slot's offset. The unit is chosen so that every offset plus one fits in 16 bits.
    #[inline]
    pub(crate) const fn offset_shift(self) -> u32 {
        match self {
            Self::Small => 3,
            Self::Medium | Self::Large => 6,
        }
    }
}

/// Bytes from a segment's start to its first slot: `head_bytes`, rounded up to the largest power of two, up
/// to a page, that divides the stride.
pub(crate) const fn first_slot(head_bytes: usize, stride: usize) -> usize {
    let natural = 1 << stride.trailing_zeros();
    head_bytes.next_multiple_of(if natural < MAX_ALIGN {
        natural
    } else {
        MAX_ALIGN
    })
}

/// Slots of a full magazine: 16 KiB, at least 2 and at most 256 slots.
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

/// Slots that a batch of remote frees may collect before it must be pushed: at most [`BATCH_SLOTS`], and at
/// most 8 KiB.
pub(crate) const fn batch_slots(stride: usize) -> usize {
    let slots = (8 << 10) / stride;
    match slots {
        0 => 1,
        _ if slots < BATCH_SLOTS => slots,
        _ => BATCH_SLOTS,
    }
}

/// Slots of the longest batch of remote frees. With this, an entry of the remote-free buffer takes two cache
/// lines.
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
