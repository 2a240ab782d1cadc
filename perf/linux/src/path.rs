//! The ways by which reads go to the disk and come back.

pub mod aio;
pub mod driver;
pub mod passthrough;
pub mod pread;
pub mod uring;

use anyhow::Result;

use crate::places::Places;

/// A read of one place into one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The number of the buffer, which says which read came back.
    pub slot: usize,
    /// The first block.
    pub block: u64,
}

/// System calls that a path takes.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// To send.
    pub send: u64,
    /// To wait when there is nothing to send.
    pub wait: u64,
    /// To send and wait.
    pub both: u64,
}

/// A way with a queue.
pub trait Path {
    /// What its calls cost in system calls.
    const CALLS: Calls;

    /// Prepares reads. There is room for as many as the queue is deep.
    fn prepare(&mut self, reads: impl Iterator<Item = Read>);

    /// Sends what was prepared.
    fn send(&mut self) -> Result<()>;

    /// Sends what was prepared and waits, if it can, until at least so many reads have come back
    /// that were not reaped.
    fn wait(&mut self, least: usize) -> Result<()>;

    /// Hands out what has come back, and returns how many those were.
    ///
    /// # Errors
    ///
    /// If a read has failed.
    fn reap(&mut self, each: impl FnMut(usize)) -> Result<usize>;
}

/// How the reads of a batch came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polls {
    /// Polls that found nothing.
    pub vain: u64,
    /// Polls that found something.
    pub pieces: u64,
}

impl Polls {
    /// All of them.
    pub fn all(self) -> u64 {
        self.vain + self.pieces
    }
}

/// Prepares a batch.
#[inline(always)]
pub fn prepare(path: &mut impl Path, places: &mut Places, depth: usize) {
    // In registers, not in memory.
    let mut sequence = *places;
    path.prepare((0..depth).map(|slot| Read {
        slot,
        block: sequence.next(),
    }));
    *places = sequence;
}

/// Waits for `count` reads, but polls not more than `most` times in vain. Never inlined, so that a
/// poll in vain costs the same wherever it is counted.
///
/// # Errors
///
/// If a read has failed.
#[inline(never)]
pub fn drain(path: &mut impl Path, mut count: usize, most: u64) -> Result<Polls> {
    let mut polls = Polls::default();
    while count > 0 && polls.vain < most {
        path.wait(count)?;
        let reaped = path.reap(|_| {})?;
        polls.vain += u64::from(reaped == 0);
        polls.pieces += u64::from(reaped != 0);
        count -= reaped;
    }
    Ok(polls)
}

/// Does `reads` reads, `depth` of them in flight: what comes back is sent again at once. Tells the
/// slot of each when it is about to be sent and when it has come back.
///
/// # Errors
///
/// If a read has failed.
#[inline(always)]
pub fn roll(
    path: &mut impl Path,
    places: &mut Places,
    depth: usize,
    reads: u64,
    mut begun: impl FnMut(usize),
    mut ended: impl FnMut(usize),
) -> Result<()> {
    let mut idle: Vec<usize> = (0..depth).collect();
    let (mut left, mut in_flight) = (reads, 0);
    while left > 0 || in_flight > 0 {
        let next = idle.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let from = idle.len() - next;
        path.prepare(idle.drain(from..).map(|slot| {
            begun(slot);
            Read {
                slot,
                block: places.next(),
            }
        }));
        left -= next as u64;
        in_flight += next;
        path.wait(1)?;
        in_flight -= path.reap(|slot| {
            ended(slot);
            idle.push(slot);
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Geometry;

    /// Brings reads back two at a time, in another order.
    #[derive(Default)]
    struct Pairs {
        sent: Vec<Read>,
        most: usize,
        reads: u64,
    }

    impl Path for Pairs {
        const CALLS: Calls = Calls {
            send: 0,
            wait: 0,
            both: 0,
        };
        fn prepare(&mut self, reads: impl Iterator<Item = Read>) {
            self.sent.extend(reads);
            self.most = self.most.max(self.sent.len());
        }
        fn send(&mut self) -> Result<()> {
            Ok(())
        }
        fn wait(&mut self, _: usize) -> Result<()> {
            Ok(())
        }
        fn reap(&mut self, mut each: impl FnMut(usize)) -> Result<usize> {
            let from = self.sent.len().saturating_sub(2);
            let back = self.sent.split_off(from);
            back.iter().rev().for_each(|read| each(read.slot));
            self.reads += back.len() as u64;
            Ok(back.len())
        }
    }

    fn places() -> Places {
        let disk = Geometry {
            capacity: 1 << 20,
            block_size: 512,
        };
        Places::new(disk, 0)
    }

    #[test]
    fn a_rolling_depth_is_kept_and_every_read_comes_back() {
        for (depth, reads) in [(1, 5), (4, 100), (32, 7)] {
            let mut path = Pairs::default();
            let (mut begun, mut ended) = (Vec::new(), Vec::new());
            let places = &mut places();
            let (begin, end) = (|slot| begun.push(slot), |slot| ended.push(slot));
            roll(&mut path, places, depth, reads, begin, end).unwrap();
            assert_eq!(path.reads, reads);
            begun.sort_unstable();
            ended.sort_unstable();
            assert_eq!((begun.len() as u64, &begun), (reads, &ended));
            assert_eq!(path.most, depth.min(reads as usize));
        }
    }

    #[test]
    fn a_batch_is_counted_by_its_pieces() {
        let (mut path, mut places) = (Pairs::default(), places());
        prepare(&mut path, &mut places, 5);
        let slots: Vec<_> = path.sent.iter().map(|read| read.slot).collect();
        assert_eq!(slots, [0, 1, 2, 3, 4]);
        let polls = drain(&mut path, 5, u64::MAX).unwrap();
        assert_eq!((polls.pieces, polls.vain), (3, 0));
        assert_eq!(drain(&mut path, 1, 9).unwrap().vain, 9);
    }
}
