//! Feature `stable_deref_trait`: a value may be borrowed by what is stored beside its handle. `yoke` does that.

use segment_pool::{PoolArc, PoolBox};
use stable_deref_trait::{CloneStableDeref, StableDeref};
use yoke::Yoke;

#[test]
fn what_borrows_from_the_value_moves_with_the_box() {
    let text: PoolBox<str> = "one two three".into();
    let last: Yoke<&'static str, PoolBox<str>> =
        Yoke::attach_to_cart(text, |text| text.rsplit(' ').next().unwrap());
    let moved = PoolBox::new(last);
    assert_eq!(*moved.get(), "three");
}

#[test]
fn and_with_a_handle_to_a_shared_value() {
    let shared = PoolArc::new(String::from("a long number: 7"));
    let digit: Yoke<&'static str, _> =
        Yoke::attach_to_cart(shared.clone(), |text| &text[text.len() - 1..]);
    drop(shared);
    let thread = std::thread::spawn(move || digit.get().parse::<i32>());
    assert_eq!(thread.join().unwrap(), Ok(7));
}

#[test]
fn the_traits_hold_for_values_of_any_kind() {
    fn stable<T: StableDeref>() {}
    fn clone_stable<T: CloneStableDeref>() {}
    stable::<PoolBox<u8>>();
    stable::<PoolBox<[u8]>>();
    stable::<PoolBox<dyn Send>>();
    clone_stable::<PoolArc<u8>>();
    clone_stable::<PoolArc<dyn Send>>();
}
