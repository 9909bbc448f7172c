//! Annotations for memory checkers, which cannot know by themselves whether a slot stores a value or is free.
//!
//! | cfg | tool | annotation |
//! |---|---|---|
//! | `asan_slots` | AddressSanitizer | inaccessible bytes are poisoned manually |
//! | `memcheck_slots` | Valgrind | slots are blocks of a custom allocator |
//! | neither | | none |
//!
//! ```text
//! segment claimed ------------> shut          its header stays open
//! handed_out -----------------> the bytes of the value are open, the rest of the slot is not
//! taken_back -----------------> shut at once, also while the slot waits in a remote-free buffer or on a remote list
//! Window ---------------------> the pool itself reads or writes the list data of a free slot
//! unmapped -------------------> open, for the next mapping there
//! ```
//!
//! So the tool reports a read or write of a freed slot, and a second free, as if `free` had freed the slot.
//! There is no state here. Any thread may call these functions for memory that it owns. Slots are multiples
//! of the 8 bytes that the tools track.

use core::alloc::Layout;
use core::ptr::NonNull;

/// Notes that the bytes were mapped. They may contain the only pointer to an allocation, which is then not
/// leaked.
#[inline(always)]
pub(crate) fn mapped(start: NonNull<u8>, bytes: usize) {
    tool::mapped(start.as_ptr(), bytes);
}

/// Notes that the bytes are about to be unmapped. They were mapped as one range.
#[inline(always)]
pub(crate) fn unmapped(start: NonNull<u8>, bytes: usize) {
    tool::unmapped(start.as_ptr(), bytes);
}

/// Makes bytes of a segment or a slot inaccessible.
#[inline(always)]
pub(crate) fn shut(start: NonNull<u8>, bytes: usize) {
    tool::shut(start.as_ptr(), bytes);
}

/// Makes bytes accessible.
#[inline(always)]
pub(crate) fn open(start: NonNull<u8>, bytes: usize) {
    tool::open(start.as_ptr(), bytes);
}

/// Notes that a slot becomes storage for a value of this layout.
#[inline(always)]
pub(crate) fn handed_out(storage: NonNull<u8>, layout: Layout) -> NonNull<u8> {
    tool::handed_out(storage.as_ptr(), layout.size());
    storage
}

/// Notes that the storage of a value is a free slot again.
#[inline(always)]
pub(crate) fn taken_back(storage: NonNull<u8>, layout: Layout) {
    tool::taken_back(storage.as_ptr(), layout.size());
}

/// Notes that the storage of a value now has another layout.
#[inline(always)]
pub(crate) fn refitted(storage: NonNull<u8>, old: Layout, new: Layout) {
    tool::refitted(storage.as_ptr(), old.size(), new.size());
}

/// The first bytes of a free slot. The pool may access them until this is dropped.
#[derive(Debug)]
pub(crate) struct Window {
    start: *mut u8,
    #[cfg(any(asan_slots, memcheck_slots))]
    bytes: usize,
}

impl Window {
    #[inline(always)]
    pub(crate) fn new(start: *mut u8, bytes: usize) -> Self {
        tool::open(start, bytes);
        Self {
            start,
            #[cfg(any(asan_slots, memcheck_slots))]
            bytes,
        }
    }

    /// The start of the window.
    #[inline(always)]
    pub(crate) fn cast<T>(&self) -> *mut T {
        self.start.cast()
    }
}

/// Compiled only with a checker, so that an unoptimised build without one has no call here.
#[cfg(any(asan_slots, memcheck_slots))]
impl Drop for Window {
    fn drop(&mut self) {
        tool::shut(self.start, self.bytes);
    }
}

#[cfg(not(any(asan_slots, memcheck_slots)))]
mod tool {
    #[inline(always)]
    pub(super) fn mapped(_start: *mut u8, _bytes: usize) {}

    #[inline(always)]
    pub(super) fn unmapped(_start: *mut u8, _bytes: usize) {}

    #[inline(always)]
    pub(super) fn shut(_start: *mut u8, _bytes: usize) {}

    #[inline(always)]
    pub(super) fn open(_start: *mut u8, _bytes: usize) {}

    #[inline(always)]
    pub(super) fn handed_out(_start: *mut u8, _bytes: usize) {}

    #[inline(always)]
    pub(super) fn taken_back(_start: *mut u8, _bytes: usize) {}

    #[inline(always)]
    pub(super) fn refitted(_start: *mut u8, _old: usize, _new: usize) {}
}

#[cfg(asan_slots)]
mod tool {
    use core::ffi::c_void;

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const c_void, bytes: usize);
        fn __asan_unpoison_memory_region(start: *const c_void, bytes: usize);
        fn __lsan_register_root_region(start: *const c_void, bytes: usize);
        fn __lsan_unregister_root_region(start: *const c_void, bytes: usize);
    }

    /// LeakSanitizer follows pointers in these bytes, except those in poisoned bytes.
    pub(super) fn mapped(start: *mut u8, bytes: usize) {
        // SAFETY: the bytes stay mapped until `unmapped`.
        unsafe { __lsan_register_root_region(start.cast(), bytes) }
    }

    pub(super) fn unmapped(start: *mut u8, bytes: usize) {
        // SAFETY: registered by `mapped`.
        unsafe { __lsan_unregister_root_region(start.cast(), bytes) }
        open(start, bytes);
    }

    pub(super) fn shut(start: *mut u8, bytes: usize) {
        // SAFETY: it writes only the tool's own records of the caller's bytes.
        unsafe { __asan_poison_memory_region(start.cast(), bytes.next_multiple_of(8)) }
    }

    pub(super) fn open(start: *mut u8, bytes: usize) {
        // SAFETY: as above.
        unsafe { __asan_unpoison_memory_region(start.cast(), bytes) }
    }

    pub(super) fn handed_out(start: *mut u8, bytes: usize) {
        open(start, bytes);
    }

    pub(super) fn taken_back(start: *mut u8, bytes: usize) {
        // SAFETY: the caller owns the storage of at least one byte. If it is already free, the tool reports
        // this read.
        unsafe { start.read_volatile() };
        shut(start, bytes);
    }

    pub(super) fn refitted(start: *mut u8, old: usize, new: usize) {
        shut(start, old);
        open(start, new);
    }
}

#[cfg(memcheck_slots)]
mod tool {
    #[cfg(not(target_arch = "x86_64"))]
    compile_error!("requests to Valgrind are written for x86-64 only");

    // As in valgrind.h and memcheck.h.
    const MALLOCLIKE_BLOCK: usize = 0x1301;
    const FREELIKE_BLOCK: usize = 0x1302;
    const RESIZEINPLACE_BLOCK: usize = 0x130b;
    const MAKE_MEM_NOACCESS: usize = 0x4d43_0000;
    const MAKE_MEM_DEFINED: usize = 0x4d43_0002;

    /// A sequence of instructions without effect. Valgrind reads it as a request to which `rax` points.
    fn request(words: [usize; 6]) {
        // SAFETY: the four rotations add up to 128 bits, and the exchange is of a register with itself.
        unsafe {
            core::arch::asm!(
                "rol rdi, 3",
                "rol rdi, 13",
                "rol rdi, 61",
                "rol rdi, 51",
                "xchg rbx, rbx",
                in("rax") &raw const words,
                inout("rdx") 0_usize => _,
                options(nostack),
            );
        }
    }

    /// Valgrind searches mapped memory for pointers anyway, and observes system calls.
    pub(super) fn mapped(_start: *mut u8, _bytes: usize) {}

    pub(super) fn unmapped(_start: *mut u8, _bytes: usize) {}

    pub(super) fn shut(start: *mut u8, bytes: usize) {
        request([MAKE_MEM_NOACCESS, start.addr(), bytes, 0, 0, 0]);
    }

    pub(super) fn open(start: *mut u8, bytes: usize) {
        request([MAKE_MEM_DEFINED, start.addr(), bytes, 0, 0, 0]);
    }

    pub(super) fn handed_out(start: *mut u8, bytes: usize) {
        request([MALLOCLIKE_BLOCK, start.addr(), bytes, 0, 0, 0]);
    }

    pub(super) fn taken_back(start: *mut u8, _bytes: usize) {
        request([FREELIKE_BLOCK, start.addr(), 0, 0, 0, 0]);
    }

    pub(super) fn refitted(start: *mut u8, old: usize, new: usize) {
        request([RESIZEINPLACE_BLOCK, start.addr(), old, new, 0, 0]);
    }
}
