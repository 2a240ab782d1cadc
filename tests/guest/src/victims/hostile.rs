//! A victim that makes random system calls: every number, every handle that it can guess, and
//! arguments that are likely to be at an edge.

use alloc::vec::Vec;
use core::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{Call, call::Operation, layout},
    prelude::*,
};

use crate::raw;

/// Calls of each thread.
const CALLS: u32 = 4_000;
const THREADS: u64 = 3;

/// Bytes that calls may overwrite: the addresses that they name, and as much behind them as one
/// read moves at most.
static SCRATCH: [AtomicU64; 10_000] = [const { AtomicU64::new(0) }; 10_000];

/// Marsaglia's xorshift: a new number from each.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 8) % end
    }

    /// An argument: a handle, an address, a small number, an edge, or noise.
    fn argument(&mut self) -> u64 {
        let scratch = SCRATCH.as_ptr() as u64;
        let edges = [
            0,
            1,
            4095,
            4096,
            8192,
            1 << 20,
            u64::from(u32::MAX),
            u64::MAX,
            u64::MAX - 4095,
            layout::USER_START,
            layout::MAP_START,
            layout::MAP_END - 4096,
            layout::TIME_PAGE,
            layout::USER_END - 1,
            layout::USER_END,
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            0xffff_ffff_8000_0000,
        ];
        match self.below(8) {
            0..=2 => 1 << 16 | self.below(20),
            3 => (self.below(4) << 16) | self.below(110),
            4 => scratch + self.below(9000),
            5 => self.below(16),
            6 => edges[self.below(edges.len() as u64) as usize],
            _ => self.next() >> self.below(64),
        }
    }
}

/// Threads that have made all of their calls.
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Makes the calls that follow from a seed.
pub fn play(seed: u64) -> i32 {
    let threads: Vec<_> = (0..THREADS)
        .filter_map(|thread| {
            let random = Random(seed * THREADS + thread + 1);
            let builder = thread::Builder::new().stack_size(16 << 10);
            builder.spawn(move || call_at_random(random)).ok()
        })
        .collect();
    // They may have closed the handles that a join needs, and lowered their priorities.
    while DONE.load(Ordering::SeqCst) < threads.len() {
        thread::sleep(Duration::from_micros(200));
    }
    core::mem::forget(threads);
    0
}

fn call_at_random(mut random: Random) {
    for _ in 0..CALLS {
        let number = random.below(13);
        let mut arguments = [(); 6].map(|()| random.argument());
        match Call::from_raw(number) {
            // These would end the campaign.
            Some(Call::ExitThread | Call::ExitProcess) => continue,
            Some(Call::DoIo) => {
                arguments[1] = random.below(9);
                if arguments[1] == Operation::Destroy as u64 && random.below(100) > 0 {
                    continue;
                }
            }
            // Rare, or soon nothing would be left to do anything with.
            Some(Call::Close) if random.below(50) > 0 => continue,
            // Waits end by themselves.
            Some(Call::Wait) => arguments[1] = random.below(1 << 20),
            Some(Call::FutexWait) => arguments[2] = random.below(1 << 20),
            _ => {}
        }
        let _ = raw::call_number(number, arguments);
    }
    DONE.fetch_add(1, Ordering::SeqCst);
}
