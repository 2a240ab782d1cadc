//! Entries of the tables that say what a function may do: root, context, interrupt remapping.
//!
//! An entry has two words. The first has the bit "present" in all of them, so it is written last
//! when an entry comes and first when it goes; an entry of zeros blocks.

use crate::pci::FunctionId;

/// The number by which a unit remembers whose translation is whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DomainId(pub u16);

/// One entry, as its two words.
pub type Entry = [u64; 2];

const PRESENT: u64 = 1;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Whether an entry is present, from its first word.
pub const fn is_present(first: u64) -> bool {
    first & PRESENT != 0
}

/// The physical address of the table behind a root or context entry, from its first word.
pub const fn table(first: u64) -> u64 {
    first & ADDRESS
}

/// A bus whose context entries are in this table (section 9.1).
pub const fn root(context_table: u64) -> Entry {
    [context_table & ADDRESS | PRESENT, 0]
}

/// A function whose requests go through these page tables (section 9.3). Translation type 0:
/// requests that claim to be translated already are blocked.
pub const fn context(page_table: u64, levels: u8, domain: DomainId) -> Entry {
    let width = levels.saturating_sub(2) as u64 & 7;
    [
        page_table & ADDRESS | PRESENT,
        (domain.0 as u64) << 8 | width,
    ]
}

/// The domain of a context entry, from its second word.
pub const fn context_domain(second: u64) -> DomainId {
    DomainId((second >> 8) as u16)
}

/// An interrupt for one core that only one function may send (section 9.9): fixed delivery,
/// edge, physical destination, the whole requester identifier is compared.
///
/// `wide` says that the unit takes destinations of 32 bits; else they have 8.
pub const fn interrupt(function: FunctionId, vector: u8, apic_id: u32, wide: bool) -> Entry {
    const VERIFY_REQUESTER: u64 = 1 << 18;
    let destination = if wide {
        (apic_id as u64) << 32
    } else {
        (apic_id as u64 & 0xff) << 40
    };
    [
        destination | (vector as u64) << 16 | PRESENT,
        VERIFY_REQUESTER | function.requester() as u64,
    ]
}

/// What a device writes where to interrupt through an entry of the remapping table (section
/// 5.1.2.2).
pub const fn message(entry: u16) -> (u64, u32) {
    const REMAPPABLE: u64 = 1 << 4;
    let low = (entry as u64 & 0x7fff) << 5;
    let high = (entry as u64 >> 15) << 2;
    (0xfee0_0000 | low | REMAPPABLE | high, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FUNCTION: FunctionId = FunctionId::from_raw(0x0318);

    #[test]
    fn entries_are_those_of_the_specification() {
        assert_eq!(root(0x1234_5000), [0x1234_5001, 0]);
        assert_eq!(
            context(0x1234_5000, 4, DomainId(0xbeef)),
            [0x1234_5001, 0xbeef02]
        );
        assert_eq!(context(0, 3, DomainId(1)), [1, 0x101]);
        assert_eq!(
            interrupt(FUNCTION, 0x41, 0x0102_0304, true),
            [0x0102_0304_0041_0001, 0x4_0318]
        );
        assert_eq!(
            interrupt(FUNCTION, 0x41, 4, false),
            [0x0000_0400_0041_0001, 0x4_0318]
        );
        assert_eq!(message(0), (0xfee0_0010, 0));
        assert_eq!(message(0xffff), (0xfeef_fff4, 0));
    }

    proptest! {
        #[test]
        fn no_field_spills_into_another(table_frame in 0..1u64 << 40, domain: u16, entry: u16) {
            let [first, second] = context(table_frame << 12, 4, DomainId(domain));
            prop_assert!(is_present(first));
            prop_assert_eq!(table(first), table_frame << 12);
            prop_assert_eq!(first & !ADDRESS, PRESENT);
            prop_assert_eq!(context_domain(second), DomainId(domain));
            prop_assert_eq!(second & !0xffff00, 2);
            let (address, _) = message(entry);
            prop_assert!(crate::iommu::addresses::INTERRUPTS.contains(&address));
            prop_assert_eq!((address >> 5 & 0x7fff | (address >> 2 & 1) << 15) as u16, entry);
        }
    }
}
