//! Entries of several sizes, of which each word says which number the entry has.

use core::fmt::Debug;

use crate::*;

/// An entry that carries a number in a way that shows damage.
pub trait Numbered: Entry + Debug + PartialEq + Send {
    /// The entry of a number.
    fn of(number: u64) -> Self;
}

fn words<const N: usize>(number: u64) -> [u64; N] {
    core::array::from_fn(|index| number.rotate_left(index as u32) ^ index as u64)
}

impl Numbered for u64 {
    fn of(number: u64) -> Self {
        number
    }
}

impl<const N: usize> Numbered for [u64; N] {
    fn of(number: u64) -> Self {
        words(number)
    }
}

impl<const N: usize> Numbered for Words<N> {
    fn of(number: u64) -> Self {
        Self(words(number))
    }
}
