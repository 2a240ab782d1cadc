//! The ELF note by which a program says for which ABI it was built.
//!
//! Section `.note.spillway`, in a `PT_NOTE` segment: name `Spillway\0`, type 1, a 32-bit version.

/// The note's owner, with its final zero.
pub const NAME: &[u8; 9] = b"Spillway\0";
/// The note's type: the ABI version follows.
pub const TYPE_ABI: u32 = 1;

/// The note as it lies in a program.
#[derive(Debug)]
#[repr(C, align(4))]
pub struct AbiNote {
    name_size: u32,
    description_size: u32,
    note_type: u32,
    name: [u8; 12],
    version: u32,
}

const _: () = assert!(size_of::<AbiNote>() == 28);

impl AbiNote {
    /// The note for this version of the ABI.
    pub const CURRENT: Self = Self {
        name_size: NAME.len() as u32,
        description_size: 4,
        note_type: TYPE_ABI,
        name: *b"Spillway\0\0\0\0",
        version: crate::ABI_VERSION,
    };
}
