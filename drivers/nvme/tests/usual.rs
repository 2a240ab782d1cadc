//! What the hot path leaves out is safe to leave out: requests that look like the last one, batches
//! that are forgotten, commands that are stamped only once in a while.

mod common;

use common::*;
use spillway_emu::nvme::{NvmeConfig, Posting};
use spillway_hal::DriverErrorKind as Kind;
use spillway_hal::block::*;

/// Ticks of the watch in nanoseconds: an eighth of the time-out.
const TICK: u64 = OPTIONS.command_timeout / 8;

#[test]
fn like_the_last_one_but_wrong_is_refused() {
    let config = NvmeConfig {
        namespaces: vec![(9, 1024), (12, 64)],
        ..NvmeConfig::default()
    };
    let mut bench = bench(config);
    let mut queue = bench.queue(8);
    let memory = bench.buffer(16384);
    let page = [segment(memory.io_address(0), 4096)];
    let usual = request(Operation::Read, 8, 8, &page, 1);
    queue.submit(&usual).unwrap();
    queue.submit(&usual).unwrap();
    let at = |offset: usize, bytes| [segment(memory.io_address(offset), bytes)];
    let (short, long, odd) = (at(0, 2048), at(0, 8192), at(2, 4096));
    let wrong = [
        (
            Request {
                blocks: BlockCount(9),
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                blocks: BlockCount(1 << 32 | 8),
                ..usual
            },
            Kind::OutOfRange,
        ),
        (
            Request {
                blocks: BlockCount(0),
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                segments: &short,
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                segments: &long,
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                segments: &odd,
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                segments: &[],
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                operation: Operation::Flush,
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                lba: Lba(1017),
                ..usual
            },
            Kind::OutOfRange,
        ),
        (
            Request {
                lba: Lba(u64::MAX),
                ..usual
            },
            Kind::OutOfRange,
        ),
        // 8 blocks are more bytes there.
        (
            Request {
                namespace: NamespaceId(2),
                ..usual
            },
            Kind::InvalidRequest,
        ),
        (
            Request {
                namespace: NamespaceId(3),
                ..usual
            },
            Kind::InvalidRequest,
        ),
    ];
    for (request, kind) in wrong {
        // The namespace of the queue may have changed meanwhile.
        queue.submit(&usual).unwrap();
        let refused = queue.submit(&request).unwrap_err();
        assert_eq!(refused.kind, kind, "{request:?}");
        queue.kick();
        bench.drain(&mut queue);
    }
    // What crosses a page has two PRP entries, and the one after it only one.
    let crossing = at(512, 4096);
    let last = Request {
        lba: Lba(1016),
        segments: &crossing,
        ..usual
    };
    queue.submit(&last).unwrap();
    queue
        .submit(&Request {
            lba: Lba(1016),
            ..usual
        })
        .unwrap();
    queue.kick();
    assert_eq!(kinds(&bench.drain(&mut queue)), [None, None]);
    bench.assert_clean();
}

#[test]
fn a_forgotten_batch_leaves_no_room_and_a_reset_gives_it_back() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(4);
    let memory = bench.buffer(4096);
    let page = [segment(memory.io_address(0), 4096)];
    let read = |tag| request(Operation::Read, 0, 8, &page, tag);
    queue.submit(&read(1)).unwrap();
    queue.kick();
    bench.drain(&mut queue);
    let mut batch = queue.batch();
    batch.submit(&read(2)).unwrap();
    std::mem::forget(batch);
    for tag in 3..6 {
        let refused = queue.submit(&read(tag)).unwrap_err();
        assert_eq!(refused.kind, Kind::QueueFull);
    }
    queue.kick();
    bench.driver.reset().unwrap();
    let mut given_back = vec![];
    queue.reap(|tag, result| given_back.push((tag, result.unwrap_err().kind)));
    assert_eq!(given_back, [(2, Kind::Aborted)]);
    bench.assert_clean();
}

#[test]
fn a_batch_ends_where_there_is_no_room() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(4);
    let memory = bench.buffer(8192);
    let page = [segment(memory.io_address(0), 4096)];
    let crossing = [segment(memory.io_address(512), 4096)];
    for _ in 0..100 {
        let mut batch = queue.batch();
        for tag in 0..4 {
            let segments = if tag == 2 { &crossing } else { &page };
            batch
                .submit(&request(Operation::Write, tag, 8, segments, tag))
                .unwrap();
        }
        let refused = batch.submit(&request(Operation::Write, 0, 8, &page, 4));
        assert_eq!(refused.unwrap_err().kind, Kind::QueueFull);
        drop(batch);
        assert_eq!(queue.in_flight(), 4);
        queue.kick();
        let mut tags: Vec<_> = bench
            .drain(&mut queue)
            .into_iter()
            .map(|one| one.0)
            .collect();
        tags.sort_unstable();
        assert_eq!(tags, [0, 1, 2, 3]);
    }
    bench.assert_clean();
}

/// A command is late by its own age, not by that of the queue or of whoever had the slot before.
#[test]
fn late_counts_from_the_submission() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(2);
    let lose = |posting: &mut Posting| posting.times = u32::from(posting.queue == 0);
    let look = |bench: &Bench, queue: &mut DriverQueue, ticks: u64| {
        let mut found = vec![];
        for _ in 0..ticks {
            bench.machine.advance(TICK);
            // The clock is looked at once in 64 calls.
            for _ in 0..64 {
                queue.reap(|tag, result| found.push((tag, result.map_err(|error| error.kind))));
            }
        }
        found
    };
    let memory = bench.buffer(4096);
    let page = [segment(memory.io_address(0), 4096)];
    for tag in 0..3 {
        // An idle queue grows old without harm, and a command that was marked is in time.
        assert_eq!(look(&bench, &mut queue, 30), []);
        let slow = |posting: &mut Posting| posting.delay = 5 * TICK;
        bench
            .machine
            .with(|controller| controller.set_mischief(slow));
        queue
            .submit(&request(Operation::Read, 0, 8, &page, tag))
            .unwrap();
        queue.kick();
        assert_eq!(look(&bench, &mut queue, 7), [(tag, Ok(()))]);
    }
    bench
        .machine
        .with(|controller| controller.set_mischief(lose));
    queue
        .submit(&request(Operation::Read, 0, 8, &page, 7))
        .unwrap();
    queue.kick();
    assert_eq!(look(&bench, &mut queue, 7), []);
    assert_eq!(look(&bench, &mut queue, 4), [(7, Err(Kind::TimedOut))]);
}
