//! Interrupt vectors as the kernel keeps them, on the model of an MSI-X table entry.

use std::cell::Cell;

/// One vector: what its table entry and its Interrupt object know.
///
/// The kernel counts edges and masks the vector when one arrives with the last one untaken. A
/// masked vector that is raised only sets its pending bit (PCI Express Base 5.0, section 6.1.4.5).
/// Taking the count unmasks it, and what is pending is then delivered.
#[derive(Default)]
pub(crate) struct Vector {
    owned: Cell<bool>,
    masked: Cell<bool>,
    pending: Cell<bool>,
    edges: Cell<u64>,
}

impl Vector {
    /// Hands the vector to the driver; false if it is taken.
    pub(crate) fn take(&self) -> bool {
        if self.owned.replace(true) {
            return false;
        }
        self.unmask();
        true
    }

    /// The driver gives the vector back.
    pub(crate) fn give_back(&self) {
        self.owned.set(false);
        self.edges.set(0);
    }

    /// The device raises it.
    pub(crate) fn raise(&self) {
        if !self.owned.get() || self.masked.get() {
            self.pending.set(true);
            return;
        }
        self.masked.set(self.edges.get() > 0);
        self.edges.set(self.edges.get() + 1);
    }

    /// Edges since the last report; re-arms.
    pub(crate) fn report(&self) -> u64 {
        let edges = self.edges.replace(0);
        if self.masked.get() {
            self.unmask();
        }
        edges
    }

    /// A reset of the function: nothing is pending any more.
    pub(crate) fn reset(&self) {
        self.pending.set(false);
    }

    fn unmask(&self) {
        self.masked.set(false);
        if self.pending.replace(false) {
            self.raise();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Vector;

    #[test]
    fn edges_are_counted_once() {
        let vector = Vector::default();
        assert!(vector.take());
        assert!(!vector.take());
        assert_eq!(vector.report(), 0);
        vector.raise();
        assert_eq!(vector.report(), 1);
        assert_eq!(vector.report(), 0);
    }

    #[test]
    fn a_storm_is_masked_but_not_forgotten() {
        let vector = Vector::default();
        vector.take();
        for _ in 0..1000 {
            vector.raise();
        }
        assert_eq!(vector.report(), 2);
        assert_eq!(vector.report(), 1, "what was pending behind the mask");
        assert_eq!(vector.report(), 0);
    }

    #[test]
    fn raised_before_anybody_owned_it() {
        let vector = Vector::default();
        vector.raise();
        vector.take();
        assert_eq!(vector.report(), 1);
    }
}
