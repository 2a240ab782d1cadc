//! What must hold whatever the disk is: on a RAM-disk that answers at once, or late and in any order.

use alloc::{string::String, vec, vec::Vec};
use core::time::Duration;

use driver_sdk::{
    abi::{Error as Code, counters::Counter},
    io::{
        Async, BlockDevice, BlockQueue, Buffer, ByteOffset, Cancel, Completion, ErrorKind, Pool,
        QueueOptions, Request, Shared, Sync, WaitMode,
    },
    prelude::*,
};
use guest_harness::{
    self as harness,
    harness::{Outcome, check, equal, tests},
};

use crate::server::{AtLevel, BlkServer, CLIENT, LEVELS, at_level};

tests![
    the_suite_at_level_sync,
    the_suite_at_level_async,
    the_suite_at_level_shared,
    the_suite_with_copies,
    the_suite_by_interrupt_and_adaptive,
    no_byte_is_copied,
    copies_are_counted,
    a_range_is_its_clients_own,
    memory_of_one_client_is_not_anothers,
    late_answers_come_in_any_order_and_are_right,
    a_cancelled_request_comes_back_when_the_disk_lets_go,
    a_corrupt_ring_ends_that_connection_only,
    a_client_that_takes_no_answers_is_heard_no_more,
    many_queues_and_pools_leave_nothing,
    a_greedy_client_does_not_starve_another,
    a_server_that_dies_is_told_once,
    a_client_that_dies_gives_its_memory_back,
];

/// The seconds that anything may take.
const LONG: u64 = 10_000_000_000;

/// The suite's view of a device.
struct Subject<'a, D> {
    device: D,
    other: &'a Remote,
}

impl<D: BlockDevice> block_suite::Subject for Subject<'_, D> {
    type Device = D;

    fn device(&self) -> &D {
        &self.device
    }

    fn foreign_pool(&self) -> Pool {
        let other = Sync::open(self.other).expect("there is another connection");
        other.create_pool(64 << 10).expect("with a pool")
    }
}

struct Suite<'a>(&'a Remote);

impl AtLevel for Suite<'_> {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let subject = Subject {
            device,
            other: self.0,
        };
        for test in block_suite::tests() {
            block_suite::run(&subject, test)?;
        }
        Ok(())
    }
}

fn suite(level: &str, arguments: &[&str]) -> Outcome {
    let server = BlkServer::ram(arguments)?;
    let range = server.range(0, CLIENT)?;
    at_level(level, &range, Suite(&range))
}

fn the_suite_at_level_sync() -> Outcome {
    suite("sync", &[])
}

fn the_suite_at_level_async() -> Outcome {
    suite("async", &[])
}

fn the_suite_at_level_shared() -> Outcome {
    suite("shared", &[])
}

fn the_suite_with_copies() -> Outcome {
    suite("copying", &[])
}

fn the_suite_by_interrupt_and_adaptive() -> Outcome {
    for level in LEVELS {
        suite(level, &["wait=interrupt", "delay=100000"])?;
        suite(level, &["wait=poll", "delay=100000"])?;
    }
    Ok(())
}

/// Requests that are done by one queue, and a pool for them.
struct User<Q> {
    queue: Q,
    pool: Pool,
}

impl<Q: BlockQueue> User<Q> {
    fn new<D: BlockDevice<Queue = Q>>(device: &D, depth: u16) -> Outcome<Self> {
        Self::with(device, depth, WaitMode::Poll)
    }

    fn with<D: BlockDevice<Queue = Q>>(device: &D, depth: u16, wait: WaitMode) -> Outcome<Self> {
        let options = QueueOptions {
            depth,
            wait,
            ..QueueOptions::default()
        };
        Ok(Self {
            queue: device.open_queue(options)?,
            pool: device.create_pool(usize::from(depth) * 8192)?,
        })
    }

    fn page(&self) -> Outcome<Buffer> {
        Ok(self.pool.allocate(4096)?)
    }

    /// Everything that comes until nothing is in flight.
    fn drain(&mut self) -> Outcome<Vec<Completion>> {
        let deadline = self.queue.now() + LONG;
        let mut all = Vec::new();
        while self.queue.in_flight() > 0 {
            self.queue
                .wait(deadline, |completion| all.push(completion))?;
        }
        Ok(all)
    }

    fn one(&mut self, request: Request) -> Outcome<Completion> {
        self.queue.submit(request)?;
        Ok(self.drain()?.pop().ok_or("nothing came back")?)
    }
}

/// Bytes that the kernel has copied for this process and the server while batches of reads and
/// writes were done.
struct Copies<'a>(&'a BlkServer);

impl AtLevel for Copies<'_> {
    type Output = u64;

    fn run<D: BlockDevice>(self, device: D) -> Outcome<u64> {
        let mut user = User::new(&device, 32)?;
        let mut buffers: Vec<Buffer> = (0..32).map(|_| user.page()).collect::<Outcome<_>>()?;
        let mine = own_process().counters()?;
        let theirs = self.0.process.counters()?;
        let copied = || -> Outcome<u64> {
            let both = [mine.snapshot()?, theirs.snapshot()?];
            Ok(both
                .iter()
                .map(|counts| counts.get(Counter::BytesCopied))
                .sum())
        };
        // What the look itself adds.
        let looking = {
            let before = copied()?;
            copied()? - before
        };
        let before = copied()?;
        for round in 0..10u64 {
            for (number, buffer) in buffers.drain(..).enumerate() {
                let offset = ByteOffset(4096 * (number as u64 + round));
                let request = match round % 2 {
                    0 => Request::write(offset, buffer),
                    _ => Request::read(offset, buffer),
                };
                user.queue.push(request)?;
            }
            for completion in user.drain()? {
                completion.result?;
                buffers.push(completion.buffers.into_buffer().ok_or("no buffer")?);
            }
        }
        Ok(copied()? - before - looking)
    }
}

fn no_byte_is_copied() -> Outcome {
    for level in LEVELS {
        let server = BlkServer::ram(&[])?;
        let range = server.range(0, CLIENT)?;
        let copied = at_level(level, &range, Copies(&server))?;
        equal!(copied, 0, "bytes copied at level {level}");
    }
    Ok(())
}

/// The other test can fail.
fn copies_are_counted() -> Outcome {
    let server = BlkServer::ram(&[])?;
    let range = server.range(0, CLIENT)?;
    let copied = at_level("copying", &range, Copies(&server))?;
    equal!(copied, 10 * 32 * 4096, "bytes copied through the window");
    let _ = server.counters()?;
    Ok(())
}

/// A client of a range that tries what is not its own.
struct Confined {
    writes: bool,
}

impl AtLevel for Confined {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        equal!(device.capacity(), 1 << 20, "the range");
        let mut user = User::new(&device, 4)?;
        let mut page = user.page()?;
        page.fill(0x11);
        let result = user
            .one(Request::write(ByteOffset((1 << 20) - 4096), page))?
            .result;
        let kind = result.map_err(|error| error.kind);
        let expected = if self.writes {
            Ok(())
        } else {
            Err(ErrorKind::Denied)
        };
        equal!(kind, expected, "a write");
        let page = user.page()?;
        let past = user.queue.submit(Request::read(ByteOffset(1 << 20), page));
        let kind = past.map_err(|rejected| rejected.error.kind);
        equal!(kind, Err(ErrorKind::OutOfRange), "a read past the range");
        let page = user.page()?;
        let page = user.one(Request::read(ByteOffset((1 << 20) - 4096), page))?;
        let page = page.buffers.into_buffer().ok_or("no buffer")?;
        let expected = if self.writes { 0x11 } else { 0 };
        check!(
            page.iter().all(|&byte| byte == expected),
            "what is at the range's end"
        );
        Ok(())
    }
}

fn a_range_is_its_clients_own() -> Outcome {
    let ranges = [
        "range=1:1:0:2048:rw",
        "range=2:1:2048:2048:rw",
        "range=3:1:4096:2048:r",
    ];
    for level in LEVELS {
        let server = BlkServer::ram(&ranges)?;
        at_level(level, &server.range(1, CLIENT)?, Confined { writes: true })?;
        // The manifest says so, or the handle does.
        at_level(level, &server.range(3, CLIENT)?, Confined { writes: false })?;
        let reader = CLIENT.difference(Rights::WRITE);
        at_level(level, &server.range(2, reader)?, Confined { writes: false })?;
        let unknown = Sync::open(&server.range(9, CLIENT)?)
            .err()
            .map(|error| error.kind);
        check!(unknown.is_some(), "a range that nobody may have");
        // By raw calls, which no library checks.
        for object in [1u64, 2] {
            let connection = server.range(object, CLIENT)?.open("", 0)?;
            let memory = Memory::new(8192)?;
            let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::DMA;
            let registration = connection.share(&memory, rights, 1)? as u16;
            let refused = |offset, at, length| {
                connection
                    .read_registered(offset, registration, at, length)
                    .map_err(|failure| failure.error)
            };
            equal!(refused((1 << 20) - 512, 0, 512), Ok(512));
            equal!(refused(1 << 20, 0, 512), Err(Code::OutOfRange));
            equal!(refused((1 << 20) - 512, 0, 1024), Err(Code::OutOfRange));
            equal!(refused((1 << 56) - 512, 0, 512), Err(Code::OutOfRange));
            // Flags that mean nothing, and one that is for something else.
            equal!(refused(0x7f << 56, 0, 512), Err(Code::BadArgument));
            equal!(refused(u64::MAX - 511, 0, 512), Err(Code::BadOperation));
            equal!(refused(0, 7680, 512), Ok(512));
            equal!(refused(0, 7684, 512), Err(Code::OutOfRange));
            equal!(refused(0, 8192, 512), Err(Code::OutOfRange));
            equal!(refused(0, u64::MAX - 3, 512), Err(Code::OutOfRange));
            equal!(refused(0, 0, 1 << 32), Err(Code::BadOperation));
        }
    }
    Ok(())
}

fn memory_of_one_client_is_not_anothers() -> Outcome {
    let server = BlkServer::ram(&[])?;
    let range = server.range(0, CLIENT)?;
    let (first, second) = (range.open("", 0)?, range.open("", 0)?);
    let memory = Memory::new(4096)?;
    let rights = Rights::READ | Rights::WRITE | Rights::MAP | Rights::DMA;
    equal!(first.share(&memory, rights, 1)?, 1);
    check!(first.read_registered(0, 1, 0, 512).is_ok());
    let stolen = second.read_registered(0, 1, 0, 512);
    check!(stolen.is_err_and(|failure| failure.error == Code::NotFound));
    // Given back, it is unknown; and there is a limit to how much can be given.
    let forget = |registration: u64| {
        // SAFETY: no address is among the arguments.
        unsafe {
            first.ask(
                driver_sdk::abi::call::Operation::Share,
                [0, 0, 5 | registration << 8, 0],
            )
        }
    };
    check!(forget(1).is_ok());
    check!(forget(1).is_err_and(|failure| failure.error == Code::NotFound));
    check!(first.read_registered(0, 1, 0, 512).is_err());
    for number in 1..=64 {
        equal!(first.share(&memory, rights, 1)?, number);
    }
    let one_more = first.share(&memory, rights, 1);
    check!(one_more.is_err_and(|failure| failure.error == Code::LimitReached));
    check!(
        second.share(&memory, rights, 1).is_ok(),
        "another client's limit is its own"
    );
    Ok(())
}

/// Many requests whose answers are late: writes, then reads, checked.
struct Disorder;

impl AtLevel for Disorder {
    type Output = bool;

    fn run<D: BlockDevice>(self, device: D) -> Outcome<bool> {
        let mut user = User::new(&device, 64)?;
        for number in 0..64u64 {
            let mut page = user.page()?;
            test_pattern::fill(1, 4096 * number, &mut page);
            let write = Request::write(ByteOffset(4096 * number), page);
            user.queue.push(write.with_user_data(number))?;
        }
        let mut order: Vec<u64> = Vec::new();
        for completion in user.drain()? {
            completion.result?;
            order.push(completion.user_data);
        }
        for number in 0..64u64 {
            let read = Request::read(ByteOffset(4096 * number), user.page()?);
            user.queue.push(read.with_user_data(number))?;
        }
        for completion in user.drain()? {
            completion.result?;
            let page = completion.buffers.into_buffer().ok_or("no buffer")?;
            let wrong = test_pattern::first_wrong(1, 4096 * completion.user_data, &page);
            check!(wrong.is_none(), "wrong data at {wrong:?}");
        }
        let sorted = order.is_sorted();
        order.sort_unstable();
        check!(order.iter().copied().eq(0..64), "not each came back once");
        Ok(!sorted)
    }
}

fn late_answers_come_in_any_order_and_are_right() -> Outcome {
    for level in LEVELS {
        let server = BlkServer::ram(&["delay=1000000", "seed=5"])?;
        let mixed = at_level(level, &server.range(0, CLIENT)?, Disorder)?;
        equal!(
            mixed,
            level != "sync",
            "whether the order was mixed at {level}"
        );
    }
    Ok(())
}

struct CancelOne;

impl AtLevel for CancelOne {
    type Output = Cancel;

    fn run<D: BlockDevice>(self, device: D) -> Outcome<Cancel> {
        let mut user = User::new(&device, 8)?;
        let mut ids = Vec::new();
        for number in 0..8u64 {
            let read = Request::read(ByteOffset(4096 * number), user.page()?);
            ids.push(user.queue.push(read.with_user_data(number))?);
        }
        user.queue.kick();
        // The server has them.
        thread::sleep(Duration::from_millis(5));
        let what = user.queue.cancel(ids[7]);
        check!(what != Cancel::Unknown);
        user.queue.poll(drop);
        let held = user.pool.capacity() - user.pool.available();
        equal!(
            held,
            user.queue.in_flight() * 4096,
            "memory that the disk may have"
        );
        user.drain()?;
        equal!(
            user.pool.available(),
            user.pool.capacity(),
            "memory after a cancellation"
        );
        equal!(user.queue.cancel(ids[7]), Cancel::Unknown);
        // A queue that is dropped waits no longer than it was told, and keeps what the disk has.
        drop(user);
        let options = QueueOptions {
            depth: 8,
            drain: 1_000_000,
            ..QueueOptions::default()
        };
        let mut queue = device.open_queue(options)?;
        let pool = device.create_pool(64 << 10)?;
        for number in 0..8u64 {
            queue.push(Request::read(
                ByteOffset(4096 * number),
                pool.allocate(4096)?,
            ))?;
        }
        queue.kick();
        drop(queue);
        let kept = pool.capacity() - pool.available();
        check!(
            kept <= 8 * 4096 && kept.is_multiple_of(4096),
            "{kept} bytes were kept"
        );
        Ok(what)
    }
}

fn a_cancelled_request_comes_back_when_the_disk_lets_go() -> Outcome {
    for level in ["async", "shared"] {
        let server = BlkServer::ram(&["delay=200000000", "seed=9"])?;
        at_level(level, &server.range(0, CLIENT)?, CancelOne)?;
        // The server is as it was.
        at_level("async", &server.range(0, CLIENT)?, Disorder)?;
    }
    Ok(())
}

/// A client that lays out rings as the protocol says, and then writes anything into them.
fn a_corrupt_ring_ends_that_connection_only() -> Outcome {
    let server = BlkServer::ram(&[])?;
    let range = server.range(0, CLIENT)?;
    let mut good = User::new(&Shared::open(&range)?, 8)?;
    // What the header has: version, features, entries, bytes of an entry; tail; head.
    for (seed, (tail, head)) in [(9, 0), (u32::MAX, 0), (1 << 31, 0), (1, 77)]
        .into_iter()
        .enumerate()
    {
        let connection = range.open("", 0)?;
        let memory = Memory::new(8192)?;
        let word = |at: u64, value: u32| memory.write_all(at, &value.to_le_bytes());
        for (header, size) in [(0, 40), (256, 16)] {
            word(header, 1)?;
            word(header + 8, 8)?;
            word(header + 12, size)?;
        }
        let access = Rights::READ | Rights::WRITE | Rights::MAP;
        // Memory that is too short for so many entries, and a number that is none.
        for entries in [256u64, 7, 0, 1 << 20, u64::MAX >> 8] {
            check!(connection.share(&memory, access, 2 | entries << 8).is_err());
        }
        let link = connection.share(&memory, access, 2 | 8 << 8)?;
        let (theirs, ours) = (Event::new()?, Event::new()?);
        check!(
            connection
                .share(&ours, Rights::WRITE, 4 | link << 8)
                .is_err(),
            "the order"
        );
        check!(
            connection
                .share(&theirs, Rights::WAIT, 3 | (link + 9) << 8)
                .is_err()
        );
        connection.share(&theirs, Rights::WAIT, 3 | link << 8)?;
        connection.share(&ours, Rights::WRITE, 4 | link << 8)?;
        // Entries of nonsense, of which the server takes what it can check.
        let mut entries = vec![0u8; 512];
        test_pattern::fill(seed as u64, 0, &mut entries);
        memory.write_all(512, &entries)?;
        word(256 + 128, head)?;
        word(64, tail)?;
        theirs.signal()?;
        for number in 0..16 {
            let page = good.page()?;
            good.one(Request::write(ByteOffset(4096 * number), page))?
                .result?;
        }
    }
    Ok(())
}

/// A client that sends calls and takes no answers gets as many as its ring has room for, and goes on when
/// it has taken some.
fn a_client_that_takes_no_answers_is_heard_no_more() -> Outcome {
    const ENTRIES: u32 = 8;
    const DONES: u64 = 512 + ENTRIES as u64 * 40;
    let server = BlkServer::ram(&[])?;
    let range = server.range(0, CLIENT)?;
    let mut good = User::new(&Shared::open(&range)?, 8)?;
    let connection = range.open("", 0)?;
    let memory = Memory::new(8192)?;
    let word = |at: u64, value: u32| memory.write_all(at, &value.to_le_bytes());
    let read = |at: u64| -> Outcome<u32> {
        let mut bytes = [0; 4];
        memory.read(at, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    };
    for (header, size) in [(0, 40), (256, 16)] {
        word(header, 1)?;
        word(header + 8, ENTRIES)?;
        word(header + 12, size)?;
    }
    let access = Rights::READ | Rights::WRITE | Rights::MAP;
    let link = connection.share(&memory, access, 2 | u64::from(ENTRIES) << 8)?;
    let (theirs, ours) = (Event::new()?, Event::new()?);
    connection.share(&theirs, Rights::WAIT, 3 | link << 8)?;
    connection.share(&ours, Rights::WRITE, 4 | link << 8)?;
    // Every call is refused at once, as it has no bytes: an answer to each.
    let mut sent = 0;
    let mut send = |count: u32| -> Outcome {
        sent += count;
        word(64, sent)?;
        theirs.signal()?;
        let page = good.page()?;
        good.one(Request::read(ByteOffset(0), page))?.result?;
        thread::sleep(Duration::from_millis(5));
        Ok(())
    };
    send(ENTRIES)?;
    equal!(read(256 + 64)?, ENTRIES, "answers");
    // The calls were taken, so there is room for more; but none for their answers.
    send(3)?;
    equal!(read(128)?, ENTRIES, "calls that were taken");
    equal!(read(256 + 64)?, ENTRIES, "answers");
    word(256 + 128, 2)?;
    send(0)?;
    equal!(read(256 + 64)?, ENTRIES + 2, "answers when two were taken");
    equal!(read(DONES + 6)? & 0xffff, Code::BadArgument as u32);
    Ok(())
}

fn many_queues_and_pools_leave_nothing() -> Outcome {
    let server = BlkServer::ram(&[])?;
    let range = server.range(0, CLIENT)?;
    let run = |rounds: usize| -> Outcome {
        let (two, three) = (Async::open(&range)?, Shared::open(&range)?);
        for _ in 0..rounds {
            let mut user = User::new(&two, 8)?;
            let page = user.page()?;
            user.one(Request::read(ByteOffset(0), page))?.result?;
            let mut user = User::new(&three, 8)?;
            let page = user.page()?;
            user.one(Request::read(ByteOffset(0), page))?.result?;
        }
        Ok(())
    };
    // More than the server's limits, one after the other.
    run(8)?;
    use driver_sdk::abi::object::ProcessMeta::{HandlesUsed, MemoryUsed};
    let settled = || -> Outcome<[u64; 2]> {
        thread::sleep(Duration::from_millis(20));
        Ok([
            server.process.meta(HandlesUsed)?,
            server.process.meta(MemoryUsed)?,
        ])
    };
    let before = settled()?;
    run(100)?;
    equal!(settled()?, before, "handles and memory of the server");
    Ok(())
}

/// One client with as many requests as it can, another with one at a time: while the second gets its
/// share of answers, the first gets no more than the queue's depth of answers for each.
fn a_greedy_client_does_not_starve_another() -> Outcome {
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    const DEPTH: u64 = 32;
    for (greedy, modest) in [("async", "sync"), ("shared", "async"), ("async", "shared")] {
        let server = BlkServer::ram(&["depth=32", "delay=50000"])?;
        let (first, second) = (server.range(0, CLIENT)?, server.range(0, CLIENT)?);
        let (count, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, stopped) = (count.clone(), stop.clone());
        let level: String = greedy.into();
        let thread = thread::spawn(move || {
            let greed = Greed { counted, stopped };
            at_level(&level, &first, greed).map_err(|failure| alloc::format!("{failure:?}"))
        });
        while count.load(Ordering::Relaxed) < 1000 {
            check!(!thread.is_finished(), "the greedy client failed");
            thread::sleep(Duration::from_micros(100));
        }
        let before = count.load(Ordering::Relaxed);
        let done = at_level(modest, &second, Modest(200));
        let meanwhile = count.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        thread.join()?;
        done?;
        check!(
            meanwhile < 200 * 4 * DEPTH,
            "{greedy} got {meanwhile} answers while {modest} got 200"
        );
    }
    Ok(())
}

struct Greed {
    counted: alloc::sync::Arc<core::sync::atomic::AtomicU64>,
    stopped: alloc::sync::Arc<core::sync::atomic::AtomicBool>,
}

impl AtLevel for Greed {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        use core::sync::atomic::Ordering::Relaxed;
        let mut user = User::with(&device, 128, WaitMode::Interrupt)?;
        let mut buffers: Vec<Buffer> = (0..128).map(|_| user.page()).collect::<Outcome<_>>()?;
        while !self.stopped.load(Relaxed) {
            for buffer in buffers.drain(..) {
                user.queue.push(Request::read(ByteOffset(0), buffer))?;
            }
            let deadline = user.queue.now() + LONG;
            let mut failed = Ok(());
            let count = user.queue.wait(deadline, |completion| {
                failed = failed.and(completion.result);
                buffers.extend(completion.buffers.into_buffer());
            })?;
            failed?;
            self.counted.fetch_add(count as u64, Relaxed);
        }
        user.drain().map(drop)
    }
}

/// So many reads, one at a time.
struct Modest(u64);

impl AtLevel for Modest {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let mut user = User::with(&device, 1, WaitMode::Interrupt)?;
        for number in 0..self.0 {
            let page = user.page()?;
            user.one(Request::read(ByteOffset(4096 * (number % 8)), page))?
                .result?;
        }
        Ok(())
    }
}

/// Reads and writes that the server has when it is killed.
struct Orphans<'a>(&'a BlkServer);

impl AtLevel for Orphans<'_> {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let mut user = User::new(&device, 8)?;
        for number in 0..8u64 {
            let page = user.page()?;
            let request = match number % 2 {
                0 => Request::read(ByteOffset(0), page),
                _ => Request::write(ByteOffset(4096 * number), page),
            };
            user.queue.push(request.with_user_data(number))?;
        }
        user.queue.kick();
        thread::sleep(Duration::from_millis(5));
        self.0.process.kill(1)?;
        let (mut seen, mut failed) = (0, 0);
        for completion in user.drain()? {
            seen |= 1 << completion.user_data;
            if completion.result.is_ok() {
                continue;
            }
            failed |= 1 << completion.user_data;
            let kind = completion.result.map_err(|error| error.kind);
            let expected = match completion.user_data % 2 {
                0 => ErrorKind::Gone,
                _ => ErrorKind::Lost,
            };
            equal!(kind, Err(expected), "request {}", completion.user_data);
        }
        equal!(seen, 0xff, "the requests that came back");
        // The disk takes two seconds at most, and its server lived for a moment of that.
        let of_both = failed & 0x55 != 0 && failed & 0xaa != 0;
        check!(of_both, "{failed:#x} were unanswered");
        equal!(user.pool.available(), user.pool.capacity());
        let page = user.page()?;
        let refused = match user.queue.submit(Request::read(ByteOffset(0), page)) {
            Err(rejected) => rejected.error.kind,
            Ok(_) => {
                let all = user.drain()?;
                let completion = all.into_iter().next().ok_or("nothing came back")?;
                completion.result.err().ok_or("a dead server answers")?.kind
            }
        };
        equal!(refused, ErrorKind::Gone);
        Ok(())
    }
}

fn a_server_that_dies_is_told_once() -> Outcome {
    for level in ["async", "shared"] {
        let server = BlkServer::ram(&["delay=2000000000", "seed=3"])?;
        at_level(level, &server.range(0, CLIENT)?, Orphans(&server))?;
    }
    Ok(())
}

fn a_client_that_dies_gives_its_memory_back() -> Outcome {
    use driver_sdk::abi::object::ProcessMeta::{HandlesUsed, MemoryUsed};
    let server = BlkServer::ram(&["delay=20000000"])?;
    let range = server.range(0, CLIENT)?;
    let kill = || -> Outcome {
        for level in LEVELS {
            let shared = harness::child::Shared::new()?;
            let victim = harness::child::Victim::new("holder")
                .argument(level)
                .shared(&shared)
                .with(|command| command.give("disk", &range, CLIENT))
                .spawn()?;
            shared.wait_for(0, 1)?;
            thread::sleep(Duration::from_millis(2));
            victim.kill(7)?;
            equal!(
                harness::child::end_of(&victim)?.status,
                ExitStatus::Killed(7)
            );
        }
        Ok(())
    };
    let used = || -> Outcome<[u64; 2]> {
        Ok([
            server.process.meta(HandlesUsed)?,
            server.process.meta(MemoryUsed)?,
        ])
    };
    kill()?;
    // The disk lets go when it has answered, and then the server hears of it.
    thread::sleep(Duration::from_millis(200));
    let before = used()?;
    for _ in 0..5 {
        kill()?;
    }
    let deadline = Instant::now() + harness::child::PATIENCE;
    while used()? != before && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    equal!(used()?, before, "handles and memory of the server");
    Ok(())
}

/// A client that has requests under way until it is killed.
pub fn holder() -> Outcome {
    let object = object::<Remote>("disk").ok_or("no disk")?;
    let level = arguments().nth(2).ok_or("no level")?;
    at_level(level, &object, Hold)
}

struct Hold;

impl AtLevel for Hold {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let mut user = User::new(&device, 16)?;
        let shared = harness::child::Shared::given();
        loop {
            for number in 0..16 {
                let page = user.page()?;
                user.queue
                    .push(Request::read(ByteOffset(4096 * number), page))?;
            }
            user.queue.kick();
            shared.set(0, 1);
            user.drain()?;
        }
    }
}
