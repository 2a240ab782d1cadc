//! The configuration space of an emulated function.

use std::ops::Range;

use spillway_hal::{ConfigWidth, DeviceId, HalError, HalErrorKind};

/// Bytes of configuration space (PCI Express Base 5.0, section 7.2.2).
const SIZE: usize = 4096;
/// Bytes of the header that all functions have.
const HEADER: usize = 0x40;
/// Where capabilities may lie: after the header, before the extended ones.
const CAPABILITIES: Range<usize> = HEADER..0x100;
/// Capability IDs (PCI Code and ID Assignment 1.11, section 2).
const MSI: u8 = 0x05;
const EXPRESS: u8 = 0x10;
const MSIX: u8 = 0x11;

/// What a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// Memory, with an address of 32 bits.
    Memory32,
    /// Memory, with an address of 64 bits; takes the next BAR as well.
    Memory64,
    /// I/O ports, which no driver gets.
    Io,
}

/// Configuration space as the emulated device describes itself, built with the methods below.
///
/// They panic on a description that contradicts itself: that is a mistake in the emulation.
#[derive(Clone)]
pub struct ConfigSpace {
    bytes: Box<[u8; SIZE]>,
    id: DeviceId,
    bars: [Option<(BarKind, usize)>; 6],
    vectors: u16,
    /// BAR and pages of the MSI-X table, which the driver must not write.
    msix_table: Option<(u8, Range<usize>)>,
    /// Where the next capability goes, and the pointer that will refer to it.
    next: usize,
    link: usize,
    /// What a driver must not write, beside the header.
    protected: Vec<Range<usize>>,
}

impl ConfigSpace {
    /// An endpoint without BARs and capabilities.
    pub fn new(id: DeviceId) -> Self {
        let mut bytes = Box::new([0; SIZE]);
        bytes[0..2].copy_from_slice(&id.vendor.to_le_bytes());
        bytes[2..4].copy_from_slice(&id.device.to_le_bytes());
        bytes[4] = 0x02; // Command: memory space is enabled, as the kernel leaves it
        bytes[8..12].copy_from_slice(&[id.revision, id.interface, id.subclass, id.class]);
        Self {
            bytes,
            id,
            bars: [None; 6],
            vectors: 0,
            msix_table: None,
            next: CAPABILITIES.start,
            link: 0x34,
            protected: Vec::new(),
        }
    }

    /// Adds a BAR of `size` bytes, a power of two of at least 16.
    pub fn bar(mut self, index: u8, kind: BarKind, size: usize) -> Self {
        assert!(
            size.is_power_of_two() && size >= 16,
            "a BAR's size is a power of two from 16"
        );
        let slot = usize::from(index);
        let (flags, address) = match kind {
            BarKind::Memory32 => (0x0, 0xf000_0000),
            BarKind::Memory64 => (0x4, 0xf000_0000),
            BarKind::Io => (0x1, 0xc000u32),
        };
        if kind == BarKind::Memory64 {
            assert!(
                slot < 5 && self.bars[slot + 1].is_none(),
                "no room for the upper half"
            );
        }
        assert!(self.bars[slot].is_none(), "the BAR is taken");
        self.bars[slot] = Some((kind, size));
        self.put(0x10 + 4 * slot, &(address | flags).to_le_bytes());
        self
    }

    /// Adds a capability with the given bytes after its ID and next pointer.
    pub fn capability(mut self, id: u8, body: &[u8]) -> Self {
        self.add(id, body);
        self
    }

    /// Adds the PCI Express capability of an endpoint that can reset itself (FLR).
    pub fn express(mut self) -> Self {
        let mut body = [0; 0x3a];
        body[0] = 0x02; // PCI Express Capabilities: version 2, endpoint
        body[2..6].copy_from_slice(&(1u32 << 28).to_le_bytes()); // Device Capabilities: FLR
        let at = self.add(EXPRESS, &body);
        self.protected.push(at..at + 2 + body.len());
        self
    }

    /// Adds MSI with `vectors` messages: 1, 2, 4, 8, 16 or 32.
    pub fn msi(mut self, vectors: u16) -> Self {
        assert!(
            vectors.is_power_of_two() && vectors <= 32,
            "MSI has 1 to 32 vectors"
        );
        self.vectors = self.vectors.max(vectors);
        let mut body = [0; 12];
        body[0] = 0x80 | (vectors.trailing_zeros() as u8) << 1; // 64-bit addresses
        let at = self.add(MSI, &body);
        self.protected.push(at..at + 2 + body.len());
        self
    }

    /// Adds MSI-X with `vectors` entries (1 to 2048), whose table lies `offset` bytes into BAR
    /// `bar` and is followed by its pending bits.
    pub fn msix(mut self, vectors: u16, bar: u8, offset: usize) -> Self {
        assert!((1..=2048).contains(&vectors), "MSI-X has 1 to 2048 vectors");
        let entries = usize::from(vectors);
        let pending = offset + 16 * entries;
        let end = pending + 8 * entries.div_ceil(64);
        let size = self.bars[usize::from(bar)].map_or(0, |(_, size)| size);
        assert!(
            offset.is_multiple_of(8) && end <= size,
            "the table does not fit into its BAR"
        );
        self.vectors = self.vectors.max(vectors);
        self.msix_table = Some((bar, offset & !0xfff..pending.next_multiple_of(0x1000)));
        let mut body = [0; 10];
        body[0..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(offset as u32 | u32::from(bar)).to_le_bytes());
        body[6..10].copy_from_slice(&(pending as u32 | u32::from(bar)).to_le_bytes());
        let at = self.add(MSIX, &body);
        self.protected.push(at..at + 2 + body.len());
        self
    }

    /// Overwrites bytes at `offset`, without any check: for configuration spaces that lie.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn add(&mut self, id: u8, body: &[u8]) -> usize {
        let at = self.next;
        let end = at + 2 + body.len();
        assert!(end <= CAPABILITIES.end, "no room for another capability");
        self.bytes[6] |= 0x10; // Status: there is a capabilities list
        self.bytes[self.link] = at as u8;
        self.bytes[at] = id;
        self.put(at + 2, body);
        self.link = at + 1;
        self.next = end.next_multiple_of(4);
        at
    }

    /// What the function says it is.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    pub(crate) fn vectors(&self) -> u16 {
        self.vectors
    }

    pub(crate) fn bar_at(&self, index: u8) -> Option<(BarKind, usize)> {
        *self.bars.get(usize::from(index))?
    }

    /// Whether a register write would touch the MSI-X table's pages.
    pub(crate) fn is_vector_table(&self, bar: u8, offset: usize) -> bool {
        matches!(&self.msix_table, Some((table, pages)) if *table == bar && pages.contains(&offset))
    }

    pub(crate) fn set_bus_master(&mut self, on: bool) {
        self.bytes[4] = self.bytes[4] & !0x04 | if on { 0x04 } else { 0 };
    }

    pub(crate) fn read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError> {
        let range = checked(offset, width)?;
        let mut value = [0; 4];
        value[..range.len()].copy_from_slice(&self.bytes[range]);
        Ok(u32::from_le_bytes(value))
    }

    pub(crate) fn write(
        &mut self,
        offset: u16,
        width: ConfigWidth,
        value: u32,
    ) -> Result<(), HalError> {
        let range = checked(offset, width)?;
        let overlaps = |other: &Range<usize>| range.start < other.end && other.start < range.end;
        if overlaps(&(0..HEADER)) || self.protected.iter().any(overlaps) {
            return Err(HalError::new(
                HalErrorKind::Refused,
                "the header and the capabilities for interrupts and reset belong to the system",
            ));
        }
        let length = range.len();
        self.bytes[range].copy_from_slice(&value.to_le_bytes()[..length]);
        Ok(())
    }
}

fn checked(offset: u16, width: ConfigWidth) -> Result<Range<usize>, HalError> {
    let start = usize::from(offset);
    let bytes = usize::from(width.bytes());
    if !start.is_multiple_of(bytes) || start + bytes > SIZE {
        return Err(HalError::new(
            HalErrorKind::InvalidArgument,
            "a configuration access is aligned to its width and ends at 4096",
        ));
    }
    Ok(start..start + bytes)
}
