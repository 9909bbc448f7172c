//! Feature `serde`: statistics and reports are serialized field by field. They cannot be deserialized, because such
//! numbers describe only this process.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::insight::census::FillRange;
use crate::insight::holder::{HeapReport, Holder, ThreadTag};
use crate::insight::leaks::LeakReport;
use crate::insight::report::{Memory, Report};
use crate::insight::stats::{ClassStats, OtherHeaps, Stats, Validation};

/// All fields are named, so that a new field is a compile error here.
macro_rules! serialize_fields {
    ($($Numbers:ident { $($field:ident),* })*) => {$(
        impl Serialize for $Numbers {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let Self { $($field),* } = self;
                let fields = [$(stringify!($field)),*].len();
                let mut numbers = serializer.serialize_struct(stringify!($Numbers), fields)?;
                $(numbers.serialize_field(stringify!($field), $field)?;)*
                numbers.end()
            }
        }
    )*};
}

serialize_fields! {
    Stats {
        name, heaps, abandoned_heaps, adoptions, abandonments, segments, segment_bytes, spare_bytes, capacity,
        allocations, local_frees, remote_frees, unreclaimed, batches, collects, large, large_bytes, bound, in_use, refusals,
        waits
    }
    ClassStats {
        slot_bytes, segments, segment_bytes, capacity, allocations, local_frees, remote_frees, unreclaimed, batches,
        collects
    }
    Memory {
        arenas, mapped_bytes, free_bytes, dirty_bytes, limit_bytes, purged_bytes, refaulted_bytes, resident_bytes, kept_bytes
    }
    FillRange { up_to_percent, segments, used }
    Report { name, total, classes, heaps, fill, memory }
    LeakReport { name, type_name, live, in_open_batches, other_threads }
    Validation { heaps, segments, capacity, free, live, kept, others }
    OtherHeaps { heaps, segments, capacity, live, unreclaimed }
    HeapReport { holder, thread, last_served, segments, unreclaimed, at_hand }
    ThreadTag { number, system_id, name }
}

impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (index, variant) = match self {
            Self::ThisThread => (0, "ThisThread"),
            Self::Nobody => (1, "Nobody"),
            Self::OtherThread => (2, "OtherThread"),
        };
        serializer.serialize_unit_variant("Holder", index, variant)
    }
}
