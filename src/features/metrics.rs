//! Feature `metrics`: publishes the numbers of a [`Report`] through the `metrics` facade.
//!
//! The crate counts nothing for this alone, and publishes nothing by itself. The program calls [`publish`], or
//! [`Report::publish`](crate::Report::publish) for another pool, as often as its recorder needs new values. The
//! recorder is foreign code. It runs while no pool state is in use, so it may use pools.
//!
//! | name | kind | labels | unit |
//! |---|---|---|---|
//! | `segment_pool_live` | gauge | `pool` | values |
//! | `segment_pool_unreclaimed` | gauge | `pool` | slots |
//! | `segment_pool_capacity` | gauge | `pool` | slots |
//! | `segment_pool_segments` | gauge | `pool` | segments |
//! | `segment_pool_mapped_bytes` | gauge | `pool` | bytes |
//! | `segment_pool_heaps` | gauge | `pool` | heaps |
//! | `segment_pool_abandoned_heaps` | gauge | `pool` | heaps |
//! | `segment_pool_allocations_total` | counter | `pool` | values |
//! | `segment_pool_local_frees_total` | counter | `pool` | values |
//! | `segment_pool_remote_frees_total` | counter | `pool` | values |
//! | `segment_pool_batches_total` | counter | `pool` | batches |
//! | `segment_pool_collects_total` | counter | `pool` | lists |
//! | `segment_pool_adoptions_total` | counter | `pool` | heaps |
//! | `segment_pool_refusals_total` | counter | `pool` | requests, of a pool with a bound |
//! | `segment_pool_waits_total` | counter | `pool` | requests, of a pool with a bound |
//! | `segment_pool_bound` | gauge | `pool` | values, of a pool with a bound |
//! | `segment_pool_in_use` | gauge | `pool` | values, of a pool with a bound |
//! | `segment_pool_class_live` | gauge | `pool`, `slot_bytes` | values |
//! | `segment_pool_class_capacity` | gauge | `pool`, `slot_bytes` | slots |
//! | `segment_pool_arenas` | gauge | | arenas |
//! | `segment_pool_arena_bytes` | gauge | | bytes |
//! | `segment_pool_arena_free_bytes` | gauge | | bytes |
//! | `segment_pool_kept_bytes` | gauge | | bytes |
//! | `segment_pool_arena_resident_bytes` | gauge | | bytes, on Linux only |
//!
//! `pool` is the name of the pool, the type name of its values, or "default". Pools with the same name share these
//! metrics, and the last one published wins. A class that is empty now is published as 0.

use ::metrics::{counter, gauge};

use crate::insight::report::{Memory, Report, report};
use crate::insight::stats::{ClassStats, Stats};

type Number<T> = (&'static str, fn(&T) -> u64);

const GAUGES: [Number<Stats>; 7] = [
    ("segment_pool_live", Stats::live),
    ("segment_pool_unreclaimed", |stats| stats.unreclaimed),
    ("segment_pool_capacity", |stats| stats.capacity),
    ("segment_pool_segments", |stats| stats.segments),
    ("segment_pool_mapped_bytes", Stats::mapped_bytes),
    ("segment_pool_heaps", |stats| stats.heaps),
    ("segment_pool_abandoned_heaps", |stats| {
        stats.abandoned_heaps
    }),
];

const COUNTERS: [Number<Stats>; 6] = [
    ("segment_pool_allocations_total", |stats| stats.allocations),
    ("segment_pool_local_frees_total", |stats| stats.local_frees),
    ("segment_pool_remote_frees_total", |stats| {
        stats.remote_frees
    }),
    ("segment_pool_batches_total", |stats| stats.batches),
    ("segment_pool_collects_total", |stats| stats.collects),
    ("segment_pool_adoptions_total", |stats| stats.adoptions),
];

const CLASS_GAUGES: [Number<ClassStats>; 2] = [
    ("segment_pool_class_live", ClassStats::live),
    ("segment_pool_class_capacity", |class| class.capacity),
];

const ARENA_GAUGES: [Number<Memory>; 4] = [
    ("segment_pool_arenas", |memory| memory.arenas),
    ("segment_pool_arena_bytes", |memory| memory.mapped_bytes),
    ("segment_pool_arena_free_bytes", |memory| memory.free_bytes),
    ("segment_pool_kept_bytes", |memory| memory.kept_bytes),
];

/// Publishes the numbers of the default pool and of the arenas. Cost: that of [`memory`](crate::memory()), and that of
/// the recorder.
///
/// # Examples
///
/// ```
/// static PACKETS: segment_pool::SegmentPool<[u8; 100]> =
///     segment_pool::SegmentPool::builder().name("packets").build();
///
/// fn every_ten_seconds() {
///     segment_pool::metrics::publish();
///     PACKETS.report().publish();
/// }
/// # every_ten_seconds();
/// ```
pub fn publish() {
    report().publish();
}

impl Report {
    /// Publishes the numbers through the `metrics` facade, under the names listed in [`metrics`](crate::metrics).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = segment_pool::SegmentPool::builder().name("packets").build();
    /// let _packet = pool.alloc([0_u8; 100]);
    /// pool.report().publish(); // to the recorder of the program, if one is installed
    /// ```
    pub fn publish(&self) {
        let pool = self.name;
        for (name, of) in GAUGES {
            gauge!(name, "pool" => pool).set(of(&self.total) as f64);
        }
        for (name, of) in COUNTERS {
            counter!(name, "pool" => pool).absolute(of(&self.total));
        }
        self.publish_bound(pool);
        for class in &self.classes {
            let slot_bytes = class.slot_bytes.to_string();
            for (name, of) in CLASS_GAUGES {
                gauge!(name, "pool" => pool, "slot_bytes" => slot_bytes.clone())
                    .set(of(class) as f64);
            }
        }
        publish_memory(&self.memory);
    }
}

impl Report {
    fn publish_bound(&self, pool: &'static str) {
        let stats = &self.total;
        if let Some(bound) = stats.bound {
            gauge!("segment_pool_bound", "pool" => pool).set(bound as f64);
            gauge!("segment_pool_in_use", "pool" => pool).set(stats.in_use as f64);
            counter!("segment_pool_refusals_total", "pool" => pool).absolute(stats.refusals);
            counter!("segment_pool_waits_total", "pool" => pool).absolute(stats.waits);
        }
    }
}

fn publish_memory(memory: &Memory) {
    for (name, of) in ARENA_GAUGES {
        gauge!(name).set(of(memory) as f64);
    }
    if let Some(resident) = memory.resident_bytes {
        gauge!("segment_pool_arena_resident_bytes").set(resident as f64);
    }
}
