//! A polled driver in user space: the kernel's driver is gone, the registers and one large page are
//! mapped, and nobody checks anything. It does what a read needs and nothing else: 64 bytes
//! written, one doorbell for a batch, four bytes read for each completion, one doorbell for all.

mod controller;

use std::{
    path::Path as FilePath,
    sync::atomic::{Ordering, compiler_fence},
};

use anyhow::{Result, ensure};
use controller::{COMPLETIONS, Controller, ENTRIES, SUBMISSIONS};

use super::{Calls, Path, Read};
use crate::{memory::Memory, places::BYTES};

/// Read of namespace 1 (NVM Command Set, 3.2.4).
const READ: u64 = 0x02;
const NAMESPACE: u64 = 1;

/// A queue pair, and the controller.
#[derive(Debug)]
pub struct Driver<'a> {
    _controller: Controller,
    _memory: &'a Memory,
    submissions: *mut [u64; 8],
    completions: *const u32,
    submission_doorbell: *mut u32,
    completion_doorbell: *mut u32,
    /// The next entry to write.
    tail: u32,
    /// What of them the device was told of.
    told: u32,
    /// The next entry to read.
    head: u32,
    /// What the phase bit of a new completion is.
    phase: u32,
    /// Where the buffers are for the device.
    buffers: u64,
    /// Blocks of a read, from 0 for one.
    blocks: u64,
    failed: bool,
}

impl<'a> Driver<'a> {
    /// The driver of a PCI function that no other driver has.
    pub fn start(function: &FilePath, memory: &'a Memory, block_size: u32) -> Result<Self> {
        let controller = Controller::start(function, memory)?;
        Ok(Self {
            submissions: memory.at(SUBMISSIONS).cast(),
            completions: memory.at(COMPLETIONS).cast(),
            submission_doorbell: controller.submission_doorbell(),
            completion_doorbell: controller.completion_doorbell(),
            tail: 0,
            told: 0,
            head: 0,
            phase: 1,
            buffers: memory.physical()?,
            blocks: BYTES as u64 / u64::from(block_size) - 1,
            failed: false,
            _controller: controller,
            _memory: memory,
        })
    }
}

impl Path for Driver<'_> {
    const CALLS: Calls = Calls {
        send: 0,
        wait: 0,
        both: 0,
    };

    #[inline(always)]
    fn prepare(&mut self, reads: impl Iterator<Item = Read>) {
        let mut tail = self.tail;
        for Read { slot, block } in reads {
            let entry = [
                READ | (slot as u64) << 16 | NAMESPACE << 32,
                0,
                0,
                self.buffers + (slot * BYTES) as u64,
                0,
                block,
                self.blocks,
                0,
            ];
            // SAFETY: the index is within the queue, and the device does not look at an entry
            // before the doorbell.
            unsafe { self.submissions.add(tail as usize).write(entry) };
            tail = (tail + 1) % ENTRIES;
        }
        self.tail = tail;
    }

    #[inline(always)]
    fn send(&mut self) -> Result<()> {
        // The processor keeps the order of writes; the compiler has to as well.
        compiler_fence(Ordering::Release);
        // SAFETY: the doorbell; the entries before the tail are complete.
        unsafe { self.submission_doorbell.write_volatile(self.tail) };
        self.told = self.tail;
        Ok(())
    }

    #[inline(always)]
    fn wait(&mut self, _: usize) -> Result<()> {
        match self.told == self.tail {
            true => Ok(()),
            false => self.send(),
        }
    }

    #[inline(always)]
    fn reap(&mut self, mut each: impl FnMut(usize)) -> Result<usize> {
        let (mut head, mut count) = (self.head, 0);
        loop {
            // SAFETY: within the queue, whose entries are 16 bytes; the device writes it.
            let word = unsafe {
                let entry = self.completions.add(head as usize * 4 + 3);
                entry.read_volatile()
            };
            if word >> 16 & 1 != self.phase {
                break;
            }
            self.failed |= word >> 17 != 0;
            each((word & 0xffff) as usize);
            count += 1;
            head += 1;
            if head == ENTRIES {
                head = 0;
                self.phase ^= 1;
            }
        }
        if count > 0 {
            self.head = head;
            compiler_fence(Ordering::Acquire);
            // SAFETY: the doorbell; the entries before the head were read.
            unsafe { self.completion_doorbell.write_volatile(head) };
            ensure!(!self.failed, "a read has failed");
        }
        Ok(count)
    }
}
