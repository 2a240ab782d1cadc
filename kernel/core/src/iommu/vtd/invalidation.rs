//! Descriptors of the invalidation queue (section 6.5.2), 16 bytes each.

use super::entries::DomainId;

/// One descriptor, as its two words.
pub type Descriptor = [u64; 2];

const CONTEXT: u64 = 1;
const IOTLB: u64 = 2;
const INTERRUPT: u64 = 4;
const WAIT: u64 = 5;
const GLOBAL: u64 = 1 << 4;

/// Forget all context entries (section 6.5.2.1).
pub const fn all_contexts() -> Descriptor {
    [CONTEXT | GLOBAL, 0]
}

/// Forget the context entry of one function that belonged to one domain (section 6.5.2.1).
pub const fn context(domain: DomainId, requester: u16) -> Descriptor {
    const DEVICE: u64 = 3 << 4;
    let source = (requester as u64) << 32;
    [CONTEXT | DEVICE | (domain.0 as u64) << 16 | source, 0]
}

/// Forget all translations (section 6.5.2.3), after the requests that use them if the unit can
/// wait for those.
pub const fn all_translations(drain_reads: bool, drain_writes: bool) -> Descriptor {
    [IOTLB | GLOBAL | drain(drain_reads, drain_writes), 0]
}

/// Forget all translations of a domain, as above.
pub const fn translations(domain: DomainId, drain_reads: bool, drain_writes: bool) -> Descriptor {
    const DOMAIN: u64 = 2 << 4;
    let domain = (domain.0 as u64) << 16;
    [
        IOTLB | DOMAIN | drain(drain_reads, drain_writes) | domain,
        0,
    ]
}

const fn drain(reads: bool, writes: bool) -> u64 {
    (reads as u64) << 7 | (writes as u64) << 6
}

/// Forget all entries for interrupts (section 6.5.2.7).
pub const fn all_interrupts() -> Descriptor {
    [INTERRUPT, 0]
}

/// Forget one entry for an interrupt (section 6.5.2.7).
pub const fn interrupt(entry: u16) -> Descriptor {
    const SELECTED: u64 = 1 << 4;
    [INTERRUPT | SELECTED | (entry as u64) << 32, 0]
}

/// When all before it are done, write `value` to the physical address `status`, a multiple of 4
/// (section 6.5.2.8).
pub const fn wait(status: u64, value: u32) -> Descriptor {
    const WRITE: u64 = 1 << 5;
    [WAIT | WRITE | (value as u64) << 32, status & !3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_specification() {
        let domain = DomainId(0xbeef);
        assert_eq!(all_contexts(), [0x11, 0]);
        assert_eq!(context(domain, 0x0318), [0x0000_0318_beef_0031, 0]);
        assert_eq!(all_translations(false, false), [0x12, 0]);
        assert_eq!(all_translations(true, true), [0xd2, 0]);
        assert_eq!(translations(domain, true, false), [0xbeef_00a2, 0]);
        assert_eq!(translations(domain, false, true), [0xbeef_0062, 0]);
        assert_eq!(all_interrupts(), [0x04, 0]);
        assert_eq!(interrupt(0xffff), [0x0000_ffff_0000_0014, 0]);
        assert_eq!(wait(0x1234_5004, 7), [0x0000_0007_0000_0025, 0x1234_5004]);
    }
}
