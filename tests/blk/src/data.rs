//! Every byte of a real disk, by four clients at once on ranges of their own, at each level: read and
//! checked, overwritten, flushed, and read again. The host has the last word.

use alloc::{format, string::String, vec::Vec};

use driver_sdk::{
    abi::limits::Limits,
    io::{BlockDevice, BlockQueue, Buffer, ByteOffset, Error, Operation, QueueOptions, Request},
    prelude::*,
};
use guest_harness::{
    child::{Victim, end_of},
    harness::{Outcome, check, equal, tests},
};

use crate::{
    number,
    server::{AtLevel, BlkServer, CLIENT, LEVELS, at_level},
};

tests![every_byte_at_every_level];

/// Clients at once.
pub const CLIENTS: u64 = 4;
/// Requests of one client in flight.
const DEPTH: u16 = 16;
/// Bytes of the longest.
const LONGEST: u64 = 128 << 10;
/// Nanoseconds that a client waits for an answer.
const PATIENCE: u64 = 20_000_000_000;

/// What a client process may have.
pub const LIMITS: Limits = Limits {
    memory: 24 << 20,
    handles: 64,
    threads: 4,
    requests: 256,
    ..Limits::DEFAULT
};

/// The ranges of the clients, as arguments of the server: equal parts of `blocks`.
pub fn ranges(blocks: u64) -> Vec<String> {
    let part = blocks / CLIENTS;
    (0..CLIENTS)
        .map(|client| format!("range={client}:1:{}:{part}:rw", client * part))
        .collect()
}

fn every_byte_at_every_level() -> Outcome {
    let (found, left, blocks) = (number(1)?, number(2)?, number(3)?);
    let levels = LEVELS.len() as u64;
    for (step, level) in LEVELS.iter().enumerate() {
        // The first finds what the host wrote, the last leaves what it will look for.
        let step = step as u64;
        let before = if step == 0 {
            found
        } else {
            left - (levels - step)
        };
        let after = left - (levels - 1 - step);
        let server = BlkServer::start(&ranges(blocks), true)?;
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let disk = server.range(client, CLIENT)?;
            let arguments = [
                (*level).into(),
                format!("{client}"),
                format!("{before}"),
                format!("{after}"),
            ];
            let mut victim = Victim::new("reader")
                .with(|command| command.limits(LIMITS).give("disk", &disk, CLIENT));
            for argument in &arguments {
                victim = victim.argument(argument);
            }
            clients.push(victim.spawn()?);
        }
        for client in &clients {
            equal!(
                end_of(client)?.status,
                ExitStatus::Exited(0),
                "a client at level {level}"
            );
        }
    }
    Ok(())
}

/// A client of a quarter of the disk.
pub fn client() -> Outcome {
    let argument = |index| arguments().nth(index).ok_or("an argument is missing");
    let object = object::<Remote>("disk").ok_or("no disk")?;
    let work = Quarter {
        client: argument(3)?.parse()?,
        before: argument(4)?.parse()?,
        after: argument(5)?.parse()?,
    };
    at_level(argument(2)?, &object, work)
}

struct Quarter {
    client: u64,
    before: u64,
    after: u64,
}

impl AtLevel for Quarter {
    type Output = ();

    fn run<D: BlockDevice>(self, device: D) -> Outcome {
        let bytes = device.capacity();
        let mut pass = Pass {
            queue: device.open_queue(QueueOptions {
                depth: DEPTH,
                ..QueueOptions::default()
            })?,
            buffers: Vec::new(),
            block: device.limits().block_size.bytes().into(),
            base: self.client * bytes,
            bytes,
            random: self.client + 1,
        };
        let pool = device.create_pool(usize::from(DEPTH) * LONGEST as usize)?;
        for _ in 0..DEPTH {
            pass.buffers.push(pool.allocate(LONGEST as usize)?);
        }
        pass.run(Operation::Read, self.before)?;
        pass.run(Operation::Write, self.after)?;
        pass.flush()?;
        pass.run(Operation::Read, self.after)
    }
}

/// Once over a range.
struct Pass<Q> {
    queue: Q,
    buffers: Vec<Buffer>,
    block: u64,
    /// Where the range begins on the disk, and its bytes.
    base: u64,
    bytes: u64,
    random: u64,
}

impl<Q: BlockQueue> Pass<Q> {
    /// Bytes of a request: whole blocks, short ones as frequent as long ones (xorshift64).
    fn length(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let least = self.block.max(4096);
        let magnitude = least << ((self.random >> 20) % u64::from((LONGEST / least).ilog2() + 1));
        (magnitude - ((self.random >> 40) % (magnitude / self.block)) * self.block).max(self.block)
    }

    fn run(&mut self, operation: Operation, seed: u64) -> Outcome {
        let mut place = 0;
        while place < self.bytes || self.queue.in_flight() > 0 {
            while place < self.bytes
                && let Some(mut buffer) = self.buffers.pop()
            {
                let length = self.length().min(self.bytes - place);
                buffer.select(0..length as usize)?;
                let request = match operation {
                    Operation::Write => {
                        test_pattern::fill(seed, self.base + place, &mut buffer);
                        Request::write(ByteOffset(place), buffer)
                    }
                    _ => {
                        // It is not to look like what it is to become.
                        buffer.fill(0xdb);
                        Request::read(ByteOffset(place), buffer)
                    }
                };
                self.queue.push(request.with_user_data(place))?;
                place += length;
            }
            let deadline = self.queue.now() + PATIENCE;
            let mut done: Vec<(u64, Result<(), Error>, Option<Buffer>)> = Vec::new();
            self.queue.wait(deadline, |completion| {
                let buffer = completion.buffers.into_buffer();
                done.push((completion.user_data, completion.result, buffer));
            })?;
            for (place, result, buffer) in done {
                result?;
                let buffer = buffer.ok_or("no buffer came back")?;
                let wrong = test_pattern::first_wrong(seed, self.base + place, &buffer);
                check!(wrong.is_none(), "wrong data at {wrong:?}");
                self.buffers.push(buffer);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        self.queue.submit(Request::flush())?;
        let deadline = self.queue.now() + PATIENCE;
        let mut result = Ok(());
        self.queue
            .wait(deadline, |completion| result = completion.result)?;
        Ok(result?)
    }
}
