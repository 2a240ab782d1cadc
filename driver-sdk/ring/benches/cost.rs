//! What an entry costs in instructions, in and out, both sides together. Run under callgrind, which
//! counts what is measured and nothing else:
//!
//! ```text
//! cargo bench -p spillway-ring --bench cost --no-run
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' \\
//!     target/…/cost-… ours 64 values
//! ```
//!
//! The total divided by 32,000 is the cost of one entry. The arguments are a ring (`ours`, `rtrb`,
//! `ringbuf`, `crossbeam`), the bytes of an entry (8, 64), and a way (`one`: one by one; `values`:
//! batches of 32 that are made from numbers and looked at one by one, as requests are; `copies`:
//! batches of 32 that lie in memory before and after).

mod contenders;

use std::hint::black_box;

use contenders::{
    BATCH, Contender, Crossbeam, Ours, Ringbuf, Rtrb,
    ways::{Batch, OneByOne, Slices, Values, Way},
};

const ENTRIES: usize = 32_000;

/// Pushes a batch and publishes it.
#[inline(never)]
fn measured_in<const WORDS: usize, C: Contender<WORDS>, W: Way>(
    producer: &mut C::Producer,
    batch: &mut Batch<WORDS>,
    first: u64,
) -> usize {
    W::push::<WORDS, C>(producer, batch, first, W::BATCH)
}

/// Pops a batch and gives it back.
#[inline(never)]
fn measured_out<const WORDS: usize, C: Contender<WORDS>, W: Way>(
    consumer: &mut C::Consumer,
    batch: &mut Batch<WORDS>,
    sum: &mut u64,
) -> usize {
    W::pop::<WORDS, C>(consumer, batch, sum)
}

fn run<const WORDS: usize, C: Contender<WORDS>, W: Way>() {
    let (mut producer, mut consumer) = C::pair();
    let (mut batches, mut sum) = (black_box(([[0; WORDS]; BATCH], [[0; WORDS]; BATCH])), 0);
    for batch in 0..ENTRIES / W::BATCH {
        let pushed =
            measured_in::<WORDS, C, W>(&mut producer, &mut batches.0, (batch * W::BATCH) as u64);
        let popped = measured_out::<WORDS, C, W>(&mut consumer, &mut batches.1, &mut sum);
        assert!(pushed == W::BATCH && popped == W::BATCH);
    }
    black_box(sum);
    let bytes = 8 * WORDS;
    println!(
        "{}: {ENTRIES} entries of {bytes} bytes, {}",
        C::NAME,
        W::NAME
    );
}

fn run_way<const WORDS: usize, C: Contender<WORDS>>(way: &str) {
    match way {
        "one" => run::<WORDS, C, OneByOne>(),
        "values" => run::<WORDS, C, Values>(),
        "copies" => run::<WORDS, C, Slices>(),
        _ => panic!("the way is one, values or copies, not {way}"),
    }
}

fn run_ring<C: Contender<1> + Contender<8>>(bytes: &str, way: &str) {
    match bytes {
        "8" => run_way::<1, C>(way),
        "64" => run_way::<8, C>(way),
        _ => panic!("an entry has 8 or 64 bytes, not {bytes}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|word| word != "--bench").collect();
    let [_, ring, bytes, way] = &arguments[..] else {
        println!("see the head of benches/cost.rs for how to run this");
        return;
    };
    match &ring[..] {
        "ours" => run_ring::<Ours>(bytes, way),
        "rtrb" => run_ring::<Rtrb>(bytes, way),
        "ringbuf" => run_ring::<Ringbuf>(bytes, way),
        "crossbeam" => run_ring::<Crossbeam>(bytes, way),
        _ => panic!("there is no ring {ring}"),
    }
}
