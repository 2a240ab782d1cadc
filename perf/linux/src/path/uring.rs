//! io_uring: rings that are shared with the kernel.

use std::{fs::File, os::fd::AsRawFd};

use anyhow::{Context, Result, bail};
use io_uring::{
    IoUring, cqueue, opcode,
    squeue::{self, EntryMarker},
    types,
};

use super::{Calls, Path, Read};
use crate::{memory::Memory, places::BYTES, report::Wait};

/// A ring of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Whether the kernel looks for completions itself.
    pub wait: Wait,
    /// Whether buffers and file are registered, and the ring has only what one thread needs.
    pub fixed: bool,
}

/// A ring for `depth` reads, with the file and the memory registered if the kind says so.
pub fn ring<S: EntryMarker, C: cqueue::EntryMarker>(
    kind: Kind,
    file: &File,
    memory: &Memory,
    depth: usize,
) -> Result<IoUring<S, C>> {
    let mut builder = IoUring::<S, C>::builder();
    if kind.wait == Wait::Poll {
        builder.setup_iopoll();
    }
    if kind.fixed {
        builder.setup_single_issuer();
        if kind.wait == Wait::Interrupt {
            builder.setup_defer_taskrun();
        }
    }
    let ring = builder.build(depth as u32).context("io_uring_setup")?;
    if kind.fixed {
        let buffers: Vec<_> = (0..depth)
            .map(|slot| libc::iovec {
                iov_base: memory.buffer(slot).cast(),
                iov_len: BYTES,
            })
            .collect();
        let submitter = ring.submitter();
        // SAFETY: the memory outlives the ring, which its owners see to.
        unsafe { submitter.register_buffers(&buffers) }.context("buffers")?;
        submitter
            .register_files(&[file.as_raw_fd()])
            .context("file")?;
    }
    Ok(ring)
}

/// Sends what is in a ring, without a look at completions.
#[inline(always)]
pub fn send<S: EntryMarker, C: cqueue::EntryMarker>(ring: &mut IoUring<S, C>) -> Result<()> {
    let count = ring.submission().len() as u32;
    // SAFETY: the call sends what was prepared and waits for nothing.
    let sent = unsafe { ring.submitter().enter::<libc::sigset_t>(count, 0, 0, None) }?;
    if sent != count as usize {
        bail!("only {sent} of {count} reads were sent");
    }
    Ok(())
}

/// Plain reads of a block device by io_uring.
pub struct Uring<'a> {
    ring: IoUring,
    kind: Kind,
    descriptor: types::Fd,
    memory: &'a Memory,
    block_size: u32,
}

impl<'a> Uring<'a> {
    /// A queue for `depth` reads.
    pub fn new(
        kind: Kind,
        file: &File,
        memory: &'a Memory,
        block_size: u32,
        depth: usize,
    ) -> Result<Self> {
        Ok(Self {
            ring: ring(kind, file, memory, depth)?,
            kind,
            descriptor: types::Fd(file.as_raw_fd()),
            memory,
            block_size,
        })
    }
}

/// The only registered file.
const FILE: types::Fixed = types::Fixed(0);

impl Path for Uring<'_> {
    const CALLS: Calls = Calls {
        send: 1,
        wait: 1,
        both: 1,
    };

    #[inline(always)]
    fn prepare(&mut self, reads: impl Iterator<Item = Read>) {
        let mut queue = self.ring.submission();
        for Read { slot, block } in reads {
            let buffer = self.memory.buffer(slot);
            let offset = block * u64::from(self.block_size);
            let entry: squeue::Entry = match self.kind.fixed {
                true => opcode::ReadFixed::new(FILE, buffer, BYTES as u32, slot as u16)
                    .offset(offset)
                    .build(),
                false => opcode::Read::new(self.descriptor, buffer, BYTES as u32)
                    .offset(offset)
                    .build(),
            };
            // SAFETY: the buffer outlives the ring; a full ring would lose the read, and the wait
            // for it would never end, but there are as many entries as slots.
            let pushed = unsafe { queue.push(&entry.user_data(slot as u64)) };
            debug_assert!(pushed.is_ok());
        }
    }

    #[inline(always)]
    fn send(&mut self) -> Result<()> {
        send(&mut self.ring)
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
            if entry.result() != BYTES as i32 {
                bail!("a read has failed with {}", entry.result());
            }
            each(entry.user_data() as usize);
            count += 1;
        }
        Ok(count)
    }
}
