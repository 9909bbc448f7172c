//! lifetime may not live long enough: a box of something shorter-lived as one of something longer-lived.

use segment_pool::PoolBox;

fn longer<'a>(boxed: PoolBox<&'a str>) -> PoolBox<&'static str> {
    boxed
}

fn main() {
    longer(PoolBox::new(""));
}
