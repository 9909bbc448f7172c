//! The remote word and the pending list, by themselves.

use core::ptr::{self, NonNull};

use loom::thread;

use super::{join, model};
use crate::ground::sync::{AtomicUsize, Ordering, UnsafeCell};
use crate::memory::remote::{Delivered, PendingList, PendingNode, Pushed, RemoteWord, Taken};
use crate::slot::Offset;

/// No slot has the offset 0.
fn offset_of(index: usize) -> Offset {
    Offset::new(index + 1)
}

fn index_of(offset: Offset) -> usize {
    offset.units() - 1
}

/// Two pushers and a taker: the chain is whole, its contents are ordered before the take, and QUEUED is turned on
/// once per take. Catches: a push that does not release, a take that does not acquire, a lost QUEUED.
#[test]
fn remote_word_two_pushes_and_a_take() {
    model(|| {
        struct Shared {
            word: RemoteWord,
            /// What the pushers write before they push: stands for the batch nodes.
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

/// Something that has a remote word of two slots and waits in a pending list: a segment without memory.
struct Letter {
    link: UnsafeCell<*mut Letter>,
    word: RemoteWord,
    /// The slots: whether free, and the link to the batch node before.
    slots: [UnsafeCell<(bool, Option<Offset>)>; 2],
}

unsafe impl PendingNode for Letter {
    unsafe fn set_pending_link(this: NonNull<Self>, next: *mut Self) {
        let link = unsafe { &this.as_ref().link };
        link.with_mut(|link| unsafe { *link = next });
    }

    unsafe fn pending_link(this: NonNull<Self>) -> *mut Self {
        let link = unsafe { &this.as_ref().link };
        link.with(|link| unsafe { *link })
    }
}

fn letter() -> NonNull<Letter> {
    NonNull::from(Box::leak(Box::new(Letter {
        link: UnsafeCell::new(ptr::null_mut()),
        word: RemoteWord::new(),
        slots: [(); 2].map(|()| UnsafeCell::new((false, None))),
    })))
}

/// A pending list, and what only its owner touches.
struct Shared {
    pending: PendingList<Letter>,
    seen: UnsafeCell<usize>,
    /// How often the heap was collected and released.
    settled: UnsafeCell<usize>,
}

fn shared() -> &'static Shared {
    Box::leak(Box::new(Shared {
        pending: PendingList::new(),
        seen: UnsafeCell::new(0),
        settled: UnsafeCell::new(0),
    }))
}

impl Shared {
    fn push(&self, letter: NonNull<Letter>) -> Delivered {
        unsafe { self.pending.push(letter) }
    }

    /// Takes the letters, and collects and releases if there is a signal. Owner only.
    fn serve(&self) {
        let taken = self.pending.take();
        let mut next = taken.first;
        while let Some(letter) = NonNull::new(next) {
            next = unsafe { Letter::pending_link(letter) };
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
        self.settled.with_mut(|settled| unsafe { *settled += 1 });
    }

    fn serve_and_leave(&self) {
        while !self.pending.try_abandon() {
            self.serve();
        }
    }

    /// A push, and what follows from it.
    fn push_and_serve(&self, letter: NonNull<Letter>) {
        if self.push(letter) == Delivered::Acquired {
            self.serve_and_leave();
        }
    }

    /// When all is over: the heap is nobody's, and so many letters came.
    fn check(&self, letters: usize) {
        assert!(self.pending.adopt(), "the heap was left");
        self.serve();
        assert_eq!(self.seen.with(|seen| unsafe { *seen }), letters);
    }

    fn settled(&self) -> usize {
        self.settled.with(|settled| unsafe { *settled })
    }
}

/// Two pushes against an owner that leaves: somebody sees every segment, and never two at once own the heap.
/// Catches: an abandon that overwrites a push, a push that leaves ABANDONED on, a missing acquire on acquisition.
#[test]
fn pending_list_push_against_abandon() {
    model(|| {
        let shared = shared();
        let pushers =
            [letter(), letter()].map(|letter| thread::spawn(move || shared.push_and_serve(letter)));
        shared.serve_and_leave();
        join(pushers);
        shared.check(2);
    });
}

/// A push against an adoption of the same abandoned heap: exactly one gets it, and the segment is not lost.
/// Catches: an adopt that does not test ABANDONED in its compare-and-swap, or does not acquire.
#[test]
fn pending_list_push_against_adopt() {
    model(|| {
        let shared = shared();
        assert!(shared.pending.try_abandon());
        let letter = letter();
        let pusher = thread::spawn(move || {
            if shared.push(letter) == Delivered::Acquired {
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

/// Two pushes against a take: every link is written before its segment is seen. Catches: a link written after the
/// push, or not written anew for a second attempt.
#[test]
fn pending_list_two_pushes_against_take() {
    model(|| {
        let shared = shared();
        let pushers = [letter(), letter()].map(|letter| {
            thread::spawn(move || assert_eq!(shared.push(letter), Delivered::ToOwner))
        });
        shared.serve();
        join(pushers);
        shared.serve_and_leave();
        shared.check(2);
    });
}

/// Two threads adopt the same abandoned heap: one at a time has it. Catches: an adoption that leaves ABANDONED on.
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

/// A pool is closed while an owner leaves, who has a letter to read: either the closer gets the heap, or the owner the
/// signal; it is collected and released once. Catches: a leave that overlooks the signal, a take that does, a signal not left.
#[test]
fn pending_list_signal_against_abandon() {
    model(|| {
        let shared = shared();
        assert_eq!(shared.push(letter()), Delivered::ToOwner);
        let closer = thread::spawn(move || {
            if shared.pending.adopt_or_signal() {
                shared.collect_and_release();
                shared.serve_and_leave();
            }
        });
        shared.serve_and_leave();
        closer.join().unwrap();
        shared.check(1);
        assert_eq!(shared.settled(), 1);
    });
}

/// A pool is closed while a segment arrives and the owner leaves with whatever waits. Catches: a push that loses the
/// signal, a leave with a list that does.
#[test]
fn pending_list_signal_against_push_and_leave_with_list() {
    model(|| {
        let shared = shared();
        let letter = letter();
        let pusher = thread::spawn(move || shared.push_and_serve(letter));
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
        assert_eq!(shared.settled(), 1);
    });
}

/// An owner leaves a letter behind while another arrives: that one's pusher acquires the heap and finds both, or
/// both are left. Catches: a leave that drops the list, a push that cuts it off.
#[test]
fn pending_list_leave_with_list_against_push() {
    model(|| {
        let shared = shared();
        assert_eq!(shared.push(letter()), Delivered::ToOwner);
        let letter = letter();
        let pusher = thread::spawn(move || shared.push_and_serve(letter));
        assert!(shared.pending.try_abandon_with_list());
        pusher.join().unwrap();
        shared.check(2);
    });
}

/// The slots of a letter, freed and taken.
impl Letter {
    /// Frees slots in a batch, whose newest is the batch node of the others; the second slot to be freed purges.
    fn free(this: NonNull<Self>, slots: &[usize], pending: &PendingList<Letter>) {
        let letter = unsafe { this.as_ref() };
        for slot in slots {
            letter.write(*slot, |slot| slot.0 = true);
        }
        let node = slots[slots.len() - 1];
        let link = |next| letter.write(node, |slot| slot.1 = next);
        let head = offset_of(node);
        let mut pushed = letter
            .word
            .push(head, slots.len(), |total| total == 2, link);
        if let Pushed::Purging(purge) = pushed {
            (0..2).for_each(|slot| letter.write(slot, |slot| *slot = (true, None)));
            pushed = letter.word.finish_purge(purge);
        }
        if pushed == Pushed::Queued {
            assert_eq!(unsafe { pending.push(this) }, Delivered::ToOwner);
        }
    }

    fn write(&self, slot: usize, write: impl FnOnce(&mut (bool, Option<Offset>))) {
        self.slots[slot].with_mut(|slot| write(unsafe { &mut *slot }));
    }

    /// Takes what waits and returns how many slots came. Owner only.
    fn collect(pending: &PendingList<Letter>) -> usize {
        let mut slots = 0;
        let mut next = pending.take().first;
        while let Some(letter) = NonNull::new(next) {
            next = unsafe { Self::pending_link(letter) };
            slots += unsafe { letter.as_ref() }.take();
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

/// The last slots of a segment come in one batch and are purged while the owner looks into its pending list: QUEUED was off.
/// Catches: a purge that is never queued, or queued twice; pages given back after the owner took them.
#[test]
fn remote_word_purge_against_take() {
    model(|| {
        let (pending, letter): (&'static PendingList<_>, _) = (&shared().pending, letter());
        let pusher = thread::spawn(move || Letter::free(letter, &[0, 1], pending));
        let first = Letter::collect(pending);
        pusher.join().unwrap();
        assert_eq!(first + Letter::collect(pending), 2);
        assert!(unsafe { letter.as_ref() }.word.is_idle());
    });
}

/// The last slots come one by one from two threads: QUEUED may be on when the purge begins, and the owner may take
/// PURGING. Catches: a segment that is not queued again after its owner took it, or is queued again though it still
/// waits.
#[test]
fn remote_word_purge_of_a_queued_segment_against_take() {
    model(|| {
        let (pending, letter): (&'static PendingList<_>, _) = (&shared().pending, letter());
        let pushers =
            [0, 1].map(|slot| thread::spawn(move || Letter::free(letter, &[slot], pending)));
        let first = Letter::collect(pending);
        join(pushers);
        assert_eq!(first + Letter::collect(pending), 2);
        assert!(unsafe { letter.as_ref() }.word.is_idle());
    });
}

/// Three pushes make one chain, whoever comes first. Catches: a tail linked to a head that was, not is; a head lost.
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
            unreachable!("nobody purges");
        };
        let link = |offset: &Offset| shared.links[index_of(*offset)].with(|link| unsafe { *link });
        let chain = core::iter::successors(list.head, link);
        assert_eq!((chain.count(), list.count, list.batches), (3, 3, 3));
    });
}
