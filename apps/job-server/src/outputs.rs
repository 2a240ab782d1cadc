//! A table of files in memory that gathers what programs print. A file stands for a log: whoever has
//! it as `log` writes to it without knowing.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use driver_sdk::prelude::*;

driver_sdk::main!(main);

/// Files that there can be, and bytes of one.
const FILES: usize = 64;
const BYTES: usize = 64 << 10;

struct File {
    name: String,
    text: Vec<u8>,
}

/// Object 0 is the table; the files are the others, in the order in which they were first opened.
fn main() -> Result<(), Error> {
    let server = Server::named("outputs", 4, 4096)?;
    let mut files: Vec<File> = Vec::new();
    server.run(|request| match (request.object(), request.ask) {
        (0, Ask::Open { .. }) => match request.text().and_then(|name| open(&mut files, name)) {
            Ok(number) => request.reply_object(number, Rights::READ | Rights::WRITE | Rights::PASS),
            Err(error) => request.refuse(error),
        },
        (0, Ask::GetMeta { key: 0 }) => request.value(files.len() as u64),
        (number, ask) if number != 0 => {
            let Some(file) = files.get_mut(number as usize - 1) else {
                return request.refuse(Error::NotFound);
            };
            match ask {
                // As a log does, it puts every text behind what it has.
                Ask::Write { length, .. } if file.text.len() + length <= BYTES => {
                    file.text.extend(request.bytes());
                    request.value(length as u64)
                }
                Ask::Write { .. } => request.refuse(Error::LimitReached),
                Ask::Read { offset, .. } => {
                    request.reply_data(file.text.get(offset as usize..).unwrap_or_default())
                }
                _ => request.refuse(Error::BadOperation),
            }
        }
        _ => request.refuse(Error::BadOperation),
    })
}

/// The number of the file of this name, which is made if there is none.
fn open(files: &mut Vec<File>, name: String) -> Result<u64, Error> {
    if let Some(index) = files.iter().position(|file| file.name == name) {
        return Ok(index as u64 + 1);
    }
    if files.len() == FILES {
        return Err(Error::LimitReached);
    }
    let text = Vec::new();
    files.push(File { name, text });
    Ok(files.len() as u64)
}
