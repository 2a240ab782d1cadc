//! Data gets to where it should: all sizes, all depths, all alignments, both formats.

mod common;

use std::collections::HashSet;

use common::*;
use proptest::prelude::*;
use spillway_emu::nvme::NvmeConfig;
use spillway_hal::DriverErrorKind as Kind;
use spillway_hal::block::*;

#[test]
fn one_block_there_and_back() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(1);
    let buffer = bench.buffer(4096);
    let data = pattern(1, 512);
    buffer.copy_from_slice(0, &data);
    let segments = [segment(buffer.io_address(0), 512)];
    queue
        .submit(&request(Operation::Write, 7, 1, &segments, 11))
        .unwrap();
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(11, Ok(()))]);
    assert_eq!(
        bench
            .machine
            .with(|nvme| nvme.disk(1)[7 * 512..8 * 512].to_vec()),
        data
    );

    let segments = [segment(buffer.io_address(2048), 512)];
    queue
        .submit(&request(Operation::Read, 7, 1, &segments, 12))
        .unwrap();
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(12, Ok(()))]);
    let mut read = vec![0; 512];
    buffer.copy_to_slice(2048, &mut read);
    assert_eq!(read, data);
    bench.assert_clean();
}

/// Every size from a block to 1 MiB, in both formats, at several offsets in a page, with limits of
/// a command from 8 KiB up.
#[test]
fn all_sizes_and_alignments() {
    for (shift, exponent) in [(9, 1), (9, 7), (12, 1), (12, 3), (12, 0)] {
        let mut bench = bench(NvmeConfig {
            namespaces: vec![(shift, (2 << 20) >> shift)],
            max_transfer_exponent: exponent,
            ..Default::default()
        });
        let mut queue = bench.queue(4);
        let buffer = bench.buffer((1 << 20) + 8192);
        let mut size = 1usize << shift;
        while size <= 1 << 20 {
            for offset in [0, 4, 512, 2048, 4092] {
                let blocks = (size >> shift) as u64;
                let data = pattern(size as u64 ^ offset, size);
                let at = offset as usize;
                let segments = [segment(buffer.io_address(at), size as u32)];
                buffer.copy_from_slice(at, &data);
                queue
                    .submit(&request(Operation::Write, 3, blocks, &segments, 1))
                    .unwrap();
                queue.kick();
                assert_eq!(bench.drain(&mut queue), [(1, Ok(()))]);
                let start = 3 << shift;
                bench
                    .machine
                    .with(|nvme| assert!(nvme.disk(1)[start..start + size] == data));
                let around = (size + 4096).next_multiple_of(4096);
                buffer.fill(0, around, 0xee);
                queue
                    .submit(&request(Operation::Read, 3, blocks, &segments, 2))
                    .unwrap();
                queue.kick();
                assert_eq!(bench.drain(&mut queue), [(2, Ok(()))]);
                let mut expected = vec![0xee; around];
                expected[at..at + size].copy_from_slice(&data);
                let mut read = vec![0; around];
                buffer.copy_to_slice(0, &mut read);
                assert!(read == expected, "{size} bytes at {at}");
            }
            size *= 2;
        }
        bench.assert_clean();
    }
}

/// At every depth the queue takes exactly as many requests as it says, gives each back once, and
/// goes on past the ends of its rings.
#[test]
fn all_depths_and_wraps() {
    for depth in [1, 2, 3, 31, 32, 33, 64, 127, 500, 1023, 1024] {
        let mut bench = bench(NvmeConfig {
            namespaces: vec![(9, 4096)],
            ..Default::default()
        });
        let mut queue = bench.queue(depth);
        assert_eq!(queue.capacity(), usize::from(depth));
        let buffer = bench.buffer(512);
        let segments = [segment(buffer.io_address(0), 512)];
        // Three laps of the ring, which has at most twice as many entries, and at least 64.
        let rounds = 3 * 2048 / usize::from(depth).max(32) + 1;
        for round in 0..rounds as u64 {
            for tag in 0..u64::from(depth) {
                let lba = round * 7 + tag;
                queue
                    .submit(&request(Operation::Read, lba % 4096, 1, &segments, tag))
                    .unwrap();
            }
            let one_more = queue.submit(&request(Operation::Read, 0, 1, &segments, 0));
            assert_eq!(one_more.unwrap_err().kind, Kind::QueueFull);
            assert_eq!(queue.submit(&flush(0)).unwrap_err().kind, Kind::QueueFull);
            queue.kick();
            let tags: HashSet<u64> = bench
                .drain(&mut queue)
                .iter()
                .map(|(tag, _)| *tag)
                .collect();
            assert_eq!(tags.len(), usize::from(depth));
        }
        bench.assert_clean();
    }
}

#[test]
fn a_batch_is_two_register_writes() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(32);
    let buffer = bench.buffer(4096);
    let segments = [segment(buffer.io_address(0), 4096)];
    let mut batch = || {
        for tag in 0..32 {
            queue
                .submit(&request(Operation::Read, 8 * tag, 8, &segments, tag))
                .unwrap();
        }
        queue.kick();
        queue.kick();
        assert_eq!(queue.reap(|_, result| result.unwrap()), 32);
        assert_eq!(queue.reap(|_, _| panic!("there is no more")), 0);
        bench.machine.with(|nvme| nvme.statistics())
    };
    // What was reaped is acknowledged with the next batch.
    let before = batch();
    let after = batch();
    assert_eq!(after.commands - before.commands, 32);
    assert_eq!(after.doorbells - before.doorbells, 2);
}

#[test]
fn flush_and_fua_reach_the_device() {
    let mut bench = bench(NvmeConfig::default());
    assert!(bench.driver.limits(NAMESPACE).unwrap().volatile_cache);
    let mut queue = bench.queue(2);
    let buffer = bench.buffer(512);
    let segments = [segment(buffer.io_address(0), 512)];
    let mut forced = request(Operation::Write, 0, 1, &segments, 1);
    forced.flags.fua = true;
    queue.submit(&forced).unwrap();
    queue.submit(&flush(2)).unwrap();
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(1, Ok(())), (2, Ok(()))]);
    let statistics = bench.machine.with(|nvme| nvme.statistics());
    assert_eq!((statistics.forced, statistics.flushes), (1, 1));
    bench.assert_clean();
}

#[test]
fn namespaces_are_kept_apart() {
    let mut bench = bench(NvmeConfig {
        namespaces: vec![(9, 64), (12, 8), (8, 8)],
        ..Default::default()
    });
    // The third has blocks of 256 bytes, which the driver cannot use.
    assert_eq!(bench.driver.namespaces(), [NamespaceId(1), NamespaceId(2)]);
    assert_eq!(
        bench.driver.limits(NamespaceId(2)).unwrap().block_size,
        BlockSize::B4096
    );
    assert_eq!(bench.driver.limits(NamespaceId(3)), None);
    let mut queue = bench.queue(4);
    let buffer = bench.buffer(8192);
    buffer.fill(0, 4096, 1);
    buffer.fill(4096, 4096, 2);
    let first = [segment(buffer.io_address(0), 512)];
    let second = [segment(buffer.io_address(4096), 4096)];
    queue
        .submit(&request(Operation::Write, 1, 1, &first, 1))
        .unwrap();
    let mut other = request(Operation::Write, 1, 1, &second, 2);
    other.namespace = NamespaceId(2);
    queue.submit(&other).unwrap();
    other.namespace = NamespaceId(3);
    assert_eq!(queue.submit(&other).unwrap_err().kind, Kind::InvalidRequest);
    queue.kick();
    assert_eq!(bench.drain(&mut queue).len(), 2);
    bench.machine.with(|nvme| {
        assert_eq!(
            (nvme.disk(1)[511], nvme.disk(1)[512], nvme.disk(1)[1024]),
            (0, 1, 0)
        );
        assert_eq!((nvme.disk(2)[4095], nvme.disk(2)[4096]), (0, 2));
    });
    bench.assert_clean();
}

#[test]
fn what_breaks_the_limits_is_refused_without_effect() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(4);
    let buffer = bench.buffer(8192);
    let at = |offset| buffer.io_address(offset);
    let refused = |queue: &mut DriverQueue, operation, lba, blocks, segments: &[Segment]| {
        queue
            .submit(&request(operation, lba, blocks, segments, 0))
            .unwrap_err()
            .kind
    };
    let page = [segment(at(0), 4096)];
    use Operation::*;
    assert_eq!(refused(&mut queue, Read, 1017, 8, &page), Kind::OutOfRange);
    assert_eq!(
        refused(&mut queue, Read, u64::MAX, 8, &page),
        Kind::OutOfRange
    );
    assert_eq!(
        refused(&mut queue, Read, 0, u64::MAX, &page),
        Kind::OutOfRange
    );
    assert_eq!(refused(&mut queue, Read, 0, 7, &page), Kind::InvalidRequest);
    assert_eq!(refused(&mut queue, Read, 0, 0, &[]), Kind::InvalidRequest);
    assert_eq!(
        refused(&mut queue, Read, 0, 0, &[segment(at(0), 0)]),
        Kind::InvalidRequest
    );
    assert_eq!(
        refused(&mut queue, Read, 0, 1, &[segment(at(2), 512)]),
        Kind::InvalidRequest
    );
    assert_eq!(refused(&mut queue, Flush, 0, 1, &[]), Kind::InvalidRequest);
    assert_eq!(
        refused(&mut queue, Flush, 0, 0, &page),
        Kind::InvalidRequest
    );
    let wraps = [segment(spillway_hal::IoAddress(u64::MAX - 255), 512)];
    assert_eq!(
        refused(&mut queue, Read, 0, 1, &wraps),
        Kind::InvalidRequest
    );
    let odd = [segment(at(0), 256), segment(at(1024), 256)];
    assert_eq!(refused(&mut queue, Read, 0, 1, &odd), Kind::InvalidRequest);
    let many = [segment(at(0), 512); 33];
    assert_eq!(
        refused(&mut queue, Read, 0, 33, &many),
        Kind::InvalidRequest
    );
    queue.kick();
    assert_eq!((queue.in_flight(), queue.reap(|_, _| ())), (0, 0));
    assert_eq!(bench.machine.with(|nvme| nvme.statistics().commands), 0);
}

/// A request of the most segments, none of which joins the next, at depth one.
#[test]
fn scattered_memory_at_depth_one() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(1);
    let buffer = bench.buffer(64 * 1024);
    let segments: Vec<Segment> = (0..32)
        .map(|index| segment(buffer.io_address(index * 2048 + 4), 512))
        .collect();
    let data = pattern(5, 32 * 512);
    for (index, piece) in data.chunks(512).enumerate() {
        buffer.copy_from_slice(index * 2048 + 4, piece);
    }
    queue
        .submit(&request(Operation::Write, 0, 32, &segments, 1))
        .unwrap();
    assert_eq!(queue.submit(&flush(2)).unwrap_err().kind, Kind::QueueFull);
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(1, Ok(()))]);
    bench
        .machine
        .with(|nvme| assert!(nvme.disk(1)[..data.len()] == data));
    bench.assert_clean();
}

#[test]
fn a_failed_part_fails_the_request_once() {
    let mut bench = bench(NvmeConfig {
        max_transfer_exponent: 1,
        ..Default::default()
    });
    let mut queue = bench.queue(2);
    let buffer = bench.buffer(64 * 1024);
    let mut posted = 0;
    bench.machine.with(|nvme| {
        nvme.set_mischief(move |posting: &mut spillway_emu::nvme::Posting| {
            posted += 1;
            if posted == 3 {
                posting.status = 0x281; // Unrecovered Read Error
            }
        });
    });
    let segments = [segment(buffer.io_address(0), 64 * 1024)];
    queue
        .submit(&request(Operation::Read, 0, 128, &segments, 9))
        .unwrap();
    queue.kick();
    let completions = bench.drain(&mut queue);
    assert_eq!(kinds(&completions), [Some(Kind::Media)]);
    assert_eq!(completions[0].1.unwrap_err().status, 0x281);
    // The queue goes on.
    queue
        .submit(&request(Operation::Read, 0, 128, &segments, 10))
        .unwrap();
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(10, Ok(()))]);
    bench.assert_clean();
}

#[test]
fn a_tiny_controller() {
    let mut bench = bench(NvmeConfig {
        max_entries: 2,
        max_transfer_exponent: 1,
        pairs: 1,
        vectors: 1,
        doorbell_stride: 5,
        version: 0x1_0000,
        ..Default::default()
    });
    let limits = bench.driver.limits(NAMESPACE).unwrap();
    assert_eq!(
        (limits.max_transfer, limits.max_segments),
        (BlockCount(16), 1)
    );
    let mut queue = bench.queue(1024);
    assert_eq!(queue.capacity(), 1);
    let buffer = bench.buffer(16384);
    let segments = [segment(buffer.io_address(2048), 8192)];
    for tag in 0..10 {
        queue
            .submit(&request(Operation::Read, tag, 16, &segments, tag))
            .unwrap();
        queue.kick();
        assert_eq!(bench.drain(&mut queue), [(tag, Ok(()))]);
    }
    bench.assert_clean();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Random requests of random pieces of memory against a model of the disk.
    #[test]
    fn the_disk_is_what_was_written(
        seed: u64,
        exponent in 0u8..4,
        depth in 1u16..40,
        latency in prop::sample::select(vec![0u64, 1, 3000]),
        steps in prop::collection::vec((any::<bool>(), 0u64..200, prop::collection::vec((0usize..60, 1u32..9), 1..5)), 1..30),
    ) {
        let mut bench = bench(NvmeConfig {
            namespaces: vec![(9, 256)],
            max_transfer_exponent: exponent,
            latency,
            ..Default::default()
        });
        let mut queue = bench.queue(depth);
        let buffer = bench.buffer(64 * 1024);
        let mut memory = pattern(seed, 64 * 1024);
        buffer.copy_from_slice(0, &memory);
        let mut disk = vec![0; 256 * 512];
        for (tag, (write, lba, pieces)) in steps.iter().enumerate() {
            let segments: Vec<Segment> = pieces.iter()
                .map(|&(at, blocks)| segment(buffer.io_address(at * 1024), blocks * 512))
                .collect();
            let blocks: u64 = pieces.iter().map(|(_, blocks)| u64::from(*blocks)).sum();
            let operation = if *write { Operation::Write } else { Operation::Read };
            let refused = queue.submit(&request(operation, *lba, blocks, &segments, tag as u64));
            if lba + blocks > 256 {
                prop_assert_eq!(refused.unwrap_err().kind, Kind::OutOfRange);
                continue;
            }
            prop_assert_eq!(refused, Ok(()));
            queue.kick();
            prop_assert_eq!(bench.drain(&mut queue), [(tag as u64, Ok(()))]);
            let mut at = *lba as usize * 512;
            for &(start, blocks) in pieces {
                let bytes = blocks as usize * 512;
                let piece = &mut memory[start * 1024..start * 1024 + bytes];
                match write {
                    true => disk[at..at + bytes].copy_from_slice(piece),
                    false => piece.copy_from_slice(&disk[at..at + bytes]),
                }
                at += bytes;
            }
        }
        let mut after = vec![0; 64 * 1024];
        buffer.copy_to_slice(0, &mut after);
        prop_assert!(after == memory);
        bench.machine.with(|nvme| assert!(nvme.disk(1)[..] == disk));
        bench.assert_clean();
    }
}
