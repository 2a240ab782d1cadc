//! The same load by the interface of applications: buffers of a pool, given away and taken back.

use alloc::{string::String, vec::Vec};

use driver_sdk::io::{
    BlockDevice, BlockQueue, Buffer, ByteOffset, Error, Integrated, IntegratedQueue, QueueOptions,
    Request,
};
use spillway_nvme::Nvme;

use crate::{
    Disk, io_failed,
    load::{BYTES, Batches, Random},
};

/// A queue, and what is read into.
pub struct IoLoad {
    queue: IntegratedQueue<Nvme<Disk>, Disk>,
    buffers: Vec<Buffer>,
    random: Random,
    /// The bits of a random number that make a place to read from, in reads.
    places: u64,
    failed: bool,
}

impl IoLoad {
    /// A queue for `depth` reads.
    pub fn new(device: &Integrated<Nvme<Disk>, Disk>, depth: u16) -> Result<Self, Error> {
        let pool = device.create_pool(usize::from(depth) * BYTES as usize)?;
        let options = QueueOptions {
            depth,
            ..QueueOptions::default()
        };
        // The largest power of two that is not more.
        let capacity = 1
            << (device.capacity() / u64::from(BYTES))
                .max(1)
                .ilog2()
                .min(32);
        Ok(Self {
            queue: device.open_queue(options)?,
            buffers: (0..depth)
                .map(|_| pool.allocate(BYTES as usize))
                .collect::<Result<_, _>>()?,
            random: Random(0),
            places: capacity - 1,
            failed: false,
        })
    }
}

impl Batches for IoLoad {
    #[inline(always)]
    fn send(&mut self, _: u16) -> Result<(), String> {
        let (mut random, places) = (self.random, self.places);
        for buffer in self.buffers.drain(..) {
            let offset = ByteOffset((random.next() & places) * u64::from(BYTES));
            if let Err(rejected) = self.queue.push(Request::read(offset, buffer)) {
                return Err(io_failed(rejected.error));
            }
        }
        self.random = random;
        self.queue.kick();
        Ok(())
    }

    #[inline(always)]
    fn poll(&mut self) -> usize {
        let Self {
            queue,
            buffers,
            failed,
            ..
        } = self;
        queue.poll(|completion| {
            *failed |= completion.result.is_err();
            if let Some(buffer) = completion.buffers.into_buffer() {
                buffers.push(buffer);
            }
        })
    }

    fn check(&self) -> Result<(), String> {
        match self.failed {
            false => Ok(()),
            true => Err("a read has failed".into()),
        }
    }
}
