//! Features `allocator-api2`, `allocator-api2-03`, `allocator-api2-04`: `Segments` works for collections with each
//! version of that crate, at any layout.

#![cfg(not(segment_pool_loom))]
#![allow(
    clippy::duplicate_mod,
    reason = "the same stories for traits of the same name"
)]

#[cfg(feature = "allocator-api2")]
#[path = "common"]
mod version_02 {
    use allocator_api2 as version;

    #[path = "allocator.rs"]
    mod stories;
}

#[cfg(feature = "allocator-api2-03")]
#[path = "common"]
mod version_03 {
    use allocator_api2_03 as version;

    #[path = "allocator.rs"]
    mod stories;
}

#[cfg(feature = "allocator-api2-04")]
#[path = "common"]
mod version_04 {
    use allocator_api2_04 as version;

    #[path = "allocator.rs"]
    mod stories;
}

#[cfg(feature = "allocator-api2")]
#[test]
fn a_map_grows_and_empties() {
    use hashbrown::{DefaultHashBuilder, HashMap};
    use segment_pool::Segments;

    let hashers = DefaultHashBuilder::default();
    let mut map = HashMap::with_hasher_in(hashers, Segments);
    let count: u32 = if cfg!(miri) { 500 } else { 50_000 };
    for i in 0..count {
        map.insert(i, i.to_string());
    }
    map.retain(|key, _| key % 100 == 0);
    map.shrink_to_fit();
    assert_eq!(map.len(), count as usize / 100);
    assert!(map.iter().all(|(key, text)| *text == key.to_string()));
}
