//! A box of something longer-lived serves as one of something shorter-lived.

use segment_pool::{PoolArc, PoolBox, PoolWeak};

fn shorter<'a>(
    boxed: PoolBox<&'static str>,
    shared: PoolArc<&'static str>,
    weak: PoolWeak<&'static str>,
    _: &'a str,
) -> (PoolBox<&'a str>, PoolArc<&'a str>, PoolWeak<&'a str>) {
    (boxed, shared, weak)
}

fn main() {
    let text = String::from("short");
    let shared = PoolArc::new("long");
    let weak = PoolArc::downgrade(&shared);
    let (mut boxed, ..) = shorter(PoolBox::new("long"), shared, weak, &text);
    *boxed = &text;
}
