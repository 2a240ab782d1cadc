//! What a ring carries.

/// What a ring carries: plain data.
///
/// # Safety
///
/// Every bit pattern is a valid value, no byte is padding, the size is a multiple of 8 but not 0,
/// and the alignment is at most 8. `WORDS`, `PER_LINE` and `SIZE` are as they are provided here.
pub unsafe trait Entry: Copy {
    /// Whether it moves word by word even if it fills whole lines of 64 bytes, which otherwise move
    /// in four pieces each. The pieces are less work for what is copied as a whole, the words for
    /// what is put together from single words, and looked at by single words.
    const BY_WORD: bool = false;
    /// The size in words of 8 bytes. To use it is to check sizes at compile time.
    const WORDS: usize = {
        assert!(size_of::<Self>() > 0 && size_of::<Self>().is_multiple_of(8));
        assert!(align_of::<Self>() <= 8);
        size_of::<Self>() / 8
    };
    /// How many entries move together, as they fill a line of 64 bytes; 1 if none do.
    const PER_LINE: usize = if 8 % Self::WORDS == 0 && !Self::BY_WORD {
        8 / Self::WORDS
    } else {
        1
    };
    /// The size in bytes.
    const SIZE: u32 = 8 * Self::WORDS as u32;
}

/// Words that move one by one: see [`Entry::BY_WORD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Words<const N: usize>(pub [u64; N]);

// SAFETY: one word, of which every pattern is valid.
unsafe impl Entry for u64 {}
// SAFETY: words without padding; that there is at least one is checked by `WORDS`.
unsafe impl<const N: usize> Entry for [u64; N] {}
// SAFETY: as the words that it is.
unsafe impl<const N: usize> Entry for Words<N> {
    const BY_WORD: bool = true;
}
