//! A device that misbehaves gets the driver's error, and every request is given back once.

mod common;

use common::*;
use spillway_emu::nvme::{Mischief, Nvme as Controller, NvmeConfig, Posting};
use spillway_emu::{Faults, Machine};
use spillway_hal::block::*;
use spillway_hal::{Clock, Device, DriverErrorKind as Kind};
use spillway_nvme::Nvme;

/// Requests in flight in each test.
const REQUESTS: u64 = 8;

/// Submits reads to a controller that does `mischief` to each completion, the first of which has
/// number 0, and says what the driver made of it. Every tag must come back once, the rings must
/// stay where they were, and a reset must bring the controller back.
fn kinds_of(mut mischief: impl FnMut(u32, &mut Posting) + 'static) -> Vec<Option<Kind>> {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(REQUESTS as u16 * 2);
    let buffer = bench.buffer(8192);
    let mut number = 0;
    bench.machine.with(|nvme| {
        nvme.set_mischief(move |posting: &mut Posting| {
            if posting.queue > 0 {
                mischief(number, posting);
                number += 1;
            }
        });
    });
    let segments = [segment(buffer.io_address(0), 4096)];
    for tag in 0..REQUESTS {
        let read = request(Operation::Read, 8 * tag, 8, &segments, tag);
        queue.submit(&read).unwrap();
    }
    queue.kick();
    let completions = bench.drain(&mut queue);
    let mut tags: Vec<u64> = completions.iter().map(|(tag, _)| *tag).collect();
    tags.sort();
    assert_eq!(tags, (0..REQUESTS).collect::<Vec<_>>(), "each tag once");
    let mut kinds = kinds(&completions);
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    bench.machine.with(|nvme| nvme.clear_mischief());
    bench.driver.reset().unwrap();
    assert_eq!(queue.submit(&flush(0)).unwrap_err().kind, Kind::Aborted);
    let segments = [segment(buffer.io_address(0), 512)];
    queue
        .submit(&request(Operation::Read, 0, 1, &segments, 0))
        .ok();
    queue.reap(|_, result| assert_eq!(result.unwrap_err().kind, Kind::Aborted));
    assert_eq!(queue.in_flight(), 0);
    works(&mut bench);
    kinds
}

/// Whether a new queue does what it should.
fn works(bench: &mut Bench) {
    let mut queue = bench.queue(4);
    let buffer = bench.buffer(4096);
    let segments = [segment(buffer.io_address(0), 512)];
    queue
        .submit(&request(Operation::Write, 0, 1, &segments, 77))
        .unwrap();
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(77, Ok(()))]);
}

fn all(kind: Kind) -> Vec<Option<Kind>> {
    vec![Some(kind); REQUESTS as usize]
}

/// So many went well, the others did not.
fn some(well: usize, kind: Kind) -> Vec<Option<Kind>> {
    let mut kinds = vec![None; well];
    kinds.resize(REQUESTS as usize, Some(kind));
    kinds
}

fn only(number: u32, change: impl Fn(&mut Posting) + 'static) -> impl FnMut(u32, &mut Posting) {
    move |current, posting| {
        if current == number {
            change(posting);
        }
    }
}

#[test]
fn nothing_wrong() {
    assert_eq!(kinds_of(|_, _| ()), some(8, Kind::Protocol));
}

#[test]
fn stale_phase() {
    // It is never seen, nor what comes after it.
    assert_eq!(
        kinds_of(only(0, |posting| posting.stale_phase = true)),
        all(Kind::TimedOut)
    );
    assert_eq!(
        kinds_of(only(3, |posting| posting.stale_phase = true)),
        some(3, Kind::TimedOut)
    );
}

#[test]
fn repeated_completions() {
    assert_eq!(
        kinds_of(only(3, |posting| posting.times = 2)),
        some(4, Kind::Protocol)
    );
    assert_eq!(
        kinds_of(only(7, |posting| posting.times = 2)),
        some(8, Kind::Protocol)
    );
}

#[test]
fn unknown_and_free_identifiers() {
    for identifier in [0, 7, 72, 96, 127, 128, 0x1000, 0xffff] {
        let kinds = kinds_of(only(2, move |posting| posting.identifier = identifier));
        assert_eq!(kinds, some(2, Kind::Protocol), "identifier {identifier:#x}");
    }
    // One that has completed just now, and one that is still to come.
    assert_eq!(
        kinds_of(only(2, |posting| posting.identifier = 65)),
        some(2, Kind::Protocol)
    );
    assert_eq!(
        kinds_of(only(2, |posting| posting.identifier = 67)),
        some(3, Kind::Protocol)
    );
}

#[test]
fn a_late_duplicate_does_not_complete_the_next_use() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(1);
    bench.machine.with(|nvme| {
        let mut first = None;
        nvme.set_mischief(move |posting: &mut Posting| {
            posting.identifier = *first.get_or_insert(posting.identifier);
        });
    });
    queue.submit(&flush(1)).unwrap();
    queue.kick();
    assert_eq!(bench.drain(&mut queue), [(1, Ok(()))]);
    // The same slot, but not the same identifier.
    queue.submit(&flush(2)).unwrap();
    queue.kick();
    assert_eq!(kinds(&bench.drain(&mut queue)), [Some(Kind::Protocol)]);
}

#[test]
fn indices_out_of_range() {
    for head in [64, 0x100, 0xffff] {
        assert_eq!(
            kinds_of(only(1, move |posting| posting.head = head)),
            some(1, Kind::Protocol)
        );
    }
    for queue in [0, 2, 0xffff] {
        let kinds = kinds_of(only(1, move |posting| posting.submission_queue = queue));
        assert_eq!(kinds, some(1, Kind::Protocol));
    }
}

#[test]
fn late_lost_and_silent() {
    assert_eq!(
        kinds_of(|_, posting| posting.delay = 20_000),
        some(8, Kind::Protocol)
    );
    assert_eq!(
        kinds_of(|_, posting| posting.delay = 200_000),
        all(Kind::TimedOut)
    );
    assert_eq!(
        kinds_of(only(4, |posting| posting.times = 0)),
        some(7, Kind::TimedOut)
    );
    assert_eq!(
        kinds_of(|_, posting| posting.times = 0),
        all(Kind::TimedOut)
    );
}

#[test]
fn reordered() {
    let kinds = kinds_of(|number, posting| posting.delay = u64::from(10 - number) * 100);
    assert_eq!(kinds, some(8, Kind::Protocol));
}

#[test]
fn error_statuses() {
    assert_eq!(
        kinds_of(only(5, |posting| posting.status = 0x281)),
        some(7, Kind::Media)
    );
    assert_eq!(
        kinds_of(only(5, |posting| posting.status = 0x080)),
        some(7, Kind::OutOfRange)
    );
    assert_eq!(
        kinds_of(only(5, |posting| posting.status = 0x4006)),
        some(7, Kind::Device)
    );
    assert_eq!(
        kinds_of(|_, posting| posting.status = 0x020),
        all(Kind::WriteProtected)
    );
    // A retry delay without an error is a success.
    assert_eq!(
        kinds_of(|_, posting| posting.status = 0x0800),
        some(8, Kind::Media)
    );
}

#[test]
fn dies() {
    assert_eq!(
        kinds_of(only(0, |posting| posting.die = true)),
        all(Kind::Device)
    );
    // What was complete before is given back with the rest; some of it may have been posted.
    assert!(kinds_of(only(6, |posting| posting.die = true)).contains(&Some(Kind::Device)));
}

#[test]
fn rewrites_shared_memory() {
    for words in [
        [0, 0],
        [u64::MAX, u64::MAX],
        [0, 1 << 48],
        [0, 0x0001_0003_0001_0000],
    ] {
        // Which requests come back well depends on what was written; that all do is checked.
        let kinds = kinds_of(only(3, move |posting| posting.scribble = Some(words)));
        assert_eq!(kinds.len(), REQUESTS as usize);
    }
}

#[test]
fn submissions_and_lists_cannot_be_rewritten() {
    let mut bench = bench(NvmeConfig::default());
    let _queue = bench.queue(8);
    // The controller's own memory is pinned in one direction only.
    let address = bench.buffer(4096).io_address(0).0;
    bench
        .machine
        .act(|_, bus| bus.store::<u64>(address, 0))
        .unwrap_err();
    assert_eq!(bench.machine.take_violations().len(), 1);
}

#[test]
fn other_queues_get_their_requests_back() {
    let mut bench = bench(NvmeConfig::default());
    let (mut bad, mut good) = (bench.queue(4), bench.queue(4));
    bench.machine.with(|nvme| {
        nvme.set_mischief(|posting: &mut Posting| {
            match posting.submission_queue {
                1 => posting.identifier = 0x777,
                _ => posting.delay = 50_000,
            };
        });
    });
    for queue in [&mut bad, &mut good] {
        queue.submit(&flush(1)).unwrap();
        queue.kick();
    }
    assert_eq!(kinds(&bench.drain(&mut bad)), [Some(Kind::Protocol)]);
    assert_eq!(kinds(&bench.drain(&mut good)), [Some(Kind::Aborted)]);
    bench.machine.with(|nvme| nvme.clear_mischief());
    bench.driver.reset().unwrap();
    works(&mut bench);
}

#[test]
fn reset_with_requests_in_flight() {
    let mut bench = bench(NvmeConfig {
        latency: 60_000,
        max_transfer_exponent: 1,
        ..Default::default()
    });
    let mut queue = bench.queue(8);
    let buffer = bench.buffer(64 * 1024);
    let segments = [segment(buffer.io_address(0), 64 * 1024)];
    for tag in 0..3 {
        // Three requests of eight commands each.
        queue
            .submit(&request(Operation::Write, 0, 128, &segments, tag))
            .unwrap();
        queue.kick();
    }
    bench.driver.reset().unwrap();
    // Its memory is gone; the controller must not touch it any more.
    drop(buffer);
    let mut fresh = bench.queue(8);
    assert_eq!(queue.submit(&flush(9)).unwrap_err().kind, Kind::Aborted);
    queue.kick();
    let completions = bench.drain(&mut queue);
    assert_eq!(kinds(&completions), [Some(Kind::Aborted); 3]);
    fresh.submit(&flush(1)).unwrap();
    fresh.kick();
    assert_eq!(bench.drain(&mut fresh), [(1, Ok(()))]);
    bench.assert_clean();
}

#[test]
fn unplugged() {
    let mut bench = bench(NvmeConfig {
        latency: 60_000,
        ..Default::default()
    });
    let mut queue = bench.queue(8);
    queue.submit(&flush(1)).unwrap();
    queue.kick();
    bench.machine.unplug();
    assert_eq!(kinds(&bench.drain(&mut queue)), [Some(Kind::Gone)]);
    assert!(bench.driver.reset().is_err());
    assert_eq!(queue.submit(&flush(2)).unwrap_err().kind, Kind::Aborted);
}

#[test]
fn never_ready() {
    let machine = Machine::new(Controller::new(NvmeConfig::default()));
    machine.with(|nvme| nvme.never_ready());
    let error = Nvme::new(machine.function().unwrap(), OPTIONS)
        .err()
        .unwrap();
    assert_eq!(error.kind, Kind::TimedOut);
    assert!(machine.now() >= 500_000_000, "CAP.TO is one unit of 500 ms");
}

#[test]
fn dead_from_the_start() {
    let machine = Machine::new(Controller::new(NvmeConfig::default()));
    machine.with(|nvme| nvme.die());
    let error = Nvme::new(machine.function().unwrap(), OPTIONS).err();
    assert_eq!(error, None, "a reset brings it back");
    let function = machine.function();
    assert!(function.is_ok(), "dropped with the error");
}

/// A controller that does not stop is cut off and reset by its function.
#[test]
fn never_stops() {
    let mut bench = bench(NvmeConfig {
        latency: 60_000,
        ..Default::default()
    });
    let mut queue = bench.queue(8);
    queue.submit(&flush(1)).unwrap();
    queue.kick();
    bench.machine.with(|nvme| nvme.never_stops());
    bench.driver.reset().unwrap();
    assert_eq!(kinds(&bench.drain(&mut queue)), [Some(Kind::Aborted)]);
    works(&mut bench);
}

#[test]
fn a_hung_admin_queue() {
    let mut bench = bench(NvmeConfig::default());
    let mut queue = bench.queue(4);
    queue.submit(&flush(1)).unwrap();
    bench.machine.with(|nvme| nvme.hang(true));
    let options = QueueOptions {
        depth: 4,
        interrupt: false,
    };
    assert_eq!(
        bench.driver.open_queue(options).err().unwrap().kind,
        Kind::TimedOut
    );
    assert_eq!(
        bench.driver.open_queue(options).err().unwrap().kind,
        Kind::Aborted
    );
    assert_eq!(kinds(&bench.drain(&mut queue)), [Some(Kind::Aborted)]);
    assert_eq!(bench.driver.reset().unwrap_err().kind, Kind::TimedOut);
    bench.machine.with(|nvme| nvme.hang(false));
    bench.driver.reset().unwrap();
    works(&mut bench);
}

/// Identify structures full of lies.
#[test]
fn identify_lies() {
    struct Liar(u8);
    impl Mischief for Liar {
        fn identify(&mut self, _: u8, page: &mut [u8; 4096]) {
            page.fill(self.0);
        }
    }
    for byte in [0, 1, 0x66, 0x80, 0xff] {
        let machine = Machine::new(Controller::new(NvmeConfig::default()));
        machine.with(|nvme| nvme.set_mischief(Liar(byte)));
        let driver = Nvme::new(machine.function().unwrap(), OPTIONS);
        if let Ok(mut driver) = driver {
            let _ = driver.open_queue(QueueOptions {
                depth: 1,
                interrupt: false,
            });
        }
    }
}

/// Registers that lie at every read.
#[test]
fn registers_lie() {
    struct Liar(u64);
    impl Faults for Liar {
        fn register_read(&mut self, _: u8, offset: usize, value: u64) -> u64 {
            if offset == 0 { self.0 } else { value }
        }
    }
    for capabilities in [
        0,
        u64::MAX,
        1 << 37,
        1 << 37 | 0xf << 32 | 0x7ff,
        1 << 37 | 0xffff,
    ] {
        let machine = Machine::new(Controller::new(NvmeConfig::default()));
        machine.set_faults(Liar(capabilities));
        if let Ok(mut driver) = Nvme::new(machine.function().unwrap(), OPTIONS) {
            let _ = driver.open_queue(QueueOptions {
                depth: 1024,
                interrupt: false,
            });
        }
    }
}

#[test]
fn a_dropped_queue_is_deleted_and_its_number_used_again() {
    let mut bench = bench(NvmeConfig {
        pairs: 2,
        ..Default::default()
    });
    let pins = bench.machine.pins();
    let first = bench.queue(4);
    let _second = bench.queue(4);
    let options = QueueOptions {
        depth: 4,
        interrupt: false,
    };
    assert_eq!(
        bench.driver.open_queue(options).err().unwrap().kind,
        Kind::Unsupported
    );
    drop(first);
    let third = bench.queue(4);
    assert_eq!(bench.machine.with(|nvme| nvme.open_queues()), 2);
    drop(third);
    for _ in 0..10 {
        drop(bench.queue(4));
    }
    assert!(bench.machine.pins() <= pins + 6, "memory is given back");
    bench.assert_clean();
}

#[test]
fn interrupts() {
    let mut bench = bench(NvmeConfig {
        latency: 20_000,
        vectors: 3,
        ..Default::default()
    });
    let options = QueueOptions {
        depth: 4,
        interrupt: true,
    };
    let mut first = bench.driver.open_queue(options).unwrap();
    let clock = bench.driver.device().clock();
    let deadline = clock.now() + 1000;
    let error = first.wait(deadline).unwrap_err();
    assert_eq!(error.kind, Kind::TimedOut);
    for tag in 0..20 {
        first.submit(&flush(tag)).unwrap();
        first.kick();
        first.wait(u64::MAX).unwrap();
        let mut given_back = vec![];
        while given_back.is_empty() {
            first.wait(u64::MAX).unwrap();
            first.reap(|tag, result| given_back.push((tag, result)));
        }
        assert_eq!(given_back, [(tag, Ok(()))]);
    }
    // Vectors 1 and 2, and last the admin queue's.
    let _second = bench.driver.open_queue(options).unwrap();
    let _third = bench.driver.open_queue(options).unwrap();
    assert_eq!(
        bench.driver.open_queue(options).err().unwrap().kind,
        Kind::Unsupported
    );
    let mut polled = bench.queue(1);
    assert_eq!(polled.wait(0).unwrap_err().kind, Kind::Unsupported);
    bench.assert_clean();
}

/// A lost interrupt costs time, a lost command is found out, both in a sleeping driver.
#[test]
fn sleeping_on_a_silent_device() {
    let mut bench = bench(NvmeConfig::default());
    let options = QueueOptions {
        depth: 4,
        interrupt: true,
    };
    let mut queue = bench.driver.open_queue(options).unwrap();
    bench.machine.with(|nvme| {
        nvme.set_mischief(|posting: &mut Posting| {
            (posting.silent, posting.delay) = (true, 5_000);
        });
    });
    queue.submit(&flush(1)).unwrap();
    queue.kick();
    queue.wait(u64::MAX).unwrap();
    assert_eq!(queue.reap(|_, result| result.unwrap()), 1);
    bench
        .machine
        .with(|nvme| nvme.set_mischief(|posting: &mut Posting| posting.times = 0));
    queue.submit(&flush(2)).unwrap();
    queue.kick();
    queue.wait(u64::MAX).unwrap();
    let mut results = vec![];
    queue.reap(|tag, result| results.push((tag, result)));
    assert_eq!(kinds(&results), [Some(Kind::TimedOut)]);
}

#[test]
fn an_announced_shutdown() {
    let bench = bench(NvmeConfig::default());
    bench.driver.shut_down().unwrap();
    assert!(!bench.machine.with(|nvme| nvme.is_ready()));
    assert_eq!(bench.machine.pins(), 0, "everything was given back");
}
