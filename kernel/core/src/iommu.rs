//! What an IOMMU needs besides registers: tables, descriptors and decisions.
//!
//! [`addresses`], [`fault`] and [`limiter`] are the same for every IOMMU; [`vtd`] is Intel's.

pub mod addresses;
pub mod fault;
pub mod limiter;
pub mod vtd;

/// What a device may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Read it.
    pub read: bool,
    /// Write it.
    pub write: bool,
}
