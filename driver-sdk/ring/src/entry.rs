//! What a ring carries, and how it is copied while the other side may be writing to it.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic::Ordering;

use crate::Word;

/// What a ring carries: plain data.
///
/// # Safety
///
/// Every bit pattern is a valid value, no byte is padding, the size is a multiple of 8 but not 0,
/// and the alignment is at most 8. The constants are as they are provided here.
pub unsafe trait Entry: Copy {
    /// The size in words of 8 bytes. To use it is to check sizes at compile time.
    const WORDS: usize = {
        assert!(size_of::<Self>() > 0 && size_of::<Self>().is_multiple_of(8));
        assert!(align_of::<Self>() <= 8);
        size_of::<Self>() / 8
    };
    /// The size in bytes.
    const SIZE: u32 = 8 * Self::WORDS as u32;
}

// SAFETY: one word, of which every pattern is valid.
unsafe impl Entry for u64 {}
// SAFETY: words without padding; that there is at least one is checked by `WORDS`.
unsafe impl<const N: usize> Entry for [u64; N] {}

/// Copies an entry out of the ring. The other side may write at the same time: then the copy is
/// any mixture of words, which is still a valid entry.
///
/// # Safety
///
/// `slot` is the first of the entry's words, all of which are alive.
#[inline(always)]
pub(crate) unsafe fn load<E: Entry>(slot: NonNull<Word>) -> E {
    let mut entry = MaybeUninit::<E>::uninit();
    let words = entry.as_mut_ptr().cast::<u64>();
    for index in 0..E::WORDS {
        // SAFETY: the word is within the entry, by the promise of the caller.
        let word = unsafe { slot.add(index).as_ref() }.load(Ordering::Relaxed);
        // SAFETY: an `E` is `E::WORDS` words long.
        unsafe { words.add(index).write_unaligned(word) };
    }
    // SAFETY: every byte was written, and every pattern is valid.
    unsafe { entry.assume_init() }
}

/// Copies an entry into the ring.
///
/// # Safety
///
/// As for [`load`].
#[inline(always)]
pub(crate) unsafe fn store<E: Entry>(slot: NonNull<Word>, entry: E) {
    let words = (&raw const entry).cast::<u64>();
    for index in 0..E::WORDS {
        // SAFETY: an `E` is `E::WORDS` words long, and none of its bytes is padding.
        let word = unsafe { words.add(index).read_unaligned() };
        // SAFETY: the word is within the entry, by the promise of the caller.
        unsafe { slot.add(index).as_ref() }.store(word, Ordering::Relaxed);
    }
}
