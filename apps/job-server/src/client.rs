//! Runs four jobs in the table of processes that it was given, whoever serves that, and shows what
//! they printed: to the table of outputs if there is one, otherwise to its own log.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::mem::ManuallyDrop;

use driver_sdk::{abi::limits::Limits, prelude::*};

driver_sdk::main!(main);

const JOBS: usize = 4;
/// What a job may have.
const LIMITS: Limits = Limits {
    memory: 1 << 20,
    handles: 16,
    threads: 1,
    requests: 0,
    ..Limits::DEFAULT
};

fn main() -> Result<(), String> {
    let text = |error: Error| error.to_string();
    let table = object::<Processes>("processes").ok_or("no table of processes")?;
    let outputs = object::<Remote>("outputs");
    let file = object::<Memory>("job").ok_or("no module `job`")?;
    let program = Program::new(&file).map_err(|error| error.to_string())?;
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        let name = format!("job-{number}");
        let log = log(outputs.as_deref(), &name).map_err(text)?;
        let job = Command::new(&name, &program)
            .argument(number.to_string())
            .limits(LIMITS)
            .give("log", &log, Rights::WRITE)
            .table(&table)
            .spawn()
            .map_err(|error| error.to_string())?;
        jobs.push((name, job));
    }
    for (name, job) in &jobs {
        let status = job.wait(Deadline::NEVER).map_err(text)?;
        println!("{name} {status}");
        if let Some(outputs) = &outputs {
            println!("{name} said: {}", said(outputs, name).map_err(text)?.trim());
        }
    }
    println!("{} jobs are left", table.list().map_err(text)?.len());
    Ok(())
}

/// Where a job is to print.
fn log(outputs: Option<&Remote>, name: &str) -> Result<Log, Error> {
    match outputs {
        Some(outputs) => Ok(outputs.open(name, 0)?.into_kind()),
        None => {
            let own: ManuallyDrop<Log> = object("log").ok_or(Error::NotFound)?;
            own.duplicate(Rights::WRITE | Rights::PASS)
        }
    }
}

/// What a job has printed.
fn said(outputs: &Remote, name: &str) -> Result<String, Error> {
    let mut text = [0; 256];
    let length = outputs.open(name, 0)?.read(0, &mut text)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}
