//! One operation on pointers that stable Rust lacks: the metadata of one, the address and provenance of another.

use core::ptr::NonNull;

/// A pointer to `storage` that is as wide as `like`, and has its length or vtable: `<*mut u8>::with_metadata_of`, which
/// is unstable.
///
/// The address is a wide pointer's first word. That is how every compiler has had it, though no document promises it,
/// so it is checked, at no cost once optimised.
#[inline]
pub(crate) fn with_metadata_of<T: ?Sized>(storage: NonNull<u8>, like: *const T) -> NonNull<T> {
    let mut wide = like.cast_mut();
    let address = (&raw mut wide).cast::<*mut u8>();
    // SAFETY: a pointer is at least a word, and `wide` is one.
    let found = unsafe { address.read() };
    assert!(
        found.addr() == like.cast::<u8>().addr(),
        "a wide pointer does not begin with its address"
    );
    // SAFETY: as above; what is behind the word is the metadata and stays.
    unsafe { address.write(storage.as_ptr()) };
    // SAFETY: its address is that of `storage`.
    unsafe { NonNull::new_unchecked(wide) }
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;
    use core::fmt::Debug;

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
