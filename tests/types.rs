//! Sizes, niches and auto traits, for a table of values: checked by the compiler, so there is nothing to run.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use segment_pool::{
    AllocError, AllocErrorKind, IntoIter, PoolArc, PoolBox, PoolFnOnce, PoolWeak, SegmentPool,
};
use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};

#[repr(align(4096))]
struct Page;

/// As large as a pointer to the value, and a null pointer inside for `None`: like `Box` and `Arc` of the same.
macro_rules! sized_as_pointers {
    ($($T:ty),* $(,)?) => {$(
        assert_eq_size!(PoolBox<$T>, Option<PoolBox<$T>>, Pin<PoolBox<$T>>, Box<$T>, *mut $T);
        assert_eq_size!(PoolArc<$T>, Option<PoolArc<$T>>, Pin<PoolArc<$T>>, Arc<$T>, *mut $T);
        assert_eq_size!(PoolWeak<$T>, Option<PoolWeak<$T>>, *mut $T);
    )*};
}
sized_as_pointers!(
    (),
    u8,
    u128,
    Page,
    [u8; 1000],
    [u8],
    str,
    Path,
    dyn Any,
    dyn Debug + Send
);
assert_eq_size!(PoolBox<u8>, usize);

macro_rules! auto_traits {
    ($($T:ty: $Box:tt, $Arc:tt;)*) => {$(
        auto_traits!(@ PoolBox<$T>: $Box);
        auto_traits!(@ Box<$T>: $Box);
        auto_traits!(@ PoolArc<$T>: $Arc);
        auto_traits!(@ PoolWeak<$T>: $Arc);
        auto_traits!(@ Arc<$T>: $Arc);
        auto_traits!(@ std::sync::Weak<$T>: $Arc);
        assert_impl_all!(PoolBox<$T>: Unpin);
        assert_impl_all!(PoolArc<$T>: Unpin);
        assert_impl_all!(PoolWeak<$T>: Unpin);
    )*};
    (@ $Handle:ty: [is $($is:ident)* $(, not $($not:ident)*)?]) => {
        assert_impl_all!($Handle: $($is),*);
        $(assert_not_impl_any!($Handle: $($not),*);)?
    };
}

type NotSend = MutexGuard<'static, u8>;

// Of std's handles to the same value, too: what holds for them holds for ours.
auto_traits! {
    u8: [is Send Sync UnwindSafe RefUnwindSafe], [is Send Sync UnwindSafe RefUnwindSafe];
    String: [is Send Sync UnwindSafe RefUnwindSafe], [is Send Sync UnwindSafe RefUnwindSafe];
    PhantomPinned: [is Send Sync UnwindSafe RefUnwindSafe], [is Send Sync UnwindSafe RefUnwindSafe];
    [u8]: [is Send Sync UnwindSafe RefUnwindSafe], [is Send Sync UnwindSafe RefUnwindSafe];
    Cell<u8>: [is Send UnwindSafe, not Sync RefUnwindSafe], [is Unpin, not Send Sync UnwindSafe RefUnwindSafe];
    RefCell<u8>: [is Send UnwindSafe, not Sync RefUnwindSafe], [is Unpin, not Send Sync UnwindSafe RefUnwindSafe];
    Mutex<u8>: [is Send Sync UnwindSafe RefUnwindSafe], [is Send Sync UnwindSafe RefUnwindSafe];
    NotSend: [is Sync UnwindSafe RefUnwindSafe, not Send], [is UnwindSafe RefUnwindSafe, not Send Sync];
    Rc<u8>: [is UnwindSafe RefUnwindSafe, not Send Sync], [is UnwindSafe RefUnwindSafe, not Send Sync];
    *const u8: [is UnwindSafe RefUnwindSafe, not Send Sync], [is UnwindSafe RefUnwindSafe, not Send Sync];
    &'static mut u8: [is Send Sync RefUnwindSafe, not UnwindSafe], [is Send Sync UnwindSafe RefUnwindSafe];
    dyn Any: [is Unpin, not Send Sync UnwindSafe RefUnwindSafe], [is Unpin, not Send Sync UnwindSafe RefUnwindSafe];
    dyn Any + Send: [is Send, not Sync UnwindSafe RefUnwindSafe], [is Unpin, not Send Sync UnwindSafe RefUnwindSafe];
    dyn Any + Sync: [is Sync, not Send UnwindSafe RefUnwindSafe], [is Unpin, not Send Sync UnwindSafe RefUnwindSafe];
    dyn Any + Send + Sync: [is Send Sync, not UnwindSafe RefUnwindSafe], [is Send Sync, not UnwindSafe RefUnwindSafe];
}

assert_impl_all!(PoolFnOnce<(u8,), u8>: Send);
assert_not_impl_any!(PoolFnOnce<(u8,), u8>: Sync);
assert_impl_all!(PoolBox<dyn Future<Output = ()>>: Unpin);
assert_not_impl_any!(PoolBox<dyn Future<Output = ()>>: Future);
assert_impl_all!(Pin<PoolBox<dyn Future<Output = ()>>>: Future);

assert_impl_all!(IntoIter<u8>: Send, Sync, Unpin, UnwindSafe);
assert_not_impl_any!(IntoIter<Rc<u8>>: Send, Sync);

// A pool keeps no values, only the memory for them: a value stays with the thread that has the box.
assert_impl_all!(SegmentPool<Rc<u8>>: Send, Sync);
assert_impl_all!(AllocErrorKind: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, std::error::Error);
assert_impl_all!(AllocError<u8>: Send, Sync, Unpin, std::error::Error);
assert_not_impl_any!(AllocError<Rc<u8>>: Send, Sync);

// Copying a handle would free its slot twice; no handle is what it points to.
assert_not_impl_any!(PoolBox<u8>: Copy, From<Box<u8>>, PartialEq<u8>);
assert_not_impl_any!(PoolArc<u8>: Copy, std::ops::DerefMut, AsMut<u8>);
assert_not_impl_any!(PoolWeak<u8>: Copy, std::ops::Deref);
