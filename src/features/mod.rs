//! What other crates' traits ask for: one file per cargo feature, all off by default.

#[cfg(feature = "allocator-api2")]
mod allocator;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "stable_deref_trait")]
mod stable_deref;
#[cfg(feature = "unsize")]
mod unsize;

#[cfg(feature = "allocator-api2")]
pub use self::allocator::Segments;
