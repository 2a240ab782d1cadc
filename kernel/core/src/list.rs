//! A list of limited length without a heap.

use core::ops::Deref;

/// Up to `N` values.
#[derive(Clone, Copy, Debug)]
pub struct List<T, const N: usize> {
    items: [T; N],
    length: usize,
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// An empty list.
    pub fn new() -> Self {
        Self {
            items: [T::default(); N],
            length: 0,
        }
    }

    /// Appends a value; says false, and changes nothing, when the list is full.
    pub fn push(&mut self, item: T) -> bool {
        let Some(slot) = self.items.get_mut(self.length) else {
            return false;
        };
        *slot = item;
        self.length += 1;
        true
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_vector_that_ends(values: Vec<u16>) {
            let mut list = List::<u16, 8>::new();
            for (index, &value) in values.iter().enumerate() {
                prop_assert_eq!(list.push(value), index < 8);
                prop_assert_eq!(&list[..], &values[..(index + 1).min(8)]);
            }
        }
    }

    #[test]
    fn one_without_room_takes_nothing() {
        let mut list = List::<u8, 0>::default();
        assert!(!list.push(1));
        assert!(list.is_empty());
    }
}
