//! Says hello to a disk: writes a page, reads it back, then reads many at once. Its argument is the level,
//! and moving to another one is a line of `main`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{boxed::Box, vec::Vec};

use driver_sdk::{
    io::{
        Async, BlockDevice, BlockQueue, Buffer, ByteOffset, Error, Integrated, NamespaceId,
        Request, Shared, Sync,
    },
    native::Function,
    prelude::{arguments, println},
};
use spillway_nvme::Nvme;

driver_sdk::main!(main);

const PAGE: usize = 4096;
const MANY: u64 = 32;
const TEXT: &[u8] = b"Hello from the disk.";

fn main() -> Result<(), Box<dyn core::error::Error>> {
    match arguments().next() {
        // A driver process has the device: it is the service that the manifest calls "disk".
        Some("sync") => hello(&Sync::named("disk")?)?,
        Some("async") => hello(&Async::named("disk")?)?,
        Some("shared") => hello(&Shared::named("disk")?)?,
        // This process has it: the driver is linked in.
        Some("integrated") => {
            let function = Function::named("disk")?;
            let driver = Nvme::new(&function, Default::default())?;
            hello(&Integrated::new(driver, Nvme::device, NamespaceId(1))?)?;
        }
        _ => println!("say how: sync, async, shared or integrated"),
    }
    Ok(())
}

fn hello(disk: &impl BlockDevice) -> Result<(), Error> {
    println!("a disk of {} KiB", disk.capacity() >> 10);
    // Memory that whoever drives the disk knows: no byte of it is copied.
    let pool = disk.create_pool(MANY as usize * PAGE)?;
    let mut queue = disk.open_queue(Default::default())?;

    // A buffer goes away with a request, and comes back with its completion.
    let mut page = pool.allocate(PAGE)?;
    page[..TEXT.len()].copy_from_slice(TEXT);
    let mut page = wait_for(&mut queue, Request::write(ByteOffset(0), page))?;
    page.fill(0);
    let page = wait_for(&mut queue, Request::read(ByteOffset(0), page))?;
    println!(
        "{}",
        core::str::from_utf8(&page[..TEXT.len()]).unwrap_or("?")
    );
    drop(page);

    // Requests start together; completions come as they are there.
    for number in 0..MANY {
        let page = pool.allocate(PAGE)?;
        let read = Request::read(ByteOffset(number * PAGE as u64), page);
        queue.push(read).map_err(|rejected| rejected.error)?;
    }
    queue.kick();
    let (mut good, mut batches) = (0, 0);
    while queue.in_flight() > 0 {
        queue.wait(u64::MAX, |completion| {
            good += u64::from(completion.result.is_ok())
        })?;
        batches += 1;
    }
    println!("{good} reads back, batches: {batches}");
    Ok(())
}

/// Does one request, and gives its buffer back.
fn wait_for(queue: &mut impl BlockQueue, request: Request) -> Result<Buffer, Error> {
    queue.submit(request).map_err(|rejected| rejected.error)?;
    let mut done = Vec::new();
    let deadline = queue.now() + 1_000_000_000;
    queue.wait(deadline, |completion| done.push(completion))?;
    let completion = done.remove(0);
    completion.result?;
    Ok(completion.buffers.into_buffer().expect("one went in"))
}
