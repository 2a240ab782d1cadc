//! The names by which functions are opened (`spillway_abi::device`).

use super::FunctionId;

/// The longest name that is looked at, in bytes.
pub const MAX_NAME: usize = 64;

/// What a name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `pci:SSSS:BB:DD.F`.
    Address(FunctionId),
    /// `class:CCSSII#N`.
    Class {
        /// Class, subclass and programming interface, the class in the highest byte.
        code: u32,
        /// Which of them, from 0.
        nth: u32,
    },
    /// `id:VVVV:DDDD#N`.
    Identity {
        /// The vendor's number.
        vendor: u16,
        /// The vendor's number for the device.
        device: u16,
        /// Which of them, from 0.
        nth: u32,
    },
}

impl Selector {
    /// Reads a name; `None` if it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once(':')?;
        match kind {
            "pci" => address(rest).map(Self::Address),
            "class" => {
                let (code, nth) = numbered(rest)?;
                Some(Self::Class {
                    code: hex(code, 6)?,
                    nth,
                })
            }
            "id" => {
                let (id, nth) = numbered(rest)?;
                let (vendor, device) = id.split_once(':')?;
                let (vendor, device) = (hex(vendor, 4)? as u16, hex(device, 4)? as u16);
                Some(Self::Identity {
                    vendor,
                    device,
                    nth,
                })
            }
            _ => None,
        }
    }
}

fn address(text: &str) -> Option<FunctionId> {
    let (segment, rest) = text.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let id = FunctionId {
        segment: hex(segment, 4)? as u16,
        bus: hex(bus, 2)? as u8,
        device: hex(device, 2)? as u8,
        function: hex(function, 1)? as u8,
    };
    (id.device < 32 && id.function < 8).then_some(id)
}

/// Splits off `#N`; 0 if there is none.
fn numbered(text: &str) -> Option<(&str, u32)> {
    match text.split_once('#') {
        None => Some((text, 0)),
        Some((head, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((head, number.parse().ok()?))
        }
        Some(_) => None,
    }
}

/// A number of exactly so many hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u32> {
    let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::format;

    proptest! {
        #[test]
        fn an_address_is_found_by_its_own_text(raw: u32) {
            let id = FunctionId::from_raw(raw);
            prop_assert_eq!(Selector::parse(&format!("pci:{id}")), Some(Selector::Address(id)));
        }

        #[test]
        fn any_text_is_a_name_or_not(text in ".{0,70}") {
            let _ = Selector::parse(&text);
        }
    }

    #[test]
    fn names_are_read_exactly() {
        let nvme = |nth| {
            Some(Selector::Class {
                code: 0x010802,
                nth,
            })
        };
        assert_eq!(Selector::parse("class:010802"), nvme(0));
        assert_eq!(Selector::parse("class:010802#3"), nvme(3));
        assert_eq!(
            Selector::parse("id:1234:11e8"),
            Some(Selector::Identity {
                vendor: 0x1234,
                device: 0x11e8,
                nth: 0
            })
        );
        for wrong in [
            "",
            "class",
            "class:",
            "class:0108",
            "class:01080200",
            "class:010802#",
            "class:01080g",
            "class:010802#+1",
            "class:010802#99999999999",
            "id:1234",
            "id:1234:11e8:1",
            "pci:0:0:0.0",
            "pci:0000:00:20.0",
            "pci:0000:00:1f.8",
            "usb:0000",
            "class:+10802",
        ] {
            assert_eq!(Selector::parse(wrong), None, "{wrong}");
        }
    }
}
