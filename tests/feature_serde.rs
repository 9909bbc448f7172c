//! Feature `serde`: handles are read and written as their values.

use segment_pool::{PoolArc, PoolBox};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: PoolBox<u64>,
    lines: PoolBox<[Line]>,
    note: Option<PoolBox<str>>,
    customer: PoolArc<String>,
    previous: Option<PoolBox<Order>>,
    tags: PoolArc<[PoolArc<str>]>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    item: String,
    count: u32,
}

fn order(id: u64, previous: Option<Order>) -> Order {
    Order {
        id: PoolBox::new(id),
        lines: PoolBox::from([Line {
            item: "box".to_owned(),
            count: 3,
        }]),
        note: Some(PoolBox::from("fragile")),
        customer: PoolArc::new("Ada".to_owned()),
        previous: previous.map(PoolBox::new),
        tags: ["a", "b"].map(PoolArc::from).into_iter().collect(),
    }
}

#[test]
fn a_tree_of_boxes_comes_back_equal() {
    let orders = order(2, Some(order(1, None)));
    let text = serde_json::to_string(&orders).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), orders);
}

#[test]
fn a_box_is_written_as_its_value() {
    assert_eq!(serde_json::to_string(&PoolBox::new(7)).unwrap(), "7");
    assert_eq!(serde_json::to_string(&PoolArc::new([7])).unwrap(), "[7]");
    let shown: PoolBox<str> = "7".into();
    assert_eq!(serde_json::to_string(&shown).unwrap(), "\"7\"");
}

#[test]
fn reading_in_place_keeps_the_slot() {
    let mut boxed = PoolBox::new(String::from("before"));
    let slot = PoolBox::as_ptr(&boxed);
    let mut reader = serde_json::Deserializer::from_str("\"after\"");
    Deserialize::deserialize_in_place(&mut reader, &mut boxed).unwrap();
    assert_eq!(*boxed, "after");
    assert_eq!(PoolBox::as_ptr(&boxed), slot);
}

#[test]
fn invalid_input_is_an_error() {
    assert!(serde_json::from_str::<PoolBox<u8>>("256").is_err());
    assert!(serde_json::from_str::<PoolBox<[u8]>>("[1, true]").is_err());
    assert!(serde_json::from_str::<PoolArc<str>>("7").is_err());
}

#[test]
fn what_pools_say_of_themselves_is_serialized_field_by_field() {
    let pool = segment_pool::SegmentPool::builder().name("packets").build();
    let _boxes: Vec<_> = (0..10).map(|n| pool.alloc([n; 25])).collect();
    let report = serde_json::to_value(pool.report()).unwrap();
    assert_eq!(report["name"], "packets");
    assert_eq!(report["total"]["allocations"], 10);
    let slot = if cfg!(feature = "hardened") { 112 } else { 104 };
    assert_eq!(report["classes"][0]["slot_bytes"], slot);
    assert!(report["memory"]["arenas"].as_u64() >= Some(1));
    let validation = serde_json::to_value(pool.validate()).unwrap();
    assert_eq!(validation["live"], 10);
    let leaks = serde_json::to_value(pool.leaks()).unwrap();
    assert_eq!(leaks["type_name"], "[i32; 25]");
}
