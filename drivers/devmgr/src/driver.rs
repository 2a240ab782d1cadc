//! A driver's process, with the service that it serves.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::mem::ManuallyDrop;

use driver_sdk::{
    abi::{limits::Limits, startup as names},
    prelude::*,
    rt::{object::OwnedHandle, process::SpawnError},
};
use spillway_devmgr_plan::{Match, Settings};

/// What a driver may have besides memory. The manager needs as much for each of its drivers.
const LIMITS: Limits = Limits {
    handles: 1024,
    threads: 8,
    requests: 512,
    ..Limits::DEFAULT
};
/// What a driver may do with its own service.
const SERVE: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::WAIT);

/// A driver that was started.
pub struct Driver {
    /// Its process, which is this one's child.
    pub process: Process,
    /// Where objects of it are minted. It ends with the process.
    pub service: Service,
}

/// Why a driver was not started.
pub struct NotStarted {
    /// A sentence.
    pub reason: String,
    /// Trying again is of no use.
    pub for_ever: bool,
}

/// A driver's program, found and checked once.
pub struct Program {
    file: &'static Memory,
    program: driver_sdk::rt::process::Program<'static>,
    limits: Limits,
}

impl Program {
    /// The program of a match; a sentence if there is none.
    pub fn new(of: &Match, settings: &Settings) -> Result<Self, String> {
        let file = object::<Memory>(&of.program)
            .ok_or_else(|| format!("no module `{}`: name it in `modules`", of.program))?;
        // As long as this process.
        let file: &Memory = Box::leak(Box::new(ManuallyDrop::into_inner(file)));
        Ok(Self {
            file,
            program: driver_sdk::rt::process::Program::new(file)
                .map_err(|error| error.to_string())?,
            limits: Limits {
                memory: settings.memory,
                ..LIMITS
            },
        })
    }

    /// Starts the driver: with the log, its own file, its device, and its service.
    pub fn start(&self, of: &Match) -> Result<Driver, NotStarted> {
        let log: Option<ManuallyDrop<Log>> = object(names::LOG);
        let devices: Option<ManuallyDrop<Devices>> = object(names::DEVICES);
        let file = Rights::READ | Rights::MAP | Rights::EXECUTE;
        let mut command = Command::new(&of.program, &self.program).limits(self.limits);
        command = command.give(names::IMAGE, self.file, file);
        for argument in &of.arguments {
            command = command.argument(argument.clone());
        }
        if let Some(log) = &log {
            command = command.give(names::LOG, &**log, Rights::WRITE);
        }
        if let Some(device) = &of.device {
            const NONE: &str = "the manifest does not grant `devices`";
            let devices = devices.as_deref().ok_or_else(|| NotStarted {
                reason: NONE.into(),
                for_ever: true,
            })?;
            command = command.give_device(&of.name, devices, device);
        }
        let process = command.create()?;
        let service = Service::of(&process).map_err(kernel)?;
        let given = service.duplicate(SERVE | Rights::PASS).map_err(kernel)?;
        let given: OwnedHandle = given.into();
        let name = format!("{}{}", names::SERVICE_PREFIX, of.name);
        command.give(&name, &given, SERVE).start(&process)?;
        Ok(Driver { process, service })
    }
}

impl From<SpawnError> for NotStarted {
    fn from(error: SpawnError) -> Self {
        let for_ever = match &error {
            SpawnError::Device(_, _, error) => matches!(
                error,
                Error::NotFound | Error::BadArgument | Error::Refused | Error::DeviceFailed
            ),
            SpawnError::Program(_) | SpawnError::Startup(_) | SpawnError::Name => true,
            SpawnError::Kernel(..) => false,
        };
        Self {
            reason: error.to_string(),
            for_ever,
        }
    }
}

fn kernel(error: Error) -> NotStarted {
    NotStarted {
        reason: format!("cannot make its service: {error}"),
        for_ever: false,
    }
}
