//! Arenas of two segments: two threads claim, release, map, unmap and trim at once.

use loom::thread;

use super::{join, model};
use crate::ground::layout::Span;
use crate::ground::sync::UnsafeCell;
use crate::memory::arena::Arenas;
use crate::memory::segment::Claimed;

fn arenas() -> &'static Arenas {
    Box::leak(Box::new(Arenas::new()))
}

impl Arenas {
    fn claim_small(&self) -> Claimed {
        self.claim(Span::Small).unwrap()
    }

    fn release_small(&self, claimed: Claimed) {
        unsafe { self.release(Span::Small, claimed) };
    }
}

/// Two threads claim and release the two segments of an arena, which is unmapped whenever it is idle.
/// Catches: a base read before the bit was won; an unmap that did not take all bits; a segment handed out
/// twice.
#[test]
fn arena_claim_against_release_and_unmap() {
    model(|| {
        let arenas = arenas();
        let work = move || {
            let claimed = arenas.claim_small();
            let cell = claimed.memory.cast::<UnsafeCell<u64>>();
            unsafe { cell.write(UnsafeCell::new(0)) };
            unsafe { cell.as_ref() }.with_mut(|value| unsafe { *value += 1 });
            arenas.release_small(claimed);
        };
        let other = thread::spawn(work);
        work();
        other.join().unwrap();
        assert_eq!(arenas.mapped(), 0);
    });
}

/// Two arenas become idle while a segment is claimed from one of them. Catches: the count of idle arenas is
/// low for a moment, between a release and its counting, so both releases leave the unmapping to the other.
#[test]
fn two_arenas_become_idle_while_one_is_claimed_from() {
    model(|| {
        let arenas = arenas();
        let [first, second, third] = [(); 3].map(|()| arenas.claim_small());
        arenas.release_small(second);
        let releaser = thread::spawn(move || arenas.release_small(first));
        let claimer = thread::spawn(move || {
            let again = arenas.claim_small();
            arenas.release_small(third);
            again
        });
        releaser.join().unwrap();
        arenas.release_small(claimer.join().unwrap());
        assert_eq!(arenas.mapped(), 0);
    });
}

/// Two threads use one segment in turn. Catches: a release or a claim that does not transfer the memory; a
/// segment handed out twice.
#[test]
fn segment_memory_moves_between_threads() {
    model(|| {
        let arenas = arenas();
        let (first, second) = (arenas.claim_small(), arenas.claim_small());
        let place = second.memory.addr();
        arenas.release_small(second);
        let contents: &'static UnsafeCell<u64> = Box::leak(Box::new(UnsafeCell::new(0)));
        let work = move || {
            let claimed = arenas.claim_small();
            if claimed.memory.addr() == place {
                contents.with_mut(|contents| unsafe { *contents += 1 });
            }
            arenas.release_small(claimed);
        };
        let other = thread::spawn(work);
        work();
        other.join().unwrap();
        arenas.release_small(first);
        assert_eq!(arenas.mapped(), 0);
    });
}

/// Two threads each need one more arena than the table has room for. Both create a block, and one of the
/// blocks is used. Catches: a block that is published or seen before it is complete; an arena stored in a
/// block that was discarded.
#[test]
fn table_grows_by_two_threads_at_once() {
    model(|| {
        let arenas = arenas();
        let [first, second] = [(); 2].map(|()| arenas.claim_small());
        let work = move || arenas.claim_small();
        let other = thread::spawn(work);
        let mine = work();
        let theirs = other.join().unwrap();
        assert_ne!(mine.memory, theirs.memory);
        for claimed in [first, second, mine, theirs] {
            arenas.release_small(claimed);
        }
        assert_eq!(arenas.mapped(), 0);
    });
}

/// A thread searches for a free segment in a table that another thread extends. Catches: as above, for a
/// thread that only reads.
#[test]
fn table_grows_against_claim() {
    model(|| {
        let arenas = arenas();
        let [first, second] = [(); 2].map(|()| arenas.claim_small());
        let other = thread::spawn(move || {
            let third = arenas.claim_small();
            arenas.release_small(third);
        });
        arenas.release_small(first);
        let again = arenas.claim_small();
        other.join().unwrap();
        arenas.release_small(again);
        arenas.release_small(second);
        assert_eq!(arenas.mapped(), 0);
    });
}

/// Both segments of an arena are released at once. Catches: an arena that neither thread unmaps, or both do.
#[test]
fn both_segments_of_an_arena_released_at_once() {
    model(|| {
        let arenas = arenas();
        let releasers = [(); 2].map(|()| {
            let claimed = arenas.claim_small();
            thread::spawn(move || arenas.release_small(claimed))
        });
        join(releasers);
        assert_eq!(arenas.mapped(), 0);
    });
}

/// A thread trims while another maps an arena and releases it again. Catches: a trim that reads the base
/// before it has a bit; a trim that prevents the unmapping of an arena.
#[test]
fn trim_against_map_and_unmap() {
    model(|| {
        let arenas = arenas();
        let other = thread::spawn(move || {
            let [first, second] = [(); 2].map(|()| arenas.claim_small());
            arenas.release_small(second);
            arenas.release_small(first);
        });
        arenas.trim();
        other.join().unwrap();
        arenas.trim();
        assert_eq!(arenas.mapped(), 0);
    });
}

/// A thread trims while another claims a free segment, uses it and releases it. Catches: a trim that purges a
/// segment in use; a trim that keeps a segment it purged.
#[test]
fn trim_against_claim_and_release() {
    model(|| {
        let arenas = arenas();
        let (first, second) = (arenas.claim_small(), arenas.claim_small());
        arenas.release_small(second);
        let other = thread::spawn(move || {
            let second = arenas.claim_small();
            arenas.release_small(second);
        });
        arenas.trim();
        other.join().unwrap();
        arenas.release_small(first);
        assert_eq!(arenas.mapped(), 0);
    });
}

/// A thread returns what free segments hold beyond the bound while another claims one and releases it. Catches: a page purged that is
/// in use, a free segment that no claim finds again.
#[test]
fn return_excess_against_claim_and_release() {
    model(|| {
        let arenas = arenas();
        let (first, second) = (arenas.claim_small(), arenas.claim_small());
        arenas.release_small(second);
        arenas.set_limits(0, 0);
        let other = thread::spawn(move || {
            let second = arenas.claim_small();
            let cell = second.memory.cast::<UnsafeCell<u64>>();
            unsafe { cell.write(UnsafeCell::new(0)) };
            unsafe { cell.as_ref() }.with_mut(|value| unsafe { *value += 1 });
            arenas.release_small(second);
        });
        arenas.return_excess(0, usize::MAX);
        other.join().unwrap();
        arenas.release_small(first);
        assert_eq!(arenas.mapped(), 0);
    });
}
