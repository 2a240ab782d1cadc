//! Bytes that follow from a seed and their place: whoever reads them, in the guest or on the host,
//! knows whether they are the right ones and whether they are where they belong.
#![no_std]
#![forbid(unsafe_code)]

/// The word at byte `8 * index`, little-endian: the finaliser of SplitMix64 (Steele, Lea, Flood
/// 2014), which gives every index another word.
const fn word(seed: u64, index: u64) -> u64 {
    let mut bits = seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// The words of `length` bytes from byte `offset` on. Both are multiples of 8.
fn words(seed: u64, offset: u64, length: usize) -> impl Iterator<Item = [u8; 8]> {
    assert!(offset.is_multiple_of(8) && length.is_multiple_of(8));
    let first = offset / 8;
    (first..first + length as u64 / 8).map(move |index| word(seed, index).to_le_bytes())
}

/// Writes the bytes that belong at `offset`. Panics if `offset` or the length is not a multiple
/// of 8.
pub fn fill(seed: u64, offset: u64, bytes: &mut [u8]) {
    let words = words(seed, offset, bytes.len());
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word);
    }
}

/// Where the first 8 bytes are that do not belong there, if there are any: `bytes` are those at
/// `offset`. Panics if `offset` or the length is not a multiple of 8.
pub fn first_wrong(seed: u64, offset: u64, bytes: &[u8]) -> Option<u64> {
    let words = words(seed, offset, bytes.len());
    let mut chunks = bytes.chunks_exact(8).zip(words);
    let index = chunks.position(|(chunk, word)| chunk != word)?;
    Some(offset + 8 * index as u64)
}

#[cfg(test)]
mod tests {
    use super::{fill, first_wrong};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wrong_bit_and_a_wrong_place_are_found(
            seed: u64, word in 0..1u64 << 40, bit in 0..8 * 512usize
        ) {
            let offset = 8 * word;
            let mut bytes = [0; 512];
            fill(seed, offset, &mut bytes);
            prop_assert_eq!(first_wrong(seed, offset, &bytes), None);
            prop_assert_eq!(first_wrong(seed, offset + 512, &bytes), Some(offset + 512));
            prop_assert!(first_wrong(seed ^ 1, offset, &bytes).is_some());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(first_wrong(seed, offset, &bytes), Some(offset + bit as u64 / 64 * 8));
        }
    }
}
