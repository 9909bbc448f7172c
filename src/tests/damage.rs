//! Lists that were damaged by a misuse: an inspection reports the damage after every heap was put back, and ends even
//! if the list is cyclic.

use std::panic::{self, AssertUnwindSafe};

use crate::heap::HeapRef;
use crate::heap::registry::RegistryRef;
use crate::insight::snapshot::Snapshot;
use crate::insight::stats::Validation;
use crate::memory::segment::SegmentRef;
use crate::slot::SlotPtr;
use crate::thread::{self, tests::Thread};

/// This thread's heap of a pool, with one segment, and allocated slots.
struct Sound {
    pool: RegistryRef,
    heap: HeapRef,
    segment: SegmentRef,
    slots: [SlotPtr; 3],
}

impl Sound {
    fn new() -> Self {
        let pool = RegistryRef::create(64, usize::MAX, "damaged").unwrap();
        let slots = [(); 3].map(|()| thread::alloc_from_pool(pool).unwrap());
        let heap = pool.heaps().next().unwrap();
        let segment = heap.bin(0).segments().next().unwrap();
        Self {
            pool,
            heap,
            segment,
            slots,
        }
    }

    fn put(&self, slot: SlotPtr) {
        // SAFETY: deliberately not satisfied if the slot was freed before or is no slot: that is the damage. Only an
        // inspection reads the list afterwards.
        assert!(unsafe { !self.heap.bin(0).push(slot) });
    }

    fn return_slot(&self, slot: SlotPtr) {
        // SAFETY: as above.
        assert!(unsafe { !self.segment.return_slot(slot) });
    }
}

type Damage = fn(&Sound);

const DAMAGES: [(&str, Damage); 5] = [
    ("a free slot is listed twice", |sound| {
        sound.put(sound.slots[0]);
        sound.put(sound.slots[0]);
    }),
    ("a free slot is listed twice", |sound| {
        sound.return_slot(sound.slots[0]);
        sound.return_slot(sound.slots[1]);
        sound.return_slot(sound.slots[0]);
    }),
    ("a free slot is listed twice", |sound| {
        sound.return_slot(sound.slots[0]);
        sound.put(sound.slots[0]);
    }),
    ("a free slot was never allocated", |sound| {
        let capacity = sound.segment.identity().capacity;
        let first = sound.slots.iter().min().unwrap();
        // SAFETY: the address is within the segment, above the other slots.
        sound.put(unsafe { first.byte_add((capacity - 4) * 64) });
    }),
    ("a free slot is not at the address of any slot", |sound| {
        // SAFETY: within the slot.
        sound.put(unsafe { sound.slots[1].byte_add(8) });
    }),
];

fn assert_reported(pool: RegistryRef, what: &str) {
    let looks: [&dyn Fn(); 2] = [&|| _ = Validation::of(pool), &|| {
        drop(Snapshot::of(pool, "damaged"))
    }];
    for look in looks {
        let panic = panic::catch_unwind(AssertUnwindSafe(look)).unwrap_err();
        let message = panic.downcast::<String>().unwrap();
        assert_eq!(*message, format!("a list is damaged: {what}"));
    }
}

#[test]
fn every_inspection_reports_a_damaged_list_and_loses_no_heap() {
    for (what, damage) in DAMAGES {
        let thread = Thread::start();
        thread.run(|| {
            let sound = Sound::new();
            damage(&sound);
            let Sound { pool, heap, .. } = sound;
            assert_reported(pool, what);
            thread::idle();
            assert_reported(pool, what);
            assert!(heap.is_abandoned(), "{what}: the heap was put back");
        });
        drop(thread); // dropped without `end`, which would return the slots of the damaged lists
    }
}
