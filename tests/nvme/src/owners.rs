//! Owners of a disk that are killed at random instants, with writes in flight.
//!
//! What must hold after each: no page of memory is missing, and the IOMMU had nothing to block,
//! neither before the revocation was complete nor since. At the end the next owner finds a disk
//! that works.

use core::{mem::ManuallyDrop, time::Duration};

use driver_sdk::{
    abi::{counters::Counter, startup as names},
    hal::{
        Device, DmaConstraints, DriverError, ToDevice,
        block::{
            BlockCount, BlockDriver, BlockDriverQueue, Lba, NamespaceId, Operation, QueueOptions,
            Request, RequestFlags, Segment,
        },
    },
    native::Function,
    prelude::*,
};
use guest_harness::{
    child::{Shared, Use, Victim, end_of},
    harness::{Outcome, equal},
};
use spillway_nvme::{Nvme, Options};

use crate::{number, random::Random};

/// The disk in the table of devices.
const DISK: &str = "class:010802";
/// Writes in flight.
const DEPTH: u16 = 256;
/// Bytes of a write.
const BYTES: u64 = 4096;
/// Microseconds that a victim gets at most, once it writes.
const LONGEST: u64 = 3000;
/// What a victim is killed with.
const KILLED: i32 = 77;

/// Kills as many owners as the argument says.
pub fn killed() -> Outcome {
    let mut random = Random::new(7);
    // The first round fills the caches of allocators.
    kill_one(&mut random)?;
    own()?;
    let (before, blocked) = (Use::now()?, blocked()?);
    for owner in 1..number(1)? {
        kill_one(&mut random)?;
        equal!(Use::now()?, before, "what is in use after owner {owner}");
        equal!(self::blocked()?, blocked, "blocked after owner {owner}");
    }
    own()?;
    equal!(self::blocked()?, blocked, "blocked at the end");
    equal!(Use::now()?, before, "what is in use at the end");
    Ok(())
}

/// How often the IOMMU blocked something.
fn blocked() -> Outcome<u64> {
    let counters: ManuallyDrop<Counters> = object(names::COUNTERS).ok_or("no counters")?;
    Ok(counters.snapshot()?.get(Counter::BlockedRequests))
}

/// Owns the disk without coming to grief.
fn own() -> Outcome {
    let devices: ManuallyDrop<Devices> = object(names::DEVICES).ok_or("no devices")?;
    let disk = Function::new(devices.open(DISK)?)?;
    Ok(write_until(&disk, || (), |count| count >= 1000)?)
}

fn kill_one(random: &mut Random) -> Outcome {
    let devices: ManuallyDrop<Devices> = object(names::DEVICES).ok_or("no devices")?;
    let shared = Shared::new()?;
    let victim = Victim::new("victim")
        .shared(&shared)
        .with(|command| command.give_device("disk", &devices, DISK))
        .spawn()?;
    shared.wait_for(0, 1)?;
    thread::sleep(Duration::from_micros(random.below(LONGEST)));
    victim.kill(KILLED)?;
    equal!(end_of(&victim)?.status, ExitStatus::Killed(KILLED));
    Ok(())
}

/// Writes until it is killed.
pub fn victim() -> i32 {
    let shared = Shared::given();
    let written = Function::named("disk")
        .map_err(DriverError::from)
        .and_then(|disk| write_until(&disk, || shared.set(0, 1), |_| false));
    println!("the victim failed: {written:?}");
    1
}

/// Keeps [`DEPTH`] writes in flight until so many have come back that `enough` says so; then waits
/// for the rest. Says `begun` when the first are under way.
fn write_until(
    disk: &Function,
    begun: impl Fn(),
    enough: impl Fn(u64) -> bool,
) -> Result<(), DriverError> {
    let memory = disk.allocate::<ToDevice>(
        usize::from(DEPTH) * BYTES as usize,
        DmaConstraints::default(),
    )?;
    let mut driver = Nvme::new(disk, Options::default())?;
    let mut queue = driver.open(QueueOptions {
        depth: DEPTH,
        interrupt: false,
    })?;
    let namespace = NamespaceId(1);
    let limits = driver.limits(namespace).expect("QEMU has a namespace 1");
    let blocks = BlockCount(BYTES >> limits.block_size.shift());
    let write = |slot: u64| Request {
        operation: Operation::Write,
        namespace,
        lba: Lba(slot * blocks.0),
        blocks,
        segments: &[],
        flags: RequestFlags::default(),
        tag: slot,
    };
    let segment = |slot: u64| Segment {
        address: memory.io_address((slot * BYTES) as usize),
        bytes: BYTES as u32,
    };
    let mut idle: alloc::vec::Vec<u64> = (0..DEPTH.into()).collect();
    let (mut count, mut failure) = (0, Ok(()));
    loop {
        while !enough(count)
            && let Some(slot) = idle.pop()
        {
            queue.submit(&Request {
                segments: &[segment(slot)],
                ..write(slot)
            })?;
        }
        queue.kick();
        begun();
        if queue.in_flight() == 0 {
            return failure;
        }
        queue.reap(|slot, result| {
            count += 1;
            idle.push(slot);
            failure = failure.and(result);
        });
        failure?;
    }
}
