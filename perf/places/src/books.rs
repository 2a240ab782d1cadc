//! From counts that only grow to what a region took.

use core::fmt;

/// Counts since the machine was switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions at addresses of the kernel.
    pub kernel: u64,
    /// Instructions at addresses of programs.
    pub user: u64,
    /// Writes to registers of devices.
    pub mmio_writes: u64,
    /// Times that the IOMMU was told to forget translations.
    pub iotlb_flushes: u64,
}

/// What a region took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its number.
    pub number: u64,
    /// Instructions of the program that measures.
    pub app: u64,
    /// Instructions of other programs.
    pub others: u64,
    /// Everything else; its `user` is not used.
    pub rest: Counts,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            app,
            others,
            rest,
        } = self;
        let Counts {
            kernel,
            mmio_writes,
            iotlb_flushes,
            ..
        } = rest;
        write!(
            f,
            "{number} {app} {others} {kernel} {mmio_writes} {iotlb_flushes}"
        )
    }
}

/// What is going on.
#[derive(Debug, Default)]
pub struct Books {
    /// The address space, by the root of its page tables.
    space: u64,
    /// Between two markers.
    inside: bool,
    open: Option<Open>,
}

/// A region that has begun.
#[derive(Debug)]
struct Open {
    number: u64,
    /// The address space of the program that measures.
    space: u64,
    start: Counts,
    /// Instructions of programs that are accounted for.
    user: u64,
    app: u64,
    others: u64,
}

/// In CR3, the bits that are the address of the page table's root.
const ROOT: u64 = 0x000f_ffff_ffff_f000;

impl Books {
    /// The processor changes to another address space.
    pub fn switch(&mut self, counts: Counts, cr3: u64) {
        let space = self.space;
        if let Some(open) = &mut self.open {
            open.account(counts, space);
        }
        self.space = cr3 & ROOT;
    }

    /// The processor comes to a marker, with a number beside it. Returns a region that ends.
    pub fn marker(&mut self, counts: Counts, number: u64) -> Option<Region> {
        self.inside = !self.inside;
        if !self.inside {
            let mut open = self.open.take()?;
            open.account(counts, self.space);
            return Some(open.close(counts));
        }
        self.open = (number != 0).then_some(Open {
            number,
            space: self.space,
            start: counts,
            user: counts.user,
            app: 0,
            others: 0,
        });
        None
    }
}

impl Open {
    /// What programs did since the last time, they did in this address space.
    fn account(&mut self, counts: Counts, space: u64) {
        let done = counts.user - self.user;
        self.user = counts.user;
        match space == self.space {
            true => self.app += done,
            false => self.others += done,
        }
    }

    fn close(self, end: Counts) -> Region {
        let Self { start, .. } = self;
        Region {
            number: self.number,
            app: self.app,
            others: self.others,
            rest: Counts {
                kernel: end.kernel - start.kernel,
                user: end.user - start.user,
                mmio_writes: end.mmio_writes - start.mmio_writes,
                iotlb_flushes: end.iotlb_flushes - start.iotlb_flushes,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn counts(kernel: u64, user: u64, mmio_writes: u64) -> Counts {
        Counts {
            kernel,
            user,
            mmio_writes,
            iotlb_flushes: 0,
        }
    }

    #[test]
    fn a_region_is_divided_by_address_space() {
        let mut books = Books::default();
        books.switch(counts(5, 5, 1), 0x1000);
        assert_eq!(books.marker(counts(10, 100, 1), 7), None);
        books.switch(counts(20, 130, 1), 0x2000 | 1 << 63 | 5);
        books.switch(counts(30, 190, 3), 0x1000);
        // The same root is the same program, whatever the other bits say.
        books.switch(counts(35, 191, 3), 0x1018);
        let region = books.marker(counts(40, 200, 3), 99).unwrap();
        assert_eq!(
            (region.number, region.app, region.others),
            (7, 30 + 1 + 9, 60)
        );
        assert_eq!(region.app + region.others, region.rest.user);
        assert_eq!(region.to_string(), "7 40 60 30 2 0");
    }

    #[test]
    fn regions_without_a_number_are_left_out_and_keep_the_turn() {
        let mut books = Books::default();
        assert_eq!(books.marker(counts(1, 1, 0), 0), None);
        // The end of it: what is beside the marker is no number.
        assert_eq!(books.marker(counts(2, 2, 0), 5), None);
        assert_eq!(books.marker(counts(3, 3, 0), 6), None);
        assert_eq!(books.marker(counts(4, 4, 0), 0).unwrap().number, 6);
    }
}
