//! Feature `metrics`: what is published is what the reports say, through the facade's own recorder for tests.

use std::collections::BTreeMap;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use segment_pool::{PoolBox, SegmentPool};

/// What was published, by name and labels.
fn published(work: impl FnOnce()) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, work);
    let values = snapshotter.snapshot().into_vec().into_iter();
    let named = values.map(|(key, _unit, _text, value)| {
        let key = key.key();
        let labels: Vec<_> = key
            .labels()
            .map(|l| format!("{}={}", l.key(), l.value()))
            .collect();
        let value = match value {
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Counter(value) => value as f64,
            DebugValue::Histogram(_) => panic!("no histogram is published"),
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    });
    named.collect()
}

#[test]
fn a_pools_numbers_are_published_under_its_name() {
    let pool = SegmentPool::builder().name("packets").build();
    let mut boxes: Vec<_> = (0..100).map(|n| pool.alloc([n; 128])).collect();
    boxes.truncate(60);
    let report = pool.report();
    let values = published(|| report.publish());
    let of = |name: &str| values[&format!("segment_pool_{name}{{pool=packets}}")];
    assert_eq!(of("live"), 60.0);
    assert_eq!(of("allocations_total"), 100.0);
    assert_eq!(of("local_frees_total"), 40.0);
    assert_eq!(of("segments"), report.total.segments as f64);
    assert_eq!(of("capacity"), report.total.capacity as f64);
    assert_eq!(of("mapped_bytes"), report.total.mapped_bytes() as f64);
    let slot = if cfg!(feature = "hardened") { 520 } else { 512 };
    let class = format!("segment_pool_class_live{{pool=packets,slot_bytes={slot}}}");
    assert_eq!(values[&class], 60.0);
    assert_eq!(values["segment_pool_arenas{}"], report.memory.arenas as f64);
}

#[test]
fn a_bound_is_published_with_what_it_did() {
    let pool = SegmentPool::builder().name("few").max_values(2).build();
    let _two = [pool.alloc(1), pool.alloc(2)];
    assert!(pool.try_alloc(3).is_err());
    assert!(pool.alloc_timeout(3, std::time::Duration::ZERO).is_err());
    let values = published(|| pool.report().publish());
    let of = |name: &str| values[&format!("segment_pool_{name}{{pool=few}}")];
    assert_eq!((of("bound"), of("in_use")), (2.0, 2.0));
    assert_eq!((of("refusals_total"), of("waits_total")), (2.0, 1.0));
}

#[test]
fn the_documented_names_are_the_published_ones() {
    let _boxed = PoolBox::new(1_u64);
    let bounded = SegmentPool::<u64>::builder().max_values(7).build();
    let _bounded = bounded.alloc(1);
    let values = published(|| {
        segment_pool::metrics::publish();
        bounded.report().publish();
    });
    let published: Vec<_> = values
        .keys()
        .map(|name| name.split('{').next().unwrap())
        .collect();
    let page = include_str!("../src/features/metrics.rs");
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let documented: Vec<_> = rows.map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(documented.len(), 24);
    for name in &documented {
        let only_on_linux = *name == "segment_pool_arena_resident_bytes";
        let can_be = !only_on_linux || cfg!(all(target_os = "linux", not(miri)));
        assert_eq!(published.contains(name), can_be, "{name}");
    }
    assert!(published.iter().all(|name| documented.contains(name)));
}

/// A recorder that uses pools, of the kind that is published too.
struct Allocating;

impl Allocating {
    fn allocate(&self) {
        drop((0..1000).map(PoolBox::new).collect::<Vec<_>>());
        segment_pool::trim();
        segment_pool::idle();
    }
}

impl Recorder for Allocating {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.allocate();
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.allocate();
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_may_use_pools() {
    let boxed = PoolBox::new(String::from("kept"));
    metrics::with_local_recorder(&Allocating, segment_pool::metrics::publish);
    assert_eq!(*boxed, "kept");
    let validation = segment_pool::validate();
    assert_eq!(validation.free + validation.live, validation.capacity);
}
