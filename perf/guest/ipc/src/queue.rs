//! Batches of requests that do nothing, through the queue of the client to the queue of a server
//! and back.

use bench_harness::{
    measure::{SAMPLES, samples},
    report::Method,
};
use driver_sdk::{
    abi::{call::Operation, queue::Submission},
    prelude::*,
    rt::{
        object::{IoQueue, Object, Remote, message},
        serve::{Ask, Server},
    },
};

use crate::{BATCH, counted, patience};

/// Batches in a sample.
const BATCHES: u32 = 20;

/// Answers until nobody can ask any more.
pub fn serve() -> Result<(), Error> {
    let server = Server::named("queue", 1, 64)?;
    let mut queue = IoQueue::new(2 * BATCH as u32, 0)?;
    server.bind(&queue)?;
    loop {
        queue.enter(1, Deadline::NEVER)?;
        while let Some(completion) = queue.pop()? {
            let Some((_, message)) = message(&completion) else {
                continue;
            };
            let request = server.accept(message);
            match request.ask {
                Ask::GetMeta { key } => request.value(key).submit(&mut queue),
                Ask::Closed => return Ok(()),
                _ => request.refuse(Error::BadOperation).submit(&mut queue),
            }
        }
    }
}

/// Batches of 32.
pub fn measure(method: Method) -> Result<(), Error> {
    let object = object::<Remote>("queue").ok_or(Error::NotFound)?;
    let mut queue = IoQueue::new(BATCH as u32, 0)?;
    let mut outcome = Ok(());
    let requests = u64::from(BATCHES) * BATCH as u64;
    counted(requests * (SAMPLES as u64 + 1), || {
        Ok(samples(requests as u32, || {
            for _ in 0..BATCHES {
                if let Err(error) = batch(&mut queue, object.handle()) {
                    outcome = Err(error);
                }
            }
        }))
    })?
    .report("ipc/queue_noop_batch32", method);
    outcome
}

fn batch(queue: &mut IoQueue, object: driver_sdk::abi::Handle) -> Result<(), Error> {
    for key in 0..BATCH as u64 {
        let entry = Submission::new(object, Operation::GetMeta, key, [key, 0, 0, 0]);
        // SAFETY: no address is among the arguments.
        unsafe { queue.submit(&entry) }.map_err(|_| Error::Corrupt)?;
    }
    queue.enter(BATCH as u32, patience())?;
    let mut sum = 0;
    for _ in 0..BATCH {
        let completion = queue.pop()?.ok_or(Error::Failed)?;
        sum += completion.result()?;
    }
    // Each value came back once.
    match sum == (BATCH * (BATCH - 1) / 2) as u64 {
        true => Ok(()),
        false => Err(Error::Failed),
    }
}
