//! The driver against a controller that lies, from a seed.
//!
//! One execution starts a driver on a controller that may do anything that [`Liar`] can think of,
//! runs requests through its queues, resets it now and then, and demands: no panic, no DMA outside
//! of what the driver allows, each accepted request given back exactly once, never later than the
//! device can be held to, and a driver that works again when the lies end.
//!
//! `NVME_FUZZ_SECONDS` says how long (2 seconds by default), `NVME_FUZZ_LEAST` how many executions
//! there must be at least in a second of the processor's time (by default any number will do). A
//! failure prints the seed of its execution, and `NVME_FUZZ_SEED` replays that alone.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use spillway_emu::nvme::{Mischief, Nvme as Controller, NvmeConfig, Posting};
use spillway_emu::{EmulatedDma, Faults, Function, Machine};
use spillway_hal::block::*;
use spillway_hal::{Both, Clock, Device, DmaBuffer, DmaConstraints};
use spillway_nvme::{Nvme, Options, Queue};

/// A small generator (xorshift64*), so that an execution costs microseconds.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((self.next() >> 32) * limit) >> 32
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// The controller's lies, one in `rarity` completions.
struct Liar {
    random: Random,
    rarity: u64,
}

impl Mischief for Liar {
    fn completion(&mut self, posting: &mut Posting) {
        let random = &mut self.random;
        // The admin queue is mostly left alone, or nothing else would ever be reached.
        if !random.chance(self.rarity) || posting.queue == 0 && !random.chance(64) {
            return;
        }
        match random.below(11) {
            0 => posting.stale_phase = true,
            1 => posting.times = random.below(4) as u32,
            2 => posting.identifier = random.next() as u16,
            3 => posting.identifier ^= 1 << random.below(16),
            4 => posting.head = random.next() as u16,
            5 => posting.submission_queue ^= 1 << random.below(16),
            6 => posting.status = random.next() as u16 & 0x7fff,
            7 => posting.delay = random.below(100_000),
            8 => posting.scribble = Some([random.next(), random.next()]),
            9 => posting.die = true,
            _ => posting.result = random.next() as u32,
        }
    }

    fn identify(&mut self, _: u8, page: &mut [u8; 4096]) {
        if self.random.chance(16) {
            for _ in 0..self.random.below(8) {
                // The first 600 bytes are those that mean something.
                page[self.random.below(600) as usize] = self.random.next() as u8;
            }
        }
    }
}

/// Lies of the bus: registers that read wrong, interrupts that come and go.
struct Bus(Random);

impl Faults for Bus {
    fn register_read(&mut self, _: u8, offset: usize, value: u64) -> u64 {
        match offset {
            0 if self.0.chance(16) => value ^ 1 << self.0.below(64),
            0x1c if self.0.chance(256) => value ^ 1 << self.0.below(4),
            _ => value,
        }
    }

    fn interrupt(&mut self, _: u16) -> u32 {
        self.0.below(3) as u32
    }
}

type Driver = Nvme<Function<Controller>>;

/// What is in flight in a queue, by tag.
struct Tester {
    random: Random,
    queue: Queue<Function<Controller>>,
    expected: Rc<RefCell<Vec<bool>>>,
}

impl Tester {
    fn open(driver: &mut Driver, random: &mut Random) -> Option<Self> {
        let options = QueueOptions {
            depth: 1 + random.below(16) as u16,
            interrupt: random.chance(2),
        };
        Some(Self {
            random: Random::new(random.next()),
            queue: driver.open_queue(options).ok()?,
            expected: Rc::default(),
        })
    }

    fn submit(&mut self, buffer: &DmaBuffer<EmulatedDma, Both>) {
        let random = &mut self.random;
        let mut expected = self.expected.borrow_mut();
        let pieces: [Segment; 4] = std::array::from_fn(|_| Segment {
            address: buffer.io_address(random.below(32) as usize * 512),
            bytes: (1 + random.below(8)) as u32 * 512,
        });
        let operation = match random.below(8) {
            0 => Operation::Flush,
            1..5 => Operation::Read,
            _ => Operation::Write,
        };
        let count = match operation {
            Operation::Flush => 0,
            _ if random.chance(2) => 1,
            _ => 1 + random.below(4) as usize,
        };
        let segments = &pieces[..count];
        let bytes: u32 = segments.iter().map(|segment| segment.bytes).sum();
        let request = Request {
            operation,
            namespace: NamespaceId(1),
            lba: Lba(random.below(64)),
            blocks: BlockCount(u64::from(bytes) / 512),
            segments,
            flags: RequestFlags {
                fua: random.chance(2),
            },
            tag: expected.len() as u64,
        };
        if self.queue.submit(&request).is_ok() {
            expected.push(true);
        }
    }

    fn reap(&mut self) {
        let expected = self.expected.clone();
        self.queue.reap(|tag, _| {
            let open = std::mem::replace(&mut expected.borrow_mut()[tag as usize], false);
            assert!(open, "tag {tag} was given back twice");
        });
        let open = self.expected.borrow().iter().filter(|open| **open).count();
        assert_eq!(open, self.queue.in_flight());
    }

    fn drain(&mut self, clock: &impl Clock) {
        for _ in 0..10_000 {
            self.reap();
            if self.queue.in_flight() == 0 {
                return;
            }
            clock.delay(100);
        }
        panic!("requests were never given back");
    }
}

fn execute(seed: u64) {
    let mut random = Random::new(seed);
    let machine = Machine::new(Controller::new(NvmeConfig {
        namespaces: vec![(9, 96)],
        max_transfer_exponent: 1 + random.below(2) as u8,
        max_entries: 2 << random.below(6),
        pairs: 2,
        vectors: 2,
        ready_time: 0,
        latency: random.below(2) * 1000,
        ..Default::default()
    }));
    let rarity = 1 << random.below(8);
    machine.with(|nvme| {
        nvme.set_mischief(Liar {
            random: Random::new(random.next()),
            rarity,
        });
        match random.below(256) {
            0 => nvme.never_ready(),
            1 => nvme.never_stops(),
            _ => {}
        }
    });
    let noisy = random.chance(8);
    if noisy {
        machine.set_faults(Bus(Random::new(random.next())));
    }
    let options = Options {
        command_timeout: 40_000,
    };
    let Ok(mut driver) = Nvme::new(machine.function().unwrap(), options) else {
        return;
    };
    let clock = driver.device().clock();
    let constraints = DmaConstraints::default();
    let buffer = driver.device().allocate(5 * 4096, constraints).unwrap();
    let mut testers: Vec<Tester> = Vec::new();
    for _ in 0..8 + random.below(24) {
        let index = random.below(2) as usize;
        match (random.below(16), testers.get_mut(index)) {
            (0, _) if random.chance(4) => drop(driver.reset()),
            (1, _) if random.chance(4) => clock.delay(random.below(50_000)),
            (0..3, Some(_)) => {
                testers[index].drain(&clock);
                testers.swap_remove(index);
            }
            (3..5, Some(tester)) => drop(tester.queue.wait(clock.now() + random.below(2000))),
            (5..9, Some(tester)) => tester.reap(),
            (9..11, Some(tester)) => tester.queue.kick(),
            (_, Some(tester)) => (0..1 + random.below(4)).for_each(|_| tester.submit(&buffer)),
            (_, None) => testers.extend(Tester::open(&mut driver, &mut random)),
        }
    }
    for tester in &mut testers {
        tester.queue.kick();
        tester.drain(&clock);
    }
    // Only a driver that was told nonsense may have done nonsense.
    if !noisy {
        let violations = machine.take_violations();
        assert!(violations.is_empty(), "{violations:?}");
        machine.with(|nvme| nvme.clear_mischief());
        let _ = driver.reset();
    } else {
        machine.take_violations();
    }
}

#[test]
fn fuzz() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("NVME_FUZZ_SEED") {
        return execute(seed);
    }
    let time = Duration::from_secs(number("NVME_FUZZ_SECONDS").unwrap_or(2));
    let (start, busy) = (Instant::now(), processor_time());
    let mut seed = 0;
    while start.elapsed() < time {
        for _ in 0..64 {
            seed += 1;
            let replay = Replay(seed);
            execute(seed);
            std::mem::forget(replay);
        }
    }
    let used = match (busy, processor_time()) {
        (Some(before), Some(after)) => after - before,
        _ => start.elapsed(),
    };
    let speed = seed as f64 / used.as_secs_f64();
    println!("{seed} executions, {speed:.0} executions a second on one core");
    let least = number("NVME_FUZZ_LEAST").unwrap_or(0);
    assert!(speed >= least as f64, "fewer than {least}");
}

/// How long this thread had a processor so far, where the system says so: what else runs on the
/// machine does not count.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Says how to replay an execution that panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!(
            "to replay: NVME_FUZZ_SEED={} cargo test -p spillway-nvme --test fuzz",
            self.0
        );
    }
}
