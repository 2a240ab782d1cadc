//! The server of a real disk, killed again and again under load from four clients.
//!
//! What must hold: no client hangs, every unanswered write is `Lost`, and every write that was
//! answered and flushed is on the disk, as the next server's clients find it.

use alloc::{format, vec::Vec};
use core::time::Duration;

use driver_sdk::{
    io::{
        BlockDevice, BlockQueue, Buffer, ByteOffset, Error, ErrorKind, QueueOptions, Request, Sync,
    },
    prelude::*,
};
use guest_harness::{
    child::{Shared, Victim, end_of},
    harness::{Outcome, check, equal, tests},
};

use crate::{
    data::{CLIENTS, LIMITS, ranges},
    number,
    server::{AtLevel, BlkServer, CLIENT, LEVELS, at_level},
};

tests![servers_killed_under_load];

/// Writes of a generation, which are in flight at once.
const WRITES: u64 = 32;
/// Bytes of a write.
const BYTES: u64 = 4096;
/// Bytes that are written whole or not at all.
const SECTOR: u64 = 512;
/// Microseconds that a server lives at most, once all clients write.
const LONGEST: u64 = 20_000;
/// A client waits for answers without a deadline: one that is not woken hangs, and the test with it.
const NEVER: u64 = u64::MAX;

/// The numbers that a client and the test share, for each client: servers by which it has begun to
/// write, the last generation that is on the disk, the last that it began with.
pub const BEGUN: usize = 0;
pub const FLUSHED: usize = 1;
const BEGUN_GENERATION: usize = 2;
pub const NUMBERS: usize = 4;

fn servers_killed_under_load() -> Outcome {
    let (rounds, blocks) = (number(1)?, number(2)?);
    let shared = Shared::new()?;
    let mut random: u64 = 11;
    for round in 0..rounds {
        let server = BlkServer::start(&ranges(blocks), true)?;
        for client in 0..CLIENTS {
            check_range(&server.range(client, CLIENT)?, &shared, client)?;
        }
        let level = LEVELS[(round % 3) as usize];
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let disk = server.range(client, CLIENT)?;
            shared.set(client as usize * NUMBERS + BEGUN, 0);
            let victim = Victim::new("writer")
                .argument(level)
                .argument(format!("{client}"))
                .shared(&shared)
                .with(|command| command.limits(LIMITS).give("disk", &disk, CLIENT));
            clients.push(victim.spawn()?);
        }
        for client in 0..CLIENTS as usize {
            shared.wait_for(client * NUMBERS + BEGUN, 1)?;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros((random >> 16) % LONGEST));
        server.process.kill(9)?;
        for client in &clients {
            equal!(
                end_of(client)?.status,
                ExitStatus::Exited(0),
                "a client in round {round}, {level}"
            );
        }
    }
    let server = BlkServer::start(&ranges(blocks), true)?;
    for client in 0..CLIENTS {
        check_range(&server.range(client, CLIENT)?, &shared, client)?;
        check!(
            shared.get(client as usize * NUMBERS + FLUSHED) > 0,
            "nothing was ever flushed"
        );
    }
    Ok(())
}

/// Each sector has the last generation that was flushed, or one that was begun since.
pub fn check_range(disk: &Remote, shared: &Shared, client: u64) -> Outcome {
    let flushed = shared.get(client as usize * NUMBERS + FLUSHED);
    let begun = shared.get(client as usize * NUMBERS + BEGUN_GENERATION);
    if flushed == 0 {
        return Ok(());
    }
    let device = Sync::open(disk)?;
    let mut queue = device.open_queue(QueueOptions::default())?;
    let mut page = device
        .create_pool(BYTES as usize)?
        .allocate(BYTES as usize)?;
    for write in 0..WRITES {
        queue.submit(Request::read(ByteOffset(write * BYTES), page))?;
        let mut done = None;
        queue.poll(|completion| done = Some(completion));
        let completion = done.ok_or("no answer")?;
        completion.result?;
        page = completion.buffers.into_buffer().ok_or("no buffer")?;
        for (index, sector) in page.chunks_exact(SECTOR as usize).enumerate() {
            let at = write * BYTES + index as u64 * SECTOR;
            let known = (flushed..=begun)
                .any(|generation| test_pattern::first_wrong(generation, at, sector).is_none());
            check!(
                known,
                "client {client}: sector {at:#x} has none of the generations {flushed} to {begun}"
            );
        }
    }
    Ok(())
}

/// A client that writes generation after generation until its server dies.
pub fn client() -> Outcome {
    let object = object::<Remote>("disk").ok_or("no disk")?;
    let level = arguments().nth(2).ok_or("no level")?;
    let number = arguments().nth(3).ok_or("no number")?.parse::<usize>()? * NUMBERS;
    let shared = &Shared::given();
    at_level(level, &object, Writer { shared, number })
}

/// Writes until the server dies.
pub struct Writer<'a> {
    /// The numbers that are shared with the test.
    pub shared: &'a Shared,
    /// Where the client's begin.
    pub number: usize,
}

impl AtLevel for Writer<'_> {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let shared = self.shared;
        let mut queue = device.open_queue(QueueOptions {
            depth: WRITES as u16 + 1,
            ..QueueOptions::default()
        })?;
        let pool = device.create_pool((WRITES * BYTES) as usize)?;
        let mut generation = shared.get(self.number + BEGUN_GENERATION);
        let servers = shared.get(self.number + BEGUN);
        loop {
            generation += 1;
            shared.set(self.number + BEGUN_GENERATION, generation);
            let buffers = (0..WRITES)
                .map(|_| pool.allocate(BYTES as usize))
                .collect::<Result<Vec<Buffer>, Error>>()?;
            let mut errors = Vec::new();
            let mut accepted = 0;
            for (write, mut buffer) in buffers.into_iter().enumerate() {
                let at = write as u64 * BYTES;
                test_pattern::fill(generation, at, &mut buffer);
                match queue.push(Request::write(ByteOffset(at), buffer)) {
                    Ok(_) => accepted += 1,
                    Err(rejected) => refused(rejected.error)?,
                }
            }
            shared.set(self.number + BEGUN, servers + 1);
            errors.extend(drain(&mut queue, accepted)?);
            if errors.is_empty() && accepted == WRITES as usize {
                match queue.submit(Request::flush()) {
                    Ok(_) => errors.extend(drain(&mut queue, 1)?),
                    Err(rejected) => return refused(rejected.error),
                }
            }
            if errors.is_empty() && accepted == WRITES as usize {
                shared.set(self.number + FLUSHED, generation);
                continue;
            }
            for error in errors {
                check!(
                    error.kind == ErrorKind::Lost,
                    "a write came back as {error}"
                );
            }
            equal!(
                pool.available(),
                pool.capacity(),
                "memory that did not come back"
            );
            return Ok(());
        }
    }
}

/// What is refused because the server is gone has had no effect.
fn refused(error: Error) -> Outcome {
    check!(
        error.kind == ErrorKind::Gone,
        "a request was refused: {error}"
    );
    Ok(())
}

/// The errors of all that is in flight, of which there are so many.
fn drain(queue: &mut impl BlockQueue, count: usize) -> Outcome<Vec<Error>> {
    let mut errors = Vec::new();
    let mut came = 0;
    while queue.in_flight() > 0 {
        queue.wait(NEVER, |completion| {
            came += 1;
            errors.extend(completion.result.err());
        })?;
    }
    equal!(came, count, "completions");
    Ok(errors)
}
