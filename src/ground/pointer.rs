//! Two operations on pointers that stable Rust lacks: a pointer with the metadata of one and the address and
//! provenance of another, and the layout of a pointer's target. There is no state here.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

/// Returns a pointer to `storage` with the length or vtable of `like`. This is `<*mut u8>::with_metadata_of`,
/// which is unstable.
///
/// The address is the first word of a wide pointer. Every compiler has done so, but no document promises it.
/// So it is checked, at no cost once optimised.
///
/// # Panics
///
/// If a wide pointer does not begin with its address.
#[inline]
pub(crate) fn with_metadata_of<T: ?Sized>(storage: NonNull<u8>, like: *const T) -> NonNull<T> {
    let mut wide = like.cast_mut();
    let address = (&raw mut wide).cast::<*mut u8>();
    // SAFETY: a pointer is at least one word, and `wide` is a pointer.
    let found = unsafe { address.read() };
    assert!(
        found.addr() == like.cast::<u8>().addr(),
        "a wide pointer does not begin with its address"
    );
    // SAFETY: as above; the metadata after the word stays unchanged.
    unsafe { address.write(storage.as_ptr()) };
    // SAFETY: its address is that of `storage`, which is not null.
    unsafe { NonNull::new_unchecked(wide) }
}

/// Returns the layout of a pointer's target. This is `Layout::for_value_raw`, which is unstable. The contents
/// are not read.
///
/// Other code may hold a `&mut` to the value meanwhile and use it again afterwards. The value's own
/// destructor does so, and so does a future that borrows from itself. Creating a `&T` instead would count as
/// a read of all bytes. It would invalidate every `&mut` to them, and it is undefined behaviour while a
/// function runs that has one as its argument.
///
/// # Safety
///
/// The memory is storage for a value, and the pointer has the metadata of that value. The value may have been
/// dropped or moved out.
#[inline(always)]
pub(crate) unsafe fn layout_of<T: ?Sized>(value: *const T) -> Layout {
    let cell = value as *const UnsafeCell<T>;
    // SAFETY:
    // * valid: the memory is allocated and aligned, and has the bytes of a value; dropping and moving out
    //   leave them there;
    // * aliasing: creating a shared reference to a cell is no access, in Stacked Borrows (SharedReadWrite, no
    //   protector) and in Tree Borrows, and the compiler adds neither `noalias` nor `dereferenceable`.
    //   `tests/aliasing.rs` checks it with Miri.
    Layout::for_value(unsafe { &*cell })
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;
    use core::fmt::Debug;

    #[test]
    fn a_layout_is_that_of_the_value() {
        fn check<T: ?Sized>(value: &T) {
            // SAFETY: a reference points to a valid value.
            assert_eq!(unsafe { layout_of(value) }, Layout::for_value(value));
        }
        check(&7_u8);
        check("text");
        check(&[1_u16, 2, 3][..]);
        check::<dyn Debug>(&[1_u64; 5]);
        check(&());
    }

    #[test]
    fn only_the_address_changes() {
        let (from, mut to) = ([1_u32, 2, 3], [4_u32, 5, 6]);
        let storage = NonNull::from(&mut to);
        let moved = with_metadata_of::<[u32]>(storage.cast(), &raw const from);
        // SAFETY: `to` is an array of the same type as `from`.
        assert_eq!(unsafe { moved.as_ref() }, [4, 5, 6]);
        let object: &dyn Debug = &from;
        let moved = with_metadata_of::<dyn Debug>(storage.cast(), object);
        // SAFETY: as above.
        assert_eq!(format!("{:?}", unsafe { moved.as_ref() }), "[4, 5, 6]");
        let thin = with_metadata_of::<u32>(storage.cast(), &raw const from[0]);
        assert_eq!(thin, storage.cast());
    }
}
