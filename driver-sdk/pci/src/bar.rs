//! Base address registers (PCI Local Bus 3.0, section 6.2.5.1).

use spillway_hal::{ConfigWidth, Device, DriverError};

use crate::{malformed, require_endpoint};

/// Offset of the first BAR, and how many an endpoint has.
const FIRST: u16 = 0x10;
const COUNT: usize = 6;

const IO_SPACE: u32 = 0x1;
const TYPE: u32 = 0x6;
const TYPE_32: u32 = 0x0;
const TYPE_64: u32 = 0x4;
const PREFETCHABLE: u32 = 0x8;
const MEMORY_ADDRESS: u32 = !0xf;
const IO_ADDRESS: u32 = !0x3;

/// What a BAR decodes. The addresses are as the function tells them; a back end may hide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Memory.
    Memory {
        /// Its address on the bus; zero for a BAR without a place.
        address: u64,
        /// Whether it takes two registers.
        wide: bool,
        /// Whether reads have no side effects, so that write-combining is permitted.
        prefetchable: bool,
    },
    /// I/O ports, which are not granted.
    Io {
        /// The first port.
        port: u32,
    },
}

/// The BARs of a function. The upper half of a 64-bit BAR is `None`, as is a register of zero:
/// whether that is an absent BAR or one at address zero, only
/// [`Device::bar`](spillway_hal::Device::bar) can tell.
///
/// # Errors
///
/// As [`decode_bars`]; `Unsupported` for a bridge; those of the back end.
pub fn bars(device: &impl Device) -> Result<[Option<Bar>; COUNT], DriverError> {
    require_endpoint(device)?;
    let mut registers = [0; COUNT];
    for (register, offset) in registers.iter_mut().zip((FIRST..).step_by(4)) {
        *register = device.config_read(offset, ConfigWidth::Dword)?;
    }
    decode_bars(registers)
}

/// The BARs that six registers describe.
///
/// # Errors
///
/// `Protocol` for a reserved type, and for a 64-bit BAR without an upper half.
pub fn decode_bars(registers: [u32; COUNT]) -> Result<[Option<Bar>; COUNT], DriverError> {
    let mut bars = [None; COUNT];
    let mut index = 0;
    while index < COUNT {
        let low = registers[index];
        let wide = low & (IO_SPACE | TYPE) == TYPE_64;
        let high = match (wide, registers.get(index + 1)) {
            (true, Some(high)) => *high,
            (true, None) => return Err(malformed("BAR 5 cannot have 64 bits", low.into())),
            (false, _) => 0,
        };
        bars[index] = decode(low, high)?;
        index += if wide { 2 } else { 1 };
    }
    Ok(bars)
}

fn decode(low: u32, high: u32) -> Result<Option<Bar>, DriverError> {
    if low == 0 {
        return Ok(None);
    }
    if low & IO_SPACE != 0 {
        return Ok(Some(Bar::Io {
            port: low & IO_ADDRESS,
        }));
    }
    let wide = match low & TYPE {
        TYPE_32 => false,
        TYPE_64 => true,
        _ => return Err(malformed("a BAR of a reserved type", low.into())),
    };
    Ok(Some(Bar::Memory {
        address: u64::from(high) << 32 | u64::from(low & MEMORY_ADDRESS),
        wide,
        prefetchable: low & PREFETCHABLE != 0,
    }))
}

/// The bytes that a memory BAR decodes, from what its registers read back after all ones were
/// written: for whoever may write them. `high` is `None` for a 32-bit BAR. `None` for a BAR that
/// is not there, and for a size that is no power of two.
pub const fn decode_size(low: u32, high: Option<u32>) -> Option<u64> {
    let low = (low & MEMORY_ADDRESS) as u64;
    let size = match high {
        Some(high) => ((high as u64) << 32 | low).wrapping_neg(),
        None => (low as u32).wrapping_neg() as u64,
    };
    if size.is_power_of_two() {
        Some(size)
    } else {
        None
    }
}
