//! The ring beside others, in one run: entries of 8 and of 64 bytes, one by one and in batches of
//! 32, with both halves on one thread and on two. The ratios within a run mean something, the
//! times by themselves little.

mod contenders;

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use contenders::{
    BATCH, Contender, Crossbeam, Ours, Ringbuf, Rtrb,
    ways::{OneByOne, Slices, Values, Way},
};
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
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

/// Entries in a transfer between two threads: few enough to be done within a time slice, so that on
/// a busy host some transfers are not disturbed.
const TRANSFER: u64 = 16384;

/// A producer and a consumer that poll, each on a thread of its own.
fn two_threads<const WORDS: usize, C: Contender<WORDS>, W: Way>(
    group: &mut BenchmarkGroup<WallTime>,
) {
    group.bench_function(C::NAME, |bench| {
        bench.iter_custom(|transfers| (0..transfers).map(|_| transfer::<WORDS, C, W>()).sum());
    });
}

/// Polls in vain. Now and then the processor goes to others, of whom one may be who is waited for.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    fn wait(&mut self) {
        self.0 = self.0.wrapping_add(1);
        if self.0.is_multiple_of(1024) {
            thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

fn transfer<const WORDS: usize, C: Contender<WORDS>, W: Way>() -> Duration {
    let (mut producer, mut consumer) = C::pair();
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            ready.store(true, Ordering::Release);
            let (mut popped, mut sum, mut output) = (0, 0, [[0; WORDS]; BATCH]);
            let mut patience = Patience::default();
            while popped < TRANSFER {
                match W::pop::<WORDS, C>(&mut consumer, &mut output, &mut sum) {
                    0 => patience.wait(),
                    some => popped += some as u64,
                }
            }
            (Instant::now(), sum)
        });
        let mut patience = Patience::default();
        while !ready.load(Ordering::Acquire) {
            patience.wait();
        }
        let start = Instant::now();
        let (mut pushed, mut input) = (0, [[0; WORDS]; BATCH]);
        while pushed < TRANSFER {
            let most = (TRANSFER - pushed).min(W::BATCH as u64) as usize;
            match W::push::<WORDS, C>(&mut producer, &mut input, pushed, most) {
                0 => patience.wait(),
                some => pushed += some as u64,
            }
        }
        let (end, sum) = consumer.join().unwrap();
        black_box(sum);
        end - start
    })
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
    group.throughput(Throughput::Elements(TRANSFER));
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(400);
    group.measurement_time(Duration::from_millis(50));
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
        .sample_size(100);
    targets = all
}
criterion_main!(benches);
