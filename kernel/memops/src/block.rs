//! Copy, fill and compare, for any length and alignment.

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_set1_epi8, _mm_storeu_si128};

/// Bytes in a vector register.
const VECTOR: usize = size_of::<__m128i>();
/// Bytes that are moved at once where there are as many; the registers for them are there.
const TURN: usize = 8 * VECTOR;

/// Loads 16 bytes.
///
/// # Safety
/// `source` must be readable for 16 bytes.
#[inline(always)]
unsafe fn load(source: *const u8) -> __m128i {
    // SAFETY: the caller's promise; the instruction needs no alignment.
    unsafe { _mm_loadu_si128(source.cast()) }
}

/// Stores 16 bytes.
///
/// # Safety
/// `target` must be writable for 16 bytes.
#[inline(always)]
unsafe fn store(target: *mut u8, value: __m128i) {
    // SAFETY: the caller's promise; the instruction needs no alignment.
    unsafe { _mm_storeu_si128(target.cast(), value) }
}

/// Moves 128 bytes; all are read before the first is written.
///
/// # Safety
/// `source` must be readable and `target` writable for 128 bytes.
#[inline(always)]
unsafe fn turn(target: *mut u8, source: *const u8) {
    // SAFETY: each of the eight offsets plus 16 is at most the 128 bytes of the caller's promise.
    unsafe {
        let values: [__m128i; 8] = core::array::from_fn(|i| load(source.add(i * VECTOR)));
        for (i, value) in values.into_iter().enumerate() {
            store(target.add(i * VECTOR), value);
        }
    }
}

/// Moves less than 16 bytes; all are read before the first is written.
///
/// # Safety
/// `source` must be readable and `target` writable for `length` bytes.
#[inline(always)]
unsafe fn copy_short(target: *mut u8, source: *const u8, length: usize) {
    /// The first and the last word of the range, which overlap unless it is two words long.
    ///
    /// # Safety
    /// As for [`copy_short`], and `length` must be at least the size of `T`.
    #[inline(always)]
    unsafe fn ends<T: Copy>(target: *mut u8, source: *const u8, length: usize) {
        let last = length - size_of::<T>();
        // SAFETY: both words lie inside the `length` bytes of the caller's promise.
        unsafe {
            let head = source.cast::<T>().read_unaligned();
            let tail = source.add(last).cast::<T>().read_unaligned();
            target.cast::<T>().write_unaligned(head);
            target.add(last).cast::<T>().write_unaligned(tail);
        }
    }
    // SAFETY: each branch has checked that `length` is at least the size of its word.
    unsafe {
        if length >= 8 {
            ends::<u64>(target, source, length);
        } else if length >= 4 {
            ends::<u32>(target, source, length);
        } else if length >= 2 {
            ends::<u16>(target, source, length);
        } else if length == 1 {
            target.write(source.read());
        }
    }
}

/// Writes less than 16 bytes, all of them `value`.
///
/// # Safety
/// `target` must be writable for `length` bytes.
#[inline(always)]
unsafe fn fill_short(target: *mut u8, value: u8, length: usize) {
    let word = u64::from(value) * 0x0101_0101_0101_0101;
    // SAFETY: each branch has checked that `length` is at least the size of its word.
    unsafe {
        if length >= 8 {
            target.cast::<u64>().write_unaligned(word);
            target.add(length - 8).cast::<u64>().write_unaligned(word);
        } else if length >= 4 {
            target.cast::<u32>().write_unaligned(word as u32);
            let tail = target.add(length - 4).cast::<u32>();
            tail.write_unaligned(word as u32);
        } else if length >= 2 {
            target.cast::<u16>().write_unaligned(word as u16);
            let tail = target.add(length - 2).cast::<u16>();
            tail.write_unaligned(word as u16);
        } else if length == 1 {
            target.write(value);
        }
    }
}

/// Moves from low to high addresses: right if `target` is below `source` or they do not overlap.
///
/// # Safety
/// `source` must be readable and `target` writable for `length` bytes, and `target` must not lie
/// inside `source + 1 .. source + length`.
#[inline(always)]
pub unsafe fn copy_up(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: every offset plus the bytes moved there is at most `length`: `whole` is a multiple
    // of two turns and at most `length`, and `last` is `length - 16` where `length` is at least 16.
    // The tail is read before the first store, because with an overlap the loops may have written
    // over it.
    unsafe {
        if length < VECTOR {
            return copy_short(target, source, length);
        }
        let last = length - VECTOR;
        let tail = load(source.add(last));
        let mut at = 0;
        let whole = length - length % (2 * TURN);
        while at != whole {
            turn(target.add(at), source.add(at));
            turn(target.add(at + TURN), source.add(at + TURN));
            at += 2 * TURN;
        }
        if length - at >= TURN {
            turn(target.add(at), source.add(at));
            at += TURN;
        }
        while at < last {
            store(target.add(at), load(source.add(at)));
            at += VECTOR;
        }
        store(target.add(last), tail);
    }
}

/// Moves from high to low addresses: right if `target` is above `source`.
///
/// # Safety
/// `source` must be readable and `target` writable for `length` bytes, and `target` must not be
/// below `source` if they overlap.
#[inline(always)]
unsafe fn copy_down(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: `end` is what is still to be moved, and each step moves bytes just below it that
    // it has checked to be there. The head is read first, for the same reason as in `copy_up`.
    unsafe {
        if length < VECTOR {
            return copy_short(target, source, length);
        }
        let head = load(source);
        let mut end = length;
        while end >= TURN {
            end -= TURN;
            turn(target.add(end), source.add(end));
        }
        while end > VECTOR {
            end -= VECTOR;
            store(target.add(end), load(source.add(end)));
        }
        store(target, head);
    }
}

/// Moves `length` bytes, overlapping or not.
///
/// # Safety
/// `source` must be readable and `target` writable for `length` bytes.
#[inline(always)]
pub unsafe fn copy(target: *mut u8, source: *const u8, length: usize) {
    // A target below the source wraps round to a distance that is longer than any object.
    let distance = target.addr().wrapping_sub(source.addr());
    // SAFETY: the distance decides which of the two directions is right.
    unsafe {
        if distance >= length {
            copy_up(target, source, length);
        } else {
            copy_down(target, source, length);
        }
    }
}

/// Sets `length` bytes to `value`.
///
/// # Safety
/// `target` must be writable for `length` bytes.
#[inline(always)]
pub unsafe fn fill(target: *mut u8, value: u8, length: usize) {
    // SAFETY: as in `copy_up`, every store ends at or below `length`.
    unsafe {
        if length < VECTOR {
            return fill_short(target, value, length);
        }
        let vector = _mm_set1_epi8(value as i8);
        let last = length - VECTOR;
        let whole = length - length % TURN;
        let mut at = 0;
        while at != whole {
            for i in 0..TURN / VECTOR {
                store(target.add(at + i * VECTOR), vector);
            }
            at += TURN;
        }
        while at < last {
            store(target.add(at), vector);
            at += VECTOR;
        }
        store(target.add(last), vector);
    }
}

/// Less than, equal to or greater than 0, as the first byte that differs says.
///
/// # Safety
/// Both must be readable for `length` bytes.
#[inline(always)]
pub unsafe fn compare(left: *const u8, right: *const u8, length: usize) -> i32 {
    const WORD: usize = size_of::<u64>();
    // SAFETY: every word and byte read lies inside `length`, by the conditions of the loops.
    unsafe {
        let mut at = 0;
        while length - at >= WORD {
            let a = left.add(at).cast::<u64>().read_unaligned();
            let b = right.add(at).cast::<u64>().read_unaligned();
            if a != b {
                // The first byte in memory is the most significant one of the swapped word.
                return if a.swap_bytes() < b.swap_bytes() {
                    -1
                } else {
                    1
                };
            }
            at += WORD;
        }
        while at < length {
            let difference = i32::from(left.add(at).read()) - i32::from(right.add(at).read());
            if difference != 0 {
                return difference;
            }
            at += 1;
        }
    }
    0
}

/// Bytes before the first zero.
///
/// # Safety
/// `text` must be readable up to and with its first zero.
#[inline(always)]
pub unsafe fn length(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the bytes before were not zero, so this one is still inside the text.
    while unsafe { text.add(length).read() } != 0 {
        length += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lengths around every border of the branches and loops, and a page.
    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![0usize..40, 100usize..700, Just(4096)]
    }

    proptest! {
        #[test]
        fn a_copy_is_what_the_standard_library_makes(
            length in lengths(), from in 0usize..40, to in 0usize..40, seed: u8,
        ) {
            let source: Vec<u8> = (0..5000).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let (mut ours, mut theirs) = (vec![0xee; 5000], vec![0xee; 5000]);
            // SAFETY: 40 + 4096 is less than the 5000 bytes of each.
            unsafe { copy_up(ours[to..].as_mut_ptr(), source[from..].as_ptr(), length) };
            theirs[to..to + length].copy_from_slice(&source[from..from + length]);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn a_move_may_overlap(length in lengths(), from in 0usize..300, to in 0usize..300) {
            let mut ours: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
            let mut theirs = ours.clone();
            let base = ours.as_mut_ptr();
            // SAFETY: 300 + 4096 is less than the 5000 bytes; both pointers come from `base`.
            unsafe { copy(base.add(to), base.add(from), length) };
            theirs.copy_within(from..from + length, to);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn a_fill_stays_inside(length in lengths(), to in 0usize..40, value: u8) {
            let (mut ours, mut theirs) = (vec![0x5a; 5000], vec![0x5a; 5000]);
            // SAFETY: 40 + 4096 is less than 5000.
            unsafe { fill(ours[to..].as_mut_ptr(), value, length) };
            theirs[to..to + length].fill(value);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn the_first_difference_decides(
            mut left in prop::collection::vec(any::<u8>(), 0..80),
            position: prop::sample::Index, value: u8,
        ) {
            let right = left.clone();
            // SAFETY: both have the same length.
            let equal = unsafe { compare(left.as_ptr(), right.as_ptr(), left.len()) };
            prop_assert_eq!(equal, 0);
            if !left.is_empty() {
                let position = position.index(left.len());
                left[position] = value;
            }
            // SAFETY: both have the same length.
            let order = unsafe { compare(left.as_ptr(), right.as_ptr(), left.len()) };
            prop_assert_eq!(order.cmp(&0), left.cmp(&right));
        }

        #[test]
        fn a_text_ends_at_its_zero(text in "[a-z]{0,40}") {
            let terminated = format!("{text}\0rest");
            // SAFETY: the zero is inside the string.
            prop_assert_eq!(unsafe { length(terminated.as_ptr()) }, text.len());
        }
    }
}
