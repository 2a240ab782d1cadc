//! One object of each kind of the kernel's, and what `docs/system-calls/do-io.md` says that it knows.

use alloc::{sync::Arc, vec::Vec};
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{Handle, call::Operation, object::CreateKind, startup as names},
    prelude::*,
    rt::object::OwnedHandle,
};

use crate::{
    harness::{Outcome, equal},
    raw,
    serving::by_queue,
};

use Operation::{
    Cancel, Close, Create, Destroy, GetMeta, Nothing, Open, Read, Reply, SetMeta, Share, Wait,
    Write,
};

/// Every operation.
pub const ALL: [Operation; 13] = [
    Open, Create, Destroy, Read, Write, GetMeta, SetMeta, Share, Close, Cancel, Reply, Wait,
    Nothing,
];

/// A kind of object: a handle with all rights that a new one has, and what it knows.
pub struct Kind {
    pub name: &'static str,
    pub handle: OwnedHandle,
    pub rights: Rights,
    /// The operations, and the right that each needs.
    pub known: &'static [(Operation, Rights)],
}

/// One of each kind.
pub struct Zoo {
    pub kinds: Vec<Kind>,
    /// Ends when it is dropped.
    sleeper: Option<thread::JoinHandle<Result<u64, Error>>>,
    go: Arc<Event>,
}

impl Drop for Zoo {
    fn drop(&mut self) {
        let _ = self.go.signal();
        if let Some(sleeper) = self.sleeper.take() {
            let _ = sleeper.join();
        }
    }
}

const R: Rights = Rights::READ;
const W: Rights = Rights::WRITE;
const M: Rights = Rights::MANAGE;
const NONE: Rights = Rights::empty();

impl Zoo {
    /// One of each kind that a program can have.
    pub fn new() -> Outcome<Self> {
        let go = Arc::new(Event::new()?);
        let wait = go.clone();
        let sleeper = thread::spawn(move || wait.wait(Deadline::NEVER));
        let rwm = R | W | M | Rights::WAIT | Rights::PASS;
        let manage = R | M | Rights::WAIT | Rights::PASS;
        let mut kinds = Vec::new();
        let mut add = |name, handle, rights, known| {
            kinds.push(Kind {
                name,
                handle,
                rights,
                known,
            });
        };
        let own = own_process();
        let process = own.as_ref().duplicate(manage)?;
        add(
            "Process",
            process,
            manage,
            &[(Create, M), (Destroy, M), (GetMeta, R)],
        );
        let thread = sleeper.thread().as_ref().duplicate(manage)?;
        add("Thread", thread, manage, &[(GetMeta, R), (SetMeta, M)]);
        let memory = R | W | Rights::EXECUTE | Rights::MAP | Rights::DMA | Rights::PASS;
        let known = &[
            (Read, R),
            (Write, W),
            (GetMeta, NONE),
            (Share, Rights::DUPLICATE),
        ];
        add("Memory", Memory::new(4096)?.into(), memory, known);
        let given = |name| startup().handle(name).ok_or("it was not given");
        let given = |name, rights| -> Outcome<OwnedHandle> {
            // It is the program's own: only the copy is given back.
            let handle = ManuallyDrop::new(OwnedHandle::new(given(name)?));
            Ok(handle.duplicate(rights | Rights::PASS)?)
        };
        add(
            "Log",
            given(names::LOG, W)?,
            W | Rights::PASS,
            &[(Write, W)],
        );
        add(
            "Clock",
            given(names::CLOCK, R)?,
            R | Rights::PASS,
            &[(GetMeta, R)],
        );
        add(
            "Power",
            given(names::POWER, M)?,
            M | Rights::PASS,
            &[(Destroy, M)],
        );
        add(
            "Counters",
            own.counters()?.into(),
            R | Rights::PASS,
            &[(Read, R)],
        );
        let known = &[
            (Open, M),
            (Destroy, M),
            (GetMeta, R),
            (SetMeta, M),
            (Share, M),
            (Reply, W),
        ];
        add("Service", Service::new()?.into(), rwm, known);
        let create = [CreateKind::IoQueue as u64, 4, 4, 0];
        let queue = raw::do_io(own.handle(), Create, create)?;
        let queue = OwnedHandle::new(Handle::from_raw(queue as u32));
        let rights = rwm.difference(Rights::TRANSFER);
        add("IoQueue", queue, rights, &[(Share, M), (Cancel, W)]);
        let rights = R | W | Rights::WAIT | Rights::PASS;
        let known = &[(Write, W), (Share, Rights::DUPLICATE)];
        add("Event", Event::new()?.into(), rights, known);
        add(
            "Timer",
            Timer::new()?.into(),
            manage,
            &[(GetMeta, R), (SetMeta, M)],
        );
        let table = Processes::of(own)?.into();
        add(
            "Processes",
            table,
            R | M | Rights::PASS,
            &[(Open, R), (Create, M), (Read, R)],
        );
        Ok(Self {
            kinds,
            sleeper: Some(sleeper),
            go,
        })
    }

    /// The one of a kind, with all rights.
    pub fn handle(&self, name: &str) -> Outcome<Handle> {
        let kind = self.kinds.iter().find(|kind| kind.name == name);
        Ok(kind.ok_or("no such kind")?.handle.get())
    }
}

/// Does it both ways; what came of it, which must be the same.
pub fn both(
    queue: &mut IoQueue,
    object: Handle,
    operation: Operation,
    arguments: [u64; 4],
) -> Outcome<Result<u64, Error>> {
    let alone = raw::do_io(object, operation, arguments);
    let queued = by_queue(queue, object, operation, arguments)?;
    equal!(queued, alone, "{operation:?} {arguments:x?} by a queue");
    Ok(alone)
}
