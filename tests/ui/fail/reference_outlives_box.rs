//! error[E0505]: a reference to the value is used after the box was given away.

use segment_pool::PoolBox;

fn main() {
    let boxed = PoolBox::new(String::from("seven"));
    let text = boxed.as_str();
    drop(PoolBox::into_inner(boxed));
    assert_eq!(text, "seven");
}
