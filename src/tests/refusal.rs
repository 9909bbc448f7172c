//! The system has no memory, at each place in the source that maps some, in every request that can reach it.
//!
//! Each request starts without a heap, an arena or a pool. It is repeated, and each time the next mapping fails, until
//! the request needs no further mapping. A failed request must return an error with its value. Repeated, it must
//! succeed, and leave the same state as if no mapping had failed.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use super::in_own_process;
use crate::arc::PoolArc;
use crate::boxed::PoolBox;
use crate::ground::error::hook::while_it_panics;
use crate::ground::error::{AllocError, AllocErrorKind};
use crate::ground::layout::Span;
use crate::ground::os::refusal::{mappings, refused_after, while_refused};
use crate::heap::registry::tests::Counts;
use crate::heap::registry::{self, RegistryRef};
use crate::insight::stats::{Stats, Validation};
use crate::pool::SegmentPool;
use crate::thread::tests::Thread;
use crate::{stats, validate};

/// A value with a dedicated mapping, because of its size.
type Large = [u8; 140_000];
/// A value with a dedicated mapping, because of its alignment.
#[derive(Debug, Clone, PartialEq)]
#[repr(align(8192))]
struct Aligned(u8);

/// The number of words in the segments of an arena, or slightly less.
const AN_ARENA: usize = 64
    * if cfg!(feature = "hardened") {
        1950
    } else {
        2700
    };

/// The state in which requests are made.
pub(super) struct World {
    words: SegmentPool<String>,
    shared: SegmentPool<crate::Counted<u64>>,
    large: SegmentPool<Large>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            words: SegmentPool::new(),
            shared: SegmentPool::new(),
            large: SegmentPool::new(),
        }
    }
}

pub(super) type Answer = Result<Box<dyn Any>, AllocErrorKind>;
pub(super) type Request = fn(&World) -> Answer;

fn kept<T: 'static>(result: Result<T, AllocErrorKind>) -> Answer {
    result.map(|kept| Box::new(kept) as Box<dyn Any>)
}

/// Converts a result to an answer. An error must contain the value.
fn stored<H: 'static, T: PartialEq>(result: Result<H, AllocError<T>>, value: &T) -> Answer {
    kept(result.map_err(|error| {
        let kind = error.kind();
        assert!(error.into_inner() == *value, "the error contains the value");
        kind
    }))
}

/// The same for closures, which must still be callable after an error.
fn made<H: 'static>(result: Result<H, AllocError<impl FnOnce() -> String>>) -> Answer {
    kept(result.map_err(|error| {
        let kind = error.kind();
        assert_eq!(error.into_inner()(), "made");
        kind
    }))
}

fn word() -> String {
    "word".to_owned()
}

pub(super) fn requests() -> Vec<(&'static str, Request)> {
    vec![
        ("try_new", |_| stored(PoolBox::try_new(word()), &word())),
        ("try_new, a segment of 512 KiB", |_| {
            stored(PoolBox::try_new([7_u8; 3000]), &[7; 3000])
        }),
        ("try_new, a segment of 4 MiB", |_| {
            stored(PoolBox::try_new([7_u8; 30_000]), &[7; 30_000])
        }),
        ("try_new, large", |_| {
            stored(PoolBox::try_new([7_u8; 140_000]), &[7; 140_000])
        }),
        ("try_new, aligned", |_| {
            stored(PoolBox::try_new(Aligned(7)), &Aligned(7))
        }),
        ("try_new_with", |_| {
            made(PoolBox::try_new_with(|| "made".to_owned()))
        }),
        ("try_new_uninit", |_| kept(PoolBox::<u64>::try_new_uninit())),
        ("try_new_zeroed", |_| kept(PoolBox::<u64>::try_new_zeroed())),
        ("try_clone_from_ref", |_| {
            kept(PoolBox::try_clone_from_ref(&word()))
        }),
        ("try_new_uninit_slice", |_| {
            kept(PoolBox::<[u64]>::try_new_uninit_slice(9))
        }),
        ("try_new_uninit_slice, large", |_| {
            kept(PoolBox::<[u64]>::try_new_uninit_slice(90_000))
        }),
        ("try_new_zeroed_slice", |_| {
            kept(PoolBox::<[u64]>::try_new_zeroed_slice(9))
        }),
        ("PoolArc::try_new", |_| {
            stored(PoolArc::try_new(word()), &word())
        }),
        ("try_new_in", |world| {
            stored(PoolBox::try_new_in(word(), &world.words), &word())
        }),
        ("try_new_uninit_in", |world| {
            kept(PoolBox::try_new_uninit_in(&world.words))
        }),
        ("try_new_zeroed_in", |world| {
            kept(PoolBox::try_new_zeroed_in(&world.words))
        }),
        ("PoolArc::try_new_in", |world| {
            stored(PoolArc::try_new_in(7, &world.shared), &7)
        }),
        ("try_alloc", |world| {
            stored(world.words.try_alloc(word()), &word())
        }),
        ("try_alloc, large", |world| {
            stored(world.large.try_alloc([7; 140_000]), &[7; 140_000])
        }),
        ("try_alloc_with", |world| {
            made(world.words.try_alloc_with(|| "made".to_owned()))
        }),
        ("try_alloc_uninit", |world| {
            kept(world.words.try_alloc_uninit())
        }),
        ("reserve", |world| kept(world.words.reserve(5000))),
        ("prefault", |world| kept(world.words.prefault(5000))),
        ("reserve, three arenas", |world| {
            kept(world.words.reserve(3 * AN_ARENA - 100))
        }),
    ]
}

/// The state after a request: of the default pool and the others, and the number of mappings.
type Outcome = ([Validation; 3], [Stats; 3], [Option<Counts>; 4], usize);

/// Makes a request in an empty state, with a failure of the mapping after `granted` others. Returns the state after the
/// request was repeated, and the place of the failed mapping.
fn ask(request: Request, granted: usize) -> (Outcome, Option<Place>) {
    let world = World::new();
    let thread = Thread::start();
    let (answer, place) = thread.run(|| refused_after(granted, || request(&world)));
    let answer = match place {
        Some(_) => {
            assert_eq!(answer.err(), Some(AllocErrorKind::OutOfMemory));
            assert!(
                world.large.stats() == Stats::default(),
                "a value with a dedicated mapping is not counted"
            );
            thread.run(|| request(&world))
        }
        None => answer,
    };
    let answer = answer.expect("there is memory");
    let outcome = thread.run(|| {
        let validation = [validate(), world.words.validate(), world.shared.validate()];
        let stats = [stats(), world.words.stats(), world.shared.stats()];
        let counts = [
            Some(registry::default()),
            world.words.registry_if_any(),
            world.shared.registry_if_any(),
            world.large.registry_if_any(),
        ];
        (
            validation,
            stats,
            counts.map(|pool| pool.map(RegistryRef::counts)),
            mappings(),
        )
    });
    thread.run(|| while_refused(|| drop((answer, world)))); // this needs no memory
    thread.end();
    assert_eq!((stats().segments, stats().live()), (0, 0));
    registry::trim_arenas();
    assert_eq!(
        mappings() as u64,
        stats().heaps,
        "all memory was released, except for heaps"
    );
    registry::tests::start_anew();
    (outcome, place.map(place_of))
}

/// A file and a line.
pub(super) type Place = (String, usize);

/// Makes each mapping of a request fail in turn.
fn fail_each_mapping(name: &str, request: Request, places: &mut BTreeSet<Place>) {
    let (clean, _) = ask(request, usize::MAX);
    for granted in 0.. {
        let (outcome, place) = ask(request, granted);
        assert_eq!(outcome, clean, "{name}, after {place:?} failed");
        let Some(place) = place else {
            println!("{name}: {granted} mappings");
            assert!(granted > 0, "{name} needs memory");
            return;
        };
        places.insert(place);
    }
}

/// The table of arenas grows with the 129th arena of a span, once and for all.
fn fail_a_larger_table(places: &mut BTreeSet<Place>) {
    let pool = SegmentPool::<[u8; 100_000]>::new();
    let in_a_segment = Span::Large.bytes() / 100_000;
    let thread = Thread::start();
    thread.run(|| {
        pool.reserve(127 * in_a_segment).unwrap();
        let place = loop {
            // The arena is mapped, and unmapped again because the table has no room for it.
            let before = mappings();
            match refused_after(1, || pool.reserve(1)) {
                (reserved, None) => assert_eq!(reserved, Ok(())),
                (reserved, Some(place)) => {
                    assert_eq!(reserved, Err(AllocErrorKind::OutOfMemory));
                    assert_eq!(mappings(), before);
                    break place;
                }
            }
        };
        places.insert(place_of(place));
        pool.reserve(1).unwrap();
        drop(pool);
    });
    thread.end();
}

/// A thread's index of the heaps that it holds grows with the thirteenth heap.
fn fail_a_larger_index(places: &mut BTreeSet<Place>) {
    let thread = Thread::start();
    thread.run(|| {
        let mut pools: Vec<SegmentPool<u64>> = Vec::new();
        let place = loop {
            let pool = SegmentPool::new();
            let _heap = pool.registry_or_create();
            match refused_after(0, || pool.try_alloc(7)) {
                (answer, Some(place)) if place.file().ends_with("held.rs") => {
                    assert_eq!(answer.unwrap_err().kind(), AllocErrorKind::OutOfMemory);
                    assert_eq!(*pool.alloc(7), 7);
                    break place;
                }
                _ => pools.push(pool),
            }
            assert_eq!(*pools[pools.len() - 1].alloc(7), 7);
        };
        places.insert((place.file().to_owned(), place.line() as usize));
        assert_eq!(pools.len(), 12);
    });
    thread.end();
}

/// Reserves three arenas, with a value and a spare segment present, and each mapping fails in turn. After the failure
/// nothing of the reservation remains, except for the one idle arena that stays mapped.
fn fail_a_reservation_half_way() {
    let pool = SegmentPool::<String>::new();
    let thread = Thread::start();
    thread.run(|| {
        let word = pool.alloc(word());
        drop(
            (0..40 * AN_ARENA / 64)
                .map(|_| pool.alloc(String::new()))
                .collect::<Vec<_>>(),
        );
        let seen = || {
            (
                pool.stats(),
                pool.validate(),
                pool.registry_if_any().map(RegistryRef::counts),
            )
        };
        registry::trim_arenas();
        let (before, mapped) = (seen(), mappings());
        assert!(before.0.spare_bytes > 0);
        for granted in 0.. {
            let (reserved, place) = refused_after(granted, || pool.reserve(3 * AN_ARENA));
            if place.is_none() {
                assert_eq!(reserved, Ok(()));
                assert_eq!(granted, 4, "the check of the whole size, and three arenas");
                break;
            }
            assert_eq!(reserved, Err(AllocErrorKind::OutOfMemory));
            assert_eq!(seen(), before, "{granted} mappings succeeded");
            assert!(mappings() <= mapped + 1, "{granted} mappings succeeded");
            registry::trim_arenas();
            assert_eq!(mappings(), mapped, "{granted} mappings succeeded");
        }
        drop(word);
        drop(pool);
    });
    thread.end();
}

pub(super) fn place_of(location: &Location<'_>) -> Place {
    (location.file().to_owned(), location.line() as usize)
}

/// Returns every line in the files of a folder, outside of tests, that contains one of these calls.
pub(super) fn places_in_source(folder: &str, calls: &[&str]) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if name.ends_with("tests") || name.ends_with("tests.rs") || name.ends_with("models") {
            continue;
        }
        if entry.path().is_dir() {
            places.extend(places_in_source(&name, calls));
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let has_call = |line: &str| calls.iter().any(|call| line.contains(call));
        let lines = text.lines().zip(1..).filter(|(line, _)| has_call(line));
        places.extend(lines.map(|(_, line)| (name.clone(), line)));
    }
    places
}

#[test]
fn every_failed_allocation_is_reported_and_loses_nothing() {
    in_own_process(
        "tests::refusal::every_failed_allocation_is_reported_and_loses_nothing",
        || {
            let mut places = BTreeSet::new();
            for (name, request) in requests() {
                fail_each_mapping(name, request, &mut places);
            }
            fail_a_larger_table(&mut places);
            fail_a_larger_index(&mut places);
            fail_a_reservation_half_way();
            println!("failed at: {places:?}");
            let calls_in_source = places_in_source("src", &["os::map(", "os::may_map("]);
            assert_eq!(places, calls_in_source, "every mapping failed once");
            assert_eq!(places.len(), 7);
        },
    );
}

/// Functions without an error abort, as `Box::new` does.
#[test]
fn functions_without_an_error_abort() {
    const CHILD: &str = "SEGMENT_POOL_REFUSED";
    if let Ok(which) = std::env::var(CHILD) {
        Thread::start().run(|| {
            while_refused(|| match which.as_str() {
                "new" => drop(PoolBox::new(7_u64)),
                "slice" => drop(PoolBox::<[u64]>::from([7_u64; 9])),
                "arc" => drop(PoolArc::new(7_u64)),
                _ => drop(SegmentPool::new().alloc(7_u64)),
            });
        });
        return;
    }
    for which in ["new", "slice", "arc", "alloc"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "tests::refusal::functions_without_an_error_abort",
            "--exact",
            "--nocapture",
        ]);
        let output = child.env(CHILD, which).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains("memory allocation of"),
            "{which}: {output:?}"
        );
        assert!(
            !output.status.success() && output.status.code().is_none(),
            "{which}: {output:?}"
        );
    }
}

// --- Failed allocations that unwind -------------------------------------------------------------------------------------------

/// Counts live values.
#[derive(Clone, Default)]
struct Alive(Rc<Cell<i32>>);

impl Alive {
    fn value(&self) -> Value {
        self.0.set(self.0.get() + 1);
        Value(self.clone(), [0; 140_000])
    }

    fn values(&self) -> [Value; 2] {
        [self.value(), self.value()]
    }

    fn boxed(&self) -> PoolBox<Value> {
        PoolBox::new(self.value())
    }

    fn shared(&self) -> PoolArc<Value> {
        PoolArc::new(self.value())
    }
}

/// A value that is counted while it is alive, and needs a dedicated mapping because of its size. (Not because of its
/// alignment: for a frame with an alignment above a page, rustc 1.95 at `opt-level = 2` corrupts registers when a panic
/// unwinds through it, as a program with only std's `Rc` shows.)
struct Value(
    Alive,
    #[expect(dead_code, reason = "its size counts")] [u8; 140_000],
);

impl Clone for Value {
    fn clone(&self) -> Self {
        self.0.value()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let alive = self.0.0.get() - 1;
        assert!(alive >= 0, "dropped twice");
        self.0.0.set(alive);
    }
}

/// Makes something while there is memory, and converts it while there is none.
fn unwinds<T>(what: &str, make: fn(&Alive) -> T, act: impl FnOnce(T)) {
    let (alive, before) = (Alive::default(), mappings());
    let made = make(&alive);
    let unwound =
        while_refused(|| while_it_panics(|| catch_unwind(AssertUnwindSafe(|| act(made)))));
    assert!(unwound.is_err(), "{what} needs memory");
    assert_eq!(alive.0.get(), 0, "{what} loses a value");
    assert_eq!(mappings(), before, "{what} loses storage");
}

/// The hook for allocation errors, on nightly, may panic. Every value that was being moved is then dropped once.
#[test]
fn a_failed_allocation_that_unwinds_loses_nothing() {
    let thread = std::thread::Builder::new().stack_size(64 << 20); // for copies of large values
    let thread = thread.spawn(failed_allocations_that_unwind).unwrap();
    thread.join().unwrap();
}

fn failed_allocations_that_unwind() {
    let pool = SegmentPool::new();
    Thread::start().run(|| {
        drop(pool.alloc(Alive::default().value())); // so that the pool itself is mapped
        unwinds("new", Alive::value, |it| drop(PoolBox::new(it)));
        unwinds("new_with", Alive::value, |it| {
            drop(PoolBox::new_with(|| it))
        });
        unwinds("pin", Alive::value, |it| drop(PoolBox::pin(it)));
        unwinds("alloc", Alive::value, |it| drop(pool.alloc(it)));
        unwinds("local", Alive::value, |it| drop(pool.local().alloc(it)));
        unwinds("clone", Alive::boxed, |it| drop(it.clone()));
        unwinds("map", Alive::boxed, |it| {
            drop(PoolBox::map(it, |it| (it, 7)))
        });
        unwinds("try_map", Alive::boxed, |it| {
            drop(PoolBox::try_map(it, |it| Ok::<_, ()>((it, 7))));
        });
        unwinds(
            "from_box",
            |alive| Box::new(alive.value()),
            |it| drop(PoolBox::from_box(it)),
        );
        unwinds(
            "from_box, dyn",
            |alive| Box::new(alive.value()) as Box<dyn Any>,
            |it| drop(PoolBox::from_box(it)),
        );
        unwinds("array", Alive::values, |it| {
            drop(PoolBox::<[Value]>::from(it))
        });
        unwinds(
            "vector",
            |alive| Vec::from(alive.values()),
            |it| drop(PoolBox::<[Value]>::from(it)),
        );
        unwinds("slice", Alive::values, |it| {
            drop(PoolBox::<[Value]>::from(&it[..]))
        });
        unwinds(
            "array of a vector",
            |alive| Vec::from(alive.values()),
            |it| {
                drop(PoolBox::<[Value; 2]>::try_from(it));
            },
        );
        unwinds("collect", Alive::values, |it| {
            drop(it.into_iter().collect::<PoolBox<[Value]>>())
        });
        unwinds("PoolArc::new", Alive::value, |it| drop(PoolArc::new(it)));
        unwinds("PoolArc::new_cyclic", Alive::value, |it| {
            drop(PoolArc::new_cyclic(|_| it))
        });
        unwinds("PoolArc of a box", Alive::boxed, |it| {
            drop(PoolArc::<Value>::from(it))
        });
        unwinds("PoolArc of an array", Alive::values, |it| {
            drop(PoolArc::<[Value]>::from(it))
        });
        unwinds(
            "PoolArc of a vector",
            |alive| Vec::from(alive.values()),
            |it| drop(PoolArc::<[Value]>::from(it)),
        );
        unwinds("make_mut, shared", Alive::shared, |mut it| {
            let _other = it.clone();
            PoolArc::make_mut(&mut it);
        });
        unwinds("make_mut, observed", Alive::shared, |mut it| {
            let _weak = PoolArc::downgrade(&it);
            PoolArc::make_mut(&mut it);
        });
    });
}
