//! What a 4 KiB read costs in instructions: submit, kick and reap in batches of 32, with the loop
//! that chooses random blocks. Run under callgrind, which counts the functions:
//!
//! ```text
//! RUSTFLAGS="-Cpanic=abort -Cforce-frame-pointers=yes" \
//!     cargo bench -p spillway-nvme --bench cost --target x86_64-unknown-linux-gnu --no-run
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' target/…/cost-…
//! ```
//!
//! There are 32,000 reads in batches, 32,000 that are submitted one by one, and all are reaped by the
//! same function.

mod null;

use null::Null;
use spillway_hal::block::*;
use spillway_hal::{Both, Device, DmaBuffer, DmaConstraints, DmaMemory, IoAddress};
use spillway_nvme::{Nvme, Options, Queue};

const BATCH: u64 = 32;
const BATCHES: u64 = 1000;

/// Knuth's MMIX generator: its upper bits are good enough to choose blocks.
#[inline(always)]
fn next(random: &mut u64) -> u64 {
    *random = random
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    *random >> 40 << 3
}

/// A read of a random place.
macro_rules! read {
    ($queue:expr, $random:expr, $address:expr, $tag:expr) => {
        $queue.submit(&Request {
            operation: Operation::Read,
            namespace: NamespaceId(1),
            lba: Lba(next($random)),
            blocks: BlockCount(8),
            segments: &[Segment {
                address: $address,
                bytes: 4096,
            }],
            flags: RequestFlags::default(),
            tag: $tag as u64,
        })
    };
}

/// Submits a batch of random reads, as one.
#[inline(never)]
fn measured_batch(queue: &mut Queue<Null>, buffers: &[IoAddress; 32], state: &mut u64) {
    let mut random = *state;
    let mut batch = queue.batch();
    for (tag, &address) in buffers.iter().enumerate() {
        if read!(batch, &mut random, address, tag).is_err() {
            std::process::abort();
        }
    }
    drop(batch);
    *state = random;
    queue.kick();
}

/// The same, one by one.
#[inline(never)]
fn measured_submit(queue: &mut Queue<Null>, buffers: &[IoAddress; 32], state: &mut u64) {
    let mut random = *state;
    for (tag, &address) in buffers.iter().enumerate() {
        if read!(queue, &mut random, address, tag).is_err() {
            std::process::abort();
        }
    }
    *state = random;
    queue.kick();
}

/// Reaps a batch.
#[inline(never)]
fn measured_reap(queue: &mut Queue<Null>, sum: &mut u64) -> usize {
    queue.reap(|tag, result| {
        if result.is_err() {
            std::process::abort();
        }
        *sum += tag;
    })
}

fn main() {
    let device = Null::new();
    let mut controller = Nvme::new(device.clone(), Options::default()).unwrap();
    let options = QueueOptions {
        depth: 32,
        interrupt: false,
    };
    let mut queue = controller.open_queue(options).unwrap();
    let memory: DmaBuffer<_, Both> = device
        .allocate(4096 * BATCH as usize, DmaConstraints::default())
        .unwrap();
    let buffers = std::array::from_fn(|index| memory.memory().io_address(4096 * index));
    let (mut random, mut sum) = (88172645463325252, 0);
    for batch in 0..2 * BATCHES {
        if batch % 2 == 0 {
            measured_batch(&mut queue, &buffers, &mut random);
        } else {
            measured_submit(&mut queue, &buffers, &mut random);
        }
        device.complete();
        assert_eq!(measured_reap(&mut queue, &mut sum), BATCH as usize);
    }
    assert_eq!(sum, BATCHES * BATCH * (BATCH - 1));
}
