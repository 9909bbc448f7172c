//! The remote word and the pending list, without segments and heaps.

use core::ptr::{self, NonNull};

use loom::thread;

use super::{join, model};
use crate::ground::sync::{AtomicUsize, Ordering, UnsafeCell};
use crate::memory::remote::{Delivered, PendingList, PendingNode, Pushed, RemoteWord, Taken};
use crate::slot::Offset;

/// No slot has offset 0.
fn offset_of(index: usize) -> Offset {
    Offset::new(index + 1)
}

fn index_of(offset: Offset) -> usize {
    offset.units() - 1
}

/// Two pushes and a take: the chain is complete, its contents are ordered before the take, and QUEUED is
/// turned on once per take. Catches: a push that does not release; a take that does not acquire; a lost
/// QUEUED.
#[test]
fn remote_word_two_pushes_and_a_take() {
    model(|| {
        struct Shared {
            word: RemoteWord,
            /// The pushing threads write it before they push. It stands for the batch nodes.
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
            let head = offset_of(index);
            if shared.word.push(head, 1, |_| false, |_| ()) == Pushed::Queued {
                shared.queued.fetch_add(1, Ordering::Relaxed);
            }
        };
        let read = move |head: Option<Offset>| {
            let value =
                head.map(|offset| shared.cells[index_of(offset)].with(|cell| unsafe { *cell }));
            assert_ne!(value, Some(0));
        };
        let pushers = [0, 1].map(|index| thread::spawn(move || push(index)));
        let take = move || match shared.word.take() {
            Taken::List(list) => list,
            _ => unreachable!("no push purges"),
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

/// A segment without memory: it has a remote word of two slots, and a pending list may contain it.
struct StubSegment {
    link: UnsafeCell<*mut StubSegment>,
    word: RemoteWord,
    /// The slots: whether each is free, and the link to the previous batch node.
    slots: [UnsafeCell<(bool, Option<Offset>)>; 2],
}

unsafe impl PendingNode for StubSegment {
    unsafe fn set_pending_link(this: NonNull<Self>, next: *mut Self) {
        let link = unsafe { &this.as_ref().link };
        link.with_mut(|link| unsafe { *link = next });
    }

    unsafe fn pending_link(this: NonNull<Self>) -> *mut Self {
        let link = unsafe { &this.as_ref().link };
        link.with(|link| unsafe { *link })
    }
}

fn stub() -> NonNull<StubSegment> {
    NonNull::from(Box::leak(Box::new(StubSegment {
        link: UnsafeCell::new(ptr::null_mut()),
        word: RemoteWord::new(),
        slots: [(); 2].map(|()| UnsafeCell::new((false, None))),
    })))
}

/// A pending list, and the fields that only its owner touches.
struct Shared {
    pending: PendingList<StubSegment>,
    seen: UnsafeCell<usize>,
    /// How often the heap was collected and released.
    releases: UnsafeCell<usize>,
}

fn shared() -> &'static Shared {
    Box::leak(Box::new(Shared {
        pending: PendingList::new(),
        seen: UnsafeCell::new(0),
        releases: UnsafeCell::new(0),
    }))
}

impl Shared {
    fn push(&self, stub: NonNull<StubSegment>) -> Delivered {
        unsafe { self.pending.push(stub) }
    }

    /// Takes the pending segments. Collects and releases if there is a signal. Owner only.
    fn serve(&self) {
        let taken = self.pending.take();
        let mut next = taken.first;
        while let Some(stub) = NonNull::new(next) {
            next = unsafe { StubSegment::pending_link(stub) };
            self.see(1);
        }
        if taken.signalled {
            self.collect_and_release();
        }
    }

    fn see(&self, count: usize) {
        self.seen.with_mut(|seen| unsafe { *seen += count });
    }

    fn collect_and_release(&self) {
        self.releases.with_mut(|releases| unsafe { *releases += 1 });
    }

    fn serve_and_leave(&self) {
        while !self.pending.try_abandon() {
            self.serve();
        }
    }

    /// Pushes, and serves the heap if the push acquired it.
    fn push_and_serve(&self, stub: NonNull<StubSegment>) {
        if self.push(stub) == Delivered::Acquired {
            self.serve_and_leave();
        }
    }

    /// Checks at the end that the heap is abandoned and that `segments` segments came.
    fn check(&self, segments: usize) {
        assert!(self.pending.adopt(), "the heap was abandoned");
        self.serve();
        assert_eq!(self.seen.with(|seen| unsafe { *seen }), segments);
    }

    fn releases(&self) -> usize {
        self.releases.with(|releases| unsafe { *releases })
    }
}

/// Two pushes against an owner that abandons the heap: an owner sees every segment, and there is never more
/// than one owner. Catches: an abandon that overwrites a push; a push that leaves ABANDONED on; a missing
/// acquire on acquisition.
#[test]
fn pending_list_push_against_abandon() {
    model(|| {
        let shared = shared();
        let pushers =
            [stub(), stub()].map(|stub| thread::spawn(move || shared.push_and_serve(stub)));
        shared.serve_and_leave();
        join(pushers);
        shared.check(2);
    });
}

/// A push against an adoption of the same abandoned heap: exactly one of them gets it, and the segment is not
/// lost. Catches: an adoption that does not test ABANDONED in its compare-and-swap, or does not acquire.
#[test]
fn pending_list_push_against_adopt() {
    model(|| {
        let shared = shared();
        assert!(shared.pending.try_abandon());
        let stub = stub();
        let pusher = thread::spawn(move || {
            if shared.push(stub) == Delivered::Acquired {
                shared.serve();
                assert!(shared.pending.try_abandon());
            }
        });
        let adopted = shared.pending.adopt();
        if adopted {
            shared.serve();
        }
        pusher.join().unwrap();
        if adopted {
            shared.serve_and_leave();
        }
        shared.check(1);
    });
}

/// Two pushes against a take: every link is written before its segment is seen. Catches: a link written after
/// the push, or not written again for a second attempt.
#[test]
fn pending_list_two_pushes_against_take() {
    model(|| {
        let shared = shared();
        let pushers = [stub(), stub()]
            .map(|stub| thread::spawn(move || assert_eq!(shared.push(stub), Delivered::ToOwner)));
        shared.serve();
        join(pushers);
        shared.serve_and_leave();
        shared.check(2);
    });
}

/// Two threads adopt the same abandoned heap: one at a time owns it. Catches: an adoption that leaves
/// ABANDONED on.
#[test]
fn pending_list_two_adopters_of_one_heap() {
    model(|| {
        let shared = shared();
        assert!(shared.pending.try_abandon());
        let adopt = move || {
            if shared.pending.adopt() {
                shared.see(1);
                assert!(shared.pending.try_abandon());
            }
        };
        let other = thread::spawn(adopt);
        adopt();
        other.join().unwrap();
        assert!(shared.pending.adopt());
        assert!(shared.seen.with(|seen| unsafe { *seen }) > 0);
    });
}

/// A pool is closed while an owner with a pending segment abandons its heap. Either the closing thread gets
/// the heap or the owner gets the signal, and the heap is collected and released once. Catches: an abandon
/// that misses the signal; a take that misses it; a signal that is not set.
#[test]
fn pending_list_signal_against_abandon() {
    model(|| {
        let shared = shared();
        assert_eq!(shared.push(stub()), Delivered::ToOwner);
        let closer = thread::spawn(move || {
            if shared.pending.adopt_or_signal() {
                shared.collect_and_release();
                shared.serve_and_leave();
            }
        });
        shared.serve_and_leave();
        closer.join().unwrap();
        shared.check(1);
        assert_eq!(shared.releases(), 1);
    });
}

/// A pool is closed while a segment arrives and the owner abandons the heap with its pending list. Catches: a
/// push that loses the signal; an abandon with a list that loses it.
#[test]
fn pending_list_signal_against_push_and_leave_with_list() {
    model(|| {
        let shared = shared();
        let stub = stub();
        let pusher = thread::spawn(move || shared.push_and_serve(stub));
        let closer = thread::spawn(move || {
            if shared.pending.adopt_or_signal() {
                shared.collect_and_release();
                shared.serve_and_leave();
            }
        });
        if !shared.pending.try_abandon_with_list() {
            shared.serve_and_leave();
        }
        join([pusher, closer]);
        shared.check(1);
        assert_eq!(shared.releases(), 1);
    });
}

/// An owner abandons a heap with a pending segment while another segment arrives. The pushing thread acquires
/// the heap and finds both, or both stay. Catches: an abandon that drops the list; a push that cuts it off.
#[test]
fn pending_list_leave_with_list_against_push() {
    model(|| {
        let shared = shared();
        assert_eq!(shared.push(stub()), Delivered::ToOwner);
        let stub = stub();
        let pusher = thread::spawn(move || shared.push_and_serve(stub));
        assert!(shared.pending.try_abandon_with_list());
        pusher.join().unwrap();
        shared.check(2);
    });
}

/// Frees and takes the slots.
impl StubSegment {
    /// Frees slots in a batch. The last of them is the batch node of the others. The push that frees the
    /// second slot purges.
    fn free(this: NonNull<Self>, slots: &[usize], pending: &PendingList<StubSegment>) {
        let stub = unsafe { this.as_ref() };
        for slot in slots {
            stub.write(*slot, |slot| slot.0 = true);
        }
        let node = slots[slots.len() - 1];
        let link = |next| stub.write(node, |slot| slot.1 = next);
        let head = offset_of(node);
        let mut pushed = stub.word.push(head, slots.len(), |total| total == 2, link);
        if let Pushed::Purging(purge) = pushed {
            (0..2).for_each(|slot| stub.write(slot, |slot| *slot = (true, None)));
            pushed = stub.word.finish_purge(purge);
        }
        if pushed == Pushed::Queued {
            assert_eq!(unsafe { pending.push(this) }, Delivered::ToOwner);
        }
    }

    fn write(&self, slot: usize, write: impl FnOnce(&mut (bool, Option<Offset>))) {
        self.slots[slot].with_mut(|slot| write(unsafe { &mut *slot }));
    }

    /// Takes the pending segments and returns how many slots came. Owner only.
    fn collect(pending: &PendingList<StubSegment>) -> usize {
        let mut slots = 0;
        let mut next = pending.take().first;
        while let Some(stub) = NonNull::new(next) {
            next = unsafe { Self::pending_link(stub) };
            slots += unsafe { stub.as_ref() }.take();
        }
        slots
    }

    fn take(&self) -> usize {
        let free = |slot: usize| {
            self.slots[slot].with(|slot| {
                assert!(unsafe { *slot }.0);
                unsafe { *slot }.1
            })
        };
        match self.word.take() {
            Taken::List(list) => {
                let mut next = list.head;
                while let Some(offset) = next {
                    next = free(index_of(offset));
                }
                list.count
            }
            Taken::Purging => 0,
            Taken::Purged { .. } => {
                (0..2).for_each(|slot| self.write(slot, |slot| assert!(slot.0)));
                2
            }
        }
    }
}

/// The last slots of a segment come in one batch and are purged while the owner takes its pending list;
/// QUEUED was off. Catches: a purge that is never queued, or queued twice; pages purged after the owner took
/// them.
#[test]
fn remote_word_purge_against_take() {
    model(|| {
        let (pending, stub): (&'static PendingList<_>, _) = (&shared().pending, stub());
        let pusher = thread::spawn(move || StubSegment::free(stub, &[0, 1], pending));
        let first = StubSegment::collect(pending);
        pusher.join().unwrap();
        assert_eq!(first + StubSegment::collect(pending), 2);
        assert!(unsafe { stub.as_ref() }.word.is_idle());
    });
}

/// The last slots come one by one from two threads. QUEUED may be on when the purge begins, and the owner may
/// take PURGING. Catches: a segment that is not queued again after its owner took it; a segment that is
/// queued again while it is still pending.
#[test]
fn remote_word_purge_of_a_queued_segment_against_take() {
    model(|| {
        let (pending, stub): (&'static PendingList<_>, _) = (&shared().pending, stub());
        let pushers =
            [0, 1].map(|slot| thread::spawn(move || StubSegment::free(stub, &[slot], pending)));
        let first = StubSegment::collect(pending);
        join(pushers);
        assert_eq!(first + StubSegment::collect(pending), 2);
        assert!(unsafe { stub.as_ref() }.word.is_idle());
    });
}

/// Three pushes make one chain in any order. Catches: a tail linked to an outdated head; a lost head.
#[test]
fn remote_word_three_pushes_make_one_chain() {
    model(|| {
        struct Shared {
            word: RemoteWord,
            links: [UnsafeCell<Option<Offset>>; 3],
        }
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            word: RemoteWord::new(),
            links: [(); 3].map(|()| UnsafeCell::new(None)),
        }));
        let push = move |slot: usize| {
            let link = |next| shared.links[slot].with_mut(|link| unsafe { *link = next });
            let _ = shared.word.push(offset_of(slot), 1, |_| false, link);
        };
        let pushers = [0, 1].map(|slot| thread::spawn(move || push(slot)));
        push(2);
        join(pushers);
        let Taken::List(list) = shared.word.take() else {
            unreachable!("no push purges");
        };
        let link = |offset: &Offset| shared.links[index_of(*offset)].with(|link| unsafe { *link });
        let chain = core::iter::successors(list.head, link);
        assert_eq!((chain.count(), list.count, list.batches), (3, 3, 3));
    });
}
