//! Boxed slices and strings.

mod common;

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};

use common::handles::{
    Counts, Drops, PanicsWhenCloned, PanicsWhenDropped, frees_what_it_takes, panics,
};
use segment_pool::{AllocErrorKind, PoolBox};

#[test]
fn from_whatever_holds_elements() {
    let expected = [1, 2, 3];
    assert_eq!(*PoolBox::<[i32]>::from([1, 2, 3]), expected);
    assert_eq!(*PoolBox::<[i32]>::from(vec![1, 2, 3]), expected);
    assert_eq!(*PoolBox::<[i32]>::from(&[1, 2, 3][..]), expected);
    assert_eq!(*PoolBox::<[i32]>::from(&mut [1, 2, 3][..]), expected);
    assert_eq!(
        *PoolBox::<[i32]>::from(Cow::Borrowed(&expected[..])),
        expected
    );
    assert_eq!(*PoolBox::<[i32]>::from(Cow::Owned(vec![1, 2, 3])), expected);
    assert_eq!(*(1..=3).collect::<PoolBox<[i32]>>(), expected);
    assert_eq!(*PoolBox::<[i32]>::default(), []);
}

#[test]
fn of_every_length() {
    for len in [0, 1, 2, 15, 16, 17, 1000, 16_384, 40_000] {
        let elements: PoolBox<[usize]> = (0..len).collect();
        assert_eq!(elements.len(), len);
        assert!(elements.iter().copied().eq(0..len));
        assert_eq!(elements.clone(), elements);
        assert!(elements.into_iter().eq(0..len));
        let nothings: PoolBox<[()]> = vec![(); len].into();
        assert_eq!(nothings.into_vec().len(), len);
    }
}

#[test]
fn too_long_a_slice_is_an_error_or_a_panic() {
    for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8 + 1] {
        let error = PoolBox::<[u64]>::try_new_uninit_slice(len).unwrap_err();
        assert_eq!(error, AllocErrorKind::CapacityOverflow);
        let error = PoolBox::<[u64]>::try_new_zeroed_slice(len).unwrap_err();
        assert_eq!(error, AllocErrorKind::CapacityOverflow);
        assert!(panics(|| PoolBox::<[u64]>::new_uninit_slice(len)));
    }
    let error = PoolBox::<[u8]>::try_new_uninit_slice(isize::MAX as usize).unwrap_err();
    assert_eq!(error, AllocErrorKind::OutOfMemory);
}

#[test]
fn elements_are_dropped_once() {
    let drops = Drops::default();
    let elements = || (0..5).map(|_| drops.value());
    drop(elements().collect::<PoolBox<[Counts]>>());
    assert_eq!(drops.count(), 5);
    drop(PoolBox::from([drops.value(), drops.value()]) as PoolBox<[Counts]>);
    assert_eq!(drops.count(), 7);
    let vector = elements().collect::<PoolBox<[Counts]>>().into_vec();
    assert_eq!(drops.count(), 7);
    drop(vector);
    assert_eq!(drops.count(), 12);
    let mut some = elements().collect::<PoolBox<[Counts]>>().into_iter();
    drop((some.next(), some.next_back()));
    assert_eq!(drops.count(), 14);
    assert_eq!(some.len(), 3);
    drop(some);
    assert_eq!(drops.count(), 17);
}

#[test]
fn a_panicking_clone_drops_the_clones_before_it() {
    let drops = Drops::default();
    let originals: PoolBox<[PanicsWhenCloned]> =
        (0..4).map(|_| PanicsWhenCloned(drops.value())).collect();
    assert!(frees_what_it_takes::<[PanicsWhenCloned; 4]>(|| {
        PanicsWhenCloned::arm(3);
        assert!(panics(|| originals.clone()));
    }));
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_panicking_element_frees_the_slice() {
    assert!(frees_what_it_takes::<[PanicsWhenDropped; 1]>(|| {
        let one = || PoolBox::into_boxed_slice(PoolBox::new(PanicsWhenDropped([0; 40])));
        assert!(panics(one));
        assert!(panics(|| one().into_iter()));
    }));
}

#[test]
fn cloning_into_a_slice_of_the_same_length_keeps_the_memory() {
    let source: PoolBox<[String]> = ["a", "b"].map(String::from).into();
    let mut target: PoolBox<[String]> = ["c", "d"].map(String::from).into();
    let memory = PoolBox::as_ptr(&target);
    target.clone_from(&source);
    assert_eq!(target, source);
    assert_eq!(PoolBox::as_ptr(&target), memory);
    let mut target: PoolBox<[String]> = PoolBox::default();
    target.clone_from(&source);
    assert_eq!(target, source);
    let mut target: PoolBox<str> = "abc".into();
    let memory = PoolBox::as_ptr(&target);
    target.clone_from(&"def".into());
    assert_eq!((&*target, PoolBox::as_ptr(&target)), ("def", memory));
    target.clone_from(&"longer".into());
    assert_eq!(&*target, "longer");
}

#[test]
fn to_arrays_and_back() {
    let slice = PoolBox::<[u8]>::from([1, 2, 3]);
    let memory = PoolBox::as_ptr(&slice).addr();
    let array: PoolBox<[u8; 3]> = slice.try_into().unwrap();
    assert_eq!(PoolBox::as_ptr(&array).addr(), memory);
    let slice = PoolBox::<[u8]>::from([1, 2, 3]);
    let returned = PoolBox::<[u8; 2]>::try_from(slice).unwrap_err();
    assert_eq!(*returned, [1, 2, 3]);
    assert_eq!(*PoolBox::<[u8; 2]>::try_from(vec![1, 2]).unwrap(), [1, 2]);
    assert_eq!(PoolBox::<[u8; 2]>::try_from(vec![1]), Err(vec![1]));
    assert_eq!(*PoolBox::into_boxed_slice(PoolBox::new(7)), [7]);
}

#[test]
fn borrowed_slices_are_iterated_by_for() {
    let mut numbers: PoolBox<[i32]> = [1, 2, 3].into();
    let mut sum = 0;
    for number in &numbers {
        sum += number;
    }
    for number in numbers.iter_mut() {
        *number += 1;
    }
    assert_eq!((sum, &*numbers), (6, &[2, 3, 4][..]));
    let mut from_both_ends = numbers.into_iter();
    assert_eq!(from_both_ends.next_back(), Some(4));
    assert_eq!(from_both_ends.size_hint(), (2, Some(2)));
    assert_eq!(format!("{from_both_ends:?}"), "IntoIter([2, 3])");
    assert_eq!(from_both_ends.by_ref().count(), 2);
    assert_eq!(from_both_ends.next(), None);
}

#[test]
fn strings_of_every_kind() {
    let mut text = String::from("text");
    assert_eq!(&*PoolBox::<str>::from("text"), "text");
    assert_eq!(&*PoolBox::<str>::from(text.as_mut_str()), "text");
    assert_eq!(&*PoolBox::<str>::from(text), "text");
    assert_eq!(&*PoolBox::<str>::from(Cow::Borrowed("text")), "text");
    assert_eq!(&*PoolBox::<str>::default(), "");
    assert_eq!(String::from(PoolBox::<str>::from("text")), "text");
    assert_eq!(*PoolBox::<[u8]>::from(PoolBox::<str>::from("ab")), *b"ab");

    let c_text: PoolBox<CStr> = c"text".into();
    assert_eq!(CString::from(c_text.clone()).as_c_str(), c"text");
    assert_eq!(*PoolBox::<CStr>::from(CString::from(c"text")), *c_text);
    assert_eq!(&*PoolBox::<CStr>::default(), c"");

    let os_text: PoolBox<OsStr> = OsStr::new("text").into();
    assert_eq!(OsString::from(os_text.clone()), *os_text);
    assert_eq!(*PoolBox::<OsStr>::from(OsString::from("text")), *os_text);
    assert_eq!(&*PoolBox::<OsStr>::default(), "");

    let path: PoolBox<Path> = Path::new("a/b").into();
    assert_eq!(PathBuf::from(path.clone()), *path);
    assert_eq!(*PoolBox::<Path>::from(PathBuf::from("a/b")), *path);
    assert!(path.ends_with("b"));
}

#[test]
fn strings_are_collected_of_parts() {
    fn joined<T>(parts: [T; 2]) -> PoolBox<str>
    where
        PoolBox<str>: FromIterator<T>,
    {
        parts.into_iter().collect()
    }
    assert_eq!(&*joined(['a', 'b']), "ab");
    assert_eq!(&*joined([&'a', &'b']), "ab");
    assert_eq!(&*joined(["a", "b"]), "ab");
    assert_eq!(&*joined(["a", "b"].map(String::from)), "ab");
    assert_eq!(&*joined([Cow::Borrowed("a"), Cow::Owned("b".into())]), "ab");
    let boxed = || ["a", "b"].map(PoolBox::<str>::from);
    assert_eq!(&*joined(boxed()), "ab");
    assert_eq!(boxed().into_iter().collect::<String>(), "ab");
    let mut text = String::from("ab");
    text.extend(boxed());
    assert_eq!(text, "abab");
}

#[test]
fn values_of_a_std_box_move_over() {
    let drops = Drops::default();
    let boxed: Box<[Counts]> = vec![drops.value(), drops.value()].into();
    let boxed = PoolBox::from_box(boxed);
    assert_eq!((boxed.len(), drops.count()), (2, 0));
    drop(boxed);
    assert_eq!(drops.count(), 2);
    let function: Box<dyn Fn(i32) -> i32> = Box::new(|x| x + 1);
    assert_eq!(PoolBox::from_box(function)(6), 7);
    assert_eq!(*PoolBox::from_box(Box::new(())), ());
}
