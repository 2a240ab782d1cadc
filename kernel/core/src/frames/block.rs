//! One block of frames: its bits and their count.

/// Frames in a [`Block`].
pub const FRAMES_PER_BLOCK: u64 = 512;

const WORDS: usize = 8;
/// [`Block::count`] when all frames are free.
pub(super) const WHOLE: u16 = FRAMES_PER_BLOCK as u16;

/// Why frames were not taken back. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// A frame was never added to this allocator.
    Foreign,
    /// A frame is free already.
    AlreadyFree,
}

impl core::fmt::Display for FreeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Foreign => "a frame is not memory of this allocator",
            Self::AlreadyFree => "a frame is free already",
        })
    }
}

impl core::error::Error for FreeError {}

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

/// Calls `f` with each word that has bits for the `count` frames from `first` on, and these bits.
#[inline]
fn for_each_word(first: u32, count: u32, mut f: impl FnMut(usize, u64)) {
    let (mut frame, mut left) = (first, count);
    while left > 0 {
        let bit = frame % 64;
        let here = left.min(64 - bit);
        f((frame / 64) as usize % WORDS, !0 >> (64 - here) << bit);
        frame += here;
        left -= here;
    }
}

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

    #[inline]
    fn is_all_ours(&self) -> bool {
        self.ours.iter().fold(!0, |all, ours| all & ours) == !0
    }

    #[inline]
    fn is_none_ours(&self) -> bool {
        self.ours.iter().fold(0, |any, ours| any | ours) == 0
    }

    /// Takes the first free frame. There must be one.
    #[inline]
    pub(super) fn take_first(&mut self) -> u32 {
        debug_assert!(self.count > 0);
        let word = self.words.trailing_zeros() % WORDS as u32;
        let bits = self.free[word as usize];
        let rest = bits & bits.wrapping_sub(1);
        self.free[word as usize] = rest;
        if rest == 0 {
            self.words &= self.words.wrapping_sub(1);
        }
        self.count = self.count.wrapping_sub(1);
        word * 64 + bits.trailing_zeros()
    }

    /// The first run of free frames, `(first, count)`, of which at most `most` are wanted.
    /// There must be a free frame.
    #[inline]
    pub(super) fn first_run(&self, most: u32) -> (u32, u32) {
        debug_assert!(self.count > 0);
        let word = self.words.trailing_zeros() % WORDS as u32;
        let bits = self.free[word as usize];
        let bit = bits.trailing_zeros() % 64;
        let mut count = (bits >> bit).trailing_ones();
        if bit + count == 64 {
            for &bits in &self.free[word as usize + 1..] {
                count += bits.trailing_ones();
                if bits != !0 || count >= most {
                    break;
                }
            }
        }
        (word * 64 + bit, count.min(most))
    }

    /// The first free frame from `first` on.
    #[inline]
    pub(super) fn next_free(&self, first: u32) -> Option<u32> {
        let word = first as usize / 64;
        let here = self.free[word % WORDS] >> (first % 64);
        if here != 0 {
            return Some(first + here.trailing_zeros());
        }
        let later = u32::from(self.words) >> word >> 1;
        if later == 0 {
            return None;
        }
        let word = word + 1 + later.trailing_zeros() as usize;
        Some(word as u32 * 64 + self.free[word % WORDS].trailing_zeros())
    }

    /// The last frame in `first..=last` that is not free.
    #[inline]
    pub(super) fn last_used(&self, first: u32, last: u32) -> Option<u32> {
        let mut last = last;
        loop {
            let used = !self.free[last as usize / 64 % WORDS] << (63 - last % 64);
            if used != 0 {
                return Some(last - used.leading_zeros()).filter(|&frame| frame >= first);
            }
            last = (last & !63).checked_sub(1)?;
        }
    }

    /// Makes frames ours and free, apart from those that are ours already.
    #[inline]
    pub(super) fn add(&mut self, first: u32, count: u32) {
        if count == u32::from(WHOLE) && self.is_none_ours() {
            self.ours = [!0; WORDS];
            self.free = [!0; WORDS];
            self.words = !0;
            self.count = WHOLE;
            return;
        }
        for_each_word(first, count, |word, mask| {
            let new = mask & !self.ours[word];
            self.ours[word] |= new;
            self.free[word] |= new;
            self.words |= u8::from(new != 0) << word;
            self.count += new.count_ones() as u16;
        });
    }

    /// Takes frames that are known to be free.
    #[inline]
    pub(super) fn take(&mut self, first: u32, count: u32) {
        self.count -= count as u16;
        if count == u32::from(WHOLE) {
            self.free = [0; WORDS];
            self.words = 0;
            return;
        }
        for_each_word(first, count, |word, mask| {
            debug_assert_eq!(self.free[word] & mask, mask, "a frame is given out twice");
            self.free[word] &= !mask;
            self.words &= !(u8::from(self.free[word] == 0) << word);
        });
    }

    /// Whether all of these frames are ours and in use.
    #[inline]
    pub(super) fn check_used(&self, first: u32, count: u32) -> Result<(), FreeError> {
        if count == u32::from(WHOLE) && self.count == 0 && self.is_all_ours() {
            return Ok(());
        }
        let (mut foreign, mut free) = (0, 0);
        for_each_word(first, count, |word, mask| {
            foreign |= mask & !self.ours[word];
            free |= mask & self.free[word];
        });
        match (foreign, free) {
            (0, 0) => Ok(()),
            (0, _) => Err(FreeError::AlreadyFree),
            _ => Err(FreeError::Foreign),
        }
    }

    /// [`check_used`](Self::check_used) for one frame.
    #[inline]
    pub(super) fn check_used_one(&self, frame: u32) -> Result<(), FreeError> {
        let (word, bit) = (frame as usize / 64 % WORDS, frame % 64);
        if self.ours[word] >> bit & 1 == 0 {
            Err(FreeError::Foreign)
        } else if self.free[word] >> bit & 1 != 0 {
            Err(FreeError::AlreadyFree)
        } else {
            Ok(())
        }
    }

    /// [`put_back`](Self::put_back) for one frame.
    #[inline]
    pub(super) fn put_back_one(&mut self, frame: u32) {
        let word = frame as usize / 64 % WORDS;
        self.free[word] |= 1 << (frame % 64);
        self.words |= 1 << word;
        self.count += 1;
    }

    /// Takes frames back that passed [`check_used`](Self::check_used).
    #[inline]
    pub(super) fn put_back(&mut self, first: u32, count: u32) {
        self.count += count as u16;
        if count == u32::from(WHOLE) {
            self.free = [!0; WORDS];
            self.words = !0;
            return;
        }
        for_each_word(first, count, |word, mask| {
            self.free[word] |= mask;
            self.words |= 1 << word;
        });
    }
}
