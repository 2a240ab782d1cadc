//! Data arrives whole and where it belongs.

use alloc::{vec, vec::Vec};

use spillway_io::{BlockDevice, BlockQueue, Buffer, Request};

use crate::{
    Outcome, Subject, at, check, drain, ensure, failed, fill, open, perform, perform_one, pool,
};

/// Sizes from a block to the largest transfer, in buffers that begin anywhere, and what lies beside
/// them stays.
pub fn all_sizes_and_places<S: Subject>(subject: &S) -> Outcome {
    let limits = subject.device().limits();
    let block = u64::from(limits.block_size.bytes());
    let largest = limits.max_transfer.0 * block;
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 4 * largest as usize + (1 << 20))?;
    let step = limits.segment_alignment as usize;
    let sizes = [
        1,
        2,
        3,
        7,
        8,
        9,
        17,
        64,
        limits.max_transfer.0 - 1,
        limits.max_transfer.0,
    ];
    for (seed, blocks) in sizes
        .into_iter()
        .filter(|&n| n <= limits.max_transfer.0)
        .enumerate()
    {
        let bytes = (blocks * block) as usize;
        for shift in [0, 8 * step, 512, 4096 - 8 * step, 4096 - 512] {
            let seed = (seed * 10_000 + shift) as u64;
            let place = (seed % 13) * block;
            let mut buffer = pool.allocate(bytes + 4096).map_err(failed)?;
            buffer.fill(0xee);
            buffer.select(shift..shift + bytes).map_err(failed)?;
            fill(seed, place, &mut buffer);
            let mut buffer = perform_one(&mut queue, Request::write(at(place), buffer))?;
            // It comes back as it was, and may be read into elsewhere.
            check(seed, place, &buffer)?;
            buffer.fill(0);
            let mut buffer = perform_one(&mut queue, Request::read(at(place), buffer))?;
            check(seed, place, &buffer)?;
            let all = buffer.capacity();
            buffer.select(0..all).map_err(failed)?;
            let beside = buffer[..shift]
                .iter()
                .chain(&buffer[shift + bytes..bytes + 4096]);
            ensure!(
                beside.copied().all(|byte| byte == 0xee),
                "bytes beside a transfer of {bytes}"
            );
        }
    }
    Ok(())
}

/// Buffers of uneven lengths, one behind the other on the device.
pub fn lists_are_one_transfer<S: Subject>(subject: &S) -> Outcome {
    let limits = subject.device().limits();
    let block = limits.block_size.bytes() as usize;
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 4 << 20)?;
    let most = limits.max_segments as usize;
    for (seed, count) in [2, 3, 5, most]
        .into_iter()
        .filter(|&n| n <= most)
        .enumerate()
    {
        let lengths: Vec<usize> = (0..count).map(|index| block * (1 + index % 3)).collect();
        let total: usize = lengths.iter().sum();
        if total as u64 > limits.max_transfer.0 * block as u64 {
            continue;
        }
        let list = |pool: &spillway_io::Pool| -> Result<Vec<Buffer>, _> {
            lengths
                .iter()
                .map(|&bytes| pool.allocate(bytes).map_err(failed))
                .collect()
        };
        let (seed, place) = (seed as u64, 3 * block as u64);
        let mut written = list(&pool)?;
        let mut offset = place;
        for buffer in &mut written {
            fill(seed, offset, buffer);
            offset += buffer.len() as u64;
        }
        let written = perform(&mut queue, Request::write(at(place), written))?;
        ensure!(
            written.count() == count,
            "a list came back with other buffers"
        );
        let whole = pool.allocate(total).map_err(failed)?;
        let whole = perform_one(&mut queue, Request::read(at(place), whole))?;
        check(seed, place, &whole)?;
        let read = perform(&mut queue, Request::read_list(at(place), list(&pool)?))?;
        let read = read.into_list().ok_or("another kind of memory came back")?;
        let mut offset = place;
        for (buffer, length) in read.iter().zip(&lengths) {
            ensure!(
                buffer.len() == *length,
                "the buffers came back in another order"
            );
            check(seed, offset, buffer)?;
            offset += buffer.len() as u64;
        }
    }
    Ok(())
}

/// What is being written can be read meanwhile, and belongs to one owner again afterwards.
pub fn shared_buffers_stay_readable<S: Subject>(subject: &S) -> Outcome {
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 64 << 10)?;
    let mut page = pool.allocate(4096).map_err(failed)?;
    fill(7, 0, &mut page);
    let page = page.freeze();
    queue
        .submit(Request::write(at(0), page.clone()))
        .map_err(failed)?;
    queue
        .submit(Request::write(at(4096), vec![page.clone()]))
        .map_err(failed)?;
    check(7, 0, &page)?;
    for completion in drain(&mut queue)? {
        completion.result.map_err(failed)?;
    }
    let page = page.thaw().map_err(|_| "somebody still has the buffer")?;
    let page = perform_one(&mut queue, Request::read(at(4096), page))?;
    check(7, 0, &page)
}

/// Random transfers in random order at every depth, against a copy in memory.
pub fn a_disk_is_what_was_written<S: Subject>(subject: &S) -> Outcome {
    const BYTES: u64 = 2 << 20;
    let limits = subject.device().limits();
    let block = u64::from(limits.block_size.bytes());
    let most = limits.max_transfer.0.min((128 << 10) / block);
    let pool = pool(subject, 8 << 20)?;
    let mut random = 1u64;
    let mut next = move |below: u64| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    // The pattern's number in each block.
    let mut disk = vec![0u64; (BYTES / block) as usize];
    let mut zeroes = pool
        .allocate(most as usize * block as usize)
        .map_err(failed)?;
    let mut queue = open(subject, 1, crate::LONG)?;
    for first in (0..disk.len() as u64).step_by(most as usize) {
        let blocks = most.min(disk.len() as u64 - first);
        zeroes
            .select(0..(blocks * block) as usize)
            .map_err(failed)?;
        fill(0, first * block, &mut zeroes);
        zeroes = perform_one(&mut queue, Request::write(at(first * block), zeroes))?;
    }
    drop(zeroes);
    for (round, depth) in [1u16, 2, 3, 8, 32, 64, 200].into_iter().enumerate() {
        let mut queue = open(subject, depth, crate::LONG)?;
        let seed = round as u64 + 1;
        let mut used = vec![false; disk.len()];
        let mut reads = Vec::new();
        for number in 0..queue.capacity() as u64 {
            let blocks = 1 + next(most.min(16));
            let first = next(disk.len() as u64 - blocks);
            let range = first as usize..(first + blocks) as usize;
            if used[range.clone()].contains(&true) {
                continue;
            }
            used[range.clone()].fill(true);
            let mut buffer = pool.allocate((blocks * block) as usize).map_err(failed)?;
            let place = first * block;
            let request = if next(2) == 0 {
                fill(seed, place, &mut buffer);
                disk[range].fill(seed);
                Request::write(at(place), buffer)
            } else {
                reads.push((number, first));
                Request::read(at(place), buffer)
            };
            queue.push(request.with_user_data(number)).map_err(failed)?;
        }
        queue.kick();
        for completion in drain(&mut queue)? {
            completion.result.map_err(failed)?;
            let Some(&(_, first)) = reads.iter().find(|read| read.0 == completion.user_data) else {
                continue;
            };
            let buffer = completion
                .buffers
                .into_buffer()
                .ok_or("no buffer came back")?;
            for (index, bytes) in buffer.chunks(block as usize).enumerate() {
                let number = first as usize + index;
                check(disk[number], number as u64 * block, bytes)?;
            }
        }
    }
    Ok(())
}

/// Flushes and FUA are told to the device.
pub fn flush_and_fua_arrive<S: Subject>(subject: &S) -> Outcome {
    let mut queue = open(subject, 4, crate::LONG)?;
    let pool = pool(subject, 64 << 10)?;
    let before = subject.durable();
    let page = pool.allocate(4096).map_err(failed)?;
    let page = perform_one(&mut queue, Request::write(at(0), page))?;
    let page = perform_one(&mut queue, Request::write(at(0), page).with_fua())?;
    perform_one(&mut queue, Request::read(at(0), page).with_fua())?;
    ensure!(
        perform(&mut queue, Request::flush())?.count() == 0,
        "a flush has no memory"
    );
    if let (Some(before), Some(after)) = (before, subject.durable()) {
        let new = (after.0 - before.0, after.1 - before.1);
        ensure!(new == (1, 2), "flushes and FUA that arrived: {new:?}");
    }
    Ok(())
}
