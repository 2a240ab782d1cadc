//! Who holds an object that costs memory, and who of them pays.
//!
//! Whoever made it pays first. When the payer lets go and others still hold it, one of them pays
//! from then on: the one that has held it longest. So nobody can leave its bill to a process that
//! is gone. An object has few holders, and the list is searched from the front.

use alloc::vec::Vec;
use spillway_abi::Error;

/// The holders of one object, each with how often it holds it, and the payer.
#[derive(Debug)]
pub struct Holders<A> {
    payer: A,
    list: Vec<(A, u32)>,
}

impl<A: Clone + PartialEq> Holders<A> {
    /// Nobody holds it yet.
    pub const fn new(payer: A) -> Self {
        Self {
            payer,
            list: Vec::new(),
        }
    }

    /// Who pays.
    pub const fn payer(&self) -> &A {
        &self.payer
    }

    /// Somebody holds it once more. [`Error::OutOfMemory`].
    pub fn add(&mut self, holder: &A) -> Result<(), Error> {
        if let Some((_, count)) = self.list.iter_mut().find(|(other, _)| other == holder) {
            *count = count.checked_add(1).ok_or(Error::LimitReached)?;
            return Ok(());
        }
        self.list.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        self.list.push((holder.clone(), 1));
        Ok(())
    }

    /// Somebody holds it once less. If now somebody else pays, who paid before.
    pub fn remove(&mut self, holder: &A) -> Option<A> {
        let index = self.list.iter().position(|(other, _)| other == holder)?;
        self.list[index].1 -= 1;
        if self.list[index].1 == 0 {
            self.list.remove(index);
        }
        let payer_holds = self.list.iter().any(|(other, _)| *other == self.payer);
        let (next, _) = self.list.first().filter(|_| !payer_holds)?;
        Some(core::mem::replace(&mut self.payer, next.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_maker_pays_until_it_lets_go() {
        let mut holders = Holders::new('a');
        holders.add(&'a').unwrap();
        holders.add(&'b').unwrap();
        holders.add(&'a').unwrap();
        assert_eq!(holders.remove(&'a'), None);
        assert_eq!(holders.remove(&'a'), Some('a'));
        assert_eq!(*holders.payer(), 'b');
        assert_eq!(holders.remove(&'b'), None);
        assert_eq!(holders.remove(&'b'), None);
    }

    proptest! {
        #[test]
        fn while_somebody_holds_it_a_holder_pays(
            steps in prop::collection::vec((0u8..5, any::<bool>()), 0..200),
        ) {
            let mut holders = Holders::new(0u8);
            holders.add(&0).unwrap();
            let mut model = [1u32, 0, 0, 0, 0];
            for (who, adds) in steps {
                let held = &mut model[who as usize];
                if adds {
                    *held += 1;
                    holders.add(&who).unwrap();
                } else if *held > 0 {
                    *held -= 1;
                    let before = *holders.payer();
                    let moved = holders.remove(&who);
                    prop_assert_eq!(moved.is_some(), before != *holders.payer());
                } else {
                    prop_assert_eq!(holders.remove(&who), None);
                }
                if model.iter().all(|&count| count == 0) {
                    break;
                }
                prop_assert!(model[*holders.payer() as usize] > 0);
            }
        }
    }
}
