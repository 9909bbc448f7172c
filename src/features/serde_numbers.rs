//! Feature `serde`: what the pools say of themselves is serialized field by field. Not the other way: such numbers are
//! only ever true here.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::insight::census::FillRange;
use crate::insight::leaks::LeakReport;
use crate::insight::report::{Memory, Report};
use crate::insight::stats::{ClassStats, Stats, Validation};

/// All fields are named, so that the compiler misses a new one.
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
        allocations, local_frees, remote_frees, unreclaimed, batches, collects, large, large_bytes
    }
    ClassStats {
        slot_bytes, segments, segment_bytes, capacity, allocations, local_frees, remote_frees, unreclaimed, batches,
        collects
    }
    Memory { arenas, mapped_bytes, free_bytes, dirty_bytes, resident_bytes, kept_bytes }
    FillRange { up_to_percent, segments, used }
    Report { name, total, classes, fill, memory }
    LeakReport { name, type_name, live, in_open_batches, other_threads }
    Validation { heaps, segments, capacity, free, live, kept }
}
