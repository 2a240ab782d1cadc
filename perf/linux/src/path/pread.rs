//! `pread`, one read at a time and thread.

use std::{fs::File, io, os::fd::AsRawFd, sync::Barrier, thread};

use anyhow::{Result, bail};

use crate::{
    measure::now,
    memory::Memory,
    places::{BYTES, Geometry, Places},
};

/// Looks at each read of a thread.
pub trait Observer: Default + Send {
    /// It is about to begin.
    fn begin(&mut self) {}
    /// It has ended.
    fn end(&mut self) {}
}

/// Looks away, at no cost.
impl Observer for () {}

/// How long each read took, in ticks of the time-stamp counter.
#[derive(Debug, Default)]
pub struct Latencies {
    begun: u64,
    /// One for each read.
    pub ticks: Vec<u64>,
}

impl Observer for Latencies {
    fn begin(&mut self) {
        self.begun = now();
    }

    fn end(&mut self) {
        self.ticks.push(now().saturating_sub(self.begun));
    }
}

/// Many threads, or none beside the calling one, that read from one file.
#[derive(Debug)]
pub struct Threads<'a> {
    /// The disk.
    pub file: &'a File,
    /// Of which each thread has one buffer.
    pub memory: &'a Memory,
    /// For places to read from; the seed of a thread's sequence is its number.
    pub geometry: Geometry,
    /// Threads.
    pub count: usize,
}

/// A buffer that a thread of its own reads into.
struct Buffer(*mut u8);

// SAFETY: memory may be used by any thread, and each buffer is used by one.
unsafe impl Send for Buffer {}

impl Threads<'_> {
    /// Does `reads` reads in each thread between `begin` and `end`, and returns what `end` made of
    /// what `begin` has returned, and what each thread has seen. The threads are there before and
    /// afterwards.
    ///
    /// # Errors
    ///
    /// If a read has failed.
    pub fn run<B, E, O: Observer>(
        &self,
        reads: u64,
        begin: impl FnOnce() -> B,
        end: impl FnOnce(B) -> E,
    ) -> Result<(E, Vec<O>)> {
        if self.count == 1 {
            let mut places = Places::new(self.geometry, 0);
            let buffer = self.memory.buffer(0);
            let begun = begin();
            let result = read(self.file, buffer, self.geometry, &mut places, reads);
            let ended = end(begun);
            return result.map(|seen| (ended, vec![seen]));
        }
        // Each thread and the one that measures meet when all are there, to start, and at the end.
        let (file, geometry) = (self.file, self.geometry);
        let meeting = &Barrier::new(self.count + 1);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.count)
                .map(|number| {
                    let buffer = Buffer(self.memory.buffer(number));
                    let mut places = Places::new(geometry, number as u64);
                    scope.spawn(move || {
                        let buffer = buffer;
                        meeting.wait();
                        meeting.wait();
                        let result = read(file, buffer.0, geometry, &mut places, reads);
                        meeting.wait();
                        result
                    })
                })
                .collect();
            meeting.wait();
            let begun = begin();
            meeting.wait();
            meeting.wait();
            let ended = end(begun);
            let seen = threads.into_iter().map(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a thread has panicked"),
            });
            Ok((ended, seen.collect::<Result<_>>()?))
        })
    }
}

/// Reads, one after the other.
fn read<O: Observer>(
    file: &File,
    buffer: *mut u8,
    disk: Geometry,
    places: &mut Places,
    reads: u64,
) -> Result<O> {
    let descriptor = file.as_raw_fd();
    let mut observer = O::default();
    for _ in 0..reads {
        let offset = places.next() * u64::from(disk.block_size);
        observer.begin();
        // SAFETY: the buffer has room for a read and is this thread's own.
        let bytes = unsafe { libc::pread(descriptor, buffer.cast(), BYTES, offset as libc::off_t) };
        observer.end();
        if bytes != BYTES as isize {
            bail!(
                "a read at {offset} has failed: {}",
                io::Error::last_os_error()
            );
        }
    }
    Ok(observer)
}
