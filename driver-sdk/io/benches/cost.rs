//! What a 4 KiB read at level 4 costs in instructions, on top of the NVMe driver and a controller
//! that costs nothing: pushed, kicked and polled in batches of 32, with buffers of a pool and the
//! loop that chooses random blocks. Run under callgrind, which counts the functions:
//!
//! ```text
//! RUSTFLAGS="-Cpanic=abort -Cforce-frame-pointers=yes" \
//!     cargo bench -p spillway-io --bench cost_io --target x86_64-unknown-linux-gnu --no-run
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' target/…/cost_io-…
//! ```
//!
//! The total of a function divided by 32,000 is its part in one read.

#[path = "../../../drivers/nvme/benches/null/mod.rs"]
mod null;

use std::ptr::NonNull;

use null::{Null, Plain};
use spillway_hal::DmaMemory;
use spillway_io::{
    BlockDevice, BlockQueue, Buffer, ByteOffset, Integrated, IntegratedQueue, NamespaceId,
    PoolMemory, Request,
};
use spillway_nvme::{Nvme, Options};

const BATCH: usize = 32;
const BATCHES: usize = 1000;

type Queue = IntegratedQueue<Nvme<Null>, Null>;

// SAFETY: the memory is leaked, zeroed and page-aligned; the bench has one thread, and touches a
// pool's memory through its buffers only.
unsafe impl PoolMemory for Plain {
    fn bytes(&self) -> NonNull<[u8]> {
        let start = NonNull::new(self.as_ptr()).expect("memory is not at null");
        NonNull::slice_from_raw_parts(start, self.len())
    }
}

// SAFETY: the bench has one thread.
unsafe impl Send for Plain {}
// SAFETY: the bench has one thread.
unsafe impl Sync for Plain {}

/// A read of a random place. Knuth's MMIX generator: its upper bits are good enough to choose one.
#[inline(always)]
fn read(random: &mut u64, buffer: Buffer) -> Request {
    *random = random
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    Request::read(ByteOffset(*random >> 40 << 12), buffer)
}

/// Submits a batch of random reads, one by one.
#[inline(never)]
fn measured_push(queue: &mut Queue, buffers: &mut Vec<Buffer>, state: &mut u64) {
    let mut random = *state;
    for buffer in buffers.drain(..) {
        if queue.push(read(&mut random, buffer)).is_err() {
            std::process::abort();
        }
    }
    *state = random;
    queue.kick();
}

/// The same, as a batch.
#[inline(never)]
fn measured_batch(queue: &mut Queue, buffers: &mut Vec<Buffer>, state: &mut u64) {
    let mut random = *state;
    let mut buffers = buffers.drain(..);
    let mut reads = std::iter::from_fn(|| Some(read(&mut random, buffers.next()?)));
    if !matches!(queue.submit_batch(&mut reads), Ok(BATCH)) {
        std::process::abort();
    }
    *state = random;
}

/// Takes a batch back.
#[inline(never)]
fn measured_poll(queue: &mut Queue, buffers: &mut Vec<Buffer>) -> usize {
    queue.poll(|completion| {
        if completion.result.is_err() {
            std::process::abort();
        }
        match completion.buffers.into_buffer() {
            Some(buffer) => buffers.push(buffer),
            None => std::process::abort(),
        }
    })
}

fn main() {
    let null = Null::new();
    let driver = Nvme::new(null.clone(), Options::default()).unwrap();
    let device = Integrated::new(driver, Nvme::device, NamespaceId(1)).unwrap();
    let pool = device.create_pool(BATCH * 4096).unwrap();
    let mut buffers: Vec<_> = (0..BATCH).map(|_| pool.allocate(4096).unwrap()).collect();
    let options = spillway_io::QueueOptions {
        depth: BATCH as u16,
        ..Default::default()
    };
    let mut queue = device.open_queue(options).unwrap();
    let mut random = 88172645463325252;
    for batch in 0..2 * BATCHES {
        if batch % 2 == 0 {
            measured_batch(&mut queue, &mut buffers, &mut random);
        } else {
            measured_push(&mut queue, &mut buffers, &mut random);
        }
        null.complete();
        assert_eq!(measured_poll(&mut queue, &mut buffers), BATCH);
    }
    assert_eq!(queue.statistics().completed, 2 * (BATCH * BATCHES) as u64);
}
