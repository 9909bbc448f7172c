//! Checks the table of `Box`'s interface in the documentation (`src/boxed/surface.md`): every *yes* is used here.

#![cfg(not(miri))] // reads a file

use std::any::Any;
use std::borrow::{Borrow, BorrowMut, Cow};
use std::cmp::Ordering;
use std::error::Error;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::iter::FusedIterator;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use segment_pool::{PoolBox, SegmentPool, coerce};

const TABLE: &str = include_str!("../src/boxed/surface.md");

macro_rules! implements {
    ($Type:ty: $Trait:path) => {{
        fn holds<T: ?Sized + $Trait>() {}
        holds::<$Type>()
    }};
}

/// A row of the table, and a use of what it promises.
const USES: &[(&str, fn())] = &[
    ("Box::new", || assert_eq!(*PoolBox::new(7), 7)),
    ("Box::new_uninit", || drop(PoolBox::<String>::new_uninit())),
    ("Box::new_zeroed", || {
        assert_eq!(zero(PoolBox::new_zeroed()), 0)
    }),
    ("Box::pin", || assert_eq!(*PoolBox::pin(7), 7)),
    ("Box::try_new", || {
        assert_eq!(*PoolBox::try_new(7).unwrap(), 7)
    }),
    ("Box::try_new_uninit", || {
        drop(PoolBox::<String>::try_new_uninit().unwrap())
    }),
    ("Box::try_new_zeroed", || {
        assert_eq!(zero(PoolBox::try_new_zeroed().unwrap()), 0)
    }),
    ("Box::map", || {
        assert_eq!(*PoolBox::map(PoolBox::new(7), |x| x + 1), 8)
    }),
    ("Box::try_map", || {
        assert_eq!(
            *PoolBox::try_map(PoolBox::new("7"), str::parse::<i32>).unwrap(),
            7
        )
    }),
    ("Box::new_in", || {
        assert_eq!(*PoolBox::new_in(7, &SegmentPool::new()), 7)
    }),
    ("Box::try_new_in", || {
        assert_eq!(*PoolBox::try_new_in(7, &SegmentPool::new()).unwrap(), 7)
    }),
    ("Box::new_uninit_in", || {
        drop(PoolBox::<u8>::new_uninit_in(&SegmentPool::new()))
    }),
    ("Box::try_new_uninit_in", || {
        drop(PoolBox::<u8>::try_new_uninit_in(&SegmentPool::new()).unwrap())
    }),
    ("Box::new_zeroed_in", || {
        assert_eq!(zero(PoolBox::new_zeroed_in(&SegmentPool::new())), 0)
    }),
    ("Box::try_new_zeroed_in", || {
        assert_eq!(
            zero(PoolBox::try_new_zeroed_in(&SegmentPool::new()).unwrap()),
            0
        )
    }),
    ("Box::pin_in", || {
        assert_eq!(*PoolBox::pin_in(7, &SegmentPool::new()), 7)
    }),
    ("Box::into_boxed_slice", || {
        assert_eq!(*PoolBox::into_boxed_slice(PoolBox::new(7)), [7])
    }),
    ("Box::into_inner", || {
        assert_eq!(PoolBox::into_inner(PoolBox::new(7)), 7)
    }),
    ("Box::take", || {
        assert_eq!(PoolBox::take(PoolBox::new(7)).0, 7)
    }),
    ("Box::clone_from_ref", || {
        assert_eq!(*PoolBox::clone_from_ref(&7), 7)
    }),
    ("Box::try_clone_from_ref", || {
        assert_eq!(*PoolBox::try_clone_from_ref(&7).unwrap(), 7)
    }),
    ("Box::new_uninit_slice", || {
        assert_eq!(PoolBox::<[u8]>::new_uninit_slice(3).len(), 3)
    }),
    ("Box::new_zeroed_slice", || {
        assert_eq!(PoolBox::<[u8]>::new_zeroed_slice(3).len(), 3)
    }),
    ("Box::try_new_uninit_slice", || {
        assert_eq!(PoolBox::<[u8]>::try_new_uninit_slice(3).unwrap().len(), 3)
    }),
    ("Box::try_new_zeroed_slice", || {
        assert_eq!(PoolBox::<[u8]>::try_new_zeroed_slice(3).unwrap().len(), 3)
    }),
    ("Box::into_array", || {
        assert_eq!(*slice().into_array::<2>().unwrap(), [1, 2])
    }),
    ("Box<MaybeUninit<T>>::assume_init", || {
        assert_eq!(zero(PoolBox::new_zeroed()), 0)
    }),
    ("Box<MaybeUninit<T>>::write", || {
        assert_eq!(*PoolBox::write(PoolBox::new_uninit(), 7), 7)
    }),
    ("Box<[MaybeUninit<T>]>::assume_init", || {
        assert_eq!(*zeros(PoolBox::<[u8]>::new_zeroed_slice(2)), [0, 0])
    }),
    ("Box::from_raw", || {
        assert_eq!(*raw_and_back(PoolBox::new(7)), 7)
    }),
    ("Box::into_raw", || {
        assert_eq!(*raw_and_back(PoolBox::new(7)), 7)
    }),
    ("Box::from_non_null", || {
        assert_eq!(*non_null_and_back(PoolBox::new(7)), 7)
    }),
    ("Box::into_non_null", || {
        assert_eq!(*non_null_and_back(PoolBox::new(7)), 7)
    }),
    ("Box::as_ptr", || {
        assert!(!PoolBox::as_ptr(&PoolBox::new(7)).is_null())
    }),
    ("Box::as_mut_ptr", || {
        assert!(!PoolBox::as_mut_ptr(&mut PoolBox::new(7)).is_null())
    }),
    ("Box::leak", || {
        assert_eq!(PoolBox::leak(PoolBox::new(7)), &7)
    }),
    ("Box::into_pin", || {
        assert_eq!(*PoolBox::into_pin(PoolBox::new(7)), 7)
    }),
    ("Box<dyn Any>::downcast", || {
        assert_eq!(
            *coerce!(PoolBox::new(7) => dyn Any)
                .downcast::<i32>()
                .unwrap(),
            7
        )
    }),
    ("Box<dyn Any>::downcast_unchecked", || {
        let any = coerce!(PoolBox::new(7) => dyn Any);
        // SAFETY: it is one.
        assert_eq!(*unsafe { any.downcast_unchecked::<i32>() }, 7);
    }),
    ("Box<dyn Any + Send>::downcast", || {
        assert_eq!(
            *coerce!(PoolBox::new(7) => dyn Any + Send)
                .downcast::<i32>()
                .unwrap(),
            7
        )
    }),
    ("Box<dyn Any + Send>::downcast_unchecked", || {
        let any = coerce!(PoolBox::new(7) => dyn Any + Send);
        // SAFETY: it is one.
        assert_eq!(*unsafe { any.downcast_unchecked::<i32>() }, 7);
    }),
    ("Box<dyn Any + Send + Sync>::downcast", || {
        assert_eq!(
            *coerce!(PoolBox::new(7) => dyn Any + Send + Sync)
                .downcast::<i32>()
                .unwrap(),
            7
        )
    }),
    ("Box<dyn Any + Send + Sync>::downcast_unchecked", || {
        let any = coerce!(PoolBox::new(7) => dyn Any + Send + Sync);
        // SAFETY: it is one.
        assert_eq!(*unsafe { any.downcast_unchecked::<i32>() }, 7);
    }),
    ("AsRef<T> for Box<T>", || {
        assert_eq!(AsRef::<i32>::as_ref(&PoolBox::new(7)), &7)
    }),
    ("AsMut<T> for Box<T>", || {
        assert_eq!(AsMut::<i32>::as_mut(&mut PoolBox::new(7)), &mut 7)
    }),
    ("Borrow<T> for Box<T>", || {
        assert_eq!(Borrow::<i32>::borrow(&PoolBox::new(7)), &7)
    }),
    ("BorrowMut<T> for Box<T>", || {
        assert_eq!(BorrowMut::<i32>::borrow_mut(&mut PoolBox::new(7)), &mut 7)
    }),
    ("Deref for Box<T>", || assert_eq!(*PoolBox::new(7), 7)),
    ("DerefMut for Box<T>", || *PoolBox::new(7) = 8),
    ("Drop for Box<T>", || drop(PoolBox::new(7))),
    ("Pointer for Box<T>", || {
        assert!(format!("{:p}", PoolBox::new(7)).starts_with("0x"))
    }),
    ("Send for Box<T>", || implements!(PoolBox<dyn Send>: Send)),
    ("Sync for Box<T>", || implements!(PoolBox<dyn Sync>: Sync)),
    ("Unpin for Box<T>", || implements!(PoolBox<dyn Any>: Unpin)),
    (
        "UnwindSafe for Box<T>",
        || implements!(PoolBox<dyn UnwindSafe>: UnwindSafe),
    ),
    (
        "RefUnwindSafe for Box<T>",
        || implements!(PoolBox<dyn RefUnwindSafe>: RefUnwindSafe),
    ),
    ("Debug for Box<T>", || {
        assert_eq!(format!("{:?}", PoolBox::new("a")), "\"a\"")
    }),
    ("Display for Box<T>", || {
        assert_eq!(PoolBox::new(7).to_string(), "7")
    }),
    ("PartialEq for Box<T>", || {
        assert!(PoolBox::new(7) == PoolBox::new(7))
    }),
    ("Eq for Box<T>", || implements!(PoolBox<str>: Eq)),
    ("PartialOrd for Box<T>", || {
        assert!(PoolBox::new(7.0) < PoolBox::new(8.0))
    }),
    ("Ord for Box<T>", || {
        assert_eq!(PoolBox::new(7).cmp(&PoolBox::new(7)), Ordering::Equal)
    }),
    ("Hash for Box<T>", || {
        assert_eq!(hash(PoolBox::new(7)), hash(7))
    }),
    ("Hasher for Box<T>", || {
        assert_eq!(
            PoolBox::new(DefaultHasher::new()).finish(),
            DefaultHasher::new().finish()
        )
    }),
    ("Iterator for Box<T>", || {
        assert!(coerce!(PoolBox::new(1..3) => dyn Iterator<Item = i32>).eq([1, 2]))
    }),
    ("DoubleEndedIterator for Box<T>", || {
        assert_eq!(PoolBox::new(1..3).next_back(), Some(2))
    }),
    ("ExactSizeIterator for Box<T>", || {
        assert_eq!(ExactSizeIterator::len(&PoolBox::new(1..3)), 2)
    }),
    (
        "FusedIterator for Box<T>",
        || implements!(PoolBox<std::ops::Range<i32>>: FusedIterator),
    ),
    ("Future for Box<T>", || {
        assert_eq!(poll(PoolBox::new(std::future::ready(7))), Poll::Ready(7))
    }),
    ("Error for Box<T>", || {
        assert!(Error::source(&PoolBox::new(std::fmt::Error)).is_none())
    }),
    ("Read for Box<T>", || {
        assert_eq!(io::read_to_string(PoolBox::new(&b"ab"[..])).unwrap(), "ab")
    }),
    ("Write for Box<T>", || {
        write!(coerce!(PoolBox::new(io::sink()) => dyn Write), "{}", 7).unwrap()
    }),
    ("Seek for Box<T>", || {
        assert_eq!(
            PoolBox::new(io::Cursor::new("ab"))
                .seek(SeekFrom::End(0))
                .unwrap(),
            2
        )
    }),
    ("BufRead for Box<T>", || {
        assert_eq!(PoolBox::new(&b"a\nb"[..]).lines().count(), 2)
    }),
    ("AsFd for Box<T>", || {
        #[cfg(unix)]
        implements!(PoolBox<std::fs::File>: std::os::fd::AsFd)
    }),
    ("AsRawFd for Box<T>", || {
        #[cfg(unix)]
        implements!(PoolBox<std::fs::File>: std::os::fd::AsRawFd)
    }),
    ("AsHandle for Box<T>", || {
        #[cfg(windows)]
        implements!(PoolBox<std::fs::File>: std::os::windows::io::AsHandle)
    }),
    ("AsSocket for Box<T>", || {
        #[cfg(windows)]
        implements!(PoolBox<std::net::TcpStream>: std::os::windows::io::AsSocket)
    }),
    ("Default for Box<T>", || {
        assert_eq!(*PoolBox::<i32>::default(), 0)
    }),
    ("Default for Box<[T]>", || {
        assert!(PoolBox::<[i32]>::default().is_empty())
    }),
    ("Default for Box<str>", || {
        assert!(PoolBox::<str>::default().is_empty())
    }),
    ("Default for Box<CStr>", || {
        assert!(PoolBox::<CStr>::default().is_empty())
    }),
    ("Default for Box<OsStr>", || {
        assert!(PoolBox::<OsStr>::default().is_empty())
    }),
    ("Default for Pin<Box<T>>", || {
        assert_eq!(*Pin::<PoolBox<i32>>::default(), 0)
    }),
    ("Clone for Box<T>", || {
        assert_eq!(*PoolBox::new(7).clone(), 7)
    }),
    ("Clone for Box<[T]>", || {
        assert_eq!(*slice().clone(), [1, 2])
    }),
    ("Clone for Box<str>", || {
        assert_eq!(&*PoolBox::<str>::from("ab").clone(), "ab")
    }),
    ("Clone for Box<CStr>", || {
        assert_eq!(&*PoolBox::<CStr>::from(c"ab").clone(), c"ab")
    }),
    ("Clone for Box<OsStr>", || {
        assert_eq!(&*PoolBox::<OsStr>::from(OsStr::new("ab")).clone(), "ab")
    }),
    ("Clone for Box<Path>", || {
        assert_eq!(
            &*PoolBox::<Path>::from(Path::new("ab")).clone(),
            Path::new("ab")
        )
    }),
    ("FromIterator<T> for Box<[T]>", || {
        assert_eq!(*(1..3).collect::<PoolBox<[i32]>>(), [1, 2])
    }),
    ("FromIterator<char> for Box<str>", || {
        assert_eq!(&*['a'].into_iter().collect::<PoolBox<str>>(), "a")
    }),
    ("FromIterator<&char> for Box<str>", || {
        assert_eq!(&*[&'a'].into_iter().collect::<PoolBox<str>>(), "a")
    }),
    ("FromIterator<&str> for Box<str>", || {
        assert_eq!(&*["a"].into_iter().collect::<PoolBox<str>>(), "a")
    }),
    ("FromIterator<String> for Box<str>", || {
        assert_eq!(
            &*["a".to_owned()].into_iter().collect::<PoolBox<str>>(),
            "a"
        )
    }),
    ("FromIterator<Cow<str>> for Box<str>", || {
        assert_eq!(
            &*[Cow::Borrowed("a")].into_iter().collect::<PoolBox<str>>(),
            "a"
        )
    }),
    ("FromIterator<Box<str>> for Box<str>", || {
        assert_eq!(
            &*[PoolBox::<str>::from("a")]
                .into_iter()
                .collect::<PoolBox<str>>(),
            "a"
        )
    }),
    ("FromIterator<Box<str>> for String", || {
        assert_eq!(
            [PoolBox::<str>::from("a")].into_iter().collect::<String>(),
            "a"
        )
    }),
    ("Extend<Box<str>> for String", || {
        String::new().extend([PoolBox::<str>::from("a")])
    }),
    ("IntoIterator for &Box<[T]>", || {
        assert_eq!((&slice()).into_iter().count(), 2)
    }),
    ("From<T> for Box<T>", || assert_eq!(*PoolBox::from(7), 7)),
    ("From<&[T]> for Box<[T]>", || {
        assert_eq!(*PoolBox::<[i32]>::from(&[1, 2][..]), [1, 2])
    }),
    ("From<&mut [T]> for Box<[T]>", || {
        assert_eq!(*PoolBox::<[i32]>::from(&mut [1, 2][..]), [1, 2])
    }),
    ("From<[T; N]> for Box<[T]>", || {
        assert_eq!(*PoolBox::<[i32]>::from([1, 2]), [1, 2])
    }),
    ("From<Vec<T>> for Box<[T]>", || {
        assert_eq!(*PoolBox::<[i32]>::from(vec![1, 2]), [1, 2])
    }),
    ("From<Cow<[T]>> for Box<[T]>", || {
        assert_eq!(*PoolBox::<[i32]>::from(Cow::Borrowed(&[1, 2][..])), [1, 2])
    }),
    ("From<&str> for Box<str>", || {
        assert_eq!(
            *PoolBox::<str>::from(String::from("ab").as_str()),
            *String::from("ab")
        )
    }),
    ("From<&mut str> for Box<str>", || {
        assert_eq!(
            *PoolBox::<str>::from(&mut *PoolBox::<str>::from(String::from("ab"))),
            *String::from("ab")
        )
    }),
    ("From<String> for Box<str>", || {
        assert_eq!(
            *PoolBox::<str>::from(String::from("ab")),
            *String::from("ab")
        )
    }),
    ("From<Cow<str>> for Box<str>", || {
        assert_eq!(
            *PoolBox::<str>::from(Cow::<str>::Owned(String::from("ab"))),
            *String::from("ab")
        )
    }),
    ("From<Box<str>> for String", || {
        assert_eq!(
            String::from(PoolBox::<str>::from(String::from("ab"))),
            String::from("ab")
        )
    }),
    ("From<&CStr> for Box<CStr>", || {
        assert_eq!(
            *PoolBox::<CStr>::from(c"ab".to_owned().as_c_str()),
            *c"ab".to_owned()
        )
    }),
    ("From<&mut CStr> for Box<CStr>", || {
        assert_eq!(
            *PoolBox::<CStr>::from(&mut *PoolBox::<CStr>::from(c"ab".to_owned())),
            *c"ab".to_owned()
        )
    }),
    ("From<CString> for Box<CStr>", || {
        assert_eq!(*PoolBox::<CStr>::from(c"ab".to_owned()), *c"ab".to_owned())
    }),
    ("From<Cow<CStr>> for Box<CStr>", || {
        assert_eq!(
            *PoolBox::<CStr>::from(Cow::<CStr>::Owned(c"ab".to_owned())),
            *c"ab".to_owned()
        )
    }),
    ("From<Box<CStr>> for CString", || {
        assert_eq!(
            CString::from(PoolBox::<CStr>::from(c"ab".to_owned())),
            c"ab".to_owned()
        )
    }),
    ("From<&OsStr> for Box<OsStr>", || {
        assert_eq!(
            *PoolBox::<OsStr>::from(OsString::from("ab").as_os_str()),
            *OsString::from("ab")
        )
    }),
    ("From<&mut OsStr> for Box<OsStr>", || {
        assert_eq!(
            *PoolBox::<OsStr>::from(&mut *PoolBox::<OsStr>::from(OsString::from("ab"))),
            *OsString::from("ab")
        )
    }),
    ("From<OsString> for Box<OsStr>", || {
        assert_eq!(
            *PoolBox::<OsStr>::from(OsString::from("ab")),
            *OsString::from("ab")
        )
    }),
    ("From<Cow<OsStr>> for Box<OsStr>", || {
        assert_eq!(
            *PoolBox::<OsStr>::from(Cow::<OsStr>::Owned(OsString::from("ab"))),
            *OsString::from("ab")
        )
    }),
    ("From<Box<OsStr>> for OsString", || {
        assert_eq!(
            OsString::from(PoolBox::<OsStr>::from(OsString::from("ab"))),
            OsString::from("ab")
        )
    }),
    ("From<&Path> for Box<Path>", || {
        assert_eq!(
            *PoolBox::<Path>::from(PathBuf::from("ab").as_path()),
            *PathBuf::from("ab")
        )
    }),
    ("From<&mut Path> for Box<Path>", || {
        assert_eq!(
            *PoolBox::<Path>::from(&mut *PoolBox::<Path>::from(PathBuf::from("ab"))),
            *PathBuf::from("ab")
        )
    }),
    ("From<PathBuf> for Box<Path>", || {
        assert_eq!(
            *PoolBox::<Path>::from(PathBuf::from("ab")),
            *PathBuf::from("ab")
        )
    }),
    ("From<Cow<Path>> for Box<Path>", || {
        assert_eq!(
            *PoolBox::<Path>::from(Cow::<Path>::Owned(PathBuf::from("ab"))),
            *PathBuf::from("ab")
        )
    }),
    ("From<Box<Path>> for PathBuf", || {
        assert_eq!(
            PathBuf::from(PoolBox::<Path>::from(PathBuf::from("ab"))),
            PathBuf::from("ab")
        )
    }),
    ("From<Box<str>> for Box<[u8]>", || {
        assert_eq!(*PoolBox::<[u8]>::from(PoolBox::<str>::from("ab")), *b"ab")
    }),
    ("From<Box<[T]>> for Vec<T>", || {
        assert_eq!(Vec::from(slice()), [1, 2])
    }),
    ("From<Box<T>> for Pin<Box<T>>", || {
        assert_eq!(*Pin::from(PoolBox::new(7)), 7)
    }),
    ("From<Box<T>> for Rc<T>", || {
        assert_eq!(
            *Rc::<[i32]>::from(slice()),
            *Rc::<[i32; 2]>::from(PoolBox::new([1, 2]))
        )
    }),
    ("From<Box<T>> for Arc<T>", || {
        assert_eq!(
            *Arc::<[i32]>::from(slice()),
            *Arc::<[i32; 2]>::from(PoolBox::new([1, 2]))
        )
    }),
    ("TryFrom<Box<[T]>> for Box<[T; N]>", || {
        assert_eq!(*PoolBox::<[i32; 2]>::try_from(slice()).unwrap(), [1, 2])
    }),
    ("TryFrom<Vec<T>> for Box<[T; N]>", || {
        assert_eq!(*PoolBox::<[i32; 2]>::try_from(vec![1, 2]).unwrap(), [1, 2])
    }),
    ("From<E> for Box<dyn Error>", || {
        assert!(PoolBox::<dyn Error>::from(std::fmt::Error).is::<std::fmt::Error>())
    }),
    ("From<E> for Box<dyn Error + Send + Sync>", || {
        assert!(PoolBox::<dyn Error + Send + Sync>::from(std::fmt::Error).is::<std::fmt::Error>())
    }),
];

#[test]
fn every_use_does_what_it_should() {
    for (_, use_it) in USES {
        use_it();
    }
}

#[test]
fn the_table_and_the_uses_agree() {
    let rows = || TABLE.lines().filter(|line| line.starts_with("| `"));
    let mut promised = Vec::new();
    for row in rows() {
        let cells: Vec<&str> = row.split(" | ").collect();
        let what = cells[0].trim_start_matches("| `").trim_end_matches('`');
        match cells[1] {
            "yes" => promised.push(what),
            "no" => assert!(cells[2].len() > 4, "no reason: {row}"),
            _ => panic!("neither yes nor no: {row}"),
        }
    }
    let used: Vec<&str> = USES.iter().map(|(what, _)| *what).collect();
    assert_eq!(promised, used);
    assert!(rows().count() > 150, "looked in the wrong place");
}

fn zero(zeroed: PoolBox<MaybeUninit<u32>>) -> u32 {
    // SAFETY: zero is a valid `u32`.
    *unsafe { zeroed.assume_init() }
}

fn zeros(zeroed: PoolBox<[MaybeUninit<u8>]>) -> PoolBox<[u8]> {
    // SAFETY: zero is a valid `u8`.
    unsafe { zeroed.assume_init() }
}

fn raw_and_back<T>(boxed: PoolBox<T>) -> PoolBox<T> {
    // SAFETY: the pointer came from `into_raw` and is used once.
    unsafe { PoolBox::from_raw(PoolBox::into_raw(boxed)) }
}

fn non_null_and_back<T>(boxed: PoolBox<T>) -> PoolBox<T> {
    // SAFETY: the pointer came from `into_non_null` and is used once.
    unsafe { PoolBox::from_non_null(PoolBox::into_non_null(boxed)) }
}

fn slice() -> PoolBox<[i32]> {
    [1, 2].into()
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
