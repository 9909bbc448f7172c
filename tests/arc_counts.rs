//! Shared values: counted, dropped once, and freed once, whichever handle is the last.

mod common;

use std::sync::Barrier;
use std::thread;

use common::handles::{
    Counts, Drops, PanicsWhenCloned, PanicsWhenDropped, frees_what_it_takes, panics,
};
use segment_pool::{Counted, PoolArc, PoolWeak, SegmentPool};

#[test]
fn the_last_strong_handle_drops_the_value() {
    let drops = Drops::default();
    assert!(frees_what_it_takes::<Counted<Counts>>(|| {
        let first = PoolArc::new(drops.value());
        let second = first.clone();
        drop(first);
        assert_eq!(drops.count(), 0);
        drop(second);
        assert_eq!(drops.count(), 1);
    }));
}

#[test]
fn a_weak_handle_keeps_the_slot_but_not_the_value() {
    let drops = Drops::default();
    assert!(frees_what_it_takes::<Counted<Counts>>(|| {
        let strong = PoolArc::new(drops.value());
        let weak = PoolArc::downgrade(&strong);
        assert!(PoolArc::ptr_eq(&strong, &weak.upgrade().unwrap()));
        drop(strong);
        assert_eq!(drops.count(), 1);
        assert!(weak.upgrade().is_none());
        assert!(weak.clone().upgrade().is_none());
    }));
}

#[test]
fn handles_are_counted() {
    let strong = PoolArc::new(7);
    let counts = || (PoolArc::strong_count(&strong), PoolArc::weak_count(&strong));
    assert_eq!(counts(), (1, 0));
    let weak = PoolArc::downgrade(&strong);
    assert_eq!((weak.strong_count(), weak.weak_count()), (1, 1));
    let other = (strong.clone(), weak.clone());
    assert_eq!(counts(), (2, 2));
    let upgraded = weak.upgrade().unwrap();
    assert_eq!(counts(), (3, 2));
    drop((other, upgraded, weak));
    assert_eq!(counts(), (1, 0));
}

#[test]
fn a_handle_to_nothing() {
    let nothing = PoolWeak::<String>::default();
    let other = nothing.clone();
    assert!(nothing.ptr_eq(&other));
    assert_eq!((other.strong_count(), other.weak_count()), (0, 0));
    // SAFETY: the pointer came from `into_raw` and is used once.
    let back = unsafe { PoolWeak::from_raw(other.into_raw()) };
    assert!(back.upgrade().is_none() && back.ptr_eq(&nothing));
    assert_eq!(format!("{back:?}"), "(PoolWeak)");
}

#[test]
fn only_a_unique_handle_borrows_mutably() {
    let mut value = PoolArc::new(7);
    *PoolArc::get_mut(&mut value).unwrap() = 8;
    let weak = PoolArc::downgrade(&value);
    assert!(PoolArc::get_mut(&mut value).is_none());
    drop(weak);
    let other = value.clone();
    assert!(PoolArc::get_mut(&mut value).is_none());
    drop(other);
    assert_eq!(PoolArc::get_mut(&mut value), Some(&mut 8));
}

#[test]
fn a_value_is_made_mutable_by_cloning_moving_or_at_once() {
    let mut value = PoolArc::new(String::from("a"));
    let address = PoolArc::as_ptr(&value);
    PoolArc::make_mut(&mut value).push('b');
    assert_eq!(PoolArc::as_ptr(&value), address, "at once");

    let other = value.clone();
    PoolArc::make_mut(&mut value).push('c');
    assert_eq!((&**value, &**other), ("abc", "ab"), "cloned");

    let weak = PoolArc::downgrade(&value);
    let text = value.as_ptr();
    PoolArc::make_mut(&mut value).push('d');
    assert_eq!((&**value, value.as_ptr()), ("abcd", text), "moved");
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_panicking_clone_changes_nothing() {
    let drops = Drops::default();
    let mut value = PoolArc::new(PanicsWhenCloned(drops.value()));
    let other = value.clone();
    PanicsWhenCloned::arm(1);
    assert!(panics(|| PoolArc::make_mut(&mut value).0.clone()));
    assert!(PoolArc::ptr_eq(&value, &other));
    assert_eq!(PoolArc::strong_count(&value), 2);
    drop((value, other));
    assert_eq!(drops.count(), 1);
}

#[test]
fn values_are_taken_out() {
    let drops = Drops::default();
    assert!(frees_what_it_takes::<Counted<Counts>>(|| {
        let value = PoolArc::new(drops.value());
        let weak = PoolArc::downgrade(&value);
        let taken = PoolArc::try_unwrap(value).ok().unwrap();
        assert!(weak.upgrade().is_none());
        assert_eq!(drops.count(), 0);
        drop(taken);
        assert_eq!(drops.count(), 1);

        let value = PoolArc::new(drops.value());
        let other = PoolArc::try_unwrap(value.clone()).err().unwrap();
        assert!(PoolArc::into_inner(value).is_none());
        assert!(PoolArc::into_inner(other).is_some());
        assert_eq!(drops.count(), 2);
    }));
    let shared = PoolArc::new(vec![7]);
    assert_eq!(PoolArc::unwrap_or_clone(shared.clone()), [7]);
    assert_eq!(PoolArc::unwrap_or_clone(shared), [7]);
}

#[test]
fn a_panicking_destructor_frees_the_slot() {
    assert!(frees_what_it_takes::<Counted<PanicsWhenDropped>>(|| {
        assert!(panics(|| PoolArc::new(PanicsWhenDropped([0; 40]))));
        let value = PoolArc::new(PanicsWhenDropped([0; 40]));
        let weak = PoolArc::downgrade(&value);
        assert!(panics(|| value));
        assert!(weak.upgrade().is_none());
    }));
}

struct Node {
    parent: PoolWeak<Node>,
    children: Vec<PoolArc<Node>>,
    _counts: Counts,
}

#[test]
fn a_value_may_hold_itself_weakly() {
    let drops = Drops::default();
    let node = |parent, children| Node {
        parent,
        children,
        _counts: drops.value(),
    };
    assert!(frees_what_it_takes::<Counted<Node>>(|| {
        let root = PoolArc::new_cyclic(|root| {
            assert!(root.upgrade().is_none(), "not there yet");
            let child = || PoolArc::new(node(root.clone(), Vec::new()));
            node(PoolWeak::new(), vec![child(), child()])
        });
        let parent = root.children[1].parent.upgrade().unwrap();
        assert!(PoolArc::ptr_eq(&parent, &root));
        assert_eq!(PoolArc::weak_count(&root), 2);
    }));
    assert_eq!(drops.count(), 3);
}

#[test]
fn a_panic_before_the_value_is_there_frees_the_slot() {
    assert!(frees_what_it_takes::<Counted<Node>>(|| {
        assert!(panics(|| PoolArc::<Node>::new_cyclic(|_| panic!("made"))));
        let mut kept = PoolWeak::new();
        assert!(panics(|| PoolArc::<Node>::new_cyclic(|weak| {
            kept = weak.clone();
            panic!("made")
        })));
        assert!(kept.upgrade().is_none());
        assert_eq!((kept.strong_count(), kept.weak_count()), (0, 0));
    }));
}

#[test]
fn raw_round_trips() {
    #[repr(align(32))]
    struct Aligned(u8);
    let value = PoolArc::new(Aligned(7));
    let weak = PoolArc::downgrade(&value);
    let pointer = PoolArc::into_raw(value);
    assert_eq!(weak.as_ptr(), pointer);
    // SAFETY: a handle is counted for the pointer.
    unsafe { PoolArc::increment_strong_count(pointer) };
    assert_eq!(weak.strong_count(), 2);
    // SAFETY: two are.
    unsafe { PoolArc::decrement_strong_count(pointer) };
    // SAFETY: one is.
    let value = unsafe { PoolArc::from_raw(pointer) };
    // SAFETY: the pointer came from `into_raw` and is used once.
    let weak = unsafe { PoolWeak::from_raw(weak.into_raw()) };
    assert_eq!(weak.upgrade().map(|it| it.0), Some(7));
    drop(value);
    // SAFETY: as above.
    let weak = unsafe { PoolWeak::from_raw(weak.into_raw()) };
    assert!(weak.upgrade().is_none(), "also of a value that is gone");
}

#[test]
fn unsized_values_make_round_trips_as_well() {
    let text: PoolArc<str> = "seven".into();
    let weak = PoolArc::downgrade(&text);
    // SAFETY: the pointer came from `into_raw` and is used once.
    let text = unsafe { PoolArc::from_raw(PoolArc::into_raw(text)) };
    // SAFETY: as above.
    let weak = unsafe { PoolWeak::from_raw(weak.into_raw()) };
    assert_eq!(weak.upgrade(), Some(text));
}

#[test]
fn a_pool_of_shared_values() {
    let pool = SegmentPool::<Counted<u64>>::new();
    let values: Vec<_> = (0..100).map(|i| PoolArc::new_in(i, &pool)).collect();
    let others = values.clone();
    assert_eq!(pool.stats().live(), 100);
    drop(values);
    assert_eq!(pool.stats().live(), 100);
    drop(others);
    assert_eq!(pool.stats().live(), 0);
    let last = PoolArc::try_new_in(7, &pool).unwrap();
    drop(pool);
    assert_eq!(*last, 7);
}

#[test]
fn a_handle_from_a_thread_that_ended_to_a_pool_that_is_gone() {
    let drops = Drops::default();
    let value = drops.value();
    let made = thread::spawn(move || {
        let pool = SegmentPool::<Counted<Counts>>::new();
        let strong = PoolArc::new_in(value, &pool);
        (PoolArc::downgrade(&strong), strong)
    });
    let (weak, strong) = made.join().unwrap();
    drop(weak.upgrade().unwrap());
    thread::spawn(move || drop(strong)).join().unwrap();
    assert_eq!(drops.count(), 1);
    assert!(weak.upgrade().is_none());
}

const ROUNDS: usize = if cfg!(miri) { 10 } else { 1000 };

#[test]
fn of_threads_that_give_up_at_once_one_gets_the_value() {
    let drops = Drops::default();
    for _ in 0..ROUNDS {
        let (first, start) = (PoolArc::new(drops.value()), Barrier::new(2));
        let second = first.clone();
        let into_inner = |handle| {
            start.wait();
            PoolArc::into_inner(handle).is_some()
        };
        let (first, second) = thread::scope(|scope| {
            let other = scope.spawn(|| into_inner(second));
            (into_inner(first), other.join().unwrap())
        });
        assert!(first != second);
    }
    assert_eq!(drops.count(), ROUNDS);
}

#[test]
fn an_upgrade_races_with_the_last_drop() {
    let drops = Drops::default();
    for _ in 0..ROUNDS {
        let (strong, start) = (PoolArc::new(drops.value()), Barrier::new(2));
        let weak = PoolArc::downgrade(&strong);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                drop(strong);
            });
            start.wait();
            drop(weak.upgrade());
        });
        assert!(weak.upgrade().is_none());
    }
    assert_eq!(drops.count(), ROUNDS);
}

#[test]
fn shared_counting_is_exact() {
    let total = PoolArc::new(std::sync::atomic::AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let total = total.clone();
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    let weak = PoolArc::downgrade(&total.clone());
                    let strong = weak.upgrade().unwrap();
                    strong.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let total = PoolArc::try_unwrap(total).unwrap();
    assert_eq!(total.into_inner(), 4 * ROUNDS);
}
