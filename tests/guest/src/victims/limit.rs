//! Victims that take until they are told that it is enough. They return 0 if they were told the
//! right thing, at the right moment, and can go on afterwards.

use alloc::vec::Vec;

use driver_sdk::{
    abi::{
        limits::Limits,
        object::{PROCESS_NAME_LENGTH, ProcessArguments, ProcessMeta},
    },
    prelude::*,
};

use driver_sdk::rt::object::{Event, IoQueue, Service, Timer};

use crate::{child::idle_process, serving::ALL};

/// Bytes that are taken at a time.
const PART: u64 = 256 << 10;

/// Memory objects until the limit; then one given back makes room for one.
pub fn memory() -> i32 {
    let meta = |key| own_process().meta(key).unwrap_or(0);
    let mut parts = Vec::with_capacity(64);
    let refused = loop {
        match Memory::new(PART) {
            Ok(memory) => parts.push(memory),
            Err(error) => break error,
        }
    };
    let (used, limit) = (
        meta(ProcessMeta::MemoryUsed),
        meta(ProcessMeta::MemoryLimit),
    );
    let told = refused == Error::LimitReached;
    // Not told before it was true, and never beyond the limit.
    let fair = used <= limit && used + PART + (64 << 10) > limit;
    parts.pop();
    let room_again = Memory::new(PART).is_ok();
    println!(
        "memory: {refused}; {used} of {limit} in {} parts, then {room_again}",
        parts.len()
    );
    i32::from(!(told && fair && room_again))
}

/// Takes until told, keeping everything; returns 0 if the telling came at the limit and not
/// beyond, and everything is back when `end` has ended what was taken.
fn until_told<T>(
    mut take: impl FnMut() -> Result<T, Error>,
    end: impl FnOnce() -> Result<(), Error>,
) -> i32 {
    let meta = |key| own_process().meta(key).unwrap_or(0);
    let used = || meta(ProcessMeta::MemoryUsed);
    let limit = meta(ProcessMeta::MemoryLimit);
    let mut parts = Vec::with_capacity(64);
    let before = used();
    let mut most = before;
    let refused = loop {
        match take() {
            Ok(part) => parts.push(part),
            Err(error) => break error,
        }
        most = most.max(used());
        if parts.len() == 64 {
            break Error::TooLong;
        }
    };
    let fair = most <= limit && most + PART + (64 << 10) > limit;
    let count = parts.len();
    drop(parts);
    let ended = end();
    let after = used();
    println!("memory: {refused} after {count}; {most} of {limit}; {before} before, {after} after");
    i32::from(!(refused == Error::LimitReached && fair && ended.is_ok() && after == before))
}

/// A child that may have as much as this process.
fn child() -> Result<Process, Error> {
    let meta = |key| own_process().meta(key);
    let limits = Limits {
        memory: meta(ProcessMeta::MemoryLimit)?,
        handles: 32,
        threads: 1,
        processes: 0,
        requests: 64,
    };
    idle_process(own_process(), limits)
}

/// Memory on the account of a child that is ended then, one child after the other.
pub fn memory_of_the_dead() -> i32 {
    until_told(
        || {
            let child = child()?;
            let part = Memory::charged_to(&child, PART)?;
            child.kill(0)?;
            child.wait(Deadline::NEVER)?;
            Ok(part)
        },
        || Ok(()),
    )
}

/// Memory whose only handle is a child's.
pub fn memory_of_others() -> i32 {
    let child = match child() {
        Ok(child) => child,
        Err(error) => panic!("no child: {error}"),
    };
    until_told(
        || {
            Memory::new(PART)?
                .as_ref()
                .duplicate_into(Rights::READ, &child)
        },
        || {
            child.kill(0)?;
            child.wait(Deadline::NEVER)?;
            // What the child itself cost was there before.
            core::mem::forget(self::child()?);
            Ok(())
        },
    )
}

/// The heap until the allocator gives up, which is a panic.
pub fn heap() -> i32 {
    let mut parts = Vec::new();
    loop {
        parts.push(alloc::vec![1u8; 100_000]);
    }
}

/// Handles until the limit; the limit counts all of them, and one closed makes room for one.
pub fn handles() -> i32 {
    let limit: u64 = arguments()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let memory = Memory::new(4096).expect("there is room for a page");
    let mut copies = Vec::with_capacity(limit as usize);
    let refused = loop {
        match memory.duplicate(Rights::READ | Rights::DUPLICATE) {
            Ok(copy) => copies.push(copy),
            Err(error) => break error,
        }
    };
    let used = own_process().meta(ProcessMeta::HandlesUsed).unwrap_or(0);
    copies.pop();
    let room_again = memory.duplicate(Rights::READ).is_ok();
    println!("handles: {refused}; {used} of {limit}, then {room_again}");
    i32::from(!(refused == Error::LimitReached && used == limit && room_again))
}

/// Threads until the limit, which counts the first one too.
pub fn threads() -> i32 {
    let limit: u64 = arguments()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    static GATE: Semaphore = Semaphore::new(0);
    let mut handles = Vec::new();
    let refused = loop {
        match thread::Builder::new()
            .stack_size(4096 * 2)
            .spawn(|| GATE.acquire())
        {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
    };
    let used = own_process().meta(ProcessMeta::ThreadsUsed).unwrap_or(0);
    GATE.release(handles.len() as u32);
    handles.into_iter().for_each(thread::JoinHandle::join);
    let room_again = thread::Builder::new()
        .spawn(|| ())
        .map(thread::JoinHandle::join)
        .is_ok();
    println!("threads: {refused}; {used} of {limit}, then {room_again}");
    i32::from(!(refused == Error::LimitReached && used == limit && room_again))
}

/// Child processes until the limit; a child that is given back makes room for one.
pub fn processes() -> i32 {
    let limit: u64 = arguments()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let child = ProcessArguments {
        name: [b'x'; PROCESS_NAME_LENGTH],
        limits: Limits {
            memory: 64 << 10,
            handles: 1,
            threads: 1,
            processes: 0,
            requests: 64,
        },
        affinity: 0,
        max_priority: 1,
        reserved: 0,
    };
    let mut children = Vec::new();
    let refused = loop {
        match own_process().create_process(&child) {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
    };
    let used = own_process().meta(ProcessMeta::ProcessesUsed).unwrap_or(0);
    let ended = children.pop().is_some_and(|child| {
        child.kill(3).is_ok() && child.wait(Deadline::NEVER) == Ok(ExitStatus::Killed(3))
    });
    let again = own_process().create_process(&child);
    println!(
        "processes: {refused}; {used} of {limit}, then {}",
        again.is_ok()
    );
    // The rest is ended by the kernel or lives on without a thread; either way it must not leak.
    for child in children.iter().chain(&again) {
        let _ = child.kill(0);
    }
    i32::from(!(refused == Error::LimitReached && used == limit && ended && again.is_ok()))
}

/// Memory in the name of children, each of which may have as much as this process, until the
/// limit: they have it together, and what one gives back another can have.
pub fn family() -> i32 {
    const PART: u64 = 256 << 10;
    let limit = own_process().meta(ProcessMeta::MemoryLimit).unwrap_or(0);
    let child = ProcessArguments {
        name: [b'x'; PROCESS_NAME_LENGTH],
        limits: Limits {
            memory: limit,
            handles: 1,
            threads: 1,
            processes: 0,
            requests: 64,
        },
        affinity: 0,
        max_priority: 1,
        reserved: 0,
    };
    let children = [(); 2].map(|()| own_process().create_process(&child));
    let [Ok(one), Ok(other)] = &children else {
        return 2;
    };
    let mut parts = Vec::with_capacity(64);
    let refused = loop {
        let child = [one, other][parts.len() % 2];
        match Memory::charged_to(child, PART) {
            Ok(memory) => parts.push(memory),
            Err(error) => break error,
        }
    };
    let used = own_process().meta(ProcessMeta::MemoryUsed).unwrap_or(0);
    let fair = used <= limit && used + PART + (64 << 10) > limit;
    parts.pop();
    let room_again = Memory::charged_to(one, PART).is_ok();
    println!("family: {refused}; {used} of {limit}, then {room_again}");
    i32::from(!(refused == Error::LimitReached && fair && room_again))
}

/// Queues and timers until the limit of requests, which counts exactly; one given back makes room
/// for one.
pub fn requests() -> i32 {
    let limit: u32 = arguments()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let queue = IoQueue::new(limit / 2, 0);
    let mut timers = Vec::with_capacity(limit as usize);
    let refused = loop {
        match Timer::new() {
            Ok(timer) => timers.push(timer),
            Err(error) => break error,
        }
    };
    let count = timers.len();
    let too_much = IoQueue::new(1, 0).map(drop);
    timers.pop();
    let room_again = IoQueue::new(1, 0).is_ok();
    let half = queue.is_ok() && IoQueue::new(limit / 2, 0).is_err();
    drop(queue);
    let whole = IoQueue::new(limit / 2, 0).is_ok();
    println!("requests: {refused}; {count} timers, then {room_again}, {half}, {whole}");
    let told = refused == Error::LimitReached && too_much == Err(Error::LimitReached);
    i32::from(!(told && count as u32 == limit / 2 && room_again && half && whole))
}

/// Small objects until the memory is used up, one given back makes room for one.
/// `settle` is called when some were given back.
fn small<T>(make: impl Fn() -> Result<T, Error>, settle: impl Fn()) -> i32 {
    let meta = |key| own_process().meta(key).unwrap_or(0);
    let mut objects = Vec::with_capacity(4096);
    // Most of the memory, so that it ends before the handles do.
    let left = meta(ProcessMeta::MemoryLimit) - meta(ProcessMeta::MemoryUsed);
    let filler = Memory::new(left.saturating_sub(32 << 10));
    let before = meta(ProcessMeta::MemoryUsed);
    let refused = loop {
        match make() {
            Ok(object) => objects.push(object),
            Err(error) => break error,
        }
    };
    let used = meta(ProcessMeta::MemoryUsed);
    let fair =
        used <= meta(ProcessMeta::MemoryLimit) && used + 4096 > meta(ProcessMeta::MemoryLimit);
    objects.pop();
    settle();
    let room_again = make().is_ok();
    let count = objects.len() + 1;
    drop(objects);
    settle();
    let after = meta(ProcessMeta::MemoryUsed);
    println!("objects: {refused} after {count}; {before} before, {used} then, {after} after");
    let told = refused == Error::LimitReached;
    i32::from(!(told && fair && room_again && after == before && filler.is_ok()))
}

/// Events until the limit.
pub fn events() -> i32 {
    small(Event::new, || ())
}

/// Services until the limit.
pub fn services() -> i32 {
    small(Service::new, || ())
}

/// Served objects until the limit.
pub fn objects() -> i32 {
    match Service::new() {
        // One whose last handle is closed is there until its server has taken the notice.
        Ok(service) => small(
            || service.mint(1, ALL),
            || while service.serve(None, Deadline::NOW).is_ok() {},
        ),
        Err(_) => 2,
    }
}
