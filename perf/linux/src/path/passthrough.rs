//! NVMe commands that pass through the kernel's driver, by io_uring, with the file and the buffers
//! registered.

use std::{fs::File, mem::size_of};

use anyhow::{Result, bail};
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{
    Calls, Path, Read,
    uring::{self, Kind},
};
use crate::{memory::Memory, places::BYTES, report::Wait};

/// `struct nvme_uring_cmd` (Linux, include/uapi/linux/nvme_ioctl.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Command {
    opcode: u8,
    flags: u8,
    reserved1: u16,
    namespace: u32,
    dword2: u32,
    dword3: u32,
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    bytes: u32,
    dword10: u32,
    dword11: u32,
    dword12: u32,
    dword13: u32,
    dword14: u32,
    dword15: u32,
    timeout: u32,
    reserved2: u32,
}
const _: () = assert!(size_of::<Command>() == 72);

/// `NVME_URING_CMD_IO`, `_IOWR('N', 0x80, struct nvme_uring_cmd)`.
const IO: u32 = 3 << 30 | (size_of::<Command>() as u32) << 16 | (b'N' as u32) << 8 | 0x80;
/// Read (NVM Command Set, 3.2.4).
const READ: u8 = 0x02;

/// A ring on the character device of a namespace.
pub struct Passthrough {
    ring: IoUring<squeue::Entry128, cqueue::Entry32>,
    /// One for each slot, without the place.
    commands: Box<[Command]>,
}

impl Passthrough {
    /// A queue for `depth` reads.
    pub fn new(
        wait: Wait,
        file: &File,
        memory: &Memory,
        block_size: u32,
        depth: usize,
    ) -> Result<Self> {
        let kind = Kind { wait, fixed: true };
        let command = |slot| Command {
            opcode: READ,
            namespace: 1,
            address: memory.buffer(slot) as u64,
            bytes: BYTES as u32,
            // The number of blocks, from 0 for one.
            dword12: BYTES as u32 / block_size - 1,
            ..Command::default()
        };
        Ok(Self {
            ring: uring::ring(kind, file, memory, depth)?,
            commands: (0..depth).map(command).collect(),
        })
    }
}

impl Path for Passthrough {
    const CALLS: Calls = Calls {
        send: 1,
        wait: 1,
        both: 1,
    };

    #[inline(always)]
    fn prepare(&mut self, reads: impl Iterator<Item = Read>) {
        let mut queue = self.ring.submission();
        for Read { slot, block } in reads {
            let command = &mut self.commands[slot];
            command.dword10 = block as u32;
            command.dword11 = (block >> 32) as u32;
            let mut bytes = [0; 80];
            // SAFETY: any bytes make an array of bytes, and a command has no padding.
            let command: [u8; size_of::<Command>()] = unsafe { std::mem::transmute(*command) };
            bytes[..size_of::<Command>()].copy_from_slice(&command);
            let entry = opcode::UringCmd80::new(types::Fixed(0), IO)
                .cmd(bytes)
                .buf_index(Some(slot as u16))
                .build()
                .user_data(slot as u64);
            // SAFETY: the buffer outlives the ring, and there are as many entries as slots.
            let pushed = unsafe { queue.push(&entry) };
            debug_assert!(pushed.is_ok());
        }
    }

    #[inline(always)]
    fn send(&mut self) -> Result<()> {
        uring::send(&mut self.ring)
    }

    #[inline(always)]
    fn wait(&mut self, least: usize) -> Result<()> {
        self.ring.submit_and_wait(least)?;
        Ok(())
    }

    #[inline(always)]
    fn reap(&mut self, mut each: impl FnMut(usize)) -> Result<usize> {
        let mut count = 0;
        for entry in self.ring.completion() {
            // The status of the device, or an error of the kernel.
            if entry.result() != 0 {
                bail!("a read has failed with {}", entry.result());
            }
            each(entry.user_data() as usize);
            count += 1;
        }
        Ok(count)
    }
}
