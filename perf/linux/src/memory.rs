//! Memory that a device reads into: one page of 2 MiB, which is one piece in physical memory too.

use std::{fs, io, os::unix::fs::FileExt, ptr};

use anyhow::{Context, Result, ensure};

use crate::places::BYTES;

/// Bytes of the memory.
pub const SIZE: usize = 2 << 20;

/// The memory. It stays where it is until it is dropped.
#[derive(Debug)]
pub struct Memory(*mut u8);

impl Memory {
    /// Fresh memory, all zeros.
    pub fn new() -> Result<Self> {
        let flags =
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_POPULATE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
        let address = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, flags, -1, 0) };
        ensure!(
            address != libc::MAP_FAILED,
            "no large page: {}; are there any in /proc/sys/vm/nr_hugepages?",
            io::Error::last_os_error()
        );
        Ok(Self(address.cast()))
    }

    /// Where the byte at an offset is.
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < SIZE, "the memory ends before byte {offset}");
        // SAFETY: within the mapping, as just checked.
        unsafe { self.0.add(offset) }
    }

    /// The buffer of a slot.
    pub fn buffer(&self, slot: usize) -> *mut u8 {
        self.at(slot * BYTES)
    }

    /// Where a device finds it. A large page does not move.
    pub fn physical(&self) -> Result<u64> {
        /// Bytes of a small page, of which each has an entry of 8 bytes
        /// (Linux, Documentation/admin-guide/mm/pagemap.rst).
        const PAGE: u64 = 4096;
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let map = fs::File::open("/proc/self/pagemap").context("/proc/self/pagemap")?;
        let mut entry = [0; 8];
        map.read_exact_at(&mut entry, self.0 as u64 / PAGE * 8)?;
        let entry = u64::from_ne_bytes(entry);
        ensure!(
            entry & PRESENT != 0 && entry & FRAME != 0,
            "the kernel does not tell where memory is; is this root?"
        );
        Ok((entry & FRAME) * PAGE)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; nothing refers to it any more.
        unsafe { libc::munmap(self.0.cast(), SIZE) };
    }
}
