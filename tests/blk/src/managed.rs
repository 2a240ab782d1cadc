//! The driver of a real disk, kept by devmgr and ended again and again under load from four clients,
//! which the manifest gave their ranges by the manager's name.
//!
//! What must hold: a client that connects again reaches the next driver, whatever was unanswered is
//! `Lost`, everything that was flushed is there, and nothing that was lost is written later.

use alloc::{format, vec::Vec};
use core::{mem::ManuallyDrop, time::Duration};

use driver_sdk::{
    abi::{call::Operation, queue::Submission},
    io::{ErrorKind, Sync},
    prelude::*,
};
use guest_harness::{
    child::{PATIENCE, Shared, Victim, end_of},
    harness::{Outcome, check, equal, tests},
};

use crate::{
    data::{CLIENTS, LIMITS},
    killed::{self, BEGUN, FLUSHED, NUMBERS, Writer},
    number,
    server::{CLIENT, LEVELS, at_level},
};

tests![
    drivers_killed_under_load_are_started_again,
    who_may_not_manage_a_driver_does_not_end_it,
    a_driver_that_dies_too_often_is_given_up,
    a_device_that_is_not_there_has_no_driver,
    so_many_wait_for_a_driver_and_no_more,
];

/// The number, behind those of the clients, that ends them.
const STOP: usize = CLIENTS as usize * NUMBERS;
/// Microseconds that a driver lives at most, once all clients write.
const LONGEST: u64 = 20_000;
/// How many drivers there were: a key of the manager's objects.
const STARTED: u64 = 0;

fn given(name: &str) -> Outcome<ManuallyDrop<Remote>> {
    object::<Remote>(name).ok_or_else(|| format!("no {name}").into())
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn drivers_killed_under_load_are_started_again() -> Outcome {
    let rounds = number(1)?;
    let shared = Shared::new()?;
    let disk = given("disk0")?;
    let before = disk.until(soon()).get_meta(STARTED)?;
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let disk = given(&format!("disk{client}"))?;
        let victim = Victim::new("again")
            .argument(LEVELS[(client % 3) as usize])
            .argument(client)
            .shared(&shared)
            .with(|command| command.limits(LIMITS).give("disk", &*disk, CLIENT));
        clients.push(victim.spawn()?);
    }
    let mut random: u64 = 17;
    for round in 1..=rounds {
        // All of them write, by the driver of this round.
        for client in 0..CLIENTS as usize {
            shared.wait_for(client * NUMBERS + BEGUN, round)?;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros((random >> 16) % LONGEST));
        if round == rounds {
            shared.set(STOP, 1);
        }
        disk.until(soon()).destroy(9)?;
    }
    for client in &clients {
        equal!(end_of(client)?.status, ExitStatus::Exited(0), "a client");
    }
    for client in 0..CLIENTS as usize {
        check!(
            shared.get(client * NUMBERS + FLUSHED) > 0,
            "nothing was ever flushed"
        );
    }
    let started = disk.until(soon()).get_meta(STARTED)? - before;
    check!(
        started >= rounds - 1,
        "{started} drivers for {rounds} rounds"
    );
    Ok(())
}

/// A client that connects again and again, by the same handle, until it is told to stop.
pub fn client() -> Outcome {
    let disk = object::<Remote>("disk").ok_or("no disk")?;
    let level = arguments().nth(2).ok_or("no level")?;
    let client = arguments().nth(3).ok_or("no number")?.parse::<u64>()?;
    let shared = &Shared::given();
    let number = client as usize * NUMBERS;
    loop {
        killed::check_range(&disk, shared, client)?;
        at_level(level, &disk, Writer { shared, number })?;
        if shared.get(STOP) != 0 {
            return killed::check_range(&disk, shared, client);
        }
    }
}

fn who_may_not_manage_a_driver_does_not_end_it() -> Outcome {
    let disk = given("disk1")?;
    let started = disk.until(soon()).get_meta(STARTED)?;
    let refused = disk
        .until(soon())
        .destroy(9)
        .map_err(|failure| failure.error);
    equal!(refused, Err(Error::MissingRight));
    Sync::open(&disk)?;
    equal!(disk.until(soon()).get_meta(STARTED), Ok(started));
    let unknown = disk.until(soon()).get_meta(STARTED + 1);
    equal!(
        unknown.map_err(|failure| failure.error),
        Err(Error::BadOperation)
    );
    Ok(())
}

fn a_driver_that_dies_too_often_is_given_up() -> Outcome {
    let frail = given("frail")?;
    for life in 1..=3 {
        Sync::open(&frail)?;
        equal!(frail.until(soon()).get_meta(STARTED), Ok(life));
        frail.until(soon()).destroy(1)?;
    }
    let refused = Sync::open(&frail).map(drop).map_err(|error| error.kind);
    equal!(refused, Err(ErrorKind::Gone));
    let nobody = frail
        .until(soon())
        .destroy(1)
        .map_err(|failure| failure.error);
    equal!(nobody, Err(Error::NotFound));
    Ok(())
}

fn a_device_that_is_not_there_has_no_driver() -> Outcome {
    let absent = given("absent")?;
    let refused = Sync::open(&absent).map(drop).map_err(|error| error.kind);
    equal!(refused, Err(ErrorKind::Gone));
    equal!(absent.until(soon()).get_meta(STARTED), Ok(0));
    Ok(())
}

/// A driver that never serves anything.
pub fn idle() -> Outcome {
    loop {
        thread::sleep(PATIENCE);
    }
}

fn so_many_wait_for_a_driver_and_no_more() -> Outcome {
    const WAITING: u32 = 64;
    let idle = given("idle")?;
    let mut queue = IoQueue::new(128, 0)?;
    for number in 0..=WAITING {
        let open = Submission::new(idle.handle(), Operation::Open, number.into(), [0; 4]);
        // SAFETY: a name without bytes is not read.
        unsafe { queue.submit(&open) }.map_err(|_| "no room")?;
    }
    queue.enter(1, soon())?;
    let refused = queue.pop()?.ok_or("no answer")?;
    equal!(
        (refused.user_data, refused.result()),
        (WAITING.into(), Err(Error::Busy))
    );
    // The manager is there for everybody else.
    equal!(idle.until(soon()).get_meta(STARTED), Ok(1));
    // Who waits is brought to the next driver, and is told when none will come.
    for life in 1..=3 {
        equal!(queue.pop()?.map(|done| done.result()), None, "life {life}");
        idle.until(soon()).destroy(1)?;
        while life < 3 && idle.until(soon()).get_meta(STARTED)? == life {
            thread::sleep(Duration::from_millis(1));
        }
    }
    queue.enter(WAITING, soon())?;
    while let Some(done) = queue.pop()? {
        equal!(done.result(), Err(Error::Gone));
    }
    Ok(())
}
