//! Values into boxes and out of them, without a slot lost or a value dropped twice.

mod common;

use std::mem::MaybeUninit;
use std::pin::Pin;

use common::handles::{
    Counts, Drops, PanicsWhenCloned, PanicsWhenDropped, frees_what_it_takes, panics,
};
use segment_pool::{PoolBox, SegmentPool};

#[repr(align(4096))]
#[derive(Clone, Debug, PartialEq)]
struct Page(u8);

#[repr(align(8192))]
#[derive(Clone, Debug, PartialEq)]
struct BeyondPage(u8);

fn goes_in_and_out<T: Clone + PartialEq + std::fmt::Debug>(value: T) {
    assert!(frees_what_it_takes::<T>(|| {
        assert_eq!(*PoolBox::new(value.clone()), value);
        assert_eq!(*PoolBox::new_with(|| value.clone()), value);
        assert_eq!(*PoolBox::write(PoolBox::new_uninit(), value.clone()), value);
        assert_eq!(*PoolBox::pin(value.clone()), value);
        assert_eq!(*PoolBox::try_new(value.clone()).unwrap(), value);
        assert_eq!(PoolBox::into_inner(PoolBox::clone_from_ref(&value)), value);
        let pool = SegmentPool::new();
        assert_eq!(*pool.alloc_with(|| value.clone()), value);
        assert_eq!(*PoolBox::write(pool.alloc_uninit(), value.clone()), value);
        assert_eq!(*pool.try_alloc_with(|| value.clone()).unwrap(), value);
        assert_eq!(*PoolBox::pin_in(value.clone(), &pool), value);
        assert_eq!(pool.stats().live(), 0);
        // SAFETY: the pointer came from `into_raw` and is used once.
        let back = unsafe { PoolBox::from_raw(PoolBox::into_raw(PoolBox::new(value.clone()))) };
        assert_eq!(*back, value);
        assert_eq!(PoolBox::as_ptr(&back).addr() % align_of::<T>(), 0);
    }));
}

#[test]
fn values_of_every_kind() {
    goes_in_and_out(());
    goes_in_and_out([(); 7]);
    goes_in_and_out(7_u8);
    goes_in_and_out(String::from("seven"));
    goes_in_and_out([7_u64; 33]);
    goes_in_and_out(Page(7));
    goes_in_and_out([7_u8; 5000]);
}

#[test]
fn values_with_a_dedicated_mapping() {
    for _ in 0..3 {
        let big = PoolBox::new([7_u8; 200_000]);
        assert_eq!(PoolBox::into_inner(big)[199_999], 7);
        let aligned = PoolBox::new(BeyondPage(7));
        assert_eq!(PoolBox::as_ptr(&aligned).addr() % 8192, 0);
        assert_eq!(*aligned, BeyondPage(7));
    }
}

#[test]
fn a_value_is_dropped_once() {
    let drops = Drops::default();
    drop(PoolBox::new(drops.value()));
    assert_eq!(drops.count(), 1);
    let taken = PoolBox::into_inner(PoolBox::new(drops.value()));
    assert_eq!(drops.count(), 1);
    drop(taken);
    assert_eq!(drops.count(), 2);
    let (value, slot) = PoolBox::take(PoolBox::new(drops.value()));
    drop(slot);
    assert_eq!(drops.count(), 2);
    drop(value);
    assert_eq!(drops.count(), 3);
    drop(PoolBox::map(PoolBox::new(drops.value()), |value| {
        (value, 7)
    }));
    assert_eq!(drops.count(), 4);
    drop(PoolBox::<[Counts; 2]>::new_uninit());
    assert_eq!(drops.count(), 4);
}

#[test]
fn a_leaked_box_keeps_its_value_and_slot() {
    let drops = Drops::default();
    assert!(!frees_what_it_takes::<(Counts, [u8; 7])>(|| {
        let leaked: &'static mut (Counts, [u8; 7]) =
            PoolBox::leak(PoolBox::new((drops.value(), [7; 7])));
        leaked.1[0] = 8;
    }));
    assert_eq!(drops.count(), 0);
}

#[test]
fn a_panicking_destructor_frees_the_slot() {
    assert!(frees_what_it_takes::<PanicsWhenDropped>(|| {
        assert!(panics(|| PoolBox::new(PanicsWhenDropped([0; 40]))));
    }));
    let pool = SegmentPool::new();
    for _ in 0..10 {
        assert!(panics(|| pool.alloc(PanicsWhenDropped([0; 40]))));
    }
    assert_eq!(pool.stats().live(), 0);
}

#[test]
fn a_panicking_closure_frees_the_slot_and_drops_nothing() {
    let drops = Drops::default();
    assert!(frees_what_it_takes::<Counts>(|| {
        assert!(panics(|| PoolBox::<Counts>::new_with(|| panic!("made"))));
        assert!(panics(|| PoolBox::<Counts>::try_new_with(|| panic!(
            "made"
        ))));
    }));
    let pool = SegmentPool::<Counts>::new();
    assert!(panics(|| pool.alloc_with(|| panic!("made"))));
    assert_eq!(pool.stats().live(), 0);
    assert_eq!(drops.count(), 0);
    assert!(frees_what_it_takes::<Counts>(|| {
        assert!(panics(|| PoolBox::map(
            PoolBox::new(drops.value()),
            |_| -> Counts { panic!("mapped") }
        )));
    }));
    assert_eq!(drops.count(), 1, "the closure had the value");
}

#[test]
fn a_panicking_clone_frees_the_slot() {
    let drops = Drops::default();
    let original = PoolBox::new(PanicsWhenCloned(drops.value()));
    assert!(frees_what_it_takes::<PanicsWhenCloned>(|| {
        PanicsWhenCloned::arm(1);
        assert!(panics(|| original.clone()));
    }));
    assert_eq!(drops.count(), 0);
}

#[test]
fn user_code_may_use_the_pool() {
    let pool = SegmentPool::new();
    let outer = pool.alloc_with(|| {
        let inner = pool.alloc(7);
        drop(pool.alloc(8));
        *inner + 1
    });
    assert_eq!(*outer, 8);
    assert_eq!(pool.stats().live(), 1);

    struct Nested(Option<PoolBox<Nested>>);
    impl Drop for Nested {
        fn drop(&mut self) {
            drop(PoolBox::new([0_u8; size_of::<Self>()]));
            drop(self.0.take());
        }
    }
    assert!(frees_what_it_takes::<Nested>(|| {
        drop(PoolBox::new(Nested(Some(PoolBox::new(Nested(None))))));
    }));
}

#[test]
fn mapping_reuses_a_slot_that_fits() {
    fn slot<T>(boxed: &PoolBox<T>) -> usize {
        PoolBox::as_ptr(boxed).addr()
    }
    let pool = SegmentPool::<[u8; 520]>::new();
    for boxed in [pool.alloc([7; 520]), PoolBox::new([7; 520])] {
        let before = slot(&boxed);
        let smaller = PoolBox::map(boxed, |bytes| [u16::from(bytes[0]); 258]);
        assert_eq!(slot(&smaller), before);
        // Of the same class, but this pool has slots of 520 bytes.
        let larger = PoolBox::map(smaller, |words| [words[0] as u8; 570]);
        assert_eq!(*larger, [7; 570]);
        assert_eq!(pool.stats().live(), 0, "moved to the default pool");
        drop(larger);
    }
    let words = PoolBox::map(PoolBox::new([7_u8; 3]), |bytes| bytes.map(u64::from));
    assert_eq!(*words, [7; 3]);
    let nothing = PoolBox::map(words, drop);
    assert_eq!(*PoolBox::map(nothing, |()| Page(7)), Page(7));
}

#[test]
fn a_mapping_that_fails_frees_the_slot() {
    assert!(frees_what_it_takes::<u64>(|| {
        let failed = PoolBox::try_map(PoolBox::new(7_u64), |seven| Err::<u64, _>(seven + 1));
        assert_eq!(failed.unwrap_err(), 8);
        let mapped = PoolBox::try_map(PoolBox::new(7_u64), |seven| Ok::<_, ()>(seven + 1));
        assert_eq!(*mapped.unwrap(), 8);
    }));
}

#[test]
fn the_slot_of_a_value_taken_out_serves_another() {
    let boxed = PoolBox::new(String::from("first"));
    let address = PoolBox::as_ptr(&boxed);
    let (first, slot) = PoolBox::take(boxed);
    let second = PoolBox::write(slot, first + " and second");
    assert_eq!(PoolBox::as_ptr(&second), address);
    assert_eq!(*second, "first and second");
}

#[test]
fn cloning_into_a_box_keeps_its_slot() {
    let mut target = PoolBox::new(String::from("target"));
    let (slot, text) = (PoolBox::as_ptr(&target), target.as_ptr());
    target.clone_from(&PoolBox::new(String::from("source")));
    assert_eq!(*target, "source");
    assert_eq!((PoolBox::as_ptr(&target), target.as_ptr()), (slot, text));
    // As std's list has it: cloned one way or the other, the result is equal.
    let mut other = PoolBox::new(String::new());
    other.clone_from(&target);
    assert_eq!(other, target.clone());
}

#[test]
fn a_clone_is_a_value_of_its_own() {
    let first = PoolBox::new(vec![1, 2]);
    let mut second = first.clone();
    second.push(3);
    assert_eq!((&**first, &**second), (&[1, 2][..], &[1, 2, 3][..]));
}

#[test]
fn zeroed_means_zero_also_in_a_used_slot() {
    drop(PoolBox::new([0xff_u8; 99]));
    let zeroed = PoolBox::<[u8; 99]>::new_zeroed();
    // SAFETY: zero is a valid `u8`.
    assert_eq!(*unsafe { zeroed.assume_init() }, [0; 99]);
    drop(PoolBox::new([0xff_u8; 99]));
    let zeroed = PoolBox::<[u8]>::new_zeroed_slice(99);
    // SAFETY: as above.
    assert_eq!(*unsafe { zeroed.assume_init() }, [0; 99]);
}

#[test]
fn a_pointer_into_the_value_survives_moves_of_the_box() {
    let mut boxed = PoolBox::new([1, 2, 3]);
    let pointer = PoolBox::as_mut_ptr(&mut boxed);
    let moved = std::convert::identity(vec![boxed]);
    // SAFETY: the box lives; it is not `noalias`, so moving it leaves the pointer usable.
    unsafe { (*pointer)[0] = 7 };
    assert_eq!(*moved[0], [7, 2, 3]);
}

#[test]
fn pinning_does_not_move() {
    let boxed = PoolBox::new(7);
    let address = PoolBox::as_ptr(&boxed);
    let pinned: Pin<PoolBox<i32>> = boxed.into();
    assert_eq!(&raw const *pinned, address);
}

#[test]
fn a_box_of_an_uninitialised_value_drops_none() {
    let drops = Drops::default();
    let mut slot: PoolBox<MaybeUninit<Counts>> = PoolBox::new_uninit();
    slot.write(drops.value());
    drop(slot);
    assert_eq!(drops.count(), 0);
}

#[test]
fn values_are_dropped_in_the_order_of_boxes() {
    use std::cell::RefCell;
    struct Says<'a>(u8, &'a RefCell<Vec<u8>>);
    impl Drop for Says<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }
    let said = RefCell::new(Vec::new());
    {
        let _first = PoolBox::new(Says(1, &said));
        let _second = PoolBox::new((Says(2, &said), PoolBox::new(Says(3, &said))));
    }
    assert_eq!(*said.borrow(), [2, 3, 1]);
}

#[test]
fn a_box_from_a_thread_that_ended_and_a_pool_that_is_gone() {
    let boxed = std::thread::spawn(|| {
        let pool = SegmentPool::new();
        pool.alloc(String::from("still here"))
    });
    let boxed = boxed.join().unwrap();
    assert_eq!(PoolBox::into_inner(boxed), "still here");
}
