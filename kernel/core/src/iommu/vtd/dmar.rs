//! The ACPI table DMAR: which remapping units there are and which functions belong to each
//! (section 8.1).
//!
//! It comes from the firmware, so every length and number is checked.

use alloc::vec::Vec;
use core::fmt;

use crate::pci::FunctionId;

/// Remapping units that are looked after.
pub const MAX_UNITS: usize = 64;
/// Ranges of reserved memory that are looked after.
pub const MAX_RESERVED: usize = 64;
/// Device scopes that are looked after, of one unit or range.
pub const MAX_SCOPES: usize = 256;
/// Bridges between a scope's first bus and its function.
pub const MAX_PATH: usize = 8;

/// What the table says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dmar {
    /// Bits of a physical address that devices can reach.
    pub address_bits: u8,
    /// The platform supports interrupt remapping.
    pub remaps_interrupts: bool,
    /// The remapping units.
    pub units: Vec<UnitDescription>,
    /// Memory that firmware shares with devices.
    pub reserved: Vec<Reserved>,
    /// Structures of other kinds.
    pub ignored: usize,
}

/// One remapping unit (section 8.3).
#[derive(Debug, PartialEq, Eq)]
pub struct UnitDescription {
    /// The segment of its functions.
    pub segment: u16,
    /// The physical address of its registers.
    pub registers: u64,
    /// Every function of the segment that no other unit names belongs to it.
    pub has_the_rest: bool,
    /// What it names.
    pub scopes: Vec<Scope>,
}

/// A range of reserved memory (section 8.4).
#[derive(Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The segment of its functions.
    pub segment: u16,
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub last: u64,
    /// The functions.
    pub scopes: Vec<Scope>,
}

/// A function, or a bridge with all that is behind it (section 8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What kind of thing is named.
    pub kind: ScopeKind,
    /// The bus where the path begins.
    pub bus: u8,
    path: [(u8, u8); MAX_PATH],
    length: u8,
}

/// What a scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// One function.
    Function,
    /// A bridge and what is behind it.
    Bridge,
    /// Something that is no PCI function: an I/O APIC, a timer, a device that ACPI lists.
    Other,
}

impl Scope {
    /// Device and function of each bridge on the way, and of what is named.
    pub fn path(&self) -> &[(u8, u8)] {
        &self.path[..self.length.into()]
    }

    /// A scope by its parts; `None` if the path is empty or too long.
    pub fn new(kind: ScopeKind, bus: u8, path: &[(u8, u8)]) -> Option<Self> {
        let mut scope = Self {
            kind,
            bus,
            path: [(0, 0); MAX_PATH],
            length: path.len() as u8,
        };
        scope.path.get_mut(..path.len())?.copy_from_slice(path);
        (!path.is_empty()).then_some(scope)
    }

    /// The function at the end of the path. `secondary` says which bus is behind a bridge; `None`
    /// if it does for one on the way.
    pub fn function(
        &self,
        segment: u16,
        mut secondary: impl FnMut(FunctionId) -> Option<u8>,
    ) -> Option<FunctionId> {
        let mut bus = self.bus;
        let ((device, function), bridges) = self.path().split_last()?;
        let on = |bus, &(device, function): &(u8, u8)| FunctionId {
            segment,
            bus,
            device,
            function,
        };
        for bridge in bridges {
            bus = secondary(on(bus, bridge))?;
        }
        Some(on(bus, &(*device, *function)))
    }
}

/// What is wrong with the table; offsets are from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmarError {
    /// It ends within its head or within the structure at this offset.
    Truncated(usize),
    /// The structure or scope at this offset is shorter than its kind demands.
    BadLength(usize),
    /// The registers of a unit are not at a multiple of 4 KiB.
    BadAddress(u64),
    /// There are more than is looked after of what is named.
    TooMany(&'static str),
}

impl fmt::Display for DmarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(at) => write!(f, "it ends within the structure at byte {at}"),
            Self::BadLength(at) => write!(f, "the structure at byte {at} has a wrong length"),
            Self::BadAddress(address) => {
                write!(f, "a unit's registers at {address:#x} are not on a page")
            }
            Self::TooMany(what) => write!(f, "it has too many {what}"),
        }
    }
}

/// Bytes before the first structure.
const HEAD: usize = 48;

impl Dmar {
    /// Reads the table, with its ACPI header.
    pub fn parse(table: &[u8]) -> Result<Self, DmarError> {
        const UNIT: u16 = 0;
        const RESERVED: u16 = 1;
        let [width, flags] = *bytes::<2>(table, 36, 0)?;
        let mut dmar = Self {
            address_bits: width.saturating_add(1),
            remaps_interrupts: flags & 1 != 0,
            ..Self::default()
        };
        let mut at = HEAD;
        while at < table.len() {
            let kind = u16::from_le_bytes(*bytes(table, at, at)?);
            let length = usize::from(u16::from_le_bytes(*bytes(table, at + 2, at)?));
            if length < 4 {
                return Err(DmarError::BadLength(at));
            }
            let structure = table.get(at..at + length).ok_or(DmarError::Truncated(at))?;
            match kind {
                UNIT if dmar.units.len() == MAX_UNITS => return Err(DmarError::TooMany("units")),
                UNIT => dmar.units.push(unit(structure, at)?),
                RESERVED if dmar.reserved.len() == MAX_RESERVED => {
                    return Err(DmarError::TooMany("ranges of reserved memory"));
                }
                RESERVED => dmar.reserved.push(reserved(structure, at)?),
                _ => dmar.ignored += 1,
            }
            at += length;
        }
        Ok(dmar)
    }
}

fn bytes<const N: usize>(table: &[u8], at: usize, whole: usize) -> Result<&[u8; N], DmarError> {
    table
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(DmarError::Truncated(whole))
}

/// A unit's structure (section 8.3), which is at an offset of the table.
fn unit(structure: &[u8], at: usize) -> Result<UnitDescription, DmarError> {
    let short = |_| DmarError::BadLength(at);
    let [flags] = *bytes::<1>(structure, 4, at).map_err(short)?;
    let segment = u16::from_le_bytes(*bytes(structure, 6, at).map_err(short)?);
    let registers = u64::from_le_bytes(*bytes(structure, 8, at).map_err(short)?);
    if registers == 0 || !registers.is_multiple_of(4096) {
        return Err(DmarError::BadAddress(registers));
    }
    Ok(UnitDescription {
        segment,
        registers,
        has_the_rest: flags & 1 != 0,
        scopes: scopes(&structure[16..], at + 16)?,
    })
}

/// A structure of reserved memory (section 8.4), as above.
fn reserved(structure: &[u8], at: usize) -> Result<Reserved, DmarError> {
    let short = |_| DmarError::BadLength(at);
    Ok(Reserved {
        segment: u16::from_le_bytes(*bytes(structure, 6, at).map_err(short)?),
        start: u64::from_le_bytes(*bytes(structure, 8, at).map_err(short)?),
        last: u64::from_le_bytes(*bytes(structure, 16, at).map_err(short)?),
        scopes: scopes(&structure[24..], at + 24)?,
    })
}

/// Device scopes up to the end (section 8.3.1).
fn scopes(mut rest: &[u8], mut at: usize) -> Result<Vec<Scope>, DmarError> {
    let mut scopes = Vec::new();
    while !rest.is_empty() {
        let [kind, length, ..] = *rest else {
            return Err(DmarError::Truncated(at));
        };
        let (scope, next) = rest
            .split_at_checked(length.into())
            .ok_or(DmarError::Truncated(at))?;
        let [_, _, _, _, _, bus, path @ ..] = scope else {
            return Err(DmarError::BadLength(at));
        };
        let kind = match kind {
            1 => ScopeKind::Function,
            2 => ScopeKind::Bridge,
            _ => ScopeKind::Other,
        };
        let mut steps = [(0, 0); MAX_PATH];
        let count = path.len() / 2;
        if !path.len().is_multiple_of(2) || count > MAX_PATH {
            return Err(DmarError::BadLength(at));
        }
        for (step, pair) in steps.iter_mut().zip(path.chunks_exact(2)) {
            *step = (pair[0] & 0x1f, pair[1] & 7);
        }
        if scopes.len() == MAX_SCOPES {
            return Err(DmarError::TooMany("device scopes"));
        }
        let scope = Scope::new(kind, *bus, &steps[..count]);
        scopes.push(scope.ok_or(DmarError::BadLength(at))?);
        (rest, at) = (next, at + usize::from(length));
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests;
