//! Fault records and what their numbers mean.

use crate::{
    iommu::fault::{Attempt, Fault},
    pci::FunctionId,
};

/// The highest bit of the record's second word: the record is in use; written to free it (section
/// 11.4.7.6).
pub const IN_USE: u64 = 1 << 63;

/// The reason of a message in the old format, which names no entry.
const COMPATIBILITY: u8 = 0x25;

/// Reads a fault record (section 11.4.7.6), two words; `None` if it is not in use.
pub fn decode(segment: u16, [first, second]: [u64; 2]) -> Option<Fault> {
    if second & IN_USE == 0 {
        return None;
    }
    let code = (second >> 32) as u8;
    // Type bit T1: clear for writes, set for reads and atomic operations.
    let is_read = second >> 62 & 1 != 0;
    let attempt = if is_interrupt(code) {
        Attempt::Interrupt((code != COMPATIBILITY).then_some((first >> 48) as u16))
    } else if is_read {
        Attempt::Read(first & !0xfff)
    } else {
        Attempt::Write(first & !0xfff)
    };
    Some(Fault {
        function: FunctionId::from_raw(u32::from(segment) << 16 | second as u32 & 0xffff),
        attempt,
        reason: describe(code),
        code,
    })
}

/// Whether the reason is one of interrupt remapping (section 5.1.4.1).
const fn is_interrupt(code: u8) -> bool {
    matches!(code, 0x20..=0x2f)
}

/// The reason of a fault (section 7.1.3 for accesses to memory, 5.1.4.1 for interrupts).
pub const fn describe(code: u8) -> &'static str {
    match code {
        0x01 | 0x02 => "nothing is granted to the function",
        0x03 => "its context entry is invalid",
        0x04 => "the address is too wide",
        0x05 => "nothing is pinned there for writing",
        0x06 => "nothing is pinned there for reading",
        0x07 => "a page table could not be read",
        0x08 => "the root table could not be read",
        0x09 => "a context table could not be read",
        0x0a..=0x0c => "a reserved bit is set in a table",
        0x0d => "the request claims to be translated already",
        0x0e => "the address is one of interrupts",
        0x20 => "the message is malformed",
        0x21 => "the entry is beyond the table",
        0x22 => "nothing is granted through the entry",
        0x23 => "the remapping table could not be read",
        0x24 => "a reserved bit is set in the entry",
        COMPATIBILITY => "the message asks to go around remapping",
        0x26 => "the entry is another function's",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: u64 = IN_USE | 0x0318;

    #[test]
    fn a_free_record_is_none() {
        assert_eq!(decode(0, [!0, !IN_USE]), None);
    }

    #[test]
    fn accesses_and_interrupts_are_told_apart() {
        let fault = decode(7, [0x1234_5fff, USED | 5 << 32]).unwrap();
        assert_eq!(fault.function, FunctionId::from_raw(0x0007_0318));
        assert_eq!(fault.attempt, Attempt::Write(0x1234_5000));
        let fault = decode(7, [0x1234_5000, USED | 6 << 32 | 1 << 62]).unwrap();
        assert_eq!(fault.attempt, Attempt::Read(0x1234_5000));
        assert_eq!(fault.address(), Some(0x1234_5000));
        let fault = decode(7, [9 << 48, USED | 0x22 << 32]).unwrap();
        assert_eq!(fault.attempt, Attempt::Interrupt(Some(9)));
        assert_eq!(fault.address(), None);
        let fault = decode(7, [9 << 48, USED | 0x25 << 32]).unwrap();
        assert_eq!(fault.attempt, Attempt::Interrupt(None));
    }

    #[test]
    fn every_code_has_words() {
        for code in 0..=255 {
            assert!(!describe(code).is_empty());
        }
    }
}
