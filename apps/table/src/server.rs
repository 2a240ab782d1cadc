//! A key-value table in memory, served. `docs/server-guide.md` explains it line by line.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use driver_sdk::prelude::*;

driver_sdk::main!(main);

/// Object 0 is the table; each key that was ever opened is one more object, from 1 on.
#[derive(Default)]
struct Table {
    keys: BTreeMap<String, u64>,
    values: BTreeMap<u64, Vec<u8>>,
}

impl Table {
    fn open(&mut self, key: String) -> u64 {
        let next = self.keys.len() as u64 + 1;
        *self.keys.entry(key).or_insert(next)
    }
}

fn main() -> Result<(), Error> {
    let server = Server::named("table", 4, 4096)?;
    let mut table = Table::default();
    server.run(|request| match (request.object(), request.ask) {
        (0, Ask::Open { .. }) => match request.text() {
            Ok(key) => {
                let rights = request.rights();
                request.reply_object(table.open(key), rights)
            }
            Err(error) => request.refuse(error),
        },
        (0, Ask::GetMeta { key: 0 }) => request.value(table.values.len() as u64),
        (key, Ask::Write { offset: 0, length }) if key != 0 => {
            table.values.insert(key, request.bytes());
            request.value(length as u64)
        }
        (key, Ask::Read { offset, .. }) => match table.values.get(&key) {
            Some(value) => request.reply_data(value.get(offset as usize..).unwrap_or_default()),
            None => request.refuse(Error::NotFound),
        },
        (key, Ask::Destroy { .. }) if table.values.remove(&key).is_some() => request.done(),
        _ => request.refuse(Error::BadOperation),
    })
}
