//! What is at a limit works, what is beyond it is refused, has no effect, and is given back.

use alloc::vec::Vec;

use spillway_io::{BlockDevice, BlockQueue, Buffer, ErrorKind, Rejected, Request, RequestId};

use crate::{Outcome, Subject, at, drain, ensure, failed, open, perform, pool};

/// The refusal must be of this kind, and bring the memory back.
fn refused(result: Result<RequestId, Rejected>, kind: ErrorKind, what: &str) -> Outcome {
    match result {
        Ok(_) => Err(alloc::format!("{what} was accepted")),
        Err(rejected) => {
            let found = rejected.error.kind;
            ensure!(
                found == kind,
                "{what} was refused as {found:?}, not as {kind:?}"
            );
            ensure!(rejected.request.buffers().count() > 0, "{what} was kept");
            Ok(())
        }
    }
}

/// Bytes and buffers of a request.
pub fn sizes_at_the_limit<S: Subject>(subject: &S) -> Outcome {
    let limits = subject.device().limits();
    let block = limits.block_size.bytes() as usize;
    let largest = limits.max_transfer.0 as usize * block;
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 2 * largest + (1 << 20))?;
    let mut buffer = pool.allocate(largest + block).map_err(failed)?;
    buffer.select(0..largest).map_err(failed)?;
    let buffers = perform(&mut queue, Request::write(at(0), buffer))?;
    let mut buffer = buffers.into_buffer().ok_or("no buffer came back")?;
    buffer.select(0..largest + block).map_err(failed)?;
    let result = queue.submit(Request::write(at(0), buffer));
    refused(
        result,
        ErrorKind::InvalidRequest,
        "a request larger than the limit",
    )?;

    let most = limits.max_segments as usize;
    let list = |count: usize| -> Result<Vec<Buffer>, _> {
        (0..count)
            .map(|_| pool.allocate(block).map_err(failed))
            .collect()
    };
    if most * block <= largest {
        perform(&mut queue, Request::write(at(0), list(most)?))?;
    }
    let result = queue.submit(Request::write(at(0), list(most + 1)?));
    refused(result, ErrorKind::InvalidRequest, "one buffer too many")?;
    ensure!(queue.in_flight() == 0, "a refused request is in flight");
    ensure!(
        pool.available() == pool.capacity(),
        "refused requests kept memory"
    );
    Ok(())
}

/// The last block, and what is behind it.
pub fn places_at_the_limit<S: Subject>(subject: &S) -> Outcome {
    let device = subject.device();
    let block = u64::from(device.limits().block_size.bytes());
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 64 << 10)?;
    let last = device.capacity() - block;
    let one = || pool.allocate(block as usize).map_err(failed);
    let two = || pool.allocate(2 * block as usize).map_err(failed);
    perform(&mut queue, Request::write(at(last), one()?))?;
    perform(&mut queue, Request::read(at(last), one()?))?;
    for (place, buffer) in [
        (last, two()?),
        (device.capacity(), one()?),
        (u64::MAX - block + 1, one()?),
        (u64::MAX - block + 1, two()?),
    ] {
        let result = queue.submit(Request::read(at(place), buffer));
        refused(result, ErrorKind::OutOfRange, "a request past the end")?;
    }
    Ok(())
}

/// Offsets, lengths and buffers that are no whole blocks, or not aligned.
pub fn half_blocks_are_refused<S: Subject>(subject: &S) -> Outcome {
    let limits = subject.device().limits();
    let block = limits.block_size.bytes() as usize;
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 256 << 10)?;
    let part = |range: core::ops::Range<usize>| {
        let mut buffer = pool.allocate(4 * block).map_err(failed)?;
        buffer.select(range).map_err(failed)?;
        Ok::<Buffer, alloc::string::String>(buffer)
    };
    for place in [1, block as u64 / 2, block as u64 - 1] {
        let result = queue.submit(Request::read(at(place), part(0..block)?));
        refused(result, ErrorKind::InvalidRequest, "half an offset")?;
    }
    for bytes in [0, 1, block - 1, block + 1] {
        let result = queue.submit(Request::read(at(0), part(0..bytes)?));
        refused(result, ErrorKind::InvalidRequest, "half a block")?;
    }
    if limits.segment_alignment > 1 {
        let result = queue.submit(Request::read(at(0), part(1..block + 1)?));
        refused(result, ErrorKind::InvalidRequest, "an unaligned buffer")?;
    }
    ensure!(
        pool.available() == pool.capacity(),
        "refused requests kept memory"
    );
    Ok(())
}

/// Memory of another device, alone and in a list.
pub fn foreign_memory_is_refused<S: Subject>(subject: &S) -> Outcome {
    let mut queue = open(subject, 4, crate::LONG)?;
    let foreign = subject.foreign_pool();
    let own = pool(subject, 64 << 10)?;
    let alone = foreign.allocate(4096).map_err(failed)?;
    let result = queue.submit(Request::read(at(0), alone));
    refused(result, ErrorKind::NotRegistered, "another device's memory")?;
    let buffers = [&own, &foreign].map(|pool| pool.allocate(4096).map_err(failed));
    let list = buffers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let result = queue.submit(Request::read_list(at(0), list));
    refused(
        result,
        ErrorKind::NotRegistered,
        "a list with another device's memory",
    )?;
    ensure!(
        own.available() == own.capacity(),
        "a refused request kept memory"
    );
    Ok(())
}

/// As many requests as the capacity says, and one more.
pub fn a_full_queue_refuses<S: Subject>(subject: &S) -> Outcome {
    let block = subject.device().limits().block_size.bytes() as usize;
    let mut queue = open(subject, 8, crate::LONG)?;
    let pool = pool(subject, 256 << 10)?;
    ensure!(
        (1..=8).contains(&queue.capacity()),
        "a depth of {}",
        queue.capacity()
    );
    // Twice, so that used places are used again.
    for _ in 0..2 {
        for number in 0..queue.capacity() {
            let buffer = pool.allocate(block).map_err(failed)?;
            queue
                .push(Request::read(at((number * block) as u64), buffer))
                .map_err(failed)?;
        }
        ensure!(queue.in_flight() == queue.capacity(), "requests were lost");
        let buffer = pool.allocate(block).map_err(failed)?;
        refused(
            queue.push(Request::read(at(0), buffer)),
            ErrorKind::QueueFull,
            "one too many",
        )?;
        ensure!(
            drain(&mut queue)?.len() == queue.capacity(),
            "not all came back"
        );
    }
    Ok(())
}
