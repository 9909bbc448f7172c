//! The feature `hardened`: each misuse is committed in its own process, which must end by SIGABRT and print exactly the
//! line that names the misuse.
//!
//! The misused slot is in a heap of the misusing thread, of another running thread, or of a thread that has ended.

#![cfg(all(unix, feature = "hardened", not(segment_pool_loom)))]

mod common;

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;

use common::Worker;
use segment_pool::{PoolBox, SegmentPool, flush, idle, set_misuse_hook, trim};

const DOUBLE_FREE: &str = "segment-pool: double free\n";
const FOREIGN_POINTER: &str = "segment-pool: free of a foreign pointer\n";
const WRITE_AFTER_FREE: &str = "segment-pool: write after free\n";
const OVERRUN: &str = "segment-pool: write beyond the end of a value\n";

/// Slots of 64 bytes: seven words and the canary.
type Value = [u64; 7];

/// More than a segment of them.
const MANY: usize = 3000;

// --- Running a misuse -----------------------------------------------------------------------------------------------

const CHILD: &str = "SEGMENT_POOL_MISUSE";
const SIGABRT: i32 = 6;

/// Runs the body in its own process, and returns how that process ended.
fn in_a_child(test: &str, body: impl FnOnce()) -> (Option<i32>, String) {
    if env::var_os(CHILD).is_some() {
        body();
        // SAFETY: no misuse was found, and destructors must not find one now.
        unsafe { libc::_exit(0) }
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "no test {test}: {said}");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.signal(), complaint)
}

/// Tests by name, with the line that each must end with.
macro_rules! misuses {
    ($($(#[doc = $_why:literal])* $name:ident: $line:expr, $body:expr;)*) => {$(
        #[test]
        fn $name() {
            let end = in_a_child(stringify!($name), $body);
            assert_eq!(end, (Some(SIGABRT), $line.to_owned()));
        }
    )*};
}

/// Where the slots come from that this thread misuses.
enum Owner {
    Here,
    Elsewhere(Worker),
    Ended,
}

use Owner::{Ended, Here};

fn elsewhere() -> Owner {
    Owner::Elsewhere(Worker::start())
}

/// Pointers to values, which may be sent as they are.
struct Pointers(Vec<*mut Value>);

// SAFETY: the values are.
unsafe impl Send for Pointers {}

impl Owner {
    /// Runs a job where the slots are at owner; on a thread that has ended then, if that is where.
    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        match self {
            Here => job(),
            Self::Elsewhere(worker) => worker.run(job),
            Ended => thread::spawn(job).join().unwrap(),
        }
    }

    fn make(&self, count: usize) -> Vec<*mut Value> {
        let make = move |n| PoolBox::into_raw(PoolBox::new([n as u64; 7]));
        self.run(move || Pointers((0..count).map(make).collect())).0
    }

    fn make_one(&self) -> *mut Value {
        self.make(1)[0]
    }

    /// Allocates every free slot, and retains it.
    fn use_all(&self) {
        flush();
        self.make(MANY);
    }
}

fn free(pointer: *mut Value) {
    // SAFETY: mostly a lie.
    drop(unsafe { PoolBox::from_raw(pointer) });
}

fn write(pointer: *mut Value, word: usize) {
    // SAFETY: in a mapping; the misuse is the point.
    unsafe { pointer.cast::<u64>().wrapping_add(word).write(0) };
}

fn flip(word: *mut u16, bit: u32) {
    // SAFETY: in a mapping; the misuse is the point.
    let before = unsafe { word.read() };
    // SAFETY: as above.
    unsafe { word.write(before ^ 1 << bit) };
}

// --- Freed twice ----------------------------------------------------------------------------------------------------

fn double_free(owner: Owner) {
    let pointer = owner.make_one();
    free(pointer);
    free(pointer);
}

/// Since the first free the slot was returned to its segment, which another value keeps in use.
fn double_free_of_a_returned_slot(owner: Owner) {
    let pointers = owner.make(2);
    free(pointers[0]);
    flush();
    owner.run(trim);
    free(pointers[0]);
}

misuses! {
    double_free_by_the_owner: DOUBLE_FREE, || double_free(Here);
    double_free_elsewhere: DOUBLE_FREE, || double_free(elsewhere());
    double_free_after_the_owner_ended: DOUBLE_FREE, || double_free(Ended);
    double_free_of_a_slot_on_its_segments_list: DOUBLE_FREE, || double_free_of_a_returned_slot(Here);
    double_free_of_what_came_from_elsewhere: DOUBLE_FREE, || double_free_of_a_returned_slot(elsewhere());
    double_free_in_an_abandoned_heap: DOUBLE_FREE, || double_free_of_a_returned_slot(Ended);
    double_free_of_what_was_parked: DOUBLE_FREE, || {
        let pointer = Here.make_one();
        free(pointer);
        idle();
        free(pointer);
    };

    double_free_here_then_there: DOUBLE_FREE, || {
        let pointers = Pointers(Here.make(1));
        free(pointers.0[0]);
        thread::spawn(move || { let p = pointers; free(p.0[0]) }).join().unwrap();
    };
    double_free_there_then_here: DOUBLE_FREE, || {
        let pointer = Here.make_one();
        let pointers = Pointers(vec![pointer]);
        thread::spawn(move || { let p = pointers; free(p.0[0]) }).join().unwrap();
        free(pointer);
    };
    double_free_by_two_others: DOUBLE_FREE, || {
        let owner = elsewhere();
        let pointer = owner.make(2)[0];
        let pointers = Pointers(vec![pointer]);
        thread::spawn(move || { let p = pointers; free(p.0[0]) }).join().unwrap();
        free(pointer);
        drop(owner);
    };

    /// Two at once, and neither before the other: one of them finds it.
    double_free_at_the_same_time: DOUBLE_FREE, || {
        let pointers = Pointers(Here.make(1));
        let both_are_there = Barrier::new(2);
        let (pointers, both_are_there) = (&pointers.0[0].expose_provenance(), &both_are_there);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    both_are_there.wait();
                    free(std::ptr::with_exposed_provenance_mut(*pointers));
                });
            }
        });
    };

    /// The first free was of the last slot of its segment, whose pages were returned to the system.
    double_free_of_what_was_purged: DOUBLE_FREE, || {
        let owner = elsewhere();
        let pointers = owner.make(100 * MANY);
        pointers.iter().copied().for_each(free);
        flush();
        free(pointers[50 * MANY]);
    };

    double_free_in_a_pool_of_one_type: DOUBLE_FREE, || {
        let pool = SegmentPool::new();
        let pointer = PoolBox::into_raw(pool.alloc([0_u64; 7]));
        free(pointer);
        free(pointer);
    };
}

// --- Never made -----------------------------------------------------------------------------------------------------

fn free_into_a_value(owner: Owner) {
    let pointer = owner.make_one();
    free(pointer.wrapping_byte_add(8));
}

fn free_as_another_type(owner: Owner) {
    let pointer = owner.make_one();
    // SAFETY: a lie.
    drop(unsafe { PoolBox::from_raw(pointer.cast::<[u64; 15]>()) });
}

misuses! {
    foreign_pointer_into_a_value_by_the_owner: FOREIGN_POINTER, || free_into_a_value(Here);
    foreign_pointer_into_a_value_elsewhere: FOREIGN_POINTER, || free_into_a_value(elsewhere());
    foreign_pointer_into_a_value_after_the_owner_ended: FOREIGN_POINTER, || free_into_a_value(Ended);
    foreign_pointer_of_another_type_by_the_owner: FOREIGN_POINTER, || free_as_another_type(Here);
    foreign_pointer_of_another_type_elsewhere: FOREIGN_POINTER, || free_as_another_type(elsewhere());
    foreign_pointer_of_another_type_after_the_owner_ended: FOREIGN_POINTER, || free_as_another_type(Ended);

    foreign_pointer_of_a_box: FOREIGN_POINTER, || free(Box::into_raw(Box::new([0; 7])));
    foreign_pointer_of_a_box_beside_boxes: FOREIGN_POINTER, || {
        Here.make_one();
        free(Box::into_raw(Box::new([0; 7])));
    };
    foreign_pointer_to_the_stack: FOREIGN_POINTER, || { let mut local = [0; 7]; free(&raw mut local) };
    foreign_pointer_to_nothing: FOREIGN_POINTER, || free(std::ptr::without_provenance_mut(0xdead_0000));
    foreign_pointer_to_a_header: FOREIGN_POINTER, || {
        free(Here.make_one().map_addr(|addr| addr & !0xffff));
    };
    foreign_pointer_to_a_segment_that_never_was: FOREIGN_POINTER, || {
        let arena = (4 << 20) - 1;
        free(Here.make_one().map_addr(|addr| (addr & !arena) + arena - 63)); // the last of 64
    };
    foreign_pointer_into_an_arena_that_was_unmapped: FOREIGN_POINTER, || {
        let make = |_| PoolBox::into_raw(PoolBox::<[u8; 100_000]>::new_uninit());
        let large: Vec<_> = (0..200).map(make).collect();
        for pointer in &large {
            // SAFETY: made above.
            drop(unsafe { PoolBox::from_raw(*pointer) });
        }
        trim();
        // SAFETY: a lie.
        drop(unsafe { PoolBox::from_raw(large[0]) });
    };
    foreign_pointer_of_a_large_box: FOREIGN_POINTER, || {
        let large = PoolBox::into_raw(PoolBox::<[u8; 1 << 20]>::new_uninit());
        // SAFETY: a lie.
        drop(unsafe { PoolBox::from_raw(large.wrapping_byte_add(4096)) });
    };
}

// --- Written after the free -----------------------------------------------------------------------------------------

fn write_after_free(owner: Owner, word: usize) {
    let pointer = owner.make_one();
    free(pointer);
    write(pointer, word);
    owner.use_all();
}

/// Many are freed, so few from each page that their segments stay, and when their batches are sent, one in each is
/// written to.
fn write_into_the_lists(owner: Owner, word: usize) {
    let pointers = owner.make(MANY);
    let freed: Vec<_> = pointers.into_iter().step_by(2).collect();
    freed.iter().copied().for_each(free);
    flush();
    freed
        .iter()
        .step_by(32)
        .for_each(|pointer| write(*pointer, word));
    owner.use_all();
}

misuses! {
    write_after_free_by_the_owner: WRITE_AFTER_FREE, || write_after_free(Here, 0);
    write_after_free_by_the_owner_further_on: WRITE_AFTER_FREE, || write_after_free(Here, 5);
    write_after_free_by_the_owner_at_the_end: WRITE_AFTER_FREE, || write_after_free(Here, 7);
    write_after_free_elsewhere: WRITE_AFTER_FREE, || write_after_free(elsewhere(), 0);
    write_after_free_elsewhere_further_on: WRITE_AFTER_FREE, || write_after_free(elsewhere(), 5);
    write_after_free_after_the_owner_ended: WRITE_AFTER_FREE, || write_after_free(Ended, 0);
    write_after_free_after_the_owner_ended_further_on: WRITE_AFTER_FREE, || write_after_free(Ended, 5);

    write_into_a_free_list: WRITE_AFTER_FREE, || write_into_the_lists(Here, 0);
    write_into_a_full_magazine: WRITE_AFTER_FREE, || write_into_the_lists(Here, 1);
    write_into_a_remote_list: WRITE_AFTER_FREE, || write_into_the_lists(elsewhere(), 0);
    write_into_a_deferred_slot_that_is_returned: WRITE_AFTER_FREE, || {
        let pointers = Here.make(200);
        let highest = *pointers.iter().max().unwrap();
        let pointers = Pointers(pointers);
        thread::spawn(move || { let p = pointers; p.0.into_iter().for_each(free) }).join().unwrap();
        Here.make(57); // 56 are in the free list, and the last allocation makes this thread defer those 200
        write(highest, 0);
        trim(); // the 57 keep the segment in use
        Here.use_all();
    };
    write_into_what_an_ended_thread_left: WRITE_AFTER_FREE, || write_into_the_lists(Ended, 0);

    /// Before the slot is the batch node of its batch.
    write_before_the_node_is_written: WRITE_AFTER_FREE, || {
        let pointer = elsewhere().make_one();
        free(pointer);
        write(pointer, 0);
        flush();
    };
    /// The last slot of a batch is its batch node. No slot is allocated afterwards.
    write_into_a_node: WRITE_AFTER_FREE, || {
        let owner = elsewhere();
        let pointers = owner.make(10);
        pointers.iter().copied().for_each(free);
        flush();
        write(pointers[9], 3);
        owner.run(trim);
    };
    /// The others come as they were freed.
    write_into_a_slot_that_is_carried: WRITE_AFTER_FREE, || {
        let owner = elsewhere();
        let pointers = owner.make(10);
        pointers.iter().copied().for_each(free);
        write(pointers[5], 0);
        flush();
        owner.run(trim);
    };
    /// One slot in each of many segments is freed, the only one in its segment. The remote-free buffer has no room for
    /// all those batches. The first is sent, and its only slot is its batch node.
    write_before_a_displaced_batch_is_sent: WRITE_AFTER_FREE, || {
        Here.make_one();
        let pointers = elsewhere().make(100 * MANY);
        free(pointers[0]);
        write(pointers[0], 0);
        pointers.into_iter().step_by(1000).skip(2).for_each(free);
    };
    /// The second word of some slots links the full magazines. No slot is allocated afterwards.
    write_before_a_magazine_is_hung: WRITE_AFTER_FREE, || {
        for pointer in Here.make(MANY) {
            free(pointer);
            write(pointer, 1);
        }
    };

    /// The neighbour that the link then leads to is free as well.
    a_bit_flipped_in_a_link: WRITE_AFTER_FREE, || {
        let pointers = Here.make(4);
        pointers.iter().copied().for_each(free);
        flip(pointers[3].cast(), 6);
        Here.make_one();
    };
    /// So is the neighbour of a slot that is carried, which waits in the remote-free buffer.
    a_bit_flipped_in_a_node: WRITE_AFTER_FREE, || {
        let owner = elsewhere();
        let pointers = owner.make(50);
        let (node, others) = pointers.split_last().unwrap();
        let neighbour = |pointer: &*mut Value| pointer.map_addr(|addr| addr ^ 64);
        let both = |pointer: &&*mut Value| others.contains(&neighbour(pointer));
        let carried = *others.iter().find(both).unwrap();
        free(carried);
        free(*node);
        flush();
        free(neighbour(&carried));
        flip(node.wrapping_byte_add(2).cast(), 3);
        owner.run(trim);
    };

    /// The bytes of a link are those of another link, to a slot that is free as well.
    a_link_copied_from_another_slot: WRITE_AFTER_FREE, || {
        let pointers = Here.make(3);
        pointers.iter().copied().for_each(free);
        // SAFETY: mapped; the misuse is the point.
        let link = unsafe { pointers[1].cast::<u64>().read() };
        // SAFETY: as above.
        unsafe { pointers[2].cast::<u64>().write(link) };
        Here.use_all();
    };
}

// --- Written beyond the end -----------------------------------------------------------------------------------------

/// The slot behind may have any owner.
fn overrun(owner: Owner) {
    let pointer = owner.make_one();
    write(pointer, 7);
    free(pointer);
}

/// The slot behind is free, and the write skips what lies between.
fn overrun_into_a_free_slot(owner: Owner) {
    let mut pointers = owner.make(MANY);
    pointers.sort_unstable();
    let neighbours = pointers
        .windows(2)
        .find(|pair| pair[0].wrapping_byte_add(64) == pair[1]);
    let [before, behind] = neighbours.unwrap() else {
        unreachable!("a window of two")
    };
    free(*behind);
    write(*before, 8);
    owner.use_all();
}

misuses! {
    overrun_by_the_owner: OVERRUN, || overrun(Here);
    overrun_elsewhere: OVERRUN, || overrun(elsewhere());
    overrun_after_the_owner_ended: OVERRUN, || overrun(Ended);
    overrun_into_a_free_slot_by_the_owner: WRITE_AFTER_FREE, || overrun_into_a_free_slot(Here);
    overrun_into_a_free_slot_elsewhere: WRITE_AFTER_FREE, || overrun_into_a_free_slot(elsewhere());
    overrun_into_a_free_slot_after_the_owner_ended: WRITE_AFTER_FREE, || overrun_into_a_free_slot(Ended);
    overrun_in_a_pool_of_one_type: OVERRUN, || {
        let pool = SegmentPool::new();
        let pointer = PoolBox::into_raw(pool.alloc([0_u64; 7]));
        write(pointer, 7);
        free(pointer);
    };
}

// --- Freed again after the pool was dropped -------------------------------------------------------------------------

/// A box may outlive its pool. Its segment is released with it, unless something else keeps the segment. Then a second
/// free is one of memory that is in no segment.
fn free_after_pool_drop(owner: Owner, expects_its_segment: bool) {
    let pool = Arc::new(SegmentPool::<Value>::new());
    let theirs = Arc::clone(&pool);
    let alloc = move || Pointers(vec![PoolBox::into_raw(theirs.alloc([0; 7]))]);
    let pointer = owner.run(alloc).0[0];
    drop(Arc::into_inner(pool).expect("the job has ended"));
    free(pointer); // as it should be
    if !expects_its_segment {
        flush();
        owner.run(idle);
        idle();
    }
    free(pointer);
}

misuses! {
    free_after_pool_drop_by_the_owner: DOUBLE_FREE, || free_after_pool_drop(Here, true);
    free_after_pool_drop_elsewhere: DOUBLE_FREE, || free_after_pool_drop(elsewhere(), true);
    free_after_pool_drop_after_the_owner_ended: DOUBLE_FREE, || free_after_pool_drop(Ended, true);
    free_after_pool_and_segment_are_gone_by_the_owner: FOREIGN_POINTER, || free_after_pool_drop(Here, false);
    free_after_pool_and_segment_are_gone_elsewhere: FOREIGN_POINTER, || free_after_pool_drop(elsewhere(), false);
    free_after_pool_and_segment_are_gone_after_the_owner_ended: FOREIGN_POINTER,
        || free_after_pool_drop(Ended, false);
}

// --- The end --------------------------------------------------------------------------------------------------------

misuses! {
    the_hook_is_called_instead: "found: DoubleFree\n", || {
        set_misuse_hook(|misuse| eprintln!("found: {misuse:?}"));
        double_free(Here);
    };
}

#[test]
fn a_hook_that_panics_cannot_go_on() {
    let (signal, _) = in_a_child("a_hook_that_panics_cannot_go_on", || {
        set_misuse_hook(|misuse| panic!("{misuse}"));
        let _ = std::panic::catch_unwind(|| double_free(Here));
    });
    assert_eq!(signal, Some(SIGABRT));
}

#[test]
fn fresh_slots_come_in_random_order() {
    let pool = SegmentPool::new();
    let boxes: Vec<_> = (0..1000).map(|n: u64| pool.alloc(n)).collect();
    let addresses: Vec<_> = boxes
        .iter()
        .map(|boxed| (&raw const **boxed).addr())
        .collect();
    let rises = addresses
        .windows(2)
        .filter(|pair| pair[0] < pair[1])
        .count();
    assert!((300..700).contains(&rises), "{rises} of 999");
}
