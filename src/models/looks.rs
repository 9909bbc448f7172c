//! Looks: a thread reads the headers of segments of which it owns nothing, while others make, use and release them.

use loom::thread;

use super::{Pool, alloc, churn, close, end, free_both_remotely, join, model, push};
use crate::ground::layout::Span;
use crate::ground::sync::UnsafeCell;
use crate::memory::arena::Arenas;
use crate::memory::pins::Pins;
use crate::memory::segment::capacity;

impl Pool {
    /// Slots that were freed remotely and not collected, as a look finds them, and the segments in which it looked.
    fn look(self) -> (usize, usize) {
        let (mut slots, mut segments) = (0, 0);
        self.registry.look(|sight, stride| {
            let uncollected = sight.uncollected(capacity(stride));
            slots += uncollected;
            segments += 1;
        });
        (slots, segments)
    }

    fn looker(self) -> thread::JoinHandle<()> {
        thread::spawn(move || _ = self.look())
    }
}

/// Two looks, and the end of what they look at. Catches: memory that is given back while somebody looks, by two, or by nobody; what
/// was written before `open`, or used before `close`, and is not seen.
#[test]
fn two_looks_against_the_end() {
    model(|| {
        struct Shared {
            pins: Pins,
            /// Looks read it.
            header: UnsafeCell<u64>,
            /// They do not.
            slots: UnsafeCell<u64>,
        }
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            pins: Pins::new(),
            header: UnsafeCell::new(0),
            slots: UnsafeCell::new(0),
        }));
        let add = |cell: &UnsafeCell<u64>| cell.with_mut(|cell| unsafe { *cell += 1 });
        let look = || {
            shared
                .header
                .with(|header| assert_eq!(unsafe { *header }, 1))
        };
        let unmap = move || {
            add(&shared.header);
            add(&shared.slots);
        };
        let lookers = [(); 2].map(|()| {
            thread::spawn(move || {
                if shared.pins.pin() {
                    look();
                    if shared.pins.unpin() {
                        unmap();
                    }
                }
            })
        });
        add(&shared.header);
        shared.pins.open();
        add(&shared.slots);
        if shared.pins.close() {
            unmap();
        }
        join(lookers);
        for cell in [&shared.header, &shared.slots] {
            cell.with(|cell| assert_eq!(unsafe { *cell }, 2, "once"));
        }
    });
}

/// A look while the only segment of an arena is claimed and released, and with it the arena. Catches: an arena that is unmapped
/// under a look, or by nobody.
#[test]
fn look_against_map_and_unmap() {
    model(|| {
        let arenas: &'static Arenas = Box::leak(Box::new(Arenas::new()));
        let looker = thread::spawn(move || arenas.look(core::ptr::dangling_mut(), |_| ()));
        for _ in 0..2 {
            let claimed = arenas.claim(Span::Small).unwrap();
            unsafe { arenas.release(Span::Small, claimed) };
        }
        looker.join().unwrap();
        assert_eq!(arenas.mapped(), 0);
    });
}

/// Both segments of an arena are released at once while a look is under way. Catches: as above.
#[test]
fn look_against_two_releases() {
    model(|| {
        let arenas: &'static Arenas = Box::leak(Box::new(Arenas::new()));
        let releasers = [(); 2].map(|()| {
            let claimed = arenas.claim(Span::Small).unwrap();
            thread::spawn(move || unsafe { arenas.release(Span::Small, claimed) })
        });
        arenas.look(core::ptr::dangling_mut(), |_| ());
        join(releasers);
        assert_eq!(arenas.mapped(), 0);
    });
}

/// A look while a thread makes a segment, uses and releases it. Catches: a header that is not written word by word.
#[test]
fn look_against_the_making_and_the_end_of_a_segment() {
    model(|| {
        let pool = Pool::new();
        let looker = pool.looker();
        let heap = pool.acquire(1);
        churn(heap);
        end(heap);
        looker.join().unwrap();
        assert_eq!(pool.look(), (0, 0));
        pool.close();
    });
}

/// A look while slots are pushed and collected. When all is quiet what was pushed counts once, and what was collected not at all.
/// Catches: a push that a look does not see, or sees twice.
#[test]
fn look_against_push_and_collect() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let looker = pool.looker();
        let pusher = push(a);
        churn(heap); // collects, or takes a new segment
        pusher.join().unwrap();
        looker.join().unwrap();
        heap.collect_all();
        assert_eq!(pool.look().0, 0);
        b.free_remotely();
        assert_eq!(pool.look().0, 1);
        end(heap);
        pool.close();
    });
}

/// A look while a fully freed segment is purged by who freed it. Catches: a purged segment that does not count.
#[test]
fn look_against_a_purge() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let [a, b, c, d] = [alloc(heap), alloc(heap), alloc(heap), alloc(heap)];
        free_both_remotely(a, b); // within the allowance
        let pusher = thread::spawn(move || free_both_remotely(c, d));
        pool.look();
        pusher.join().unwrap();
        assert_eq!(pool.look(), (4, 2));
        end(heap);
        assert_eq!(pool.look(), (0, 0));
        pool.close();
    });
}

/// A look at a pool of which a segment is stolen. Catches: a segment that is seen in two heaps when all is quiet, or in none.
#[test]
fn look_against_a_steal() {
    model(|| {
        let pool = Pool::new();
        let old = pool.acquire(1);
        let (a, b) = (alloc(old), alloc(old));
        b.free_local(old);
        let mine = pool.acquire(2);
        end(old);
        let looker = pool.looker();
        churn(mine);
        looker.join().unwrap();
        let mut heaps = Vec::new();
        pool.registry.look(|sight, _| heaps.push(sight.heap));
        assert_eq!(heaps, [mine.id()]);
        a.free_remotely();
        end(mine);
        pool.close();
    });
}

/// A look at one pool while another one, in the same arena, ends. Catches: a look that follows what it reads.
#[test]
fn look_against_the_end_of_another_pool() {
    model(|| {
        let pool = Pool::new();
        let other = Pool::create_in(pool.arenas, usize::MAX);
        let heap = other.acquire(1);
        let value = alloc(heap);
        let looker = pool.looker();
        value.free_local(heap);
        end(heap);
        close(other.registry);
        looker.join().unwrap();
        pool.close();
    });
}
