//! The rings of a queue, as the program sees them.

use core::sync::atomic::{AtomicU32, Ordering};

use spillway_abi::{
    Error, Rights,
    queue::{
        COMPLETION_HEADER, Completion, ENTRIES, ENTRY_SIZE, SUBMISSION_HEADER, Submission,
        ring_bytes,
    },
};

use super::{Mapping, Memory, queue::Full};

#[derive(Debug)]
pub struct Rings {
    mapping: Mapping,
    submissions: u32,
    completions: u32,
    tail: u32,
    published: u32,
    head: u32,
}

impl Rings {
    pub fn new(memory: &Memory, submissions: u32, completions: u32) -> Result<Self, Error> {
        let mapping = memory.map(Rights::READ | Rights::WRITE)?;
        if mapping.len() < ring_bytes(submissions, completions) {
            return Err(Error::Corrupt);
        }
        Ok(Self {
            mapping,
            submissions,
            completions,
            tail: 0,
            published: 0,
            head: 0,
        })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the headers are inside the mapping, and both sides use them as atomics.
        unsafe { &*self.mapping.as_ptr().add(offset).cast() }
    }

    pub fn room(&mut self) -> u32 {
        let head = self.word(SUBMISSION_HEADER + 64).load(Ordering::Acquire);
        self.submissions - self.tail.wrapping_sub(head)
    }

    pub fn submit(&mut self, submission: &Submission) -> Result<(), Full> {
        if self.room() == 0 {
            return Err(Full);
        }
        let index = (self.tail & (self.submissions - 1)) as usize;
        // SAFETY: the entry is inside the mapping and free.
        unsafe {
            self.mapping
                .as_ptr()
                .add(ENTRIES + index * ENTRY_SIZE)
                .cast::<Submission>()
                .write(*submission)
        };
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Returns how many entries wait for the kernel.
    pub fn publish(&mut self) -> u32 {
        self.word(SUBMISSION_HEADER)
            .store(self.tail, Ordering::Release);
        self.published = self.tail;
        self.tail
            .wrapping_sub(self.word(SUBMISSION_HEADER + 64).load(Ordering::Acquire))
    }

    pub fn completions(&mut self) -> u32 {
        let tail = self.word(COMPLETION_HEADER).load(Ordering::Acquire);
        tail.wrapping_sub(self.head)
    }

    pub fn next(&mut self) -> Result<Option<Completion>, Error> {
        if self.completions() == 0 {
            return Ok(None);
        }
        let index = (self.head & (self.completions - 1)) as usize;
        let offset = ENTRIES + (self.submissions as usize + index) * ENTRY_SIZE;
        // SAFETY: the entry is inside the mapping, and any bytes are a completion.
        let completion = unsafe {
            self.mapping
                .as_ptr()
                .add(offset)
                .cast::<Completion>()
                .read()
        };
        self.head = self.head.wrapping_add(1);
        self.word(COMPLETION_HEADER + 64)
            .store(self.head, Ordering::Release);
        Ok(Some(completion))
    }
}
