//! How an entry is copied while the other side may be writing to it.
//!
//! A copy is made of accesses that the compiler neither repeats nor takes apart, and about which it
//! assumes nothing. The other side may write at the same time: then the copy is any mixture, which
//! is still a valid entry. Nothing is ordered; the indices do that.
//!
//! What fills a cache line moves in pieces of 16 bytes, or 32 in a program that is built for AVX.
//! Rust has no atomic types for them: so these are instructions. The rest are relaxed atomic words,
//! and so is everything under `loom`, Miri, and on other processors.

use core::{mem::MaybeUninit, ptr::NonNull};

#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic::Ordering;

use crate::{Entry, Word};

/// What fills a cache line.
pub(crate) type Line = [u64; 8];

/// Copies an entry out of the ring.
///
/// # Safety
///
/// `slot` is the first of the entry's words, all of which are alive.
#[inline(always)]
pub(crate) unsafe fn load<E: Entry>(slot: NonNull<Word>) -> E {
    let mut entry = MaybeUninit::<E>::uninit();
    // SAFETY: the entry in the ring is alive, and ours is as long.
    unsafe { load_many(slot, entry.as_mut_ptr(), 1) };
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
    // SAFETY: the entry in the ring is alive, and ours is as long and has no padding.
    unsafe { store_many(slot, &raw const entry, 1) };
}

/// How many words of so many move as parts of a line.
#[inline(always)]
const fn in_lines<E: Entry>(words: usize) -> usize {
    if E::BY_WORD {
        0
    } else {
        words / line::WORDS * line::WORDS
    }
}

/// Copies entries out of the ring.
///
/// # Safety
///
/// The words of so many entries are alive from `from` on, and so many entries are the caller's from
/// `to` on, in any alignment.
#[inline(always)]
pub(crate) unsafe fn load_many<E: Entry>(from: NonNull<Word>, to: *mut E, count: usize) {
    let (to, words) = (to.cast::<u64>(), count * E::WORDS);
    let in_lines = in_lines::<E>(words);
    for first in (0..in_lines).step_by(line::WORDS) {
        // SAFETY: the line is within the words.
        unsafe { line::load(from.add(first), to.add(first)) };
    }
    for index in in_lines..words {
        // SAFETY: one of the words.
        unsafe {
            let word = from.add(index).as_ref().load(Ordering::Relaxed);
            to.add(index).write_unaligned(word);
        }
    }
}

/// Copies entries into the ring.
///
/// # Safety
///
/// The words of so many entries are alive from `to` on, and so many entries are the caller's and
/// initialised from `from` on, in any alignment.
#[inline(always)]
pub(crate) unsafe fn store_many<E: Entry>(to: NonNull<Word>, from: *const E, count: usize) {
    let (from, words) = (from.cast::<u64>(), count * E::WORDS);
    let in_lines = in_lines::<E>(words);
    for first in (0..in_lines).step_by(line::WORDS) {
        // SAFETY: the line is within the words.
        unsafe { line::store(to.add(first), from.add(first)) };
    }
    for index in in_lines..words {
        // SAFETY: one of the words.
        unsafe {
            let word = from.add(index).read_unaligned();
            to.add(index).as_ref().store(word, Ordering::Relaxed);
        }
    }
}

/// A line by instructions: they do what relaxed atomic accesses of some size would do, whatever
/// the other side does.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(loom, miri))))]
mod line {
    use core::{arch::asm, arch::x86_64, ptr::NonNull};

    use crate::Word;

    pub const WORDS: usize = 8;

    /// Defines both directions, with pieces that fit registers of this class.
    macro_rules! define {
        ($class:ident, $piece:ty, $move:literal, $($name:ident at $offset:literal),+) => {
            /// # Safety
            ///
            /// 64 bytes of the ring are alive from `from` on, and 64 bytes from `to` on are the
            /// caller's.
            #[inline(always)]
            pub unsafe fn load(from: NonNull<Word>, to: *mut u64) {
                $(let $name: $piece;)+
                // SAFETY: reads 64 bytes that are alive, and writes nothing.
                unsafe {
                    asm!(
                        $(concat!($move, " {", stringify!($name), "}, [{from} + ", $offset, "]"),)+
                        from = in(reg) from.as_ptr(),
                        $($name = out($class) $name,)+
                        options(nostack, preserves_flags, readonly),
                    );
                }
                // SAFETY: 64 bytes of the caller's.
                unsafe { to.cast::<[$piece; _]>().write_unaligned([$($name),+]) };
            }

            /// # Safety
            ///
            /// 64 bytes of the ring are alive from `to` on, and the 64 bytes from `from` on are the
            /// caller's, and initialised.
            #[inline(always)]
            pub unsafe fn store(to: NonNull<Word>, from: *const u64) {
                // SAFETY: 64 bytes of the caller's.
                let [$($name),+] = unsafe { from.cast::<[$piece; _]>().read_unaligned() };
                // SAFETY: writes 64 bytes that are alive and atomic, and nothing else.
                unsafe {
                    asm!(
                        $(concat!($move, " [{to} + ", $offset, "], {", stringify!($name), "}"),)+
                        to = in(reg) to.as_ptr(),
                        $($name = in($class) $name,)+
                        options(nostack, preserves_flags),
                    );
                }
            }
        };
    }

    #[cfg(target_feature = "avx")]
    define!(ymm_reg, x86_64::__m256i, "vmovdqu", a at 0, b at 32);
    #[cfg(not(target_feature = "avx"))]
    define!(xmm_reg, x86_64::__m128i, "movdqu", a at 0, b at 16, c at 32, d at 48);
}

/// No lines: everything moves by words.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(any(loom, miri)))))]
mod line {
    use core::ptr::NonNull;

    use crate::Word;

    pub const WORDS: usize = usize::MAX;

    /// # Safety
    ///
    /// Never called, as no entry has so many words.
    pub unsafe fn load(_: NonNull<Word>, _: *mut u64) {}

    /// # Safety
    ///
    /// Never called, as no entry has so many words.
    pub unsafe fn store(_: NonNull<Word>, _: *const u64) {}
}
