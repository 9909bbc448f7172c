//! A link between free slots as it is stored in one.
//!
//! The address is tagged with a hash of itself, where addresses have unused bits, and masked with a hash of
//! the address at which it is stored. A word written by other code opens to an address with a wrong tag. If
//! the tag is right by chance, the address must still be that of a free slot.
//!
//! The pointer keeps its provenance: only its address is changed, and changed back. The thread that owns the
//! slot touches the word.

use core::ptr::{self, NonNull};

use super::arenas::ADDRESS_BITS;
use super::key::mix;
use super::shield::Place;
use crate::ground::misuse::{Misuse, report};

/// The bits of a word that no address uses.
const TAG: usize = (!0_u64 << ADDRESS_BITS) as usize;

/// See the module documentation.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Sealed<T>(*mut T);

impl<T> Sealed<T> {
    /// A link to be stored at this address.
    #[inline]
    pub(crate) fn new<P>(link: Option<NonNull<T>>, place: *const P) -> Self {
        let link = link.map_or(ptr::null_mut(), NonNull::as_ptr);
        Self(link.map_addr(|addr| tagged(addr) ^ mix(place.addr()) as usize))
    }

    /// The link that was stored at this address. The caller must check the slot before it follows the link.
    #[inline]
    pub(crate) fn open<P>(self, place: *const P) -> Option<NonNull<T>> {
        NonNull::new(self.0.map_addr(|word| {
            let opened = word ^ mix(place.addr()) as usize;
            let addr = opened & !TAG;
            if tagged(addr) != opened {
                report(Misuse::WriteAfterFree);
            }
            addr
        }))
    }

    /// As [`open`](Self::open), and checks that the link leads to a free slot.
    pub(crate) fn open_to_use<P>(self, place: *const P) -> Option<NonNull<T>> {
        let link = self.open(place)?;
        match Place::of(link) {
            Some(place) if place.is_free() => Some(link),
            _ => report(Misuse::WriteAfterFree),
        }
    }
}

fn tagged(addr: usize) -> usize {
    addr | (mix(addr) as usize & TAG)
}
