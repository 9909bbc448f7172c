//! What `Segments` does, by the version of allocator-api2 that the module around this one names.

use std::alloc::Layout;
use std::any::Any;
use std::ptr::NonNull;

use super::version::alloc::Allocator;
use super::version::boxed::Box;
use super::version::vec::Vec;
use segment_pool::Segments;

#[test]
fn a_vector_grows_and_shrinks() {
    let mut numbers = Vec::new_in(Segments);
    let count = if cfg!(miri) { 1000 } else { 100_000 };
    for i in 0..count {
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
    let count = if cfg!(miri) { 50 } else { 1000 };
    for i in 0..count {
        head = Some(Box::new_in(Node(i, head), Segments));
    }
    let mut sum = 0;
    while let Some(mut node) = head {
        sum += node.0;
        head = node.1.take();
    }
    assert_eq!(sum, count * (count - 1) / 2);
}

/// Each makes a reference to the whole value on the way, from which the pointer is made that comes back.
#[test]
fn a_box_changes_what_it_is_and_goes_back() {
    let mut numbers = Vec::new_in(Segments);
    numbers.extend(0..10_u32);
    let mut numbers = Vec::from(numbers.into_boxed_slice());
    numbers.extend(10..100);
    assert!(numbers.into_iter().eq(0..100));

    let written = Box::write(Box::new_uninit_in(Segments), 7_u64);
    assert_eq!(Box::into_boxed_slice(written)[0], 7);
    let (pointer, _) = Box::into_raw_with_allocator(Box::new_in(7_u32, Segments));
    // SAFETY: the pointer is that of a box, used once.
    let any: Box<dyn Any, Segments> = unsafe { Box::from_raw_in(pointer, Segments) };
    assert_eq!(Box::into_inner(any.downcast::<u32>().unwrap()), 7);
}

#[test]
fn a_box_goes_back_by_a_reference_to_its_value() {
    let (pointer, _) = Box::into_raw_with_allocator(Box::new_in(String::from("leaked"), Segments));
    // SAFETY: the value was in a box that was given up, and nothing else uses it.
    let leaked: &mut String = unsafe { &mut *pointer };
    leaked.push('!');
    // SAFETY: what `Box::leak` is for, by its documentation: the reference becomes a box again.
    let boxed = unsafe { Box::from_raw_in(leaked, Segments) };
    assert_eq!(*boxed, "leaked!");
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn filled(layout: Layout, byte: u8) -> NonNull<u8> {
    let block = Segments.allocate(layout).unwrap();
    assert_eq!(block.len(), layout.size());
    assert_eq!(block.cast::<u8>().addr().get() % layout.align(), 0);
    // SAFETY: this many were allocated.
    unsafe { block.cast::<u8>().write_bytes(byte, layout.size()) };
    block.cast()
}

fn bytes<'a>(block: NonNull<u8>, len: usize) -> &'a [u8] {
    // SAFETY: the tests read only what they have written.
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
                assert!(bytes(block, size) == vec![byte; size]); // no loop, which Miri would take long for
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
            assert!(bytes(block, kept) == vec![7; kept]);
            assert!(bytes(block, pair[1])[kept..] == vec![0; pair[1] - kept]);
            // SAFETY: the block is of the new layout.
            unsafe { block.write_bytes(7, pair[1]) };
        }
        // SAFETY: as above.
        unsafe { Segments.deallocate(block, layout(0, align)) };
    }
}
