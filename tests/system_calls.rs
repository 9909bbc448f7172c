//! The fast paths make no system call: a child that may only call `read`, `write` and `exit` (strict seccomp) completes
//! them, and is killed where a slow path makes another call.
//!
//! This is a program, not a libtest test: libtest runs its own threads, and a child of `fork` has only one.

#[cfg(all(target_os = "linux", not(any(miri, segment_pool_loom))))]
mod common;

#[cfg(all(target_os = "linux", not(any(miri, segment_pool_loom))))]
fn main() {
    stories::run();
}

#[cfg(not(all(target_os = "linux", not(any(miri, segment_pool_loom)))))]
fn main() {}

#[cfg(all(target_os = "linux", not(any(miri, segment_pool_loom))))]
mod stories {
    use crate::common::Worker;
    use segment_pool::{PoolArc, PoolBox, SegmentPool};

    type Contents = [u64; 2];

    static POOL: SegmentPool<Contents> = SegmentPool::new();

    /// Fewer than a free list has room for.
    const FEW: usize = 200;
    const ROUNDS: usize = 1000;

    pub(crate) fn run() {
        let stories: [(&str, fn()); 4] = [
            ("boxes allocated and dropped on one thread", on_one_thread),
            (
                "the same in a pool of their own, and by a handle",
                of_a_pool,
            ),
            ("boxes of another thread dropped", boxes_of_another),
            ("a slow path is seen", a_slow_path),
        ];
        for (name, story) in stories {
            story();
            println!("{name} ... ok");
        }
    }

    /// Does the work in a child that may make no system call, and says which signal killed it.
    fn killed_in_child(work: impl FnOnce()) -> Option<i32> {
        // SAFETY: the child calls what this crate's fast paths and `exit` are.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork fails");
        if child == 0 {
            // SAFETY: takes nothing but the number of the mode.
            let strict = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
            if strict == 0 {
                work();
            }
            // SAFETY: ends the only thread, and with it the process. (`_exit` is a call that strict seccomp forbids.)
            unsafe { libc::syscall(libc::SYS_exit, strict) };
        }
        let mut status = 0;
        // SAFETY: waits for the child above; `status` is this function's.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if libc::WIFSIGNALED(status) {
            return Some(libc::WTERMSIG(status));
        }
        assert_eq!(libc::WEXITSTATUS(status), 0, "there is no seccomp");
        None
    }

    /// Fills the table and empties it, again and again; once before, so that the free list has as many.
    fn churn<T>(make: impl Fn() -> T) {
        let mut table = Vec::with_capacity(FEW);
        let mut round = || {
            table.extend((0..FEW).map(|_| make()));
            table.clear();
        };
        round();
        let killed = killed_in_child(|| (0..ROUNDS).for_each(|_| round()));
        assert_eq!(killed, None);
    }

    fn on_one_thread() {
        churn(|| PoolBox::new([7_u64; 2]));
        churn(|| PoolArc::new([7_u64; 2]));
    }

    fn of_a_pool() {
        churn(|| POOL.alloc([7; 2]));
        let local = POOL.local();
        churn(|| local.alloc([7; 2]));
    }

    /// They join batches, and full batches go to the segment, and that to the pending list.
    fn boxes_of_another() {
        let worker = Worker::start();
        let make = || (0..2000).map(|n| PoolBox::new([n; 2])).collect::<Vec<_>>();
        let mut boxes = worker.run(make);
        let killed = killed_in_child(|| drop(boxes.drain(..1000)));
        assert_eq!(killed, None);
        worker.run(|| drop(boxes));
        worker.end();
    }

    fn a_slow_path() {
        let large = PoolBox::new([0_u64; 50_000]); // has a dedicated mapping
        assert_eq!(killed_in_child(|| drop(large)), Some(libc::SIGKILL));
    }
}
