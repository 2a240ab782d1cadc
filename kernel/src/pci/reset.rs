//! Putting a function into its initial state.

use super::{Function, config::ConfigSpace};

/// PCI Express capability: device capabilities, bit 28 says that there is a function level reset
/// (PCI Express Base Specification 5.0, 7.5.3.3).
const DEVICE_CAPABILITIES: u16 = 4;
const HAS_RESET: u32 = 1 << 28;
/// Device control, bit 15 begins it (7.5.3.4).
const DEVICE_CONTROL: u16 = 8;
const BEGIN_RESET: u16 = 1 << 15;
/// Power management capability: control and status (PCI Power Management 1.2, 3.2.4). Bits 0 and
/// 1 are the power state; bit 3 says that going from D3 to D0 does not reset.
const POWER_CONTROL: u16 = 4;
const POWER_STATE: u16 = 3;
const NO_SOFT_RESET: u16 = 1 << 3;

/// How long a function may not be touched after its reset, in nanoseconds (PCI Express 5.0,
/// 6.6.2).
pub const RESET_TIME: u64 = 100_000_000;

/// How long a function may take from D3 to D0, in nanoseconds (PCI Power Management 1.2, 5.6.1).
pub const POWER_UP_TIME: u64 = 10_000_000;

/// How long a function may take to answer after its reset, in nanoseconds: NVMe controllers need
/// up to a second (PCI Express 5.0, 2.3.1 and 6.6.1).
pub const ANSWER_TIME: u64 = 3_000_000_000;

/// How a function is reset: the best way that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetMethod {
    /// Not at all.
    None,
    /// Function level reset, by the capability at this offset; and what device control was.
    FunctionLevel(u16, u16),
    /// To D3 and back, by the capability at this offset.
    PowerState(u16),
}

impl ResetMethod {
    pub(super) fn express(config: &ConfigSpace, offset: u16) -> Self {
        match config.read::<u32>(offset + DEVICE_CAPABILITIES) & HAS_RESET {
            0 => Self::None,
            _ => Self::FunctionLevel(offset, config.read(offset + DEVICE_CONTROL)),
        }
    }

    pub(super) fn power(config: &ConfigSpace, offset: u16) -> Self {
        match config.read::<u16>(offset + POWER_CONTROL) & NO_SOFT_RESET {
            0 => Self::PowerState(offset),
            _ => Self::None,
        }
    }

    /// The better of two ways.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::FunctionLevel(..), _) | (_, Self::None) => self,
            _ => other,
        }
    }
}

impl Function {
    /// Begins a reset; [`RESET_TIME`] later [`Self::end_reset`] is due. False if there is no way.
    pub fn begin_reset(&self) -> bool {
        match self.reset {
            ResetMethod::None => return false,
            ResetMethod::FunctionLevel(at, _) => {
                let control: u16 = self.config.read(at + DEVICE_CONTROL);
                self.config
                    .write(at + DEVICE_CONTROL, control | BEGIN_RESET);
            }
            ResetMethod::PowerState(at) => {
                let control: u16 = self.config.read(at + POWER_CONTROL);
                self.config.write(at + POWER_CONTROL, control | POWER_STATE);
            }
        }
        true
    }

    /// Goes on with a reset after [`RESET_TIME`]: [`POWER_UP_TIME`] later the function may answer.
    pub fn power_up(&self) {
        if let ResetMethod::PowerState(at) = self.reset {
            let control: u16 = self.config.read(at + POWER_CONTROL);
            self.config
                .write(at + POWER_CONTROL, control & !POWER_STATE);
        }
    }

    /// Ends a reset and puts back what the firmware had assigned. False if the function does not
    /// answer yet: its vendor reads as all ones, or as 1 while it wants to be asked again.
    pub fn end_reset(&self) -> bool {
        if self.config.read::<u16>(0) != self.vendor {
            return false;
        }
        self.restore_bars();
        if let ResetMethod::FunctionLevel(at, control) = self.reset {
            // The largest payload, above all: with the one after a reset, larger ones are errors.
            self.config
                .write(at + DEVICE_CONTROL, control & !BEGIN_RESET);
        }
        true
    }

    /// A reset clears the BARs. Offsets 0x10 to 0x24: PCI 3.0, 6.2.5.1.
    fn restore_bars(&self) {
        for (index, bar) in self.bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            let offset = 0x10 + 4 * index as u16;
            let kind = self.config.read::<u32>(offset) & 0xf;
            self.config.write(offset, bar.start as u32 | kind);
            if kind & 0b110 == 0b100 {
                self.config.write(offset + 4, (bar.start >> 32) as u32);
            }
        }
    }
}
