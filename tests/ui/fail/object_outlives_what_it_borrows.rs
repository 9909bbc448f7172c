//! error[E0597]: an object that borrows is kept longer than what it borrows.

use segment_pool::{PoolBox, coerce};

fn main() {
    let object: PoolBox<dyn std::fmt::Display>;
    {
        let text = String::from("seven");
        object = coerce!(PoolBox::new(text.as_str()) => dyn std::fmt::Display);
    }
    assert_eq!(object.to_string(), "seven");
}
