//! A process whose global allocator takes small blocks from the default pool: the test harness, the threads, their ends
//! and the pools' own inspections all use slots.

#![cfg(not(any(segment_pool_loom, miri)))] // Miri's mappings are the global allocator's

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use common::Rng;
use segment_pool::{PoolBox, SegmentPool, SlotState};

/// Blocks of up to 4 KiB from the default pool, larger ones from the system.
struct Pooled;

#[global_allocator]
static GLOBAL: Pooled = Pooled;

#[repr(align(16))]
struct Block<const BYTES: usize>([u8; BYTES]);

type Storage<const BYTES: usize> = PoolBox<MaybeUninit<Block<BYTES>>>;

fn take<const BYTES: usize>() -> *mut u8 {
    match PoolBox::<Block<BYTES>>::try_new_uninit() {
        Ok(storage) => PoolBox::into_raw(storage).cast(),
        Err(_) => ptr::null_mut(),
    }
}

/// # Safety
///
/// The block came from `take`, and the caller gives it up.
unsafe fn give<const BYTES: usize>(block: *mut u8) {
    // SAFETY: guaranteed by the caller.
    drop(unsafe { Storage::<BYTES>::from_raw(block.cast()) });
}

/// Takes or gives a block of the size for the layout, or does what is said for larger ones.
macro_rules! by_size {
    ($layout:ident, $do:ident($($block:ident)?), $larger:expr) => {
        match $layout.size() {
            _ if $layout.align() > 16 => $larger,
            0..=16 => $do::<16>($($block)?),
            17..=48 => $do::<48>($($block)?),
            49..=128 => $do::<128>($($block)?),
            129..=512 => $do::<512>($($block)?),
            513..=4096 => $do::<4096>($($block)?),
            _ => $larger,
        }
    };
}

// SAFETY: a block has the size and alignment of the layout, and only its owner uses it.
unsafe impl GlobalAlloc for Pooled {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        by_size!(layout, take(), unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        let larger = || unsafe { System.dealloc(block, layout) };
        // SAFETY: taken for a layout of this size.
        unsafe { by_size!(layout, give(block), larger()) }
    }
}

/// Maps, strings and vectors that grow and shrink, of which some are returned.
fn work(seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    for _ in 0..2000 {
        let key = rng.below(500);
        map.insert(key, format!("{key:>0$}", key % 200));
        tree.remove(&rng.below(500));
        tree.insert(key, vec![key; key % 40]);
    }
    assert!(
        tree.iter()
            .all(|(key, values)| values.iter().all(|value| value == key))
    );
    assert!(
        map.iter()
            .all(|(key, text)| text.trim_start().parse() == Ok(*key))
    );
    map.into_values().filter(|text| text.len() > 20).collect()
}

#[test]
fn threads_do_ordinary_work_and_pass_on_what_they_made() {
    thread_local! {
        static UNTIL_THE_END: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::new(Mutex::new(Vec::new()));
    for round in 0..5 {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (sender, shared) = (sender.clone(), shared.clone());
                thread::spawn(move || {
                    let made = work(round * 4 + thread);
                    UNTIL_THE_END.set(made.clone());
                    shared.lock().unwrap().extend(made.iter().cloned());
                    sender.send(made).unwrap();
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
    drop(sender);
    let received: usize = receiver.iter().map(|made| made.len()).sum();
    assert_eq!(received, shared.lock().unwrap().len());
}

/// What a look reserves lies in the heaps that it looks at.
#[test]
fn pools_look_at_themselves() {
    for round in 0..20 {
        let _made = work(round);
        let validation = segment_pool::validate();
        assert_eq!(
            validation.free + validation.live,
            validation.capacity,
            "{validation}"
        );
        assert!(segment_pool::snapshot().count(SlotState::Live) > 0);
        let report = segment_pool::report();
        assert!(report.to_string().contains("total"));
        segment_pool::trim();
        segment_pool::idle();
    }
}

#[test]
fn pools_of_one_type_are_made_and_dropped() {
    for round in 0..20 {
        let pool = SegmentPool::new();
        let boxes: Vec<_> = (0..200).map(|n| pool.alloc(vec![n; round])).collect();
        assert_eq!(pool.validate().live, 200);
        let other = thread::spawn(move || boxes.into_iter().step_by(2).count());
        assert_eq!(other.join().unwrap(), 100);
        assert_eq!(pool.close(), Ok(()));
    }
}

/// Before Linux 6.4 the page size, which every mapping needs, is read from a file, and that must not allocate a block.
/// A filter that rejects `PR_GET_AUXV` simulates such a kernel.
#[cfg(all(target_os = "linux", target_endian = "little"))]
#[test]
fn the_first_mapping_asks_no_allocator() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["pools_of_one_type_are_made_and_dropped", "--exact"]);
    // SAFETY: system calls only.
    unsafe { child.pre_exec(old_kernel::begin) };
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

#[cfg(all(target_os = "linux", target_endian = "little"))]
mod old_kernel {
    use std::io;

    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

    const PR_GET_AUXV: u32 = 0x4155_5856;
    /// Where `seccomp_data` has the number of the call and the lower half of its first argument.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = 16;

    /// From here on this process and its successors have no `PR_GET_AUXV`.
    pub(super) fn begin() -> io::Result<()> {
        let load = |at| step(BPF_LD | BPF_W | BPF_ABS, at, 0);
        let unless = |value, skip| step(BPF_JMP | BPF_JEQ | BPF_K, value, skip);
        let end = |with| step(BPF_RET | BPF_K, with, 0);
        let mut filter = [
            load(NUMBER),
            unless(libc::SYS_prctl as u32, 3),
            load(ARGUMENT),
            unless(PR_GET_AUXV, 1),
            end(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
            end(libc::SECCOMP_RET_ALLOW),
        ];
        let program = sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: no memory is passed.
        let lasting = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the program is copied.
        let filtered = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        match lasting | filtered {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn step(code: u32, k: u32, otherwise: u8) -> sock_filter {
        let code = code as u16;
        sock_filter {
            code,
            jt: 0,
            jf: otherwise,
            k,
        }
    }
}
