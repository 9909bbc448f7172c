//! Boxed slices: construction, cloning, iteration, and conversion to arrays.

use core::alloc::Layout;
use core::fmt;
use core::iter::FusedIterator;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ops::Range;
use core::ptr::{self, NonNull};

use super::{PoolBox, Vacant};
use crate::boxed::forward::from_slices_and_strings;
use crate::ground::error::{AllocErrorKind, refused};
use crate::ground::pointer::with_metadata_of;

from_slices_and_strings!(PoolBox);

impl<T> PoolBox<[T]> {
    /// Allocates uninitialized storage for `len` values in the default pool.
    ///
    /// # Panics
    ///
    /// Panics if the size of the slice overflows the address space.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let mut slots = PoolBox::<[i32]>::new_uninit_slice(2);
    /// slots[0].write(7);
    /// slots[1].write(8);
    /// // SAFETY: both were written.
    /// assert_eq!(*unsafe { slots.assume_init() }, [7, 8]);
    /// ```
    #[must_use]
    pub fn new_uninit_slice(len: usize) -> PoolBox<[MaybeUninit<T>]> {
        let Ok(layout) = Layout::array::<T>(len) else {
            panic!("capacity overflow: no slice has {len} elements of this type");
        };
        Self::try_uninit_slice(len, layout).unwrap_or_else(|| refused(layout))
    }

    /// Allocates storage for `len` values in the default pool and fills it with zeros.
    ///
    /// # Panics
    ///
    /// Panics if the size of the slice overflows the address space.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let zeroed = PoolBox::<[u32]>::new_zeroed_slice(3);
    /// // SAFETY: zero is a valid `u32`.
    /// assert_eq!(*unsafe { zeroed.assume_init() }, [0, 0, 0]);
    /// ```
    #[must_use]
    pub fn new_zeroed_slice(len: usize) -> PoolBox<[MaybeUninit<T>]> {
        Self::new_uninit_slice(len).zeroed()
    }

    /// Allocates uninitialized storage for `len` values in the default pool, or returns an error.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no memory, or if the size of the slice overflows the address space.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::{AllocErrorKind, PoolBox};
    ///
    /// assert_eq!(PoolBox::<[u16]>::try_new_uninit_slice(9)?.len(), 9);
    /// let error = PoolBox::<[u16]>::try_new_uninit_slice(usize::MAX).unwrap_err();
    /// assert_eq!(error, AllocErrorKind::CapacityOverflow);
    /// # Ok::<(), AllocErrorKind>(())
    /// ```
    pub fn try_new_uninit_slice(len: usize) -> Result<PoolBox<[MaybeUninit<T>]>, AllocErrorKind> {
        let layout = Layout::array::<T>(len).map_err(|_| AllocErrorKind::CapacityOverflow)?;
        Self::try_uninit_slice(len, layout).ok_or(AllocErrorKind::OutOfMemory)
    }

    /// Allocates storage for `len` values in the default pool and fills it with zeros, or returns an error.
    ///
    /// # Errors
    ///
    /// As for [`try_new_uninit_slice`](Self::try_new_uninit_slice).
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let zeroed = PoolBox::<[u32]>::try_new_zeroed_slice(3)?;
    /// // SAFETY: zero is a valid `u32`.
    /// assert_eq!(*unsafe { zeroed.assume_init() }, [0, 0, 0]);
    /// # Ok::<(), segment_pool::AllocErrorKind>(())
    /// ```
    pub fn try_new_zeroed_slice(len: usize) -> Result<PoolBox<[MaybeUninit<T>]>, AllocErrorKind> {
        Self::try_new_uninit_slice(len).map(PoolBox::<[MaybeUninit<T>]>::zeroed)
    }

    /// `layout` is the layout of the slice.
    fn try_uninit_slice(len: usize, layout: Layout) -> Option<PoolBox<[MaybeUninit<T>]>> {
        let first = Vacant::alloc(layout)?.into_storage().cast();
        // SAFETY: the storage was just allocated for `len` values, and `MaybeUninit` needs no valid contents.
        Some(unsafe { PoolBox::from_non_null(NonNull::slice_from_raw_parts(first, len)) })
    }

    /// Converts the slice into an array in place, if it has `N` elements.
    ///
    /// # Errors
    ///
    /// Returns the slice if it has another length. (`Box::into_array`, which is unstable, drops it.)
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let slice: PoolBox<[i32]> = PoolBox::from([1, 2, 3]);
    /// let slice = slice.into_array::<2>().unwrap_err();
    /// assert_eq!(*slice.into_array::<3>().unwrap(), [1, 2, 3]);
    /// ```
    pub fn into_array<const N: usize>(self) -> Result<PoolBox<[T; N]>, Self> {
        if self.len() != N {
            return Err(self);
        }
        let array = PoolBox::into_non_null(self).cast();
        // SAFETY: an array of this length has the layout of the slice, and the pointer is that of the handle.
        Ok(unsafe { PoolBox::from_non_null(array) })
    }

    /// Returns an iterator that moves the elements out one by one.
    ///
    /// This is a method, not an `IntoIterator` implementation: a `PoolBox` of an iterator is an iterator, and the
    /// compiler cannot rule out that `[T]` becomes an `Iterator`. So a `for` loop over the box calls this method by
    /// name.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let names: PoolBox<[String]> = ["Ada", "Grace"].map(String::from).into();
    /// for name in names.into_iter() {
    ///     let owned: String = name;
    ///     assert!(owned.len() > 2);
    /// }
    /// ```
    #[expect(clippy::should_implement_trait, reason = "it would collide")]
    #[must_use = "the elements are dropped at once"]
    pub fn into_iter(self) -> IntoIter<T> {
        let end = self.len();
        let elements = PoolBox::into_raw(self) as *mut [MaybeUninit<T>];
        IntoIter {
            // SAFETY: the pointer is that of a box of the same layout, which was given up. `left` records which
            // elements hold values.
            elements: unsafe { PoolBox::from_raw(elements) },
            left: 0..end,
        }
    }

    /// Moves the elements into a vector, which allocates its own memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(PoolBox::<[i32]>::from([1, 2]).into_vec(), vec![1, 2]);
    /// ```
    #[must_use = "the elements are dropped at once"]
    pub fn into_vec(self) -> Vec<T> {
        let len = self.len();
        let mut vector = Vec::with_capacity(len);
        let elements = PoolBox::into_raw(self) as *mut [MaybeUninit<T>];
        // SAFETY: the pointer is that of a box of the same layout. This box frees the memory but does not drop the
        // elements.
        let elements = unsafe { PoolBox::from_raw(elements) };
        let from = elements.as_ptr().cast::<T>();
        // SAFETY: the vector has room for `len` elements, and its memory does not overlap the slice.
        unsafe { ptr::copy_nonoverlapping(from, vector.as_mut_ptr(), len) };
        // SAFETY: `len` elements were just moved there.
        unsafe { vector.set_len(len) };
        vector
    }
}

impl<T> PoolBox<T> {
    /// Converts the box into a boxed slice of one element, in place.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// assert_eq!(*PoolBox::into_boxed_slice(PoolBox::new(7)), [7]);
    /// ```
    #[must_use = "the value is dropped at once"]
    pub fn into_boxed_slice(this: Self) -> PoolBox<[T]> {
        let slice = NonNull::slice_from_raw_parts(Self::into_non_null(this), 1);
        // SAFETY: a slice of one element has the layout of the element, and the pointer is that of a box that was given
        // up.
        unsafe { PoolBox::from_non_null(slice) }
    }
}

impl<T: ?Sized> PoolBox<T> {
    /// Copies the bytes of a value of any size into a slot. To move a value, the caller leaves it with its owner until
    /// this returns, because a failed allocation may unwind, and then makes the owner forget it.
    ///
    /// # Safety
    ///
    /// The caller forgets the value right after this call, unless its type allows a copy of its bytes.
    pub(crate) unsafe fn copied(value: &T) -> Self {
        let layout = Layout::for_value(value);
        let storage = Vacant::alloc(layout)
            .unwrap_or_else(|| refused(layout))
            .into_storage();
        // SAFETY: the storage was just allocated with the size of the value, so the two do not overlap.
        unsafe { storage.copy_from_nonoverlapping(NonNull::from(value).cast(), layout.size()) };
        // SAFETY: the storage has this layout and now holds the value.
        unsafe { Self::from_non_null(with_metadata_of(storage, value)) }
    }

    /// Moves the value of a `Box`, of any size, into a slot.
    ///
    /// There is no `From<Box<T>>`, because it would conflict with `From<E: Error>`.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    /// use std::fmt::Display;
    ///
    /// let number: Box<dyn Display> = Box::new(7);
    /// let number: PoolBox<dyn Display> = PoolBox::from_box(number);
    /// assert_eq!(number.to_string(), "7");
    /// ```
    #[must_use = "the value is dropped at once"]
    pub fn from_box(boxed: Box<T>) -> Self {
        // SAFETY: the next line makes the box forget its value.
        let moved = unsafe { Self::copied(&boxed) };
        let emptied = Box::into_raw(boxed) as *mut ManuallyDrop<T>;
        // SAFETY: the pointer is that of a box of the same layout. This box frees the memory but does not drop the
        // value.
        drop(unsafe { Box::from_raw(emptied) });
        moved
    }
}

impl<T: Clone> From<&[T]> for PoolBox<[T]> {
    /// If `clone` panics, the clones made so far are dropped.
    fn from(elements: &[T]) -> Self {
        let mut cloned = IntoIter {
            elements: Self::new_uninit_slice(elements.len()),
            left: 0..0,
        };
        for (index, element) in elements.iter().enumerate() {
            cloned.elements[index].write(element.clone());
            cloned.left.end = index + 1;
        }
        // SAFETY: all elements were cloned, so every element is initialized.
        unsafe { cloned.into_elements().assume_init() }
    }
}

impl<T: Clone> Clone for PoolBox<[T]> {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }

    /// Reuses the memory and clones element by element, if the lengths are equal.
    fn clone_from(&mut self, source: &Self) {
        if self.len() == source.len() {
            self.clone_from_slice(source);
        } else {
            *self = source.clone();
        }
    }
}

// An implementation for `&mut PoolBox<[T]>` would conflict with `Iterator for PoolBox<T>`.
impl<'a, T> IntoIterator for &'a PoolBox<[T]> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An iterator that moves the elements out of a boxed slice: see [`PoolBox::into_iter`].
///
/// Dropping it drops the remaining elements and frees the memory of the slice.
///
/// # Examples
///
/// ```
/// use segment_pool::PoolBox;
///
/// let words: PoolBox<[String]> = ["a", "b", "c"].map(String::from).into();
/// let mut words: segment_pool::IntoIter<String> = words.into_iter();
/// assert_eq!(words.next_back().as_deref(), Some("c"));
/// assert_eq!(words.as_slice(), ["a", "b"]);
/// drop(words); // drops "a" and "b", too
/// ```
pub struct IntoIter<T> {
    elements: PoolBox<[MaybeUninit<T>]>,
    /// The elements that still hold a value. Always within bounds.
    left: Range<usize>,
}

impl<T> IntoIter<T> {
    /// Returns the remaining elements as a slice.
    ///
    /// # Examples
    ///
    /// ```
    /// use segment_pool::PoolBox;
    ///
    /// let mut elements = PoolBox::<[i32]>::from([1, 2, 3]).into_iter();
    /// elements.next();
    /// assert_eq!(elements.as_slice(), [2, 3]);
    /// ```
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        let left: *const [MaybeUninit<T>] = &raw const self.elements[self.left.clone()];
        // SAFETY: the elements in `left` hold values, and the reference borrows the iterator.
        unsafe { &*(left as *const [T]) }
    }

    /// Returns the box of all elements, and treats none of them as initialized.
    fn into_elements(mut self) -> PoolBox<[MaybeUninit<T>]> {
        self.left = 0..0;
        mem::replace(&mut self.elements, PoolBox::<[T]>::new_uninit_slice(0))
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let index = self.left.next()?;
        // SAFETY: the element held a value, and is no longer in `left`, so it is read once.
        Some(unsafe { self.elements[index].assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    fn next_back(&mut self) -> Option<T> {
        let index = self.left.next_back()?;
        // SAFETY: the element held a value, and is no longer in `left`, so it is read once.
        Some(unsafe { self.elements[index].assume_init_read() })
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<T> Drop for IntoIter<T> {
    fn drop(&mut self) {
        let left = mem::replace(&mut self.left, 0..0);
        let left: *mut [MaybeUninit<T>] = &raw mut self.elements[left];
        // SAFETY: the elements in `left` hold values and are not used again. The box frees the memory, even if a
        // destructor panics.
        unsafe { ptr::drop_in_place(left as *mut [T]) }
    }
}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.as_slice()).finish()
    }
}
