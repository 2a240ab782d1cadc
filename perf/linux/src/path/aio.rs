//! libaio: the asynchronous I/O that Linux had first, by its system calls.

use std::{fs::File, io, mem::size_of, os::fd::AsRawFd, ptr};

use anyhow::{Result, bail};

use super::{Calls, Path, Read};
use crate::{memory::Memory, places::BYTES};

/// `struct iocb` (Linux, include/uapi/linux/aio_abi.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Command {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_descriptor: u32,
}
const _: () = assert!(size_of::<Command>() == 64);

/// `struct io_event` of the same file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    data: u64,
    command: u64,
    result: i64,
    result2: i64,
}
const _: () = assert!(size_of::<Event>() == 32);

/// `IOCB_CMD_PREAD`.
const READ: u16 = 0;

/// A context, which is what its queue is called.
#[derive(Debug)]
pub struct Aio {
    context: usize,
    block_size: u32,
    /// One for each slot.
    commands: Box<[Command]>,
    /// Slots whose commands are not yet sent.
    prepared: Vec<*mut Command>,
    events: Box<[Event]>,
    /// Events that were not handed out yet.
    count: usize,
}

impl Aio {
    /// A queue for `depth` reads.
    pub fn new(file: &File, memory: &Memory, block_size: u32, depth: usize) -> Result<Self> {
        let mut context = 0_usize;
        // SAFETY: the call writes the context's name and nothing else.
        let result = unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut context) };
        if result != 0 {
            bail!("io_setup: {}", io::Error::last_os_error());
        }
        let command = |slot: usize| Command {
            data: slot as u64,
            opcode: READ,
            descriptor: file.as_raw_fd() as u32,
            buffer: memory.buffer(slot) as u64,
            bytes: BYTES as u64,
            ..Command::default()
        };
        Ok(Self {
            context,
            block_size,
            commands: (0..depth).map(command).collect(),
            prepared: Vec::with_capacity(depth),
            events: vec![Event::default(); depth].into(),
            count: 0,
        })
    }
}

impl Path for Aio {
    const CALLS: Calls = Calls {
        send: 1,
        wait: 1,
        both: 2,
    };

    #[inline(always)]
    fn prepare(&mut self, reads: impl Iterator<Item = Read>) {
        for read in reads {
            let command = &mut self.commands[read.slot];
            command.offset = (read.block * u64::from(self.block_size)) as i64;
            self.prepared.push(command);
        }
    }

    #[inline(always)]
    fn send(&mut self) -> Result<()> {
        let (count, first) = (self.prepared.len(), self.prepared.as_ptr());
        // SAFETY: the commands are in `self`; their buffers outlive the path by its contract.
        let sent = unsafe { libc::syscall(libc::SYS_io_submit, self.context, count, first) };
        if sent != count as i64 {
            bail!(
                "{sent} of {count} reads sent: {}",
                io::Error::last_os_error()
            );
        }
        self.prepared.clear();
        Ok(())
    }

    #[inline(always)]
    fn wait(&mut self, least: usize) -> Result<()> {
        if !self.prepared.is_empty() {
            self.send()?;
        }
        // SAFETY: there is room for as many events as the queue is deep.
        let count = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                least,
                self.events.len(),
                self.events.as_mut_ptr(),
                ptr::null::<libc::timespec>(),
            )
        };
        if count < 0 {
            bail!("io_getevents: {}", io::Error::last_os_error());
        }
        self.count = count as usize;
        Ok(())
    }

    #[inline(always)]
    fn reap(&mut self, mut each: impl FnMut(usize)) -> Result<usize> {
        let count = std::mem::take(&mut self.count);
        for event in &self.events[..count] {
            if event.result != BYTES as i64 {
                bail!("a read has failed with {}", event.result);
            }
            each(event.data as usize);
        }
        Ok(count)
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: waits for what is in flight, then the context is gone.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}
