//! Feature `unsize`: the ecosystem's trait for coercions does what `coerce!` does.

use std::any::Any;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use segment_pool::{PoolArc, PoolBox};
use unsize::{CoerceUnsize, Coercion};

#[test]
fn a_box_becomes_one_of_an_object() {
    let shown: PoolBox<dyn Display> = PoolBox::new(7).unsize(Coercion!(to dyn Display));
    assert_eq!(shown.to_string(), "7");
    let any: PoolBox<dyn Any> = PoolBox::new(7).unsize(Coercion::to_any());
    assert_eq!(*any.downcast::<i32>().unwrap(), 7);
}

#[test]
fn and_of_a_slice() {
    let slice: PoolBox<[u8]> = PoolBox::new([1, 2, 3]).unsize(Coercion::to_slice());
    assert_eq!(*slice, [1, 2, 3]);
}

#[test]
fn a_pinned_box_stays_pinned_and_is_freed() {
    let future: Pin<PoolBox<dyn Future<Output = u8>>> =
        PoolBox::pin(async { 7 }).unsize(Coercion::to_future());
    let poll = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll, Poll::Ready(7));
}

#[test]
fn a_shared_value_is_still_counted() {
    let seven = PoolArc::new(7);
    let shown: PoolArc<dyn Debug> = seven.clone().unsize(Coercion::to_debug());
    assert_eq!(format!("{shown:?}"), "7");
    assert_eq!(PoolArc::strong_count(&seven), 2);
    drop(shown);
    assert_eq!(PoolArc::try_unwrap(seven), Ok(7));
}

#[repr(align(64))]
struct Aligned(u8);

impl Display for Aligned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}

#[test]
fn alignment_moves_a_shared_value_but_not_its_slot() {
    let shown: PoolArc<dyn Display> = PoolArc::new(Aligned(7)).unsize(Coercion!(to dyn Display));
    assert_eq!(shown.to_string(), "7");
}
