//! What a shared handle does because its value does, and what it is made of.

mod common;

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::path::Path;

use common::handles::{Counts, Drops};
use segment_pool::{PoolArc, PoolBox};

#[test]
fn from_values_boxes_and_what_holds_elements() {
    assert_eq!(*PoolArc::from(7), 7);
    assert_eq!(*PoolArc::<i32>::default(), 0);
    assert_eq!(*PoolArc::<i32>::from(PoolBox::new(7)), 7);
    assert_eq!(*PoolArc::<[i32]>::from([1, 2]), [1, 2]);
    assert_eq!(*PoolArc::<[i32]>::from(vec![1, 2]), [1, 2]);
    assert_eq!(*PoolArc::<[i32]>::from(&[1, 2][..]), [1, 2]);
    assert_eq!(*PoolArc::<[i32]>::from(Cow::Borrowed(&[1, 2][..])), [1, 2]);
    assert_eq!(*(1..3).collect::<PoolArc<[i32]>>(), [1, 2]);
    assert_eq!(&*PoolArc::<str>::from("text"), "text");
    assert_eq!(&*PoolArc::<str>::from(String::from("text")), "text");
    assert_eq!(*PoolArc::<[u8]>::from(PoolArc::<str>::from("ab")), *b"ab");
    assert_eq!(&*PoolArc::<CStr>::from(c"text"), c"text");
    assert_eq!(&*PoolArc::<OsStr>::from(OsStr::new("text")), "text");
    assert_eq!(&*PoolArc::<Path>::from(Path::new("a/b")), Path::new("a/b"));
    let array = PoolArc::<[i32; 2]>::try_from(PoolArc::<[i32]>::from([1, 2]));
    assert_eq!(*array.unwrap(), [1, 2]);
    assert!(PoolArc::<[i32; 3]>::try_from(PoolArc::<[i32]>::from([1, 2])).is_err());
    assert_eq!(*PoolArc::try_new(7).unwrap(), 7);
    assert_eq!(*PoolArc::pin(7), 7);
}

#[test]
fn values_of_any_size_move_from_boxes() {
    #[repr(align(128))]
    struct Aligned {
        _counts: Counts,
    }
    let aligned = |_counts| PoolBox::new(Aligned { _counts });
    let drops = Drops::default();
    drop(PoolArc::<Aligned>::from(aligned(drops.value())));
    drop::<PoolArc<Aligned>>(aligned(drops.value()).into());
    let slice: PoolBox<[Counts]> = [drops.value(), drops.value()].into();
    let shared: PoolArc<[Counts]> = slice.into();
    assert_eq!(drops.count(), 2);
    drop(shared);
    assert_eq!(drops.count(), 4);
    let object = segment_pool::coerce!(aligned(drops.value()) => dyn Send + Sync);
    let shared: PoolArc<dyn Send + Sync> = object.into();
    std::thread::spawn(move || drop(shared)).join().unwrap();
    assert_eq!(drops.count(), 5);
}

#[test]
fn compared_hashed_and_shown_as_its_value() {
    let (three, four) = (PoolArc::new(3), PoolArc::new(4));
    assert!(three < four && three != four && three == PoolArc::new(3));
    assert_eq!(three.clone().max(four.clone()), four);
    assert_eq!(format!("{three} {four:?}"), "3 4");
    assert_eq!(
        format!("{three:p}"),
        format!("{:p}", PoolArc::as_ptr(&three))
    );
    let mut map: HashMap<PoolArc<str>, i32> = HashMap::new();
    map.insert("three".into(), 3);
    assert_eq!(map.get("three"), Some(&3));
    let text = PoolArc::<str>::from("text");
    let (borrowed, referred): (&str, &str) = (text.borrow(), text.as_ref());
    assert_eq!((borrowed, referred), ("text", "text"));
}

#[test]
fn an_error_shared_is_an_error() {
    let error: PoolBox<dyn std::error::Error> = PoolArc::new(std::fmt::Error).into();
    assert!(error.is::<PoolArc<std::fmt::Error>>());
}
