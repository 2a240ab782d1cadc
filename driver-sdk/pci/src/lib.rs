//! What a driver may want to know of its function's configuration space, read through
//! [`Device::config_read`]: command and status, BARs,
//! capabilities, interrupts.
//!
//! Nothing that a device says is believed: lists are walked with a bound, reserved encodings are
//! errors, places are checked. The names of command and status bits and of device classes come
//! from `pci_types`. Its walk over capabilities and its BARs do not: the one never ends on a list
//! that runs in circles, the other panics on a reserved type and has to write.
#![no_std]
#![forbid(unsafe_code)]

mod bar;
mod capability;
mod interrupts;

pub use bar::{Bar, bars, decode_bars, decode_size};
pub use capability::{
    Capability, CapabilityId, ExtendedCapability, capabilities, extended_capabilities,
    find_capability,
};
pub use interrupts::{Msi, Msix, Place};
pub use pci_types::device_type::DeviceType;
pub use pci_types::{CommandRegister, StatusRegister};

use spillway_hal::{ConfigWidth, Device, DeviceId, DriverError, DriverErrorKind};

/// Offsets in the header (PCI Local Bus 3.0, section 6.1).
const COMMAND: u16 = 0x04;
const HEADER_TYPE: u16 = 0x0e;

/// The command register.
///
/// # Errors
///
/// Those of the back end.
pub fn command(device: &impl Device) -> Result<CommandRegister, DriverError> {
    let value = device.config_read(COMMAND, ConfigWidth::Word)?;
    Ok(CommandRegister::from_bits_retain(value as u16))
}

/// The status register.
///
/// # Errors
///
/// Those of the back end.
pub fn status(device: &impl Device) -> Result<StatusRegister, DriverError> {
    let value = device.config_read(COMMAND + 2, ConfigWidth::Word)?;
    Ok(StatusRegister::new(value as u16))
}

/// The class of a function, as a name.
pub fn device_type(id: DeviceId) -> DeviceType {
    DeviceType::from((id.class, id.subclass))
}

/// An error unless the function has the header of an endpoint, type 0.
fn require_endpoint(device: &impl Device) -> Result<(), DriverError> {
    match device.config_read(HEADER_TYPE, ConfigWidth::Byte)? as u8 & 0x7f {
        0 => Ok(()),
        other => Err(DriverError::new(
            DriverErrorKind::Unsupported,
            "only endpoints are granted: header type 0",
        )
        .with_status(other.into())),
    }
}

/// The device broke the rules of configuration space; `status` is the offset or value in question.
const fn malformed(reason: &'static str, status: u64) -> DriverError {
    DriverError::new(DriverErrorKind::Protocol, reason).with_status(status)
}
