//! Implementations of traits of other crates: one or two files per cargo feature, all off by default.

#[cfg(any(
    feature = "allocator-api2",
    feature = "allocator-api2-03",
    feature = "allocator-api2-04"
))]
mod allocator;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "serde")]
mod serde_numbers;
#[cfg(feature = "stable_deref_trait")]
mod stable_deref;
#[cfg(feature = "unsize")]
mod unsize;

#[cfg(any(
    feature = "allocator-api2",
    feature = "allocator-api2-03",
    feature = "allocator-api2-04"
))]
pub use self::allocator::Segments;
