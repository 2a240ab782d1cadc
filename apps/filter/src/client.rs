//! Writes to a disk and reads from it, at each level that reaches one in another process, and says
//! what came of it. It does not know who serves the disk.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use driver_sdk::{
    abi::counters::{COUNTER_COUNT, Counter},
    io::{
        Async, BlockDevice, BlockQueue, Buffer, ByteOffset, Completion, Error as IoError,
        QueueOptions, Request as Block, Shared, Sync,
    },
    prelude::*,
};

driver_sdk::main!(main);

fn main() -> Result<(), IoError> {
    visit("sync", Sync::named("disk")?)?;
    visit("copying", Sync::named("disk")?.copying()?)?;
    visit("async", Async::named("disk")?)?;
    visit("shared", Shared::named("disk")?)
}

/// A write and a read of a page.
fn visit<D: BlockDevice>(level: &str, disk: D) -> Result<(), IoError> {
    let mut queue = disk.open_queue(QueueOptions::default())?;
    let mut page = disk.create_pool(4096)?.allocate(4096)?;
    page.fill(0x5a);
    let written = one(&mut queue, |page| Block::write(ByteOffset(0), page), page)?;
    let mut page = written
        .buffers
        .into_buffer()
        .expect("a request gives its buffer back");
    page.fill(0);
    let before = copied();
    let read = one(&mut queue, |page| Block::read(ByteOffset(0), page), page)?;
    let copied = copied() - before - LOOK;
    let page = read
        .buffers
        .into_buffer()
        .expect("a request gives its buffer back");
    read.result?;
    let first = page[0];
    match written.result {
        Ok(()) => println!("{level}: wrote a page, read {first:#x}, copied {copied}"),
        Err(error) => println!("{level}: no write: {error}; read {first:#x}, copied {copied}"),
    }
    Ok(())
}

/// Makes one request, and waits for it.
fn one(
    queue: &mut impl BlockQueue,
    request: impl FnOnce(Buffer) -> Block,
    page: Buffer,
) -> Result<Completion, IoError> {
    queue
        .submit(request(page))
        .map_err(|rejected| rejected.error)?;
    let mut done = None;
    while done.is_none() {
        queue.wait(u64::MAX, |completion| done = Some(completion))?;
    }
    Ok(done.expect("it came"))
}

/// Bytes that a look at the counters copies itself.
const LOOK: u64 = 8 * COUNTER_COUNT as u64;

/// Bytes that were copied in the whole system.
fn copied() -> u64 {
    let counters = object::<Counters>("counters").expect("the manifest grants `counters`");
    let now = counters.snapshot().expect("it can be read");
    now.get(Counter::BytesCopied)
}
