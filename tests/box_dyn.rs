//! Trait objects: made by `coerce!`, used, cast back, and freed whole.

mod common;

use std::any::Any;
use std::cell::Cell;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use common::handles::{Counts, Drops, PanicsWhenDropped, frees_what_it_takes, panics};
use segment_pool::{CallOnce, PoolArc, PoolBox, PoolFnOnce, PoolWeak, SegmentPool, coerce};

trait Shape {
    fn area(&self) -> f64;
    fn grow(&mut self);
}

struct Square(f64);

impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }

    fn grow(&mut self) {
        self.0 += 1.0;
    }
}

#[repr(align(64))]
struct Aligned<T>(T);

#[test]
fn an_object_is_called_and_freed() {
    assert!(frees_what_it_takes::<Square>(|| {
        let mut shape: PoolBox<dyn Shape + Send + Sync> =
            coerce!(PoolBox::new(Square(2.0)) => dyn Shape + Send + Sync);
        shape.grow();
        assert_eq!(shape.area(), 9.0);
    }));
}

#[test]
fn objects_of_every_layout_are_freed_as_what_they_are() {
    fn any<T: Any>(value: T) -> PoolBox<dyn Any> {
        coerce!(PoolBox::new(value) => dyn Any)
    }
    let drops = Drops::default();
    drop(any(()));
    drop(any([drops.value(), drops.value()]));
    drop(any(Aligned(drops.value())));
    drop(any((drops.value(), [0_u8; 100_000])));
    drop(any((drops.value(), [0_u8; 140_000])));
    assert_eq!(drops.count(), 5);
    assert!(frees_what_it_takes::<Aligned<Counts>>(|| {
        drop(any(Aligned(drops.value())));
    }));
    assert!(frees_what_it_takes::<PanicsWhenDropped>(|| {
        assert!(panics(|| any(PanicsWhenDropped([0; 40]))));
    }));
}

#[test]
fn objects_may_borrow() {
    let said = Cell::new(0);
    let adder: PoolBox<dyn Fn(i32) + '_> =
        coerce!(PoolBox::new(|by| said.set(said.get() + by)) => dyn Fn(i32));
    adder(3);
    adder(4);
    assert_eq!(said.get(), 7);
}

#[test]
fn objects_come_from_any_pool_and_go_to_any_thread() {
    let pool = SegmentPool::new();
    let shape = coerce!(pool.alloc(Square(3.0)) => dyn Shape + Send);
    drop(pool);
    assert_eq!(
        std::thread::spawn(move || shape.area()).join().unwrap(),
        9.0
    );
}

#[test]
fn raw_round_trip_of_an_object() {
    let raw: *mut dyn Shape = PoolBox::into_raw(coerce!(PoolBox::new(Square(2.0)) => dyn Shape));
    // SAFETY: the pointer came from `into_raw` and is used once.
    assert_eq!(unsafe { PoolBox::from_raw(raw) }.area(), 4.0);
    // A raw pointer coerces by itself.
    let raw: *mut dyn Shape = PoolBox::<Square>::into_raw(PoolBox::new(Square(2.0)));
    // SAFETY: as above.
    assert_eq!(unsafe { PoolBox::from_raw(raw) }.area(), 4.0);
    let raw: *mut [i32] = PoolBox::<[i32; 3]>::into_raw(PoolBox::new([1, 2, 3]));
    // SAFETY: as above.
    assert_eq!(*unsafe { PoolBox::from_raw(raw) }, [1, 2, 3]);
}

#[test]
fn coercing_evaluates_once_and_keeps_the_address() {
    let mut made = 0;
    let mut make = || {
        made += 1;
        PoolBox::new([1_u8, 2])
    };
    let slice: PoolBox<[u8]> = coerce!(make() => [u8]);
    assert_eq!((made, slice.len()), (1, 2));
    let boxed = PoolBox::new(7);
    let address = PoolBox::as_ptr(&boxed).addr();
    let object = coerce!(boxed => dyn Display);
    assert_eq!(PoolBox::as_ptr(&object).addr(), address);
    assert_eq!(*coerce!(PoolBox::new(7) => i32), 7);
}

#[test]
fn any_is_cast_back_or_returned() {
    let any = || coerce!(PoolBox::new(7_i32) => dyn Any);
    assert_eq!(*any().downcast::<i32>().unwrap(), 7);
    let kept = any().downcast::<u32>().unwrap_err();
    assert_eq!(*kept.downcast::<i32>().unwrap(), 7);
    let send = coerce!(PoolBox::new("seven") => dyn Any + Send);
    assert_eq!(*send.downcast::<&str>().unwrap(), "seven");
    let sync = coerce!(PoolBox::new([7]) => dyn Any + Send + Sync);
    assert!(sync.is::<[i32; 1]>());
    assert_eq!(*sync.downcast::<[i32; 1]>().unwrap(), [7]);
    // As in std's list: the box itself is not what is in it.
    assert!(!any().is::<PoolBox<i32>>());
    let nested = coerce!(PoolBox::new(any()) => dyn Any);
    assert!(nested.downcast::<PoolBox<dyn Any>>().is_ok());
}

#[test]
fn errors_by_question_mark_and_back() {
    fn parse(text: &str) -> Result<i32, PoolBox<dyn Error + Send + Sync>> {
        if text.is_empty() {
            return Err(PoolBox::<dyn Error + Send + Sync>::from_message("empty"));
        }
        if text == "file" {
            Err(io::Error::from(io::ErrorKind::NotFound))?;
        }
        Ok(text.parse()?)
    }
    assert_eq!(parse("7").unwrap(), 7);
    assert_eq!(parse("").unwrap_err().to_string(), "empty");
    let not_a_number = parse("x").unwrap_err();
    let not_a_number = not_a_number.downcast::<io::Error>().unwrap_err();
    assert!(not_a_number.is::<std::num::ParseIntError>());
    let not_found = parse("file").unwrap_err().downcast::<io::Error>().unwrap();
    assert_eq!(not_found.kind(), io::ErrorKind::NotFound);

    // A box of an error is an error.
    let nested: PoolBox<dyn Error> = PoolBox::from(not_found);
    assert!(nested.is::<PoolBox<io::Error>>());
    let plain = PoolBox::<dyn Error>::from(std::fmt::Error);
    assert!(plain.source().is_none());
}

#[test]
fn functions_are_called_through_the_box() {
    let offset = 3;
    let add: PoolBox<dyn Fn(i32) -> i32 + Send> =
        coerce!(PoolBox::new(move |x| x + offset) => dyn Fn(i32) -> i32 + Send);
    assert_eq!(add(4), 7);
    // Where a function is required, a reference to the contents of the box is one.
    assert!([1, 2].into_iter().map(&*add).eq([4, 5]));
    let mut sum = 0;
    {
        let mut count: PoolBox<dyn FnMut(i32) + '_> =
            coerce!(PoolBox::new(|x| sum += x) => dyn FnMut(i32));
        (3..=4).for_each(&mut *count);
    }
    assert_eq!(sum, 7);
}

#[test]
fn functions_are_called_by_value() {
    let drops = Drops::default();
    let held = drops.value();
    let once = coerce!(PoolBox::new(move |a: u8, b: &str| {
        let _held = held;
        format!("{a}{b}")
    }) => dyn CallOnce<(u8, &'static str), Output = String>);
    assert_eq!(PoolBox::call_once(once, (7, "!")), "7!");
    assert_eq!(drops.count(), 1);

    let held = drops.value();
    let job: PoolFnOnce<()> =
        coerce!(PoolBox::new(move || drop(held)) => dyn CallOnce<(), Output = ()> + Send);
    drop(job);
    assert_eq!(drops.count(), 2, "not called, but dropped");

    // Not only through an object.
    assert_eq!(PoolBox::call_once(PoolBox::new(|x: i32| x + 1), (6,)), 7);
}

#[test]
fn a_function_that_panics_is_dropped_once_and_freed() {
    let drops = Drops::default();
    assert!(frees_what_it_takes::<Counts>(|| {
        let held = drops.value();
        let once = move || {
            let _held = &held;
            panic!("called")
        };
        assert!(panics(|| PoolBox::call_once(
            coerce!(PoolBox::new(once) => dyn CallOnce<(), Output = ()>),
            (),
        )));
    }));
    assert_eq!(drops.count(), 1);
}

#[test]
fn futures_are_polled_pinned_or_not() {
    let context = &mut Context::from_waker(Waker::noop());
    let pinned: Pin<PoolBox<dyn Future<Output = i32> + Send>> =
        coerce!(PoolBox::pin(async { 7 }) => dyn Future<Output = i32> + Send);
    assert_eq!(pin!(pinned).poll(context), Poll::Ready(7));
    let boxed: PoolBox<dyn Future<Output = i32> + Unpin> =
        coerce!(PoolBox::new(std::future::ready(7)) => dyn Future<Output = i32> + Unpin);
    assert_eq!(pin!(boxed).poll(context), Poll::Ready(7));
}

#[test]
fn shared_handles_are_coerced_too() {
    let number = PoolArc::new(Aligned(7));
    let weak: PoolWeak<dyn Any + Send + Sync> =
        coerce!(PoolArc::downgrade(&number) => dyn Any + Send + Sync);
    let any = coerce!(number.clone() => dyn Any + Send + Sync);
    assert!(PoolArc::ptr_eq(&any, &weak.upgrade().unwrap()));
    assert_eq!(PoolArc::strong_count(&number), 2);
    drop(number);
    assert_eq!(any.downcast::<Aligned<i32>>().ok().map(|it| it.0), Some(7));
    assert!(weak.upgrade().is_none());
    let pinned: Pin<PoolArc<dyn Debug>> = coerce!(PoolArc::pin("seven") => dyn Debug);
    assert_eq!(format!("{pinned:?}"), "\"seven\"");
    let slice: PoolArc<[i32]> = coerce!(PoolArc::new([1, 2, 3]) => [i32]);
    assert_eq!(slice.len(), 3);
    let nothing: PoolWeak<dyn Debug> = coerce!(PoolWeak::<i32>::new() => dyn Debug);
    assert!(nothing.upgrade().is_none() && nothing.clone().ptr_eq(&nothing));
}

#[test]
fn what_is_not_send_may_be_an_object_that_is_not() {
    let rc = Rc::new(7);
    let shown = coerce!(PoolBox::new(Rc::clone(&rc)) => dyn Debug);
    drop(shown);
    assert_eq!(Rc::strong_count(&rc), 1);
}
