//! Feature `serde`: a handle is serialized as its value.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::arc::PoolArc;
use crate::boxed::PoolBox;

macro_rules! serialize_as_value {
    ($($Handle:ident),*) => {$(
        impl<T: ?Sized + Serialize> Serialize for $Handle<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                (**self).serialize(serializer)
            }
        }

        impl<'de, T: Deserialize<'de>> Deserialize<'de> for $Handle<[T]> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Vec::deserialize(deserializer).map(Self::from)
            }
        }

        impl<'de> Deserialize<'de> for $Handle<str> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    )*};
}
serialize_as_value!(PoolBox, PoolArc);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PoolBox<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }

    /// Deserializes into the existing slot.
    fn deserialize_in_place<D: Deserializer<'de>>(
        deserializer: D,
        place: &mut Self,
    ) -> Result<(), D::Error> {
        T::deserialize_in_place(deserializer, place)
    }
}

/// Each handle gets its own value: sharing is not serialized, so it is not restored.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for PoolArc<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}
