//! Memory is returned to the operating system: after a million values are dropped, on any thread and in any order, at
//! least nine tenths of their memory is no longer resident.
//!
//! Resident memory is counted per process, so each test runs in its own process. `--nocapture` prints the figures.
//!
//! If memory cannot be unmapped, because the process has reached the limit of mappings, it is not lost.

#![cfg(all(target_os = "linux", not(segment_pool_loom), not(asan_slots)))] // AddressSanitizer's own memory is resident, too

mod common;

use std::ffi::c_void;
use std::fs;
use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::thread;

use common::{Checked, Worker, in_own_process, on_a_large_stack, shuffled};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use segment_pool::{PoolBox, SegmentPool};

const VALUES: usize = 1_000_000;

/// The values of a test, in a table whose own memory was resident before.
type Table<const WORDS: usize> = Vec<Option<PoolBox<Checked<WORDS>>>>;

/// In which order values are dropped.
#[derive(Debug, Clone, Copy)]
enum Order {
    AsMade,
    Reverse,
    Random,
}

impl Order {
    fn indices(self) -> Vec<usize> {
        match self {
            Self::AsMade => (0..VALUES).collect(),
            Self::Reverse => (0..VALUES).rev().collect(),
            Self::Random => shuffled(VALUES, 1),
        }
    }
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

fn resident() -> usize {
    status("VmRSS")
}

fn table<const WORDS: usize>() -> Table<WORDS> {
    let mut table: Table<WORDS> = Vec::with_capacity(VALUES);
    table.resize_with(VALUES, || black_box(None));
    table
}

fn fill<const WORDS: usize>(table: &mut Table<WORDS>) {
    for (cookie, place) in table.iter_mut().enumerate() {
        *place = Some(PoolBox::new(Checked::new(cookie as u32)));
    }
}

fn clear<const WORDS: usize>(table: &mut Table<WORDS>, order: &[usize]) {
    for &index in order {
        table[index] = None;
    }
}

/// What was resident without the values and with them.
struct Figures {
    before: usize,
    full: usize,
}

impl Figures {
    /// Whether nine tenths of the values' memory are back now.
    fn are_back(&self, what: &str, value_bytes: usize) -> bool {
        let growth = self.full - self.before;
        let back = self.full.saturating_sub(resident());
        println!(
            "{what}, {value_bytes} bytes: {} KiB more with a million, {} KiB back: {:.1} %",
            growth >> 10,
            back >> 10,
            100.0 * back as f64 / growth as f64
        );
        assert!(growth >= VALUES * value_bytes, "the values were resident");
        back * 10 >= growth * 9
    }
}

fn fill_and_measure<const WORDS: usize>(table: &mut Table<WORDS>) -> Figures {
    let before = resident();
    fill(table);
    let full = resident();
    Figures { before, full }
}

/// One thread makes and drops the values, goes on, trims, and ends.
///
/// While the thread goes on after dropping them at random, the few free slots that it retains are in nearly every
/// segment.
fn dropped_by_owner<const WORDS: usize>(order: Order) {
    let thread = thread::spawn(move || {
        let indices = order.indices();
        let mut table = table();
        let figures = fill_and_measure::<WORDS>(&mut table);
        let are_back = |now| figures.are_back(&format!("same thread, {order:?}, {now}"), WORDS * 8);
        clear(&mut table, &indices);
        assert!(are_back("thread goes on") || matches!(order, Order::Random));
        segment_pool::trim();
        assert!(are_back("trimmed"));
        (figures, table, indices)
    });
    let (figures, _table, _indices) = thread.join().unwrap();
    assert!(figures.are_back(&format!("same thread, {order:?}, thread ended"), WORDS * 8));
}

/// The owner waits while another thread drops the values, and then ends.
fn dropped_elsewhere_before_the_owner_ends<const WORDS: usize>(order: Order) {
    let indices = order.indices();
    let owner = Worker::start();
    let mut table = table::<WORDS>();
    let (figures, mut table) = owner.run(move || (fill_and_measure(&mut table), table));
    thread::scope(|scope| {
        let other = scope.spawn(|| clear(&mut table, &indices));
        other.join().unwrap();
    });
    owner.end();
    assert!(figures.are_back(&format!("elsewhere, {order:?}, owner ends"), WORDS * 8));
}

/// No thread owns the values' memory any more when another thread drops them.
fn dropped_elsewhere_after_the_owner_ended<const WORDS: usize>(order: Order) {
    let indices = order.indices();
    let owner = Worker::start();
    let mut table = table::<WORDS>();
    let (figures, mut table) = owner.run(move || (fill_and_measure(&mut table), table));
    owner.end();
    clear(&mut table, &indices);
    segment_pool::flush();
    assert!(figures.are_back(&format!("elsewhere, {order:?}, owner gone"), WORDS * 8));
}

/// A test for each order, in its own process.
macro_rules! memory_is_back {
    ($($test:ident: $drop:ident, $words:literal, $order:ident;)*) => {$(
        #[test]
        fn $test() {
            in_own_process(stringify!($test), || $drop::<$words>(Order::$order));
        }
    )*};
}

memory_is_back! {
    local_as_made_16: dropped_by_owner, 2, AsMade;
    local_in_reverse_16: dropped_by_owner, 2, Reverse;
    local_at_random_16: dropped_by_owner, 2, Random;
    local_as_made_64: dropped_by_owner, 8, AsMade;
    local_in_reverse_64: dropped_by_owner, 8, Reverse;
    local_at_random_64: dropped_by_owner, 8, Random;
    elsewhere_as_made_16: dropped_elsewhere_before_the_owner_ends, 2, AsMade;
    elsewhere_in_reverse_16: dropped_elsewhere_before_the_owner_ends, 2, Reverse;
    elsewhere_at_random_16: dropped_elsewhere_before_the_owner_ends, 2, Random;
    elsewhere_as_made_64: dropped_elsewhere_before_the_owner_ends, 8, AsMade;
    elsewhere_in_reverse_64: dropped_elsewhere_before_the_owner_ends, 8, Reverse;
    elsewhere_at_random_64: dropped_elsewhere_before_the_owner_ends, 8, Random;
    after_the_owner_as_made_16: dropped_elsewhere_after_the_owner_ended, 2, AsMade;
    after_the_owner_in_reverse_16: dropped_elsewhere_after_the_owner_ended, 2, Reverse;
    after_the_owner_at_random_16: dropped_elsewhere_after_the_owner_ended, 2, Random;
    after_the_owner_as_made_64: dropped_elsewhere_after_the_owner_ended, 8, AsMade;
    after_the_owner_in_reverse_64: dropped_elsewhere_after_the_owner_ended, 8, Reverse;
    after_the_owner_at_random_64: dropped_elsewhere_after_the_owner_ended, 8, Random;
}

/// Address space taken by doing something many times, after it was done a few times.
fn address_space_taken(mut step: impl FnMut()) -> usize {
    (0..20).for_each(|_| step());
    let before = status("VmSize");
    (0..1000).for_each(|_| step());
    status("VmSize").saturating_sub(before)
}

#[test]
fn a_pool_that_is_gone_leaves_nothing_mapped() {
    in_own_process("a_pool_that_is_gone_leaves_nothing_mapped", || {
        let worker = Worker::start();
        let taken = address_space_taken(|| {
            let pool = SegmentPool::new();
            let (kept, pool) = thread::spawn(move || (pool.alloc([1_u64; 9]), pool))
                .join()
                .unwrap();
            drop(pool);
            worker.run(move || {
                drop(kept);
                segment_pool::flush();
            });
        });
        worker.end();
        println!("1000 pools: {} KiB of address space", taken >> 10);
        assert!(taken < 1 << 20, "{taken} bytes left");
    });
}

#[test]
fn a_dedicated_mapping_is_unmapped_even_if_the_value_panics() {
    struct Bomb([u8; 200_000]);

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic::resume_unwind(Box::new(self.0[0]));
        }
    }

    in_own_process(
        "a_dedicated_mapping_is_unmapped_even_if_the_value_panics",
        || {
            on_a_large_stack(|| {
                let taken = address_space_taken(|| {
                    let bomb = PoolBox::new(Bomb([7; 200_000]));
                    let result = panic::catch_unwind(AssertUnwindSafe(|| drop(bomb)));
                    assert_eq!(result.unwrap_err().downcast_ref(), Some(&7_u8));
                });
                assert!(taken < 1 << 20, "{taken} bytes left");
            });
        },
    );
}

/// A thread that idles after pools were dropped that it used does not hold on to what they were made of.
#[test]
fn nothing_of_a_dropped_pool_is_mapped_once_its_threads_idled() {
    in_own_process(
        "nothing_of_a_dropped_pool_is_mapped_once_its_threads_idled",
        || {
            let user = Worker::start();
            let pools = user.run(|| {
                let pools: Vec<_> = (0..8).map(|_| SegmentPool::new()).collect();
                pools.iter().for_each(|pool| drop(pool.alloc(1_u64)));
                drop(PoolBox::new([0_u8; 24]));
                pools
            });
            drop(pools);
            user.run(segment_pool::idle);
            let idle = status("VmSize");
            user.run(|| drop(PoolBox::new([0_u8; 24]))); // looks for dropped pools, too
            let allocated = status("VmSize");
            assert!(idle <= allocated, "{} bytes more", idle - allocated);
            user.end();
        },
    );
}

/// Mappings without memory, as many as the process may have beside those it has.
struct ManyMappings {
    start: *mut c_void,
    bytes: usize,
}

impl ManyMappings {
    fn new(most: usize) -> Self {
        let page = rustix::param::page_size();
        let bytes = 2 * most * page;
        // SAFETY: a new mapping, where there is none.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )
        };
        let start = start.unwrap();
        let splits = (0..most).map(|n| start.wrapping_byte_add((2 * n + 1) * page));
        // SAFETY: pages of that mapping, which no other code uses.
        let readable = |page_start| unsafe { mprotect(page_start, page, MprotectFlags::READ) };
        let mut results = splits.map(readable);
        assert!(results.any(|result| result.is_err()), "there is a limit");
        Self { start, bytes }
    }
}

impl Drop for ManyMappings {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no longer used.
        unsafe { munmap(self.start, self.bytes) }.unwrap();
    }
}

/// Values with dedicated mappings, side by side. At the system's limit of mappings nothing can be taken out of their
/// midst.
#[test]
fn what_cannot_be_unmapped_is_kept_until_it_can() {
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if most > 200_000 {
        return println!("skipped: so many mappings ({most}) take the system long");
    }
    in_own_process("what_cannot_be_unmapped_is_kept_until_it_can", || {
        let kept = || segment_pool::memory().kept_bytes as usize;
        let large = || Some(PoolBox::<[u8; 200_000]>::new_uninit());
        drop(large());
        let before = status("VmSize");
        let mut values = [(); 20].map(|()| large());
        let limit = ManyMappings::new(most);
        let mut drop_and_make_again = || {
            values.iter_mut().step_by(2).for_each(|value| *value = None);
            let unmapped = kept();
            values
                .iter_mut()
                .step_by(2)
                .for_each(|value| *value = large());
            (unmapped, kept())
        };
        let (once, left) = drop_and_make_again();
        assert!(
            once >= 8 * 200_000,
            "only {once} bytes were in the midst of others"
        );
        assert_eq!(left, 0, "all of it was used again");
        assert_eq!(drop_and_make_again(), (once, 0));
        values.iter_mut().step_by(2).for_each(|value| *value = None);
        drop(values);
        segment_pool::trim();
        assert_eq!(kept(), 0, "none is in the midst of others any more");
        drop(limit);
        assert!(status("VmSize") < before + (1 << 20));
    });
}
