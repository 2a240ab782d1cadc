//! Memory objects: pages of fixed number, there from the beginning.

use core::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{Error, PAGE_SIZE, device::Caching};
use spillway_kernel_core::{frames::Extent, holders::Holders};
use x86_64::PhysAddr;

use crate::{
    kernel::Kernel,
    memory::{account::Account, direct, frames},
    sync::Locked,
};

/// Pages that can be mapped, read and written through handles. Freed with the last reference,
/// which a mapping holds until every core has forgotten it.
#[derive(Debug)]
pub struct Memory {
    /// The frames, each run with the page at which it begins.
    extents: Vec<(u64, Extent)>,
    bytes: u64,
    /// Who holds it and who pays; nobody for boot modules and registers, which are never freed.
    holders: Option<Locked<Holders<Arc<Account>>>>,
    /// It is a device's registers.
    registers: Option<Registers>,
}

/// What is special about a Memory of registers.
#[derive(Debug)]
struct Registers {
    caching: Caching,
    /// The bytes that nobody may write but the kernel.
    protected: Option<Range<u64>>,
    /// The device was taken back: it can no longer be mapped.
    revoked: AtomicBool,
}

/// Frames of a Memory that follow each other and are mapped alike.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Where they begin.
    pub start: PhysAddr,
    /// Bytes.
    pub bytes: u64,
    /// Whether a program may write them at all.
    pub writable: bool,
}

impl Memory {
    /// The most runs of frames that one object can consist of.
    const MAX_EXTENTS: usize = 16384;

    /// No pages yet, charged for `bytes` already.
    pub fn empty(account: Arc<Account>, bytes: u64) -> Result<Self, Error> {
        account.charge(bytes)?;
        let holders = Some(Locked::new(Holders::new(account)));
        Ok(Self {
            extents: Vec::new(),
            bytes,
            holders,
            registers: None,
        })
    }

    /// A boot module: frames that the allocator never had.
    pub fn module(start: PhysAddr, bytes: u64) -> Self {
        let count = bytes.div_ceil(PAGE_SIZE);
        let extent = Extent {
            start: start.as_u64() / PAGE_SIZE,
            count,
        };
        Self {
            extents: alloc::vec![(0, extent)],
            bytes: count * PAGE_SIZE,
            holders: None,
            registers: None,
        }
    }

    /// The registers of a device; `protected` bytes of them can be mapped, but never written.
    pub fn registers(
        start: PhysAddr,
        bytes: u64,
        caching: Caching,
        protected: Option<Range<u64>>,
    ) -> Self {
        let registers = Registers {
            caching,
            protected,
            revoked: AtomicBool::new(false),
        };
        let mut memory = Self::module(start, bytes);
        memory.registers = Some(registers);
        memory
    }

    /// How accesses to registers are treated; `None` if it is ordinary memory.
    pub fn caching(&self) -> Option<Caching> {
        self.registers.as_ref().map(|registers| registers.caching)
    }

    /// Whether it is a device's registers, which the kernel itself does not reach.
    pub fn is_registers(&self) -> bool {
        self.registers.is_some()
    }

    /// Forbids new mappings of registers: their device is taken back.
    pub fn revoke(&self) {
        if let Some(registers) = &self.registers {
            registers.revoked.store(true, Ordering::Relaxed);
        }
    }

    /// [`Error::Gone`] if the device was taken back.
    pub fn check_live(&self) -> Result<(), Error> {
        match &self.registers {
            Some(registers) if registers.revoked.load(Ordering::Relaxed) => Err(Error::Gone),
            _ => Ok(()),
        }
    }

    /// A handle or a mapping of that account's process holds it. [`Error::OutOfMemory`].
    pub fn hold(&self, kernel: &mut Kernel, account: &Arc<Account>) -> Result<(), Error> {
        match &self.holders {
            Some(holders) => holders.get_mut(kernel).add(account),
            None => Ok(()),
        }
    }

    /// A handle or a mapping of that account's process lets go. If it paid and others hold the
    /// pages, one of them pays now.
    pub fn let_go(&self, kernel: &mut Kernel, account: &Arc<Account>) {
        if let Some(holders) = &self.holders
            && let Some(before) = holders.get_mut(kernel).remove(account)
        {
            holders.get(kernel).payer().take_over(self.bytes);
            before.release(self.bytes);
        }
    }

    /// Adds frames, which belong to this object from here on. On an error they are freed.
    pub fn push(&mut self, extent: Extent) -> Result<(), Error> {
        let mut page = 0;
        if let Some((first, last)) = self.extents.last_mut() {
            if last.start + last.count == extent.start {
                last.count += extent.count;
                return Ok(());
            }
            page = *first + last.count;
        }
        if self.extents.len() == Self::MAX_EXTENTS || self.extents.try_reserve(1).is_err() {
            frames::free(extent);
            return Err(Error::OutOfMemory);
        }
        self.extents.push((page, extent));
        Ok(())
    }

    /// Bytes, a multiple of the page size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The frames from `offset` on that follow each other in physical memory: where they begin,
    /// and how many bytes there are, at most `most`.
    pub fn run(&self, offset: u64, most: u64) -> Option<(PhysAddr, u64)> {
        let page = offset / PAGE_SIZE;
        let after = self.extents.partition_point(|(first, _)| *first <= page);
        let (first, extent) = self.extents.get(after.checked_sub(1)?)?;
        let inside = offset - first * PAGE_SIZE;
        let left = (extent.count * PAGE_SIZE)
            .checked_sub(inside)
            .filter(|&left| left > 0)?;
        Some((
            PhysAddr::new(extent.start * PAGE_SIZE + inside),
            most.min(left),
        ))
    }

    /// As [`Self::run`], ending where it changes whether programs may write.
    pub fn mappable_run(&self, offset: u64, most: u64) -> Option<Run> {
        let protected = self.registers.as_ref().and_then(|r| r.protected.clone());
        let (writable, most) = match protected {
            Some(range) if range.contains(&offset) => (false, most.min(range.end - offset)),
            Some(range) if offset < range.start => (true, most.min(range.start - offset)),
            _ => (true, most),
        };
        let (start, bytes) = self.run(offset, most)?;
        Some(Run {
            start,
            bytes,
            writable,
        })
    }

    /// Calls `f` with each stretch of the kernel's view of a range.
    ///
    /// The stretches are raw because programs may have the pages mapped and change them at any
    /// moment: they are only good for copying.
    pub fn stretches(
        &self,
        mut offset: u64,
        mut length: u64,
        mut f: impl FnMut(*mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while length > 0 {
            let (start, bytes) = self.run(offset, length).ok_or(Error::OutOfRange)?;
            let pointer = direct(start).as_mut_ptr::<u8>();
            f(core::ptr::slice_from_raw_parts_mut(pointer, bytes as usize))?;
            offset += bytes;
            length -= bytes;
        }
        Ok(())
    }

    /// Checks that a range lies inside. [`Error::OutOfRange`].
    pub fn check(&self, offset: u64, length: u64) -> Result<(), Error> {
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(Error::OutOfRange),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(holders) = &mut self.holders {
            holders.get_alone().payer().release(self.bytes);
            self.extents
                .iter()
                .for_each(|&(_, extent)| frames::free(extent));
        }
    }
}
