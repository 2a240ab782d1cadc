//! `do_io` to a server that waits, and back, with a switch of address spaces each way.

use bench_harness::{
    measure::{SAMPLES, samples},
    report::Method,
};
use driver_sdk::{
    prelude::*,
    rt::{
        object::{Operations, Remote},
        serve::{Answer, Ask, Server},
    },
};

use crate::counted;

/// Round trips in a sample.
const TIMES: u32 = 200;
/// Bytes that go each way in the second subject.
const BYTES: usize = 4096;

/// Answers until nobody can ask any more.
pub fn serve() -> Result<(), Error> {
    let server = Server::named("call", 4, BYTES)?;
    let mut answer = Answer::later();
    loop {
        let request = server.next(answer, Deadline::NEVER)?;
        answer = match request.ask {
            Ask::GetMeta { key } => request.value(key),
            // What was written last is in the slot: it comes back as it is.
            Ask::Read { length, .. } => request.value(length as u64),
            Ask::Write { length, .. } => request.value(length as u64),
            Ask::Closed => return Ok(()),
            _ => request.refuse(Error::BadOperation),
        };
    }
}

/// Round trips without data, and with 4 KiB each way: a write and a read.
pub fn measure(method: Method) -> Result<(), Error> {
    let object = object::<Remote>("call").ok_or(Error::NotFound)?;
    let mut failures = 0;
    let requests = u64::from(TIMES) * (SAMPLES as u64 + 1);
    counted(requests, || {
        Ok(samples(TIMES, || {
            for key in 0..TIMES {
                failures += u32::from(object.get_meta(key.into()).is_err());
            }
        }))
    })?
    .report("ipc/do_io_round_trip", method);
    let sent = [7u8; BYTES];
    let mut got = [0u8; BYTES];
    counted(requests, || {
        Ok(samples(TIMES, || {
            for _ in 0..TIMES {
                failures += u32::from(object.write(0, &sent) != Ok(BYTES));
                failures += u32::from(object.read(0, &mut got) != Ok(BYTES));
            }
        }))
    })?
    .report("ipc/do_io_4k_round_trip", method);
    match failures {
        0 => Ok(()),
        _ => Err(Error::Failed),
    }
}
