//! The few instructions that matter, by their bytes (Intel SDM vol. 2).

/// What an instruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `xchg bx, bx`: a region begins or ends.
    Marker,
    /// `mov cr3, r`: another address space, whose root is in the register of this number.
    Switch(usize),
    /// Anything else.
    Other,
}

/// Decodes an instruction.
pub fn decode(bytes: &[u8]) -> Kind {
    match *bytes {
        [0x66, 0x87, 0xdb] => Kind::Marker,
        // A REX prefix may come before it, whose lowest bit is that of the register above 7.
        [prefix @ 0x40..=0x4f, 0x0f, 0x22, modrm] if is_cr3(prefix, modrm) => {
            Kind::Switch(usize::from(modrm & 7 | (prefix & 1) << 3))
        }
        [0x0f, 0x22, modrm] if is_cr3(0, modrm) => Kind::Switch(usize::from(modrm & 7)),
        _ => Kind::Other,
    }
}

/// Whether `mov` to a control register names CR3. Bit 2 of the prefix would make it CR11.
const fn is_cr3(prefix: u8, modrm: u8) -> bool {
    prefix & 4 == 0 && modrm >> 3 & 7 == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_switches_are_found() {
        assert_eq!(decode(&[0x66, 0x87, 0xdb]), Kind::Marker);
        assert_eq!(decode(&[0x87, 0xdb]), Kind::Other);
        assert_eq!(decode(&[0x0f, 0x22, 0xd8]), Kind::Switch(0));
        assert_eq!(decode(&[0x0f, 0x22, 0xdf]), Kind::Switch(7));
        assert_eq!(decode(&[0x41, 0x0f, 0x22, 0xd9]), Kind::Switch(9));
        assert_eq!(decode(&[0x48, 0x0f, 0x22, 0xd8]), Kind::Switch(0));
        // CR0, CR4, CR8, and a read of CR3.
        assert_eq!(decode(&[0x0f, 0x22, 0xc0]), Kind::Other);
        assert_eq!(decode(&[0x0f, 0x22, 0xe0]), Kind::Other);
        assert_eq!(decode(&[0x44, 0x0f, 0x22, 0xc0]), Kind::Other);
        assert_eq!(decode(&[0x0f, 0x20, 0xd8]), Kind::Other);
        assert_eq!(decode(&[]), Kind::Other);
    }
}
