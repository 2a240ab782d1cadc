//! Starting other programs.
//!
//! The kernel only makes an empty address space; what goes in is decided here. Text and
//! read-only data are mapped straight from the program's file, so that all processes of one
//! program share them. Everything else is charged to the child.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;

use spillway_abi::{
    ABI_VERSION, Error, Handle, PAGE_SIZE, Rights,
    layout::{MAP_END, USER_START},
    limits::{DEFAULT_PRIORITY, Limits},
    object::{PROCESS_NAME_LENGTH, ProcessArguments, ThreadArguments, is_process_name},
    startup::{self, MAX_STARTUP, StartupError},
};
use spillway_elf::{ElfError, LoadPlan, Rules, Segment};

use crate::{
    object::{Devices, Mapping, Memory, OwnedHandle, Process, Processes},
    startup::own_process,
};

/// Bytes of the first thread's stack when nobody says otherwise.
pub const DEFAULT_STACK: u64 = 64 << 10;

/// What a process may do with the handle to itself.
const OWN_RIGHTS: Rights = Rights::PASS
    .union(Rights::READ)
    .union(Rights::MANAGE)
    .union(Rights::WAIT);

/// Why a process was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// The file is not a program that can run here.
    Program(ElfError),
    /// Names, handles and arguments do not fit into a startup block.
    Startup(StartupError),
    /// The name is none that the kernel accepts.
    Name,
    /// The kernel refused; the text says what.
    Kernel(&'static str, Error),
    /// A device, by the name that the child would have for it and by its own, was not to be had.
    Device(String, String, Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(error) => write!(f, "the program cannot be loaded: {error}"),
            Self::Startup(_) => write!(
                f,
                "names and arguments together have more than {MAX_STARTUP} bytes: use fewer or shorter ones"
            ),
            Self::Name => {
                write!(
                    f,
                    "a process cannot have this name: use 1 to {PROCESS_NAME_LENGTH} lower-case letters, digits, `-`, `_` and `.`"
                )
            }
            Self::Kernel(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Device(name, device, error) => {
                write!(f, "cannot grant `{name}`: `{device}` {}", no_device(*error))
            }
        }
    }
}

/// Why a device is not to be had, as the end of a sentence.
const fn no_device(error: Error) -> &'static str {
    match error {
        Error::NotFound => "is not in this machine",
        Error::BadArgument | Error::TooLong => {
            "is no name of a device; write pci:SSSS:BB:DD.F, class:CCSSII or id:VVVV:DDDD"
        }
        Error::Busy => "or another function of its isolation group belongs to another process",
        Error::Refused => "is a bridge, which is never granted",
        Error::DeviceFailed => "could not be reset after its last owner and stays blocked",
        other => other.describe(),
    }
}

impl core::error::Error for SpawnError {}

/// Turns a kernel error into one that says what was tried.
fn trying<T>(what: &'static str, result: Result<T, Error>) -> Result<T, SpawnError> {
    result.map_err(|error| SpawnError::Kernel(what, error))
}

/// A program's file that was found fit to run here. Checking it once serves any number of
/// processes.
#[derive(Debug)]
pub struct Program<'a> {
    memory: &'a Memory,
    file: Mapping,
    plan: LoadPlan,
}

impl<'a> Program<'a> {
    /// Checks a file. Its handle needs the rights to be read, mapped and executed. Nobody may
    /// change the file while the program is in use.
    ///
    /// # Errors
    ///
    /// [`SpawnError::Program`] with a sentence about the file, or what the kernel refused.
    pub fn new(memory: &'a Memory) -> Result<Self, SpawnError> {
        let file = trying("read the program", memory.map(Rights::READ))?;
        let rules = Rules {
            addresses: USER_START..MAP_END,
            abi_version: Some(ABI_VERSION),
        };
        // SAFETY: nobody changes the file; see above.
        let plan = LoadPlan::parse(unsafe { file.as_slice() }, &rules);
        Ok(Self {
            memory,
            plan: plan.map_err(SpawnError::Program)?,
            file,
        })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: nobody changes the file; see `new`.
        unsafe { self.file.as_slice() }
    }

    /// Whether the file's own pages can stand for the segment: nobody writes to it, it has no
    /// zeros at the end that the file does not have, and its last page has nothing of another.
    fn can_share(&self, segment: &Segment) -> bool {
        let end = (segment.file_offset + segment.file_size) as usize;
        let page_end = end.next_multiple_of(PAGE_SIZE as usize);
        !segment.flags.is_writable()
            && segment.file_size == segment.memory_size
            && self
                .bytes()
                .get(end..page_end)
                .is_some_and(|rest| rest.iter().all(|&b| b == 0))
    }

    fn load(&self, child: &Process) -> Result<(), Error> {
        for segment in self.plan.segments() {
            let access = access_of(segment);
            let pages = segment.pages();
            let length = pages.end - pages.start;
            if self.can_share(segment) {
                // SAFETY: another address space.
                unsafe {
                    child.map(
                        self.memory,
                        pages.start,
                        segment.file_offset,
                        length,
                        access,
                    )?
                };
            } else {
                let memory = Memory::charged_to(child, length)?;
                memory.write_all(0, segment.content(self.bytes()))?;
                // SAFETY: another address space.
                unsafe { child.map(&memory, pages.start, 0, length, access)? };
            }
        }
        Ok(())
    }
}

fn access_of(segment: &Segment) -> Rights {
    let mut access = Rights::READ;
    access.set(Rights::WRITE, segment.flags.is_writable());
    access.set(Rights::EXECUTE, segment.flags.is_executable());
    access
}

/// A process to be started, and everything that it is given: nothing but what is said here, and
/// the handle to itself.
#[derive(Debug)]
#[must_use]
pub struct Command<'a> {
    program: &'a Program<'a>,
    name: &'a str,
    arguments: Vec<String>,
    handles: Vec<(&'a str, &'a OwnedHandle, Rights)>,
    devices: Vec<(&'a str, &'a Devices, &'a str)>,
    table: Option<&'a Processes>,
    limits: Limits,
    affinity: u64,
    priority: u32,
    stack: u64,
}

impl<'a> Command<'a> {
    /// A process with modest limits, no arguments and no handles.
    pub const fn new(name: &'a str, program: &'a Program<'a>) -> Self {
        Self {
            program,
            name,
            arguments: Vec::new(),
            handles: Vec::new(),
            devices: Vec::new(),
            table: None,
            limits: Limits::DEFAULT,
            affinity: 0,
            priority: DEFAULT_PRIORITY,
            stack: DEFAULT_STACK,
        }
    }

    /// One more argument.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more handle, under a name. The rights can be fewer than those of the object's handle
    /// here, which needs the right to be transferred.
    pub fn give(
        mut self,
        name: &'a str,
        object: &'a impl AsRef<OwnedHandle>,
        rights: Rights,
    ) -> Self {
        self.handles.push((name, object.as_ref(), rights));
        self
    }

    /// One PCI function that it owns, which it finds as `device:` and `name`. `device` is the
    /// function's own name in the table, as [`spillway_abi::device`] describes.
    pub fn give_device(mut self, name: &'a str, devices: &'a Devices, device: &'a str) -> Self {
        self.devices.push((name, devices, device));
        self
    }

    /// The table of processes in which it is made, which a process may serve; without one it is a
    /// child of this process.
    pub const fn table(mut self, table: &'a Processes) -> Self {
        self.table = Some(table);
        self
    }

    /// What it may have at most; not more than this process may.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A bit per core on which it may run; 0 stands for all that this process may use.
    pub const fn affinity(mut self, cores: u64) -> Self {
        self.affinity = cores;
        self
    }

    /// The priority of its first thread and the highest that it may use.
    pub const fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Bytes of its first thread's stack, rounded up to pages.
    pub const fn stack_size(mut self, bytes: u64) -> Self {
        self.stack = bytes;
        self
    }

    /// Starts the process.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`]. Nothing of the process is left then.
    pub fn spawn(&self) -> Result<Process, SpawnError> {
        let child = self.create()?;
        self.start(&child)?;
        Ok(child)
    }

    /// Makes the process, without memory, handles and threads: [`Self::start`] gives it these. In
    /// between, services can be made that it will serve.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn create(&self) -> Result<Process, SpawnError> {
        let arguments = ProcessArguments {
            name: padded(self.name).ok_or(SpawnError::Name)?,
            limits: self.limits,
            affinity: self.affinity,
            max_priority: self.priority,
            reserved: 0,
        };
        let child = match self.table {
            Some(table) => table.create(&arguments),
            None => own_process().create_process(&arguments),
        };
        trying("create the process", child)
    }

    /// Gives a new process its memory, its handles and its first thread.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`]. The process is ended then.
    pub fn start(&self, child: &Process) -> Result<(), SpawnError> {
        self.fill(child).inspect_err(|_| {
            // It has no thread that could end it. If this fails, it is gone already.
            let _ = child.kill(0);
        })
    }

    fn fill(&self, child: &Process) -> Result<(), SpawnError> {
        trying("load the program", self.program.load(child))?;
        let block = self.startup_block(child)?;
        let stack_length = self.stack.max(1).next_multiple_of(PAGE_SIZE);
        let block_length = (block.len() as u64).next_multiple_of(PAGE_SIZE);
        let length = stack_length + block_length;
        let memory = trying("create its stack", Memory::charged_to(child, length))?;
        trying(
            "write its startup block",
            memory.write_all(stack_length, &block),
        )?;
        // Two mappings, so that the stack has an unmapped page on both sides and the block
        // cannot be overwritten.
        let access = Rights::READ | Rights::WRITE;
        // SAFETY: another address space.
        let stack = unsafe { child.map(&memory, 0, 0, stack_length, access) };
        let stack = trying("map its stack", stack)?;
        // SAFETY: another address space.
        let start = unsafe { child.map(&memory, 0, stack_length, block_length, Rights::READ) };
        let start = trying("map its startup block", start)?;
        let thread = ThreadArguments {
            entry: self.program.plan.entry,
            stack: stack + stack_length,
            arguments: [start, block.len() as u64],
            fs_base: start,
            priority: self.priority,
            reserved: 0,
            affinity: 0,
        };
        // SAFETY: another address space.
        trying("start its first thread", unsafe {
            child.create_thread(&thread)
        })?;
        Ok(())
    }

    /// Puts the handles into the child and writes down what they are called.
    fn startup_block(&self, child: &Process) -> Result<Vec<u8>, SpawnError> {
        let own = (startup::SELF, child.as_ref(), OWN_RIGHTS);
        let count = self.handles.len() + self.devices.len() + 1;
        let mut handles: Vec<(String, Handle)> = Vec::with_capacity(count);
        for &(name, handle, rights) in [own].iter().chain(&self.handles) {
            let theirs = handle.duplicate_into(rights, child);
            handles.push((name.into(), trying("give it a handle", theirs)?));
        }
        for &(name, devices, device) in &self.devices {
            let theirs = devices
                .open_for(device, child)
                .map_err(|error| SpawnError::Device(name.into(), device.into(), error))?;
            handles.push((format!("{}{name}", startup::DEVICE_PREFIX), theirs));
        }
        let arguments = || self.arguments.iter().map(String::as_str);
        let named: usize = handles.iter().map(|(name, _)| name.len() + 5).sum();
        let said: usize = arguments().map(|argument| argument.len() + 2).sum();
        let length = 16 + named + said;
        if length > MAX_STARTUP {
            return Err(SpawnError::Startup(StartupError::TooLong));
        }
        let mut block = vec![0; length];
        let handles = handles
            .iter()
            .map(|(name, handle)| (name.as_str(), *handle));
        startup::write(&mut block, handles, arguments()).map_err(SpawnError::Startup)?;
        Ok(block)
    }
}

fn padded(name: &str) -> Option<[u8; PROCESS_NAME_LENGTH]> {
    if !is_process_name(name.as_bytes()) {
        return None;
    }
    let mut bytes = [0; PROCESS_NAME_LENGTH];
    bytes
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    Some(bytes)
}
