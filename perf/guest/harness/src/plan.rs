//! The cases that a program is to measure: the module `plan` of its boot image, which
//! `cargo xtask bench` puts there. Its manifest needs
//!
//! ```toml
//! [[module]]
//! name = "plan"
//! file = "plan"      # need not exist: bench provides it
//!
//! [[process]]
//! modules = ["plan"]
//! ```

use alloc::{format, string::String};

use driver_sdk::{prelude::*, rt::object::Memory};

pub use spillway_plan::{Backend, Buffers, Case, Cases, Device, Level, Pattern, Topology, Wait};

/// The cases, and the checksum that [`crate::report::begin`] takes.
///
/// # Errors
///
/// A sentence, if the manifest grants no module `plan`, or it is damaged.
pub fn cases() -> Result<(Cases, u32), String> {
    let module = object::<Memory>("plan").ok_or("the manifest grants no module `plan`")?;
    let bytes = module.read_all().map_err(|error| error.describe())?;
    let damaged = |error| format!("the module `plan` cannot be used: {error}");
    let cases = Cases::decode(&bytes).map_err(damaged)?;
    let checksum = Cases::checksum(&bytes).map_err(damaged)?;
    Ok((cases, checksum))
}
