//! Building and reaping a batch of 32 commands, against a controller in memory.

mod null;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use null::Null;
use spillway_hal::block::*;
use spillway_hal::{Both, Device, DmaBuffer, DmaConstraints};
use spillway_nvme::{Nvme, Options, Queue};

const BATCH: u64 = 32;

fn submit(queue: &mut Queue<Null>, segments: &[Segment]) {
    for (tag, segment) in segments.iter().enumerate() {
        let request = Request {
            operation: Operation::Read,
            namespace: NamespaceId(1),
            lba: Lba(8 * tag as u64),
            blocks: BlockCount(8),
            segments: std::slice::from_ref(segment),
            flags: RequestFlags::default(),
            tag: tag as u64,
        };
        queue.submit(&request).unwrap();
    }
    queue.kick();
}

fn batch(criterion: &mut Criterion) {
    let device = Null::new();
    let mut controller = Nvme::new(device.clone(), Options::default()).unwrap();
    let options = QueueOptions {
        depth: BATCH as u16,
        interrupt: false,
    };
    let mut queue = controller.open_queue(options).unwrap();
    let constraints = DmaConstraints::default();
    let memory: DmaBuffer<_, Both> = device.allocate(4096 * 32, constraints).unwrap();
    let segments: [Segment; 32] = std::array::from_fn(|index| Segment {
        address: memory.io_address(4096 * index),
        bytes: 4096,
    });
    let queue = std::cell::RefCell::new(&mut queue);
    let mut group = criterion.benchmark_group("nvme");
    group.throughput(criterion::Throughput::Elements(BATCH));
    group.bench_function("submit_32", |bench| {
        bench.iter_batched(
            || {
                device.complete();
                queue.borrow_mut().reap(|_, _| ());
            },
            |()| submit(&mut queue.borrow_mut(), &segments),
            BatchSize::PerIteration,
        );
    });
    device.complete();
    queue.borrow_mut().reap(|_, _| ());
    group.bench_function("reap_32", |bench| {
        bench.iter_batched(
            || {
                submit(&mut queue.borrow_mut(), &segments);
                device.complete();
            },
            |()| queue.borrow_mut().reap(|_, result| result.unwrap()),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("round_trip_32", |bench| {
        bench.iter(|| {
            let mut queue = queue.borrow_mut();
            submit(&mut queue, &segments);
            device.complete();
            queue.reap(|_, result| result.unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
