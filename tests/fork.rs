//! A child of `fork` has only one thread, and a copy of every thread's boxes. It may drop all of them and allocate new
//! ones. Its use of the heaps of threads that it lacks disturbs nothing.
//!
//! This is a program, not a libtest test, because libtest runs its own threads. Each story forks once. The exit status
//! of the child says whether it reached the end, and the parent checks that its own boxes are unchanged.

#[cfg(all(target_os = "linux", not(segment_pool_loom)))]
mod common;

#[cfg(all(target_os = "linux", not(segment_pool_loom)))]
fn main() {
    stories::run();
}

#[cfg(not(all(target_os = "linux", not(segment_pool_loom))))]
fn main() {}

#[cfg(all(target_os = "linux", not(segment_pool_loom)))]
mod stories {
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use crate::common::{Checked, Parcel, Worker};
    use segment_pool::{PoolBox, SegmentPool, flush, idle, trim};

    type Contents = Checked<8>;
    type Boxes = Vec<PoolBox<Contents>>;

    static POOL: SegmentPool<Contents> = SegmentPool::new();

    const COUNT: u32 = 3000;

    pub(crate) fn run() {
        let stories: [(&str, fn()); 6] = [
            ("a child drops what its own thread made", own_boxes),
            ("a child drops what other threads made", boxes_of_others),
            (
                "a child makes boxes beside those of others",
                a_child_makes_boxes,
            ),
            (
                "a child sends what waits in the remote-free buffer",
                a_child_flushes,
            ),
            ("a child adopts what threads had left", abandoned_heaps),
            ("a child uses a bounded pool that was in use", bounded_pool),
        ];
        #[cfg(feature = "hardened")]
        let stories = stories.into_iter().chain(misuse::STORIES);
        for (name, story) in stories {
            story();
            println!("{name} ... ok");
        }
    }

    fn make(pool: bool) -> Boxes {
        let make = |n| match pool {
            true => POOL.alloc(Contents::new(n)),
            false => PoolBox::new(Contents::new(n)),
        };
        (0..COUNT).map(make).collect()
    }

    fn make_both() -> Boxes {
        make(true).into_iter().chain(make(false)).collect()
    }

    fn assert_intact(boxes: &Boxes) {
        let cookies = boxes.iter().map(|boxed| boxed.verify());
        assert!(cookies.eq((0..COUNT).chain(0..COUNT)));
    }

    /// Does the work in a child, which must come to the end of it.
    fn in_child(work: impl FnOnce()) {
        let status = status_of_child(work);
        assert!(libc::WIFEXITED(status), "the child was killed: {status:#x}");
        assert_eq!(libc::WEXITSTATUS(status), 0, "the child panicked");
    }

    /// Does the work in a child, and says how that ended.
    fn status_of_child(work: impl FnOnce()) -> i32 {
        // SAFETY: the child calls what POSIX allows a child of a process with threads, and this crate and glibc's
        // `malloc`, which allow it, too; it leaves by `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork fails");
        if child == 0 {
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            let status = if result.is_ok() { 0 } else { 1 };
            // SAFETY: ends the process, and runs nothing of it.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: waits for the child above; `status` is this function's.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(waited, child);
        status
    }

    fn own_boxes() {
        let mut boxes = make_both();
        in_child(|| {
            assert_intact(&boxes);
            boxes = Boxes::new();
            trim();
            assert_intact(&make_both());
        });
        assert_intact(&boxes);
    }

    /// The child's frees go to the pending lists of threads that it does not have.
    fn boxes_of_others() {
        let worker = Worker::start();
        let mut boxes = worker.run(make_both);
        in_child(|| {
            let kept = boxes.split_off(boxes.len() / 2);
            boxes = Boxes::new();
            flush();
            kept.iter()
                .for_each(|boxed| assert!(boxed.verify() < COUNT));
            drop(kept);
            idle();
        });
        assert_intact(&boxes);
        worker.run(|| drop(boxes));
        worker.end();
    }

    /// None of them lies where another box, of whatever thread, lies.
    fn a_child_makes_boxes() {
        let worker = Worker::start();
        let (own, others) = (make_both(), worker.run(make_both));
        in_child(|| {
            let new = make_both();
            assert_intact(&own);
            assert_intact(&others);
            drop(own);
            let more = make_both();
            assert_intact(&others);
            assert_intact(&new);
            assert_intact(&more);
        });
        assert_intact(&others);
        worker.run(|| drop(others));
        assert_intact(&worker.run(make_both));
        worker.end();
    }

    /// Both processes have the same open batches, and each sends its own.
    fn a_child_flushes() {
        let worker = Worker::start();
        let mut boxes = worker.run(make_both);
        let ten = boxes.drain(..10).collect::<Boxes>();
        drop(ten);
        in_child(flush);
        flush();
        boxes
            .iter()
            .for_each(|boxed| assert!(boxed.verify() < COUNT));
        worker.run(|| drop((boxes, make_both())));
        worker.end();
        assert_eq!(POOL.validate().live, 0);
    }

    fn abandoned_heaps() {
        let workers: Vec<_> = (0..3).map(|_| Worker::start()).collect();
        let mut left: Vec<_> = workers.iter().map(|worker| worker.run(make_both)).collect();
        workers.into_iter().for_each(Worker::end);
        let heaps = POOL.stats().heaps;
        in_child(|| {
            left.pop();
            let new = make_both();
            left.iter().for_each(assert_intact);
            assert_intact(&new);
            assert_eq!(POOL.stats().heaps, heaps);
        });
        left.iter().for_each(assert_intact);
        drop(left);
        trim(); // the slots that this thread cached are returned too
        assert_eq!(POOL.validate().live, 0);
    }

    /// The child lacks threads that were at work on the pool's heap, perhaps at the moment of the fork.
    fn bounded_pool() {
        static POOL: SegmentPool<Contents> = SegmentPool::builder().max_segments(100).build();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        drop(
                            (0..100)
                                .map(|n| POOL.alloc(Contents::new(n)))
                                .collect::<Boxes>(),
                        );
                    }
                });
            }
            for _ in 0..20 {
                in_child(|| {
                    let boxes: Boxes = (0..COUNT).map(|n| POOL.alloc(Contents::new(n))).collect();
                    assert!(boxes.iter().map(|boxed| boxed.verify()).eq(0..COUNT));
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(POOL.leaks(), None);
    }

    /// A child that misuses a slot aborts, whatever locks other threads held when it was forked.
    #[cfg(feature = "hardened")]
    mod misuse {
        use std::io::{self, Read};
        use std::os::fd::AsRawFd;
        use std::os::unix::net::UnixStream;
        use std::sync::Barrier;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::thread;

        use super::status_of_child;
        use segment_pool::{PoolBox, set_misuse_hook};

        pub(super) const STORIES: [(&str, fn()); 2] = [
            (
                "a child aborts while a thread had the standard error",
                standard_error_was_locked,
            ),
            (
                "a child aborts while a thread was setting the hook",
                the_hook_was_being_set,
            ),
        ];

        /// Frees a slot twice. If the child hangs, a signal ends it after a number of seconds.
        fn misuse() {
            // SAFETY: `SIGALRM` has no handler.
            unsafe { libc::alarm(60) };
            let pointer = PoolBox::into_raw(PoolBox::new(7_u64));
            for _ in 0..2 {
                // SAFETY: a lie, the second time.
                drop(unsafe { PoolBox::from_raw(pointer) });
            }
        }

        fn assert_aborted(status: i32) {
            assert!(libc::WIFSIGNALED(status), "{status:#x}");
            assert_eq!(libc::WTERMSIG(status), libc::SIGABRT, "SIGALRM: it hung");
        }

        fn standard_error_was_locked() {
            let (mut reader, stderr) = UnixStream::pair().unwrap();
            let (locked, done) = (Barrier::new(2), Barrier::new(2));
            let status = thread::scope(|scope| {
                scope.spawn(|| {
                    let _locked = io::stderr().lock();
                    locked.wait();
                    done.wait();
                });
                locked.wait();
                let status = status_of_child(|| {
                    // SAFETY: both descriptors are open.
                    unsafe { libc::dup2(stderr.as_raw_fd(), libc::STDERR_FILENO) };
                    misuse();
                });
                done.wait();
                status
            });
            assert_aborted(status);
            drop(stderr);
            let mut line = String::new();
            reader.read_to_string(&mut line).unwrap();
            assert_eq!(line, "segment-pool: double free\n");
        }

        fn the_hook_was_being_set() {
            let nothing = |_| ();
            set_misuse_hook(nothing);
            let done = AtomicBool::new(false);
            let statuses = thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        set_misuse_hook(nothing);
                    }
                });
                let statuses: Vec<_> = (0..200).map(|_| status_of_child(misuse)).collect();
                done.store(true, Ordering::Relaxed);
                statuses
            });
            statuses.into_iter().for_each(assert_aborted);
        }
    }
}
