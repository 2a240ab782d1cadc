//! A table of processes, served: whoever makes a process in it gets one of the kernel's, which this
//! server placed on a core of its choice. `docs/interposition.md` explains it.
//!
//! Its clients use it as they use the kernel's own table. What they get are handles to processes of
//! the kernel, so that loading, starting and waiting go past this server.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use driver_sdk::{
    abi::object::{CreateKind, PROCESS_ARGUMENTS_SIZE, PROCESS_ENTRY_SIZE, ProcessArguments},
    prelude::*,
};

driver_sdk::main!(main);

/// What can be done with a process of the table by who may manage it, and by who may not.
const MANAGED: Rights = SEEN.union(Rights::MANAGE);
const SEEN: Rights = Rights::READ.union(Rights::WAIT).union(Rights::PASS);

fn main() -> Result<(), Error> {
    let server = Server::named("jobs", 4, 4096)?;
    let table = object::<Processes>("processes").ok_or(Error::NotFound)?;
    let mut placed = 0;
    server.run(|request| match request.ask {
        Ask::Create { kind, .. } if kind == CreateKind::Process as u64 => {
            match place(&table, &request, placed) {
                Ok(process) => {
                    placed += 1;
                    request.reply_handle(&process, MANAGED)
                }
                Err(error) => request.refuse(error),
            }
        }
        Ask::Open { .. } => match request.text().and_then(|name| table.open(&name)) {
            Ok(process) if request.rights().contains(Rights::MANAGE) => {
                request.reply_handle(&process, MANAGED)
            }
            Ok(process) => request.reply_handle(&process, SEEN),
            Err(error) => request.refuse(error),
        },
        Ask::Read { offset, .. } => match list(&table, offset, request.length()) {
            Ok(bytes) => request.reply_data(&bytes),
            Err(error) => request.refuse(error),
        },
        _ => request.refuse(Error::BadOperation),
    })
}

/// Makes a process on the next core. The data of the request is what the kernel's table would take.
fn place(table: &Processes, request: &Request<'_>, placed: usize) -> Result<Process, Error> {
    let mut bytes = [0; PROCESS_ARGUMENTS_SIZE];
    if request.read(0, &mut bytes) != bytes.len() {
        return Err(Error::BadArgument);
    }
    let mut arguments = ProcessArguments::from_bytes(&bytes);
    arguments.affinity = 1 << (placed % time::core_count());
    table.create(&arguments)
}

/// The processes from a place in the list on, as many as have room.
fn list(table: &Processes, offset: u64, room: usize) -> Result<Vec<u8>, Error> {
    if room < PROCESS_ENTRY_SIZE {
        return Err(Error::BadArgument);
    }
    let entries = table.list()?;
    let rest = entries.iter().enumerate().skip(offset as usize);
    let numbered = rest.take(room / PROCESS_ENTRY_SIZE).map(|(index, entry)| {
        let mut entry = *entry;
        entry.next = index as u64 + 1;
        entry.to_bytes()
    });
    Ok(numbered.flatten().collect())
}
