//! The ring beside others, in one run: entries of 8 and of 64 bytes, one by one and in batches of
//! 32, with both halves on one thread and on two. The ratios within a run mean something, the
//! times by themselves little.

mod contenders;

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use contenders::{
    BATCH, Contender, Crossbeam, Ours, Ringbuf, Rtrb,
    ways::{OneByOne, Slices, Values, Way},
};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};

/// A batch in and a batch out on one thread. The ring is never full or empty by surprise.
fn one_thread<const WORDS: usize, C: Contender<WORDS>, W: Way>(
    group: &mut BenchmarkGroup<WallTime>,
) {
    let (mut producer, mut consumer) = C::pair();
    let (mut next, mut sum) = (0, 0);
    let (mut input, mut output) = ([[0; WORDS]; BATCH], [[0; WORDS]; BATCH]);
    group.bench_function(C::NAME, |bench| {
        bench.iter(|| {
            next += W::push::<WORDS, C>(&mut producer, &mut input, next, W::BATCH) as u64;
            W::pop::<WORDS, C>(&mut consumer, &mut output, &mut sum)
        });
    });
    black_box(sum);
}

/// A producer and a consumer that never sleep, each on a thread of its own.
fn two_threads<const WORDS: usize, C: Contender<WORDS>, W: Way>(
    group: &mut BenchmarkGroup<WallTime>,
) {
    group.bench_function(C::NAME, |bench| {
        bench.iter_custom(|batches| transfer::<WORDS, C, W>(batches * W::BATCH as u64));
    });
}

fn transfer<const WORDS: usize, C: Contender<WORDS>, W: Way>(count: u64) -> Duration {
    let (mut producer, mut consumer) = C::pair();
    let consumer = thread::spawn(move || {
        let (mut popped, mut sum, mut output) = (0, 0, [[0; WORDS]; BATCH]);
        while popped < count {
            match W::pop::<WORDS, C>(&mut consumer, &mut output, &mut sum) {
                0 => std::hint::spin_loop(),
                some => popped += some as u64,
            }
        }
        black_box(sum);
    });
    let start = Instant::now();
    let (mut pushed, mut input) = (0, [[0; WORDS]; BATCH]);
    while pushed < count {
        let most = (count - pushed).min(W::BATCH as u64) as usize;
        match W::push::<WORDS, C>(&mut producer, &mut input, pushed, most) {
            0 => std::hint::spin_loop(),
            some => pushed += some as u64,
        }
    }
    consumer.join().unwrap();
    start.elapsed()
}

fn contest<const WORDS: usize, W: Way>(criterion: &mut Criterion) {
    let name = |threads| format!("{threads}/{} bytes/{}", 8 * WORDS, W::NAME);
    let mut group = criterion.benchmark_group(name("one thread"));
    group.throughput(Throughput::Elements(W::BATCH as u64));
    one_thread::<WORDS, Ours, W>(&mut group);
    one_thread::<WORDS, Rtrb, W>(&mut group);
    one_thread::<WORDS, Ringbuf, W>(&mut group);
    one_thread::<WORDS, Crossbeam, W>(&mut group);
    group.finish();
    let mut group = criterion.benchmark_group(name("two threads"));
    group.throughput(Throughput::Elements(W::BATCH as u64));
    two_threads::<WORDS, Ours, W>(&mut group);
    two_threads::<WORDS, Rtrb, W>(&mut group);
    two_threads::<WORDS, Ringbuf, W>(&mut group);
    two_threads::<WORDS, Crossbeam, W>(&mut group);
    group.finish();
}

fn all(criterion: &mut Criterion) {
    contest::<1, OneByOne>(criterion);
    contest::<8, OneByOne>(criterion);
    contest::<1, Values>(criterion);
    contest::<8, Values>(criterion);
    contest::<1, Slices>(criterion);
    contest::<8, Slices>(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = all
}
criterion_main!(benches);
