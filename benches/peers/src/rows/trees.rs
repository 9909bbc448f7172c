//! Binary trees, as in the benchmarks game: a tree is built, counted and dropped to stretch the heap; one lives all the
//! time; meanwhile many of each even depth are built, counted and dropped.
//!
//! A node is two words, and each of them is a child's handle or says that there is none. So this row is for peers whose
//! handle is a word.

use crate::{
    job::{Job, Local, timed},
    peers::Peer,
};
use std::{
    mem::{ManuallyDrop, transmute_copy},
    ptr::{null_mut, with_exposed_provenance_mut},
};

const SHALLOWEST: u32 = 4;
const NO_CHILD: u64 = u64::MAX;
const NODE: usize = 2;

#[derive(Clone)]
pub(crate) struct Trees {
    pub(crate) depth: u32,
}

impl Trees {
    /// The nodes at the worst moment: the tree that stretches the heap.
    pub(crate) fn live(&self) -> usize {
        nodes(self.depth + 1) as usize
    }
}

impl Local for Trees {
    fn job<P: Peer<W>, const W: usize>(&self) -> Job {
        let depth = self.depth;
        Box::new(move |_| {
            let mut objects = 0;
            let mut sample = timed(0, || objects = all_trees::<P, W>(depth));
            sample.objects = objects;
            sample
        })
    }
}

/// Says how many nodes were made.
fn all_trees<P: Peer<W>, const W: usize>(depth: u32) -> u64 {
    let mut objects = one_tree::<P, W>(depth + 1);
    let long_lived = tree::<P, W>(depth);
    for depth_now in (SHALLOWEST..=depth).step_by(2) {
        for _ in 0..1_u64 << (depth - depth_now + SHALLOWEST) {
            objects += one_tree::<P, W>(depth_now);
        }
    }
    objects += count(&long_lived);
    fell(long_lived);
    objects
}

fn one_tree<P: Peer<W>, const W: usize>(depth: u32) -> u64 {
    let tree = tree::<P, W>(depth);
    let count = count(&tree);
    assert_eq!(count, nodes(depth));
    fell(tree);
    count
}

fn nodes(depth: u32) -> u64 {
    (2 << depth) - 1
}

fn tree<P: Peer<W>, const W: usize>(depth: u32) -> P {
    let mut children = [NO_CHILD; W];
    if depth > 0 {
        for child in &mut children[..NODE] {
            *child = into_word(tree::<P, W>(depth - 1));
        }
    }
    P::new(children)
}

fn count<P: Peer<W>, const W: usize>(tree: &P) -> u64 {
    let below: u64 = children::<P, W>(tree).map(|child| count(&*child)).sum();
    below + 1
}

fn fell<P: Peer<W>, const W: usize>(tree: P) {
    for child in children::<P, W>(&tree) {
        fell(ManuallyDrop::into_inner(child));
    }
}

/// Whoever takes the children out of their `ManuallyDrop` does not use the node any more.
fn children<P: Peer<W>, const W: usize>(tree: &P) -> impl Iterator<Item = ManuallyDrop<P>> {
    let words = tree.read(|words| [words[0], words[1]]);
    words
        .into_iter()
        .filter(|&word| word != NO_CHILD)
        // SAFETY: what is not NO_CHILD was made by `into_word` in `tree`.
        .map(|word| ManuallyDrop::new(unsafe { from_word(word) }))
}

fn into_word<P>(handle: P) -> u64 {
    const { assert!(size_of::<P>() == size_of::<*mut ()>()) };
    // SAFETY: as large as a pointer, and either one or a number.
    let pointer: *mut () = unsafe { transmute_copy(&ManuallyDrop::new(handle)) };
    pointer.expose_provenance() as u64
}

/// # Safety
/// The word was made by `into_word` of a `P`, and only one of the handles made of it is dropped.
unsafe fn from_word<P>(word: u64) -> P {
    let pointer: *mut () = match word as usize {
        0 => null_mut(), // a slab's first key
        address => with_exposed_provenance_mut(address),
    };
    // SAFETY: promised by the caller.
    unsafe { transmute_copy(&pointer) }
}
