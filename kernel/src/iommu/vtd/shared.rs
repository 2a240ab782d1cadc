//! Memory that a remapping unit reads: tables and the queue.

use core::{
    arch::x86_64::{_mm_clflush, _mm_mfence},
    sync::atomic::{AtomicU64, Ordering},
};

use spillway_abi::{Error, PAGE_SIZE};
use spillway_kernel_core::{
    frames::Extent,
    iommu::vtd::{
        entries::{Entry, is_present},
        second_level::TableMemory,
    },
};
use x86_64::PhysAddr;

use crate::memory::{direct, frames};

/// Words in a frame.
pub const FRAME_WORDS: usize = PAGE_SIZE as usize / 8;

/// Frames of 64-bit words. Both sides use them, so every access is atomic; a unit that does not
/// see the processor's caches gets each word written out to memory.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    start: u64,
    words: usize,
    is_coherent: bool,
}

impl Shared {
    /// Zeroed frames that follow each other, out of the kernel's own. `None` without memory.
    pub fn allocate(frames: u64, is_coherent: bool) -> Option<Self> {
        let extent = frames::allocate_for_kernel(frames, 1)?;
        frames::zero(extent);
        Some(Self::cleared(extent, is_coherent))
    }

    /// Frames that were just zeroed.
    fn cleared(extent: Extent, is_coherent: bool) -> Self {
        let shared = Self {
            start: extent.start * PAGE_SIZE,
            words: extent.count as usize * FRAME_WORDS,
            is_coherent,
        };
        for line in (0..shared.words).step_by(8) {
            shared.write_out(line);
        }
        shared.fence();
        shared
    }

    /// The frame of a table at a physical address.
    ///
    /// # Safety
    ///
    /// The frame must have been allocated for a table of this unit, and not be freed while the
    /// result is used.
    pub unsafe fn table(physical: u64, is_coherent: bool) -> Self {
        Self {
            start: physical,
            words: FRAME_WORDS,
            is_coherent,
        }
    }

    /// The physical address.
    pub fn physical(&self) -> u64 {
        self.start
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words);
        let start = direct(PhysAddr::new(self.start)).as_ptr::<AtomicU64>();
        // SAFETY: within frames that were allocated for this use, which are in the direct map;
        // nothing but these atomics and the unit touches them.
        unsafe { &*start.add(index) }
    }

    /// Reads a word.
    pub fn read(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    /// Writes a word, after all words that were written before it.
    pub fn write(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Release);
        self.write_out(index);
    }

    /// Whether an entry of two words is present.
    pub fn has(&self, entry: usize) -> bool {
        is_present(self.read(2 * entry))
    }

    /// Writes an entry of two words that was not present: its first word, which makes it present,
    /// comes last.
    pub fn set(&self, entry: usize, [first, second]: Entry) {
        self.write(2 * entry + 1, second);
        self.write(2 * entry, first);
        self.fence();
    }

    /// Takes an entry of two words away: it stops being present first.
    pub fn clear(&self, entry: usize) {
        self.write(2 * entry, 0);
        self.write(2 * entry + 1, 0);
        self.fence();
    }

    fn write_out(&self, index: usize) {
        if !self.is_coherent {
            let line = self.word(index).as_ptr().cast::<u8>();
            // SAFETY: every x86_64 processor has the instruction, and the line is mapped.
            unsafe { _mm_clflush(line) }
        }
    }

    /// Waits until the unit would see all that was written.
    pub fn fence(&self) {
        if !self.is_coherent {
            // SAFETY: every x86_64 processor has the instruction.
            unsafe { _mm_mfence() }
        }
    }

    /// Gives the frames back. The unit must not use them any more.
    pub fn free(self) {
        frames::free(Extent {
            start: self.start / PAGE_SIZE,
            count: (self.words / FRAME_WORDS) as u64,
        });
    }
}

/// The page tables of a domain: frames of its own, reached only through the borrow of the domain.
pub struct PageTables<F> {
    /// Whether the unit sees the processor's caches.
    pub is_coherent: bool,
    /// Called before each new table.
    pub charge: F,
}

impl<F: FnMut() -> Result<(), Error>> PageTables<F> {
    fn table(&self, physical: u64) -> Shared {
        // SAFETY: the addresses come from `allocate`, by way of entries that only the algorithm
        // behind this trait writes, and it does not use a table after freeing it.
        unsafe { Shared::table(physical, self.is_coherent) }
    }
}

impl<F: FnMut() -> Result<(), Error>> TableMemory for PageTables<F> {
    fn allocate(&mut self) -> Result<u64, Error> {
        (self.charge)()?;
        let extent = Extent {
            start: frames::allocate_table()?.as_u64() / PAGE_SIZE,
            count: 1,
        };
        Ok(Shared::cleared(extent, self.is_coherent).physical())
    }

    fn free(&mut self, table: u64) {
        self.table(table).free();
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        self.table(table).read(index)
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        self.table(table).write(index, entry);
    }
}
