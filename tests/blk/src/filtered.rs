//! A filter before a RAM-disk: what its clients see when the disk's server dies, or the filter; and
//! what becomes of clients that go.

use alloc::{string::String, vec::Vec};
use core::{mem::ManuallyDrop, time::Duration};

use driver_sdk::{
    abi::{
        limits::Limits,
        object::ProcessMeta::{HandlesUsed, MemoryUsed},
        startup as names,
    },
    io::{
        Async, BlockDevice, BlockQueue, ByteOffset, Cancel, Completion, ErrorKind, QueueOptions,
        Request, Sync,
    },
    prelude::*,
    rt::object::OwnedHandle,
};
use guest_harness::{
    child::PATIENCE,
    harness::{Outcome, check, equal, tests},
};

use crate::server::{AtLevel, BlkServer, CLIENT, LEVELS, at_level};

tests![
    the_death_of_the_server_goes_through_a_filter,
    the_death_of_a_filter_is_told,
    a_cancellation_goes_through_a_filter,
    clients_that_go_leave_nothing_in_a_filter,
    so_many_are_connected_by_a_filter_and_no_more,
];

/// Reads that are under way when somebody dies.
const READS: u64 = 8;

/// A filter before a server.
struct Filter {
    process: Process,
    service: Service,
}

impl Filter {
    fn start(before: &BlkServer) -> Outcome<Self> {
        let file: ManuallyDrop<Memory> = object("filter").ok_or("no module `filter`")?;
        let program = Program::new(&file).map_err(|error| alloc::format!("{error}"))?;
        let log: ManuallyDrop<Log> = object(names::LOG).ok_or("no log")?;
        let real = before.range(0, CLIENT)?;
        let limits = Limits {
            requests: 512,
            ..Limits::DEFAULT
        };
        let held = Rights::READ | Rights::MAP | Rights::PASS;
        let command = Command::new("filter", &program).limits(limits);
        let command = command
            .give(names::LOG, &*log, Rights::WRITE)
            .give("real", &real, held);
        let process = command.create()?;
        let service = Service::of(&process)?;
        let served = Rights::READ | Rights::WRITE | Rights::MANAGE | Rights::WAIT;
        let given: OwnedHandle = service.duplicate(served | Rights::PASS)?.into();
        let name = String::from(names::SERVICE_PREFIX) + "filtered";
        command.give(&name, &given, served).start(&process)?;
        Ok(Self { process, service })
    }

    fn disk(&self) -> Outcome<Remote> {
        Ok(self.service.mint(0, CLIENT)?)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let _ = self.process.kill(0);
        let _ = self.process.wait(Deadline::after(PATIENCE));
    }
}

/// Reads that are under way when a process is ended.
struct Orphans<'a>(&'a Process);

impl AtLevel for Orphans<'_> {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let mut queue = device.open_queue(QueueOptions::default())?;
        let pool = device.create_pool(READS as usize * 4096)?;
        for number in 0..READS {
            let read = Request::read(ByteOffset(number * 4096), pool.allocate(4096)?);
            queue.push(read.with_user_data(number))?;
        }
        queue.kick();
        thread::sleep(Duration::from_millis(5));
        self.0.kill(1)?;
        let (mut seen, mut failed) = (0u64, 0);
        for completion in drain(&mut queue)? {
            seen |= 1 << completion.user_data;
            if let Err(error) = completion.result {
                equal!(error.kind, ErrorKind::Gone);
                failed += 1;
            }
        }
        equal!(seen, (1 << READS) - 1, "the reads that came back");
        // The disk takes two seconds at most, and lived for a moment of that.
        check!(failed > 0, "none was unanswered");
        equal!(pool.available(), pool.capacity());
        Ok(())
    }
}

/// Everything that is in flight, without a deadline: who is not woken hangs.
fn drain(queue: &mut impl BlockQueue) -> Outcome<Vec<Completion>> {
    let mut all = Vec::new();
    while queue.in_flight() > 0 {
        queue.wait(u64::MAX, |completion| all.push(completion))?;
    }
    Ok(all)
}

fn the_death_of_the_server_goes_through_a_filter() -> Outcome {
    for level in ["async", "shared"] {
        let server = BlkServer::ram(&["delay=2000000000", "seed=3"])?;
        let filter = Filter::start(&server)?;
        at_level(level, &filter.disk()?, Orphans(&server.process))?;
        // The filter lives, and says what it hears.
        let gone = Sync::open(&filter.disk()?).map(drop);
        equal!(gone.map_err(|error| error.kind), Err(ErrorKind::Gone));
    }
    Ok(())
}

fn the_death_of_a_filter_is_told() -> Outcome {
    for level in ["async", "shared"] {
        let server = BlkServer::ram(&["delay=2000000000", "seed=3"])?;
        let filter = Filter::start(&server)?;
        at_level(level, &filter.disk()?, Orphans(&filter.process))?;
        // The server lives, for those who have it.
        let device = Async::open(&server.range(0, CLIENT)?)?;
        let mut queue = device.open_queue(QueueOptions::default())?;
        let page = device.create_pool(4096)?.allocate(4096)?;
        queue.submit(Request::read(ByteOffset(0), page))?;
        for completion in drain(&mut queue)? {
            completion.result?;
        }
    }
    Ok(())
}

fn a_cancellation_goes_through_a_filter() -> Outcome {
    // What the disk does not have yet is given back at once.
    let server = BlkServer::ram(&["delay=200000000", "seed=9", "depth=2"])?;
    let filter = Filter::start(&server)?;
    let device = Async::open(&filter.disk()?)?;
    let mut queue = device.open_queue(QueueOptions::default())?;
    let pool = device.create_pool(READS as usize * 4096)?;
    let mut ids = Vec::new();
    for number in 0..READS {
        let read = Request::read(ByteOffset(number * 4096), pool.allocate(4096)?);
        ids.push(queue.push(read)?);
    }
    queue.kick();
    let asked = ids.iter().map(|&id| queue.cancel(id));
    let pending = asked.filter(|cancel| *cancel == Cancel::Pending).count();
    check!(pending > 0, "all were answered before");
    let all = drain(&mut queue)?;
    equal!(all.len(), ids.len());
    for completion in &all {
        if let Err(error) = completion.result {
            equal!(error.kind, ErrorKind::Cancelled);
        }
    }
    check!(
        all.iter().any(|done| done.result.is_err()),
        "none was cancelled"
    );
    Ok(())
}

/// A client that reads a page and goes.
struct Visit;

impl AtLevel for Visit {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let mut queue = device.open_queue(QueueOptions::default())?;
        let page = device.create_pool(4096)?.allocate(4096)?;
        queue.submit(Request::read(ByteOffset(0), page))?;
        for completion in drain(&mut queue)? {
            completion.result?;
        }
        Ok(())
    }
}

fn clients_that_go_leave_nothing_in_a_filter() -> Outcome {
    let server = BlkServer::ram(&[])?;
    let filter = Filter::start(&server)?;
    let disk = filter.disk()?;
    let visits = |rounds| -> Outcome<[u64; 2]> {
        // More than can be connected at once.
        for round in 0..rounds {
            at_level(LEVELS[round % 3], &disk, Visit)?;
        }
        // The notices are behind everything else.
        thread::sleep(Duration::from_millis(20));
        let process = &filter.process;
        Ok([process.meta(HandlesUsed)?, process.meta(MemoryUsed)?])
    };
    let before = visits(12)?;
    equal!(visits(75)?, before, "handles and memory of the filter");
    Ok(())
}

fn so_many_are_connected_by_a_filter_and_no_more() -> Outcome {
    const CONNECTIONS: usize = 64;
    let server = BlkServer::ram(&[])?;
    let filter = Filter::start(&server)?;
    let disk = filter.disk()?;
    let mut connected = Vec::new();
    for _ in 0..CONNECTIONS {
        connected.push(Sync::open(&disk)?);
    }
    let refused = Sync::open(&disk).map(drop).map_err(|error| error.kind);
    equal!(refused, Err(ErrorKind::Busy));
    // One that goes makes room for another.
    connected.pop();
    connected.push(Sync::open(&disk)?);
    at_level("sync", &server.range(0, CLIENT)?, Visit)
}
