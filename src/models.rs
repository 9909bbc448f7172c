//! Loom models: the crate's own words, segments, heaps and arenas, in segments of two slots.
//!
//! Each model says which bug it would catch; each was seen failing with that bug planted. Run them by
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib`, with `LOOM_MAX_PREEMPTIONS=2` or 3.

use core::ptr::NonNull;

use loom::thread;

use crate::arena::Arenas;
use crate::handover::{self, Debts};
use crate::heap::HeapRef;
use crate::layout::Span;
use crate::outbox::Outbox;
use crate::registry::{RegistryRef, registry_of};
use crate::remote::{Delivered, Inbox, Node, Pushed, RemoteWord, Taken};
use crate::segment::{Claimed, SegmentRef};
use crate::slot::{self, Offset, SlotPtr};
use crate::sync::{AtomicUsize, Ordering, UnsafeCell};

/// Holds loom's watched cell and a carrier.
const STRIDE: usize = 256;

/// A pool with arenas of its own, so that a model can see that everything went back.
#[derive(Clone, Copy)]
struct Pool {
    arenas: NonNull<Arenas>,
    registry: RegistryRef,
}

impl Pool {
    fn new() -> Self {
        let arenas = NonNull::from(Box::leak(Box::new(Arenas::new())));
        let registry = RegistryRef::create_in(arenas, STRIDE, usize::MAX).unwrap();
        Self { arenas, registry }
    }

    /// Drops the handle and checks that no arena is left.
    fn close(self) {
        close(self.registry);
        self.check_arenas();
    }

    fn check_arenas(self) {
        let arenas = unsafe { Box::from_raw(self.arenas.as_ptr()) };
        assert_eq!(arenas.mapped(), 0, "every segment went back to its arena");
        assert_eq!(arenas.pools(), 0, "the pool was freed");
    }

    fn acquire(self, token: u64) -> HeapRef {
        self.registry.acquire(token).unwrap()
    }
}

/// Allocates, as the owner, and stores a value.
fn alloc(heap: HeapRef) -> Value {
    let slot = heap
        .bin(0)
        .take()
        .or_else(|| with_debts(|debts| handover::refill(heap, 0, debts)))
        .unwrap();
    slot::erase(slot);
    Value(slot)
}

/// A slot in use, to be sent to other threads.
#[derive(Clone, Copy)]
struct Value(SlotPtr);

unsafe impl Send for Value {}

impl Value {
    fn segment(self) -> SegmentRef {
        unsafe { SegmentRef::of(self.0, Span::of(STRIDE)) }
    }

    fn offset(self) -> Offset {
        SegmentRef::offset_of(self.0, Span::of(STRIDE))
    }

    fn free_at_home(self, heap: HeapRef) {
        slot::erase(self.0);
        if unsafe { heap.bin(0).give(self.0) } {
            with_debts(|debts| handover::stash(heap, 0, debts));
        }
    }

    /// What a thread does that does not own the segment.
    fn free_remotely(self) {
        slot::erase(self.0);
        let outbox = Outbox::new();
        with_debts(|debts| {
            unsafe { outbox.add(self.segment(), self.offset(), debts, |_, _| false) };
            outbox.flush(debts);
        });
    }
}

fn free_both_remotely(a: Value, b: Value) {
    slot::erase(a.0);
    slot::erase(b.0);
    let outbox = Outbox::new();
    with_debts(|debts| {
        for value in [a, b] {
            unsafe { outbox.add(value.segment(), value.offset(), debts, |_, _| false) };
        }
        outbox.flush(debts);
    });
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

fn end(heap: HeapRef) {
    with_debts(|debts| unsafe { handover::leave(heap, debts) });
}

/// Lends a heap and forgets it.
fn lend(heap: HeapRef) {
    let registry = registry_of(heap);
    with_debts(|debts| unsafe { handover::lend(heap, debts) });
    unsafe { registry.give_up(1) };
}

fn close(registry: RegistryRef) {
    with_debts(|debts| unsafe { handover::close(registry, debts) });
}

/// Does something that may leave heaps too soon, and comes back to them, as a thread does at its end at the latest.
fn with_debts<R>(work: impl FnOnce(&Debts) -> R) -> R {
    let debts = Debts::new();
    let result = work(&debts);
    debts.pay_all();
    result
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = executions.clone();
    loom::model(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        run();
    });
    println!(
        "{} executions",
        executions.load(std::sync::atomic::Ordering::Relaxed)
    );
}

/// Two pushers and a taker: the chain is whole, its contents are ordered before the take, and QUEUED is turned on
/// once per take. Catches: a push that does not release, a take that does not acquire, a lost QUEUED.
#[test]
fn remote_word_two_pushes_and_a_take() {
    model(|| {
        struct Shared {
            word: RemoteWord,
            /// What the pushers write before they push: stands for the carriers.
            cells: [UnsafeCell<u64>; 2],
            queued: AtomicUsize,
        }
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            word: RemoteWord::new(),
            cells: [UnsafeCell::new(0), UnsafeCell::new(0)],
            queued: AtomicUsize::new(0),
        }));
        let push = move |index: usize| {
            shared.cells[index].with_mut(|cell| unsafe { *cell = 1 });
            let head = Offset::new(index);
            if shared.word.push(head, 1, |_| false, |_| ()) == Pushed::Queued {
                shared.queued.fetch_add(1, Ordering::Relaxed);
            }
        };
        let read = move |head: Option<Offset>| {
            let value =
                head.map(|offset| shared.cells[offset.units()].with(|cell| unsafe { *cell }));
            assert_ne!(value, Some(0));
        };
        let pushers = [0, 1].map(|index| thread::spawn(move || push(index)));
        let take = move || match shared.word.take() {
            Taken::List(list) => list,
            _ => unreachable!("nobody purges"),
        };
        let first = take();
        read(first.head);
        join(pushers);
        let second = take();
        read(second.head);
        assert_eq!(first.count + second.count, 2);
        assert_eq!(first.batches + second.batches, 2);
        let takes = usize::from(first.count > 0) + usize::from(second.count > 0);
        assert_eq!(shared.queued.load(Ordering::Relaxed), takes);
    });
}

/// A node for the inbox alone.
struct Letter(UnsafeCell<*mut Letter>);

unsafe impl Node for Letter {
    unsafe fn set_inbox_link(this: NonNull<Self>, next: *mut Self) {
        unsafe { this.as_ref() }
            .0
            .with_mut(|link| unsafe { *link = next });
    }

    unsafe fn inbox_link(this: NonNull<Self>) -> *mut Self {
        unsafe { this.as_ref() }.0.with(|link| unsafe { *link })
    }
}

fn letter() -> NonNull<Letter> {
    NonNull::from(Box::leak(Box::new(Letter(UnsafeCell::new(
        core::ptr::null_mut(),
    )))))
}

fn letters(inbox: &Inbox<Letter>) -> usize {
    let mut next = inbox.take().first;
    let mut count = 0;
    while let Some(node) = NonNull::new(next) {
        next = unsafe { Letter::inbox_link(node) };
        count += 1;
    }
    count
}

#[derive(Clone, Copy)]
struct Send_<T>(T);
unsafe impl<T> Send for Send_<T> {}

/// Two pushes against an owner that leaves: somebody sees every segment, and never two at once own the heap.
/// Catches: an abandon that overwrites a push, a push that leaves ABANDONED on, a missing acquire on acquisition.
#[test]
fn inbox_push_against_abandon() {
    model(|| {
        struct Shared {
            inbox: Inbox<Letter>,
            /// What only the owner touches.
            seen: UnsafeCell<usize>,
        }
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            inbox: Inbox::new(),
            seen: UnsafeCell::new(0),
        }));
        let serve = move || {
            while !shared.inbox.try_abandon() {
                let count = letters(&shared.inbox);
                shared.seen.with_mut(|seen| unsafe { *seen += count });
            }
        };
        let pushers = [letter(), letter()].map(|node| {
            let node = Send_(node);
            thread::spawn(move || {
                let Send_(node) = { node };
                if unsafe { shared.inbox.push(node) } == Delivered::Acquired {
                    serve();
                }
            })
        });
        serve();
        join(pushers);
        assert!(shared.inbox.adopt());
        assert!(shared.inbox.is_empty());
        assert_eq!(shared.seen.with(|seen| unsafe { *seen }), 2);
    });
}

/// A push against an adoption of the same abandoned heap: exactly one gets it, and the segment is not lost.
/// Catches: an adopt that does not test ABANDONED in its compare-and-swap, or does not acquire.
#[test]
fn inbox_push_against_adopt() {
    model(|| {
        struct Shared {
            inbox: Inbox<Letter>,
            seen: UnsafeCell<usize>,
        }
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            inbox: Inbox::new(),
            seen: UnsafeCell::new(0),
        }));
        assert!(shared.inbox.try_abandon());
        let collect = move || {
            let count = letters(&shared.inbox);
            shared.seen.with_mut(|seen| unsafe { *seen += count });
        };
        let node = Send_(letter());
        let pusher = thread::spawn(move || {
            let Send_(node) = { node };
            if unsafe { shared.inbox.push(node) } == Delivered::Acquired {
                collect();
                assert!(shared.inbox.try_abandon());
            }
        });
        let adopted = shared.inbox.adopt();
        if adopted {
            collect();
        }
        pusher.join().unwrap();
        assert!(adopted || shared.inbox.adopt());
        collect();
        assert_eq!(shared.seen.with(|seen| unsafe { *seen }), 1);
    });
}

/// A segment pushed by two threads, with a collect between: the second pusher's write of the inbox link comes after
/// the owner's read of it. Catches: Release instead of AcqRel on the push, or Acquire instead of AcqRel on the take.
#[test]
fn segment_pushed_twice_and_collected_between() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let pushers = [a, b].map(|value| thread::spawn(move || value.free_remotely()));
        let again = alloc(heap); // collects what is there, or takes a new segment
        again.free_at_home(heap);
        join(pushers);
        end(heap);
        pool.close();
    });
}

/// The owner ends while another thread frees its last slots: the slots are not lost, the empty segment goes back to
/// the arena once, and the pool with it. Catches: a lost wake-up between abandon and push, a release of a queued
/// segment, references given up before the heap is abandoned.
#[test]
fn thread_end_against_remote_free() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let pusher = thread::spawn(move || {
            a.free_remotely();
            b.free_remotely();
        });
        end(heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// Two threads free one slot each of a heap whose owner has ended: both may acquire it, one after the other, or one
/// serves both. Catches: two owners at once, a segment released while the other pusher still needs it.
#[test]
fn two_pushers_acquire_an_abandoned_heap() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        end(heap);
        let pusher = thread::spawn(move || a.free_remotely());
        b.free_remotely();
        pusher.join().unwrap();
        pool.close();
    });
}

/// The owner serves one segment and ends; then a push to another segment acquires the heap. Catches: an inbox push
/// that does not acquire, whose tenure would race with what the owner did last.
#[test]
fn tenure_after_the_owner_served_another_segment() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b, c) = (alloc(heap), alloc(heap), alloc(heap));
        b.free_at_home(heap);
        let pushers = [a, c].map(|value| thread::spawn(move || value.free_remotely()));
        end(heap);
        join(pushers);
        pool.close();
    });
}

/// A pusher leaves a heap while another's segment waits there, in a pool that nobody will look at any more: it comes
/// back. Catches: a debt forgotten, or its reference.
#[test]
fn tenure_left_too_soon_is_made_up_for() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b, c) = (alloc(heap), alloc(heap), alloc(heap));
        b.free_at_home(heap);
        end(heap);
        close(pool.registry);
        let pushers = [a, c].map(|value| thread::spawn(move || value.free_remotely()));
        join(pushers);
        pool.check_arenas();
    });
}

/// A thread without a heap adopts one while a free of one of its slots arrives. Catches: an adoption that misses
/// what the pusher did during its tenure.
#[test]
fn adopt_against_remote_free() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        end(heap);
        let pusher = thread::spawn(move || free_both_remotely(a, b));
        let heap = pool.acquire(2);
        let c = alloc(heap);
        c.free_at_home(heap);
        end(heap);
        pusher.join().unwrap();
        pool.close();
    });
}

/// The handle, the last thread and the last box go at once, on three threads: the pool is freed by exactly one of
/// them, after everything else. Catches: a reference given up too early, or not at all; touching the pool after.
#[test]
fn pool_dropped_from_three_sides() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let a = alloc(heap);
        let pusher = thread::spawn(move || a.free_remotely());
        let registry = Send_(pool.registry);
        let dropper = thread::spawn(move || {
            let Send_(registry) = { registry };
            close(registry);
        });
        end(heap);
        pusher.join().unwrap();
        dropper.join().unwrap();
        pool.check_arenas();
    });
}

/// A thread merges a segment out of an abandoned heap while another frees a slot of it: the free reaches the old heap
/// or the new one, as a stray or not, and everything goes back. Catches: the heap stored after the old one was
/// abandoned, a stray taken for a member, a stray dropped, a heap entered without acquiring what made it.
#[test]
fn merge_against_a_push_that_read_the_old_heap() {
    model(|| {
        let pool = Pool::new();
        let old = pool.acquire(1);
        let (a, b) = (alloc(old), alloc(old));
        b.free_at_home(old);
        let pusher = thread::spawn(move || a.free_remotely());
        let mine = pool.acquire(2); // made behind the pusher's back
        end(old);
        let c = alloc(mine); // merges the old heap's segment, or makes one
        c.free_at_home(mine);
        end(mine);
        pusher.join().unwrap();
        pool.close();
    });
}

/// A segment moves twice while a push is on its way to the first heap: it is forwarded until it arrives. Catches: a
/// forward to where the segment was, not is; QUEUED turned off on the way.
#[test]
fn two_forwards_of_one_segment() {
    model(|| {
        let pool = Pool::new();
        let first = pool.acquire(1);
        let (a, b) = (alloc(first), alloc(first));
        b.free_at_home(first);
        let second = pool.acquire(2);
        let third = pool.acquire(3);
        end(first);
        let pusher = thread::spawn(move || a.free_remotely());
        let c = alloc(second);
        c.free_at_home(second);
        end(second);
        let d = alloc(third);
        d.free_at_home(third);
        end(third);
        pusher.join().unwrap();
        pool.close();
    });
}

/// A pool is dropped while a thread merges and another pushes. Catches: a merge that moves segments into a heap whose
/// pool is gone, references of moved segments counted twice or not at all.
#[test]
fn pool_dropped_against_merge_and_push() {
    model(|| {
        let pool = Pool::new();
        let old = pool.acquire(1);
        let (a, b) = (alloc(old), alloc(old));
        b.free_at_home(old);
        let mine = pool.acquire(2);
        end(old);
        let pusher = thread::spawn(move || a.free_remotely());
        let merger = Send_(mine);
        let merger = thread::spawn(move || {
            let Send_(mine) = { merger };
            let c = alloc(mine);
            c.free_at_home(mine);
            end(mine);
        });
        merger.join().unwrap();
        close(pool.registry);
        pusher.join().unwrap();
        pool.check_arenas();
    });
}

/// A thread ends while its pool is dropped. Catches: a reference given up twice, the closing thread settling a heap
/// that its owner still uses.
#[test]
fn pool_dropped_against_thread_end() {
    for allocates in [true, false] {
        model(move || {
            let pool = Pool::new();
            let heap = pool.acquire(1);
            if allocates {
                alloc(heap).free_at_home(heap);
            }
            let registry = Send_(pool.registry);
            let dropper = thread::spawn(move || {
                let Send_(registry) = { registry };
                close(registry);
            });
            end(heap);
            dropper.join().unwrap();
            pool.check_arenas();
        });
    }
}

/// A thread lends its heap, with a free slot in its list, while the pool is dropped and the last box goes: somebody
/// empties the list. Catches: a signal that an owner or a pusher can leave without seeing.
#[test]
fn pool_dropped_against_lend_and_push() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        b.free_at_home(heap);
        let pusher = thread::spawn(move || a.free_remotely());
        let lender = Send_(heap);
        let lender = thread::spawn(move || {
            let Send_(heap) = { lender };
            lend(heap);
        });
        close(pool.registry);
        lender.join().unwrap();
        pusher.join().unwrap();
        pool.check_arenas();
    });
}

/// A box is dropped by a third thread after its owner has ended and its pool was dropped. Catches: a heap freed while
/// a box of it lives.
#[test]
fn box_dropped_after_owner_end_and_pool_drop() {
    model(|| {
        let pool = Pool::new();
        let owner = Send_(pool.acquire(1));
        let owner = thread::spawn(move || {
            let Send_(heap) = { owner };
            let a = alloc(heap);
            end(heap);
            a
        });
        let a = owner.join().unwrap();
        let third = thread::spawn(move || a.free_remotely());
        close(pool.registry);
        third.join().unwrap();
        pool.check_arenas();
    });
}

/// The second completed segment of a heap is purged by the thread that completes it, while the owner collects: with
/// QUEUED off before (both slots in one batch) and on (one after the other). Catches: an owner that unpacks a purged
/// list, a purged segment that is never queued again, or twice.
#[test]
fn purge_against_collect() {
    for at_once in [true, false] {
        model(move || {
            let pool = Pool::new();
            let heap = pool.acquire(1);
            let values = [alloc(heap), alloc(heap), alloc(heap), alloc(heap)];
            let [a, b, c, d] = values;
            free_both_remotely(a, b); // completes the first segment, within the allowance
            let pusher = thread::spawn(move || {
                if at_once {
                    free_both_remotely(c, d);
                } else {
                    c.free_remotely();
                    d.free_remotely();
                }
            });
            let e = alloc(heap);
            e.free_at_home(heap);
            end(heap);
            pusher.join().unwrap();
            pool.close();
        });
    }
}

/// A thread keeps a slot of another's segment in its own list and ends, while the owner ends, too: the slot goes home.
/// Catches: a foreign slot brought home to a segment of another owner, or dropped.
#[test]
fn kept_slot_goes_home_when_both_end() {
    model(|| {
        let pool = Pool::new();
        let heap = pool.acquire(1);
        let (a, b) = (alloc(heap), alloc(heap));
        let keeper = Send_(pool.acquire(2));
        let keeper = thread::spawn(move || {
            let Send_(mine) = { keeper };
            alloc(mine).free_at_home(mine);
            a.free_at_home(mine); // what `Local::keep` does
            end(mine);
        });
        b.free_at_home(heap);
        end(heap);
        keeper.join().unwrap();
        pool.close();
    });
}

/// Two threads claim and release the two segments of an arena, which is unmapped whenever it is idle. Catches: a
/// base read before the bit was won, an unmap without taking all bits, a segment handed out twice.
#[test]
fn arena_claim_against_release_and_unmap() {
    model(|| {
        let arenas: &'static Arenas = Box::leak(Box::new(Arenas::new()));
        let work = move || {
            let claimed = arenas.claim(Span::Small).unwrap();
            let cell = claimed.memory.cast::<UnsafeCell<u64>>();
            unsafe { cell.write(UnsafeCell::new(0)) };
            unsafe { cell.as_ref() }.with_mut(|value| unsafe { *value += 1 });
            unsafe { arenas.release(Span::Small, claimed) };
        };
        let other = thread::spawn(work);
        work();
        other.join().unwrap();
        assert_eq!(arenas.mapped(), 0);
    });
}

/// Two arenas become idle while a claim is taken from one of them. Catches: the count of idle arenas, low for a moment
/// between a release and its counting, that makes both releases leave an arena to the other.
#[test]
fn two_arenas_become_idle_while_one_is_claimed_from() {
    model(|| {
        let arenas: &'static Arenas = Box::leak(Box::new(Arenas::new()));
        let claim = move || Send_(arenas.claim(Span::Small).unwrap());
        let release =
            move |claimed: Send_<Claimed>| unsafe { arenas.release(Span::Small, claimed.0) };
        let [first, second, third] = [claim(), claim(), claim()];
        release(second);
        let releasers = [first, third].map(|claimed| thread::spawn(move || release(claimed)));
        let again = claim();
        join(releasers);
        release(again);
        assert_eq!(arenas.mapped(), 0);
    });
}
