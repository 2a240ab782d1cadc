//! What a remapping unit can do: its capability registers.

use super::second_level::Format;

/// The capability and extended capability registers (sections 11.4.2 and 11.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    capability: u64,
    extended: u64,
}

impl Capabilities {
    /// The two registers as they were read.
    pub const fn new(capability: u64, extended: u64) -> Self {
        Self {
            capability,
            extended,
        }
    }

    const fn has(self, bit: u32) -> bool {
        self.capability >> bit & 1 != 0
    }

    const fn has_extended(self, bit: u32) -> bool {
        self.extended >> bit & 1 != 0
    }

    /// The first thing that is needed and not there.
    pub const fn missing(self) -> Option<&'static str> {
        if self.levels().is_none() {
            Some("page tables of 3 or 4 levels")
        } else if !self.has_extended(1) {
            Some("queued invalidation")
        } else if !self.has_extended(3) {
            Some("interrupt remapping")
        } else {
            None
        }
    }

    /// The number of domain identifiers (ND), at most 65,536.
    pub const fn domains(self) -> u32 {
        let bits = 4 + 2 * (self.capability & 7) as u32;
        1 << if bits > 16 { 16 } else { bits }
    }

    /// Whether writes of tables must be pushed out of a buffer (RWBF).
    pub const fn needs_buffer_flush(self) -> bool {
        self.has(4)
    }

    /// Whether there is protected memory to switch off (PLMR, PHMR).
    pub const fn has_protected_memory(self) -> bool {
        self.has(5) || self.has(6)
    }

    /// Whether entries that are not present are remembered, too (CM).
    pub const fn is_caching(self) -> bool {
        self.has(7)
    }

    /// Levels of the page tables that are used: 4, or 3 where the unit has no more (SAGAW).
    pub const fn levels(self) -> Option<u8> {
        if self.has(8 + 2) {
            Some(4)
        } else if self.has(8 + 1) {
            Some(3)
        } else {
            None
        }
    }

    /// The shape of the page tables; that of the smallest unit if [`missing`](Self::missing) says
    /// that they are.
    pub const fn format(self) -> Format {
        let levels = match self.levels() {
            Some(levels) => levels,
            None => 3,
        };
        let largest = match (self.has(34), self.has(35)) {
            (true, true) => 3,
            (true, false) => 2,
            _ => 1,
        };
        Format { levels, largest }
    }

    /// Bits of an I/O address: what the unit takes (MGAW), and what the page tables cover.
    pub const fn address_bits(self) -> u32 {
        let unit = (self.capability >> 16 & 0x3f) as u32 + 1;
        let tables = self.format().address_bits();
        if unit < tables { unit } else { tables }
    }

    /// Where the fault records are, from the beginning of the registers (FRO).
    pub const fn fault_records(self) -> u32 {
        (self.capability >> 24 & 0x3ff) as u32 * 16
    }

    /// How many fault records there are (NFR).
    pub const fn fault_record_count(self) -> u32 {
        (self.capability >> 40 & 0xff) as u32 + 1
    }

    /// Bytes of registers, as far as they are used.
    pub const fn register_bytes(self) -> u64 {
        let end = (self.fault_records() + self.fault_record_count() * 16) as u64;
        if end < 4096 { 4096 } else { end }
    }

    /// Whether a flush can wait for writes that are on their way (DWD).
    pub const fn drains_writes(self) -> bool {
        self.has(54)
    }

    /// Whether a flush can wait for reads that are on their way (DRD).
    pub const fn drains_reads(self) -> bool {
        self.has(55)
    }

    /// Whether the unit sees what is in the processor's caches when it reads tables (C).
    pub const fn is_coherent(self) -> bool {
        self.has_extended(0)
    }

    /// Whether interrupts can go to interrupt controllers with numbers above 255 (EIM).
    pub const fn has_wide_destinations(self) -> bool {
        self.has_extended(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU 10 shows for `intel-iommu,intremap=on`.
    const QEMU: Capabilities = Capabilities::new(0x00d2_008c_222f_0686, 0x00f0_0f5a);

    #[test]
    fn qemu_is_understood() {
        assert_eq!(QEMU.missing(), None);
        assert_eq!(QEMU.levels(), Some(4));
        assert_eq!(QEMU.format().largest, 3);
        assert_eq!(QEMU.address_bits(), 48);
        assert_eq!(QEMU.domains(), 65536);
        assert_eq!(QEMU.fault_records(), 0x220);
        assert_eq!(QEMU.fault_record_count(), 1);
        assert_eq!(QEMU.register_bytes(), 4096);
        assert!(QEMU.drains_reads() && QEMU.drains_writes());
        assert!(!QEMU.is_coherent() && QEMU.has_wide_destinations());
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = (QEMU.capability, QEMU.extended);
        for (capability, extended, word) in [
            (all.0 & !(0x1f << 8), all.1, "levels"),
            (all.0, all.1 & !2, "queued"),
            (all.0, all.1 & !8, "interrupt"),
        ] {
            let missing = Capabilities::new(capability, extended).missing();
            assert!(missing.is_some_and(|text| text.contains(word)));
        }
    }

    #[test]
    fn the_smaller_of_two_widths_counts() {
        let narrow = Capabilities::new(0x2 << 8 | 47 << 16, 0);
        assert_eq!((narrow.levels(), narrow.address_bits()), (Some(3), 39));
        let narrow = Capabilities::new(0x4 << 8 | 38 << 16, 0);
        assert_eq!((narrow.levels(), narrow.address_bits()), (Some(4), 39));
    }
}
