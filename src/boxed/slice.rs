//! Boxed slices: made, cloned, iterated and turned into arrays.

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
    /// Takes storage of the default pool for so many values that are to come.
    ///
    /// # Panics
    ///
    /// If a slice of that length would be larger than the address space allows.
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

    /// Takes storage of the default pool for so many values, and sets its bytes to zero.
    ///
    /// # Panics
    ///
    /// If a slice of that length would be larger than the address space allows.
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

    /// Takes storage of the default pool for so many values that are to come.
    ///
    /// # Errors
    ///
    /// When the operating system refuses memory, or a slice of that length would be larger than the address space.
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

    /// Takes storage of the default pool for so many values, and sets its bytes to zero.
    ///
    /// # Errors
    ///
    /// As [`try_new_uninit_slice`](Self::try_new_uninit_slice).
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

    /// `layout` is that of the slice.
    fn try_uninit_slice(len: usize, layout: Layout) -> Option<PoolBox<[MaybeUninit<T>]>> {
        let first = Vacant::alloc(layout)?.into_storage().cast();
        // SAFETY: storage for so many, in which nothing need be valid.
        Some(unsafe { PoolBox::from_non_null(NonNull::slice_from_raw_parts(first, len)) })
    }

    /// Turns the slice into an array of the same elements in the same place, if it has as many.
    ///
    /// # Errors
    ///
    /// The slice, if its length is another. (`Box::into_array`, still unstable, loses it.)
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
        // SAFETY: an array of that length has the slice's layout.
        Ok(unsafe { PoolBox::from_non_null(array) })
    }

    /// Takes the elements out one by one, leaving each where it is until then.
    ///
    /// A method, and not `IntoIterator`: the compiler cannot be told that `[T]` will never be an `Iterator`, and a
    /// `PoolBox` of an iterator is one. So a `for` loop over the box itself needs it spelt out.
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
            // SAFETY: a box of the same layout; the elements are kept account of by `left`.
            elements: unsafe { PoolBox::from_raw(elements) },
            left: 0..end,
        }
    }

    /// Moves the elements to a vector, which has its own memory.
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
        // SAFETY: a box of the same layout, which frees the memory but does not drop the elements.
        let elements = unsafe { PoolBox::from_raw(elements) };
        let from = elements.as_ptr().cast::<T>();
        // SAFETY: there is room for so many, in a place of its own.
        unsafe { ptr::copy_nonoverlapping(from, vector.as_mut_ptr(), len) };
        // SAFETY: so many were moved there.
        unsafe { vector.set_len(len) };
        vector
    }
}

impl<T> PoolBox<T> {
    /// Turns the value, where it is, into a slice of one.
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
        // SAFETY: a slice of one has the layout of its element.
        unsafe { PoolBox::from_non_null(slice) }
    }
}

impl<T: ?Sized> PoolBox<T> {
    /// Copies a value of any size into a slot. To move one, a caller leaves it with its owner until this returns, because a
    /// failed allocation may unwind, and then makes the owner forget it.
    ///
    /// # Safety
    ///
    /// The next thing that the caller does is to forget the value, unless its type is one whose bytes may be copied.
    pub(crate) unsafe fn copied(value: &T) -> Self {
        let layout = Layout::for_value(value);
        let storage = Vacant::alloc(layout)
            .unwrap_or_else(|| refused(layout))
            .into_storage();
        // SAFETY: fresh storage of the value's size.
        unsafe { storage.copy_from_nonoverlapping(NonNull::from(value).cast(), layout.size()) };
        // SAFETY: the storage is for this layout and now holds the value.
        unsafe { Self::from_non_null(with_metadata_of(storage, value)) }
    }

    /// Moves the value of a `Box`, of whatever size, into a slot.
    ///
    /// There is no `From<Box<T>>`, as it would collide with `From<E: Error>`.
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
        // SAFETY: a box of the same layout, which frees the memory but does not drop the value.
        drop(unsafe { Box::from_raw(emptied) });
        moved
    }
}

impl<T: Clone> From<&[T]> for PoolBox<[T]> {
    /// A panic of `clone` drops the clones there are.
    fn from(elements: &[T]) -> Self {
        let mut cloned = IntoIter {
            elements: Self::new_uninit_slice(elements.len()),
            left: 0..0,
        };
        for (index, element) in elements.iter().enumerate() {
            cloned.elements[index].write(element.clone());
            cloned.left.end = index + 1;
        }
        // SAFETY: there are as many as were cloned.
        unsafe { cloned.into_elements().assume_init() }
    }
}

impl<T: Clone> Clone for PoolBox<[T]> {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }

    /// Keeps the memory, and clones element by element, if the lengths are equal.
    fn clone_from(&mut self, source: &Self) {
        if self.len() == source.len() {
            self.clone_from_slice(source);
        } else {
            *self = source.clone();
        }
    }
}

// For `&mut PoolBox<[T]>` it would collide, too.
impl<'a, T> IntoIterator for &'a PoolBox<[T]> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The elements of a boxed slice, taken out one by one: see [`PoolBox::into_iter`].
///
/// Dropping it drops the elements that are left, and frees the slice's memory.
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
/// drop(words); // and with it "a" and "b"
/// ```
pub struct IntoIter<T> {
    elements: PoolBox<[MaybeUninit<T>]>,
    /// The elements that hold a value. All within bounds.
    left: Range<usize>,
}

impl<T> IntoIter<T> {
    /// The elements that are left, as a slice.
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
        // SAFETY: those that are left hold values, and are borrowed as the iterator is.
        unsafe { &*(left as *const [T]) }
    }

    /// All elements, none of which count as left.
    fn into_elements(mut self) -> PoolBox<[MaybeUninit<T>]> {
        self.left = 0..0;
        mem::replace(&mut self.elements, PoolBox::<[T]>::new_uninit_slice(0))
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let index = self.left.next()?;
        // SAFETY: it was left a moment ago, and is not now.
        Some(unsafe { self.elements[index].assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    fn next_back(&mut self) -> Option<T> {
        let index = self.left.next_back()?;
        // SAFETY: it was left a moment ago, and is not now.
        Some(unsafe { self.elements[index].assume_init_read() })
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<T> Drop for IntoIter<T> {
    fn drop(&mut self) {
        let left = mem::replace(&mut self.left, 0..0);
        let left: *mut [MaybeUninit<T>] = &raw mut self.elements[left];
        // SAFETY: those that are left hold values, and are not used again. The box frees the memory, also if one of
        // the destructors panics.
        unsafe { ptr::drop_in_place(left as *mut [T]) }
    }
}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.as_slice()).finish()
    }
}
