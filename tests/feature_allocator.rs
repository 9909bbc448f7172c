//! Feature `allocator-api2`: `Segments` serves other crates' collections, at any layout.

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use hashbrown::{DefaultHashBuilder, HashMap};
use segment_pool::Segments;

#[test]
fn a_vector_grows_and_shrinks() {
    let mut numbers = Vec::new_in(Segments);
    for i in 0..100_000_u64 {
        numbers.push(i);
    }
    numbers.truncate(10);
    numbers.shrink_to_fit();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(numbers.into_iter().eq(0..10));
}

#[test]
fn a_box_is_as_large_as_a_pointer() {
    assert_eq!(size_of::<Box<u8, Segments>>(), size_of::<usize>());
    let boxed = Box::new_in([7_u8; 300], Segments);
    let thread = std::thread::spawn(move || boxed[299]);
    assert_eq!(thread.join().unwrap(), 7);
}

#[test]
fn a_list_has_its_nodes_in_segments() {
    struct Node(u32, Option<Box<Node, Segments>>);
    let mut head = None;
    for i in 0..1000 {
        head = Some(Box::new_in(Node(i, head), Segments));
    }
    let mut sum = 0;
    while let Some(mut node) = head {
        sum += node.0;
        head = node.1.take();
    }
    assert_eq!(sum, 499_500);
}

#[test]
fn a_map_grows_and_empties() {
    let hashers = DefaultHashBuilder::default();
    let mut map = HashMap::with_hasher_in(hashers, Segments);
    for i in 0..50_000_u32 {
        map.insert(i, i.to_string());
    }
    map.retain(|key, _| key % 100 == 0);
    map.shrink_to_fit();
    assert_eq!(map.len(), 500);
    assert!(map.iter().all(|(key, text)| *text == key.to_string()));
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn filled(layout: Layout, byte: u8) -> NonNull<u8> {
    let block = Segments.allocate(layout).unwrap();
    assert_eq!(block.len(), layout.size());
    assert_eq!(block.cast::<u8>().addr().get() % layout.align(), 0);
    // SAFETY: so many were allocated.
    unsafe { block.cast::<u8>().write_bytes(byte, layout.size()) };
    block.cast()
}

fn bytes<'a>(block: NonNull<u8>, len: usize) -> &'a [u8] {
    // SAFETY: the tests ask for what they have written.
    unsafe { NonNull::slice_from_raw_parts(block, len).as_ref() }
}

#[test]
fn every_layout_is_served_and_returned() {
    for size in [
        0,
        1,
        8,
        24,
        129,
        1024,
        1025,
        5000,
        131_072,
        131_073,
        1 << 20,
    ] {
        for align in [1, 2, 8, 16, 64, 4096, 8192] {
            let layout = layout(size, align);
            let blocks = [1, 2, 3].map(|byte| (byte, filled(layout, byte)));
            for (byte, block) in blocks {
                assert!(bytes(block, size).iter().all(|found| *found == byte));
                // SAFETY: allocated above.
                unsafe { Segments.deallocate(block, layout) };
            }
        }
    }
}

#[test]
fn within_a_class_a_block_stays_where_it_is() {
    let largest = if cfg!(feature = "hardened") { 136 } else { 144 };
    let (old, new) = (layout(130, 1), layout(largest, 16));
    let block = filled(old, 7);
    // SAFETY: the block is of that layout.
    let grown = unsafe { Segments.grow(block, old, new) }.unwrap();
    assert_eq!(grown.cast(), block);
    assert_eq!(grown.len(), largest);
    // SAFETY: as above.
    let shrunk = unsafe { Segments.shrink(block, new, old) }.unwrap();
    assert_eq!(shrunk.cast(), block);
    // SAFETY: as above.
    unsafe { Segments.deallocate(block, old) };
}

#[test]
fn beyond_its_class_a_block_moves_with_its_bytes() {
    let sizes = [0, 5, 100, 3000, 140_000, 200_000, 140_000, 3000, 100, 5, 0];
    for align in [1, 32, 8192] {
        let mut block = filled(layout(0, align), 0);
        for pair in sizes.windows(2) {
            let (old, new) = (layout(pair[0], align), layout(pair[1], align));
            let moved = if pair[0] < pair[1] {
                // SAFETY: the block is of the old layout.
                unsafe { Segments.grow_zeroed(block, old, new) }
            } else {
                // SAFETY: as above.
                unsafe { Segments.shrink(block, old, new) }
            };
            block = moved.unwrap().cast();
            let kept = pair[0].min(pair[1]);
            assert!(bytes(block, kept).iter().all(|byte| *byte == 7));
            assert!(bytes(block, pair[1])[kept..].iter().all(|byte| *byte == 0));
            // SAFETY: the block is of the new layout.
            unsafe { block.write_bytes(7, pair[1]) };
        }
        // SAFETY: as above.
        unsafe { Segments.deallocate(block, layout(0, align)) };
    }
}
