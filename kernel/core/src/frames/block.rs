//! The bookkeeping of one block of frames.

/// Frames in a [`Block`].
pub const FRAMES_PER_BLOCK: u64 = 512;

pub(super) const WORDS: usize = 8;
pub(super) const WHOLE_COUNT: u16 = FRAMES_PER_BLOCK as u16;

/// The bookkeeping of 512 frames. All zeros is the valid state "no frame is ours".
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Block {
    /// A bit per frame that is free.
    pub(super) free: [u64; WORDS],
    /// How many bits of `free` are set.
    pub(super) count: u16,
    /// A bit per word of `free` that is not 0.
    pub(super) words: u8,
    reserved: u8,
    /// The neighbours in the list, as index + 1; 0 is none.
    pub(super) next: u32,
    pub(super) previous: u32,
    /// A bit per frame that was added: the others are not ours.
    pub(super) ours: [u64; WORDS],
}

const _: () = assert!(size_of::<Block>() == 144);

impl Block {
    /// No frame is ours.
    pub const EMPTY: Self = Self {
        free: [0; WORDS],
        count: 0,
        words: 0,
        reserved: 0,
        next: 0,
        previous: 0,
        ours: [0; WORDS],
    };

    /// The first run of free frames, `(first, count)`, of which at most `most` are wanted.
    /// The block must have a free frame.
    #[inline]
    pub(super) fn first_run(&self, most: u32) -> (u32, u32) {
        let word = self.words.trailing_zeros() & 7;
        let bits = self.free[word as usize];
        let bit = bits.trailing_zeros() & 63;
        let mut count = (bits >> bit).trailing_ones();
        let first = word * 64 + bit;
        if bit + count == 64 {
            for &bits in &self.free[word as usize + 1..] {
                count += bits.trailing_ones();
                if bits != !0 || count >= most {
                    break;
                }
            }
        }
        (first, count.min(most))
    }
}

/// The words of a block and the bits in them that belong to `count` frames from `first` on.
#[inline]
pub(super) fn masks(first: u32, count: u32) -> impl Iterator<Item = (usize, u64)> {
    let end = first + count;
    (first / 64..end.div_ceil(64)).map(move |word| {
        let low = first.saturating_sub(word * 64);
        let high = (end - word * 64).min(64);
        ((word & 7) as usize, !0 << low & !0 >> (64 - high))
    })
}
