//! The ELF note by which a program says for which ABI it was built.
//!
//! Its layout is that of `spillway_abi::note`, which this crate does not depend on: a note in a
//! `PT_NOTE` segment with the name `Spillway`, type 1 and a 32-bit version.

/// The note's owner, with its final zero.
const NAME: &[u8] = b"Spillway\0";
/// The note's type: the ABI version follows.
const TYPE_ABI: u32 = 1;

/// The ABI version in the notes of one `PT_NOTE` segment.
///
/// Notes follow one another: three words (bytes of name, bytes of description, type), then both
/// texts, each filled up to a multiple of 4 (System V ABI, "Note Section").
pub fn abi_version(mut notes: &[u8]) -> Option<u32> {
    loop {
        let name_size = take_word(&mut notes)?;
        let description_size = take_word(&mut notes)?;
        let note_type = take_word(&mut notes)?;
        let name = take(&mut notes, name_size)?;
        let description = take(&mut notes, description_size)?;
        if name == NAME && note_type == TYPE_ABI {
            return Some(u32::from_le_bytes(*description.first_chunk()?));
        }
    }
}

fn take_word(bytes: &mut &[u8]) -> Option<u32> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*word))
}

/// Takes `size` bytes and the filling behind them, which may be missing at the end.
fn take<'a>(bytes: &mut &'a [u8], size: u32) -> Option<&'a [u8]> {
    let size = usize::try_from(size).ok()?;
    let (taken, _) = bytes.split_at_checked(size)?;
    let filled = size.checked_next_multiple_of(4)?.min(bytes.len());
    *bytes = &bytes[filled..];
    Some(taken)
}
