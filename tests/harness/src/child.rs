//! Children of the test program: copies of itself that play a victim.

use alloc::string::{String, ToString};
use core::{
    mem::ManuallyDrop,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        limits::Limits,
        object::{PROCESS_NAME_LENGTH, ProcessArguments, ProcessMeta},
        startup as names,
    },
    prelude::*,
    rt::object::{FaultReport, Mapping},
};

use crate::harness::{Outcome, check};

/// How long anything may take that should end by itself. Generous: two cores of an emulator may
/// share one of the host.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The file that this program was loaded from.
pub fn image() -> &'static Memory {
    static IMAGE: OnceLock<ManuallyDrop<Memory>> = OnceLock::new();
    IMAGE.get_or_init(|| object(names::IMAGE).expect("the manifest grants `image`"))
}

/// The same, checked.
pub fn program() -> &'static Program<'static> {
    static PROGRAM: OnceLock<Program<'static>> = OnceLock::new();
    PROGRAM.get_or_init(|| Program::new(image()).expect("this program is a program"))
}

/// A page of numbers that this process and a child both see, called `shared` in the child.
pub struct Shared {
    memory: Memory,
    mapping: Mapping,
}

impl Shared {
    /// A page of zeros.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn new() -> Outcome<Self> {
        let memory = Memory::new(4096)?;
        let mapping = memory.map(Rights::READ | Rights::WRITE)?;
        Ok(Self { memory, mapping })
    }

    /// The page that this victim was given.
    pub fn given() -> Self {
        let memory = object::<Memory>("shared").expect("the test shares a page");
        let mapping = memory
            .map(Rights::READ | Rights::WRITE)
            .expect("it can be mapped");
        Self {
            memory: ManuallyDrop::into_inner(memory),
            mapping,
        }
    }

    /// The numbers.
    pub fn slots(&self) -> &[AtomicU64; 512] {
        // SAFETY: the page is mapped, readable and writable, as long as `self` lives, and
        // everybody uses it as atomic numbers.
        unsafe { &*self.mapping.as_ptr().cast() }
    }

    /// One of them.
    pub fn get(&self, slot: usize) -> u64 {
        self.slots()[slot].load(Ordering::SeqCst)
    }

    /// Sets one of them.
    pub fn set(&self, slot: usize, value: u64) {
        self.slots()[slot].store(value, Ordering::SeqCst);
    }

    /// Waits until a number is at least this.
    pub fn wait_for(&self, slot: usize, value: u64) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.get(slot) < value {
            check!(
                Instant::now() < deadline,
                "the victim did not get to step {value}"
            );
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// How a victim ended.
#[derive(Debug)]
pub struct End {
    /// Its exit status.
    pub status: ExitStatus,
    /// The fault that ended it, if one did.
    pub fault: Option<FaultReport>,
}

/// A victim to be started.
pub struct Victim<'a> {
    command: Command<'a>,
}

impl<'a> Victim<'a> {
    /// A copy of this program that plays a part, with the log.
    pub fn new(kind: &'a str) -> Self {
        let victim = Self::silent(kind);
        match log() {
            Some(log) => victim.with(|command| command.give(names::LOG, log, Rights::WRITE)),
            None => victim,
        }
    }

    /// One that cannot write to the log.
    pub fn silent(kind: &'a str) -> Self {
        let limits = Limits {
            memory: 4 << 20,
            handles: 64,
            threads: 16,
            ..Limits::DEFAULT
        };
        let command = Command::new(kind, program())
            .argument("victim")
            .argument(kind)
            .limits(limits)
            .give(
                names::IMAGE,
                image(),
                Rights::READ | Rights::MAP | Rights::EXECUTE,
            );
        Self { command }
    }

    /// Changes what it is given.
    pub fn with(mut self, change: impl FnOnce(Command<'a>) -> Command<'a>) -> Self {
        self.command = change(self.command);
        self
    }

    /// One more argument.
    pub fn argument(self, argument: impl ToString) -> Self {
        self.with(|command| command.argument(argument.to_string()))
    }

    /// Gives it a page of numbers.
    pub fn shared(self, shared: &'a Shared) -> Self {
        let rights = Rights::READ | Rights::WRITE | Rights::MAP;
        self.with(|command| command.give("shared", &shared.memory, rights))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// See [`driver_sdk::rt::process::SpawnError`].
    pub fn spawn(&self) -> Outcome<Process> {
        Ok(self.command.spawn()?)
    }

    /// Starts it and waits for its end.
    pub fn run(&self) -> Outcome<End> {
        end_of(&self.spawn()?)
    }
}

/// Waits for the end of a victim; one that does not come to its end is killed.
pub fn end_of(process: &Process) -> Outcome<End> {
    let status = process.wait(Deadline::after(PATIENCE));
    if status == Err(Error::TimedOut) {
        process.kill(1)?;
    }
    Ok(End {
        status: status?,
        fault: process.fault()?,
    })
}

fn log() -> Option<&'static Log> {
    static LOG: OnceLock<Option<ManuallyDrop<Log>>> = OnceLock::new();
    LOG.get_or_init(|| object(names::LOG)).as_deref()
}

/// A new process without threads, with a handle here only.
pub fn idle_process(parent: &Process, limits: Limits) -> Result<Process, Error> {
    let mut arguments = ProcessArguments {
        name: [0; PROCESS_NAME_LENGTH],
        limits,
        affinity: 0,
        max_priority: 1,
        reserved: 0,
    };
    arguments.name[..4].copy_from_slice(b"idle");
    parent.create_process(&arguments)
}

/// What this process and the machine have in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Bytes that are free in the whole machine.
    pub machine_free: u64,
    /// Bytes of memory charged to this process.
    pub memory: u64,
    /// Handles.
    pub handles: u64,
    /// Threads.
    pub threads: u64,
    /// Child processes.
    pub processes: u64,
}

impl Use {
    /// What it is at this moment.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn now() -> Outcome<Self> {
        let meta = |key| own_process().meta(key);
        Ok(Self {
            machine_free: meta(ProcessMeta::MachineMemoryFree)?,
            memory: meta(ProcessMeta::MemoryUsed)?,
            handles: meta(ProcessMeta::HandlesUsed)?,
            threads: meta(ProcessMeta::ThreadsUsed)?,
            processes: meta(ProcessMeta::ProcessesUsed)?,
        })
    }

    /// The same, as soon as this process has no more descendants than this.
    pub fn after_descendants(processes: u64) -> Outcome<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::now()?;
            if now.processes <= processes {
                return Ok(now);
            }
            check!(
                Instant::now() < deadline,
                "{} descendants do not end",
                now.processes - processes
            );
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Does something twice and checks that the second time leaves everything in use as it was. (The
/// first time may fill caches, of the allocators here and in the kernel.)
///
/// A child can leave children of its own with threads that still run: it ends without them, and
/// the look at what is in use comes when they are gone too.
pub fn leaves_nothing(work: impl Fn() -> Outcome) -> Outcome {
    let processes = own_process().meta(ProcessMeta::ProcessesUsed)?;
    work()?;
    let before = Use::after_descendants(processes)?;
    work()?;
    let after = Use::after_descendants(processes)?;
    check!(
        after == before,
        "left behind: {}",
        difference(before, after)
    );
    Ok(())
}

fn difference(before: Use, after: Use) -> String {
    alloc::format!("before {before:?}, after {after:?}")
}
