//! A controller that the kernel's driver was taken from: reset, and one queue pair opened.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    ptr,
    sync::atomic::{Ordering, fence},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::memory::Memory;

/// Bytes of registers that are mapped: the controller's, and the doorbells of two queue pairs.
const REGISTERS: usize = 8192;
/// The registers (NVMe Base 2.1, 3.1.4), and the first doorbell.
const CAPABILITIES: usize = 0x00;
const CONFIGURATION: usize = 0x14;
const STATUS: usize = 0x1c;
const ADMIN_SIZES: usize = 0x24;
const ADMIN_SUBMISSION: usize = 0x28;
const ADMIN_COMPLETION: usize = 0x30;
const DOORBELLS: usize = 0x1000;
/// Enabled; entries of 64 bytes to it and of 16 bytes from it.
const ENABLE: u32 = 1 | 6 << 16 | 4 << 20;
const READY: u32 = 1;
/// Entries of the admin queues.
const ADMIN_ENTRIES: u32 = 8;
/// Admin commands (NVMe Base 2.1, 5.2).
const CREATE_SUBMISSION: u32 = 0x01;
const CREATE_COMPLETION: u32 = 0x05;
/// In one piece, and for the submission queue the number of its completion queue.
const CONTIGUOUS: u32 = 1;

/// Entries of the I/O queues: more than any queue depth here.
pub const ENTRIES: u32 = 256;
/// Where in the memory what lies. The buffers come first.
pub const SUBMISSIONS: usize = 0x10_0000;
pub const COMPLETIONS: usize = 0x11_0000;
const ADMIN_SUBMISSIONS: usize = 0x12_0000;
const ADMIN_COMPLETIONS: usize = 0x13_0000;

/// How long the controller may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The registers of a controller.
#[derive(Debug)]
pub struct Controller {
    registers: *mut u8,
    /// Bytes between two doorbells.
    stride: usize,
}

impl Controller {
    /// Resets the controller of a PCI function and opens queue pair 1 in the memory.
    pub fn start(function: &Path, memory: &Memory) -> Result<Self> {
        enable_bus_master(function).context("bus mastering")?;
        let registers = map(function).context("registers")?;
        let mut controller = Self {
            registers,
            stride: 4,
        };
        let capabilities = controller.read(CAPABILITIES + 4);
        controller.stride = 4 << (capabilities & 0xf);
        let physical = memory.physical()?;
        controller.write(CONFIGURATION, 0);
        controller.await_ready(0)?;
        controller.write(ADMIN_SIZES, (ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1));
        controller.write_long(ADMIN_SUBMISSION, physical + ADMIN_SUBMISSIONS as u64);
        controller.write_long(ADMIN_COMPLETION, physical + ADMIN_COMPLETIONS as u64);
        controller.write(CONFIGURATION, ENABLE);
        controller.await_ready(READY)?;
        let sizes = (ENTRIES - 1) << 16 | 1;
        let queues = [
            (CREATE_COMPLETION, COMPLETIONS, CONTIGUOUS),
            (CREATE_SUBMISSION, SUBMISSIONS, CONTIGUOUS | 1 << 16),
        ];
        for (number, (opcode, offset, flags)) in queues.into_iter().enumerate() {
            let address = physical + offset as u64;
            controller.command(memory, number, opcode, address, sizes, flags)?;
        }
        Ok(controller)
    }

    /// The doorbell by which the controller learns of commands of queue pair 1.
    pub fn submission_doorbell(&self) -> *mut u32 {
        self.at(DOORBELLS + 2 * self.stride)
    }

    /// The doorbell by which it learns which completions were seen.
    pub fn completion_doorbell(&self) -> *mut u32 {
        self.at(DOORBELLS + 3 * self.stride)
    }

    /// The admin command with this number, from 0 on, and fewer than there are entries.
    fn command(
        &self,
        memory: &Memory,
        number: usize,
        opcode: u32,
        address: u64,
        dword10: u32,
        dword11: u32,
    ) -> Result<()> {
        let mut entry = [0_u32; 16];
        entry[0] = opcode | (number as u32) << 16;
        (entry[6], entry[7]) = (address as u32, (address >> 32) as u32);
        (entry[10], entry[11]) = (dword10, dword11);
        // SAFETY: the entry is within the memory and the controller does not look at it yet.
        unsafe {
            let place = memory.at(ADMIN_SUBMISSIONS + number * 64);
            place.cast::<[u32; 16]>().write_volatile(entry);
        }
        fence(Ordering::SeqCst);
        self.write(DOORBELLS, number as u32 + 1);
        let start = Instant::now();
        loop {
            // SAFETY: within the memory; the controller writes it, so it is read as volatile.
            let word = unsafe {
                let place = memory.at(ADMIN_COMPLETIONS + number * 16 + 12);
                place.cast::<u32>().read_volatile()
            };
            // The phase is 1 in the first round.
            if word & 1 << 16 != 0 {
                self.write(DOORBELLS + self.stride, number as u32 + 1);
                ensure!(
                    word >> 17 == 0,
                    "command {opcode} failed: {:#x}",
                    word >> 17
                );
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "no answer to command {opcode}");
        }
    }

    fn await_ready(&self, ready: u32) -> Result<()> {
        let start = Instant::now();
        while self.read(STATUS) & READY != ready {
            ensure!(start.elapsed() < PATIENCE, "the controller stays as it is");
        }
        Ok(())
    }

    fn at(&self, offset: usize) -> *mut u32 {
        assert!(offset < REGISTERS, "there is no register {offset:#x}");
        // SAFETY: within the mapping, as just checked.
        unsafe { self.registers.add(offset).cast() }
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: an aligned register; a read has no effect in memory.
        unsafe { self.at(offset).read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: an aligned register; what the controller does then stays within the memory whose
        // addresses it was given.
        unsafe { self.at(offset).write_volatile(value) }
    }

    fn write_long(&self, offset: usize, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // So that nothing is written to the memory any more.
        self.write(CONFIGURATION, 0);
        let _ = self.await_ready(0);
        // SAFETY: the mapping that `map` made.
        unsafe { libc::munmap(self.registers.cast(), REGISTERS) };
    }
}

/// The command register of configuration space: memory accesses and bus mastering
/// (PCI Local Bus 3.0, 6.2.2).
fn enable_bus_master(function: &Path) -> Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(function.join("config"))?;
    let mut command = [0; 2];
    file.read_exact_at(&mut command, 4)?;
    let command = u16::from_le_bytes(command) | 0b110;
    file.write_all_at(&command.to_le_bytes(), 4)?;
    Ok(())
}

fn map(function: &Path) -> Result<*mut u8> {
    let path = function.join("resource0");
    ensure!(
        fs::metadata(&path)?.len() >= REGISTERS as u64,
        "too few registers"
    );
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_SYNC)
        .open(&path)?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            REGISTERS,
            access,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        bail!("mmap: {}", io::Error::last_os_error());
    }
    Ok(address.cast())
}
