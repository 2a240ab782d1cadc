//! The kernel's table of a process's descendants.

use alloc::vec::Vec;

use driver_sdk::{
    abi::{
        Rights,
        call::Operation,
        limits::Limits,
        object::{
            CreateKind, PROCESS_ENTRY_SIZE, PROCESS_NAME_LENGTH, ProcessArguments, ProcessEntry,
            ProcessMeta,
        },
    },
    prelude::*,
    rt::object::{Object, OwnedHandle, Processes},
};

use crate::{
    child::{Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, tests},
    raw,
};

tests![
    the_table_lists_descendants_that_run,
    the_table_is_read_in_parts,
    processes_are_opened_by_name,
    who_cannot_manage_the_table_manages_nothing_in_it,
    the_table_makes_processes,
    the_table_of_a_dead_process_is_empty,
];

fn table() -> Result<Processes, Error> {
    Processes::of(own_process())
}

fn the_table_lists_descendants_that_run() -> Outcome {
    leaves_nothing(|| {
        let table = table()?;
        equal!(table.list()?, []);
        let children = [(); 3].map(|()| Victim::new("sleep").spawn());
        let mut ids = Vec::new();
        for entry in table.list()? {
            check!(entry.name.starts_with(b"sleep\0"));
            ids.push(entry.id);
        }
        equal!(ids.len(), 3);
        for (index, child) in children.into_iter().enumerate() {
            let child = child?;
            child.kill(0)?;
            end_of(&child)?;
            equal!(table.list()?.len(), 2 - index);
        }
        Ok(())
    })
}

fn the_table_is_read_in_parts() -> Outcome {
    leaves_nothing(|| {
        let table = table()?;
        let children: Result<Vec<_>, _> = (0..5).map(|_| Victim::new("sleep").spawn()).collect();
        let children = children?;
        let mut bytes = [0u8; PROCESS_ENTRY_SIZE];
        let read = |place: u64, length: usize, buffer: *mut u8| {
            let arguments = [place, buffer as u64, length as u64, 0];
            raw::do_io(table.handle(), Operation::Read, arguments)
        };
        let (mut place, mut ids) = (0, Vec::new());
        while read(place, bytes.len(), bytes.as_mut_ptr())? > 0 {
            let entry = ProcessEntry::from_bytes(&bytes);
            check!(entry.next > place);
            place = entry.next;
            ids.push(entry.id);
        }
        equal!(ids.len(), 5);
        let buffer = bytes.as_mut_ptr();
        equal!(
            read(0, PROCESS_ENTRY_SIZE - 1, buffer),
            Err(Error::BadArgument)
        );
        equal!(read(0, 0, buffer), Err(Error::BadArgument));
        equal!(read(1 << 16, 64, buffer), Err(Error::OutOfRange));
        equal!(read(u64::MAX, 64, buffer), Err(Error::OutOfRange));
        equal!(read(65535, 64, buffer), Ok(0));
        equal!(read(0, 64, core::ptr::null_mut()), Err(Error::BadPointer));
        for child in children {
            child.kill(0)?;
            end_of(&child)?;
        }
        Ok(())
    })
}

fn processes_are_opened_by_name() -> Outcome {
    leaves_nothing(|| {
        let table = table()?;
        let child = Victim::new("sleep").spawn()?;
        let opened = table.open("sleep")?;
        equal!(opened.meta(ProcessMeta::ThreadsUsed), Ok(1));
        equal!(table.open("slee").map(drop), Err(Error::NotFound));
        equal!(table.open("").map(drop), Err(Error::NotFound));
        equal!(table.open("guest-tests").map(drop), Err(Error::NotFound));
        let long = "a".repeat(PROCESS_NAME_LENGTH);
        equal!(table.open(&long).map(drop), Err(Error::NotFound));
        equal!(table.open(&(long + "a")).map(drop), Err(Error::TooLong));
        let bad = raw::do_io(table.handle(), Operation::Open, [8, 5, 0, 0]);
        equal!(bad, Err(Error::BadPointer));
        opened.kill(6)?;
        equal!(end_of(&child)?.status, ExitStatus::Killed(6));
        equal!(table.open("sleep").map(drop), Err(Error::NotFound));
        Ok(())
    })
}

/// The right to read the list was enough to get a handle to a process with every right.
fn who_cannot_manage_the_table_manages_nothing_in_it() -> Outcome {
    leaves_nothing(|| {
        let table = table()?;
        let child = Victim::new("sleep").spawn()?;
        let reader = table.duplicate(Rights::READ)?;
        equal!(reader.list()?.len(), 1);
        let opened = reader.open("sleep")?;
        check!(opened.meta(ProcessMeta::MemoryUsed).is_ok());
        equal!(opened.wait(Deadline::NOW), Err(Error::TimedOut));
        equal!(opened.kill(1), Err(Error::MissingRight));
        let none = table.duplicate(Rights::MANAGE)?;
        equal!(none.open("sleep").map(drop), Err(Error::MissingRight));
        equal!(none.list().map(drop), Err(Error::MissingRight));
        for operation in [Operation::Write, Operation::SetMeta, Operation::GetMeta] {
            equal!(
                raw::do_io(table.handle(), operation, [0; 4]),
                Err(Error::BadOperation)
            );
        }
        child.kill(0)?;
        end_of(&child)?;
        Ok(())
    })
}

fn arguments_of(name: &str) -> ProcessArguments {
    let mut arguments = ProcessArguments {
        name: [0; PROCESS_NAME_LENGTH],
        limits: Limits {
            memory: 1 << 20,
            handles: 8,
            threads: 1,
            processes: 0,
            requests: 0,
        },
        affinity: 0,
        max_priority: 1,
        reserved: 0,
    };
    arguments.name[..name.len()].copy_from_slice(name.as_bytes());
    arguments
}

fn the_table_makes_processes() -> Outcome {
    leaves_nothing(|| {
        let table = table()?;
        let child = table.create(&arguments_of("made"))?;
        equal!(child.meta(ProcessMeta::ThreadsUsed), Ok(0));
        // It runs nothing, so it is not in the list.
        equal!(table.list()?, []);
        child.kill(2)?;
        equal!(end_of(&child)?.status, ExitStatus::Killed(2));
        let reader = table.duplicate(Rights::READ)?;
        let refused = reader.create(&arguments_of("made"));
        equal!(refused.map(drop), Err(Error::MissingRight));
        for kind in [
            CreateKind::Memory,
            CreateKind::Thread,
            CreateKind::Service,
            CreateKind::Processes,
        ] {
            let created = raw::do_io(table.handle(), Operation::Create, [kind as u64, 4096, 0, 0]);
            equal!(created, Err(Error::BadOperation));
        }
        Ok(())
    })
}

fn the_table_of_a_dead_process_is_empty() -> Outcome {
    leaves_nothing(|| {
        let child = Victim::new("sleep").spawn()?;
        let table = Processes::of(&child)?;
        equal!(table.list()?, []);
        child.kill(0)?;
        end_of(&child)?;
        equal!(table.list()?, []);
        let refused = table.create(&arguments_of("made"));
        equal!(refused.map(drop), Err(Error::Gone));
        drop(OwnedHandle::from(table));
        Ok(())
    })
}
