//! What each kind of object understands: the meaning of the arguments of
//! [`Call::DoIo`](crate::Call::DoIo).
//!
//! | object | Create | Destroy | Read, Write | GetMeta, SetMeta |
//! |---|---|---|---|---|
//! | Process | [`CreateKind`] | ends it | – | [`ProcessMeta`] |
//! | Thread | – | – | – | [`ThreadMeta`] |
//! | Memory | – | – | bytes | [`MemoryMeta`] |
//! | Log | – | – | Write: one text | – |
//! | Clock | – | – | – | [`ClockMeta`] |
//! | Counters | – | – | Read: [`crate::counters`] | – |
//! | Power | – | ends the machine | – | – |
//! | Event | – | – | Write: signals it | – |
//! | Timer | – | – | – | [`TimerMeta`] |
//! | Processes | [`CreateKind::Process`] | – | Read: [`ProcessEntry`], from an offset that an entry names | – |
//!
//! `Open` on Processes takes a name and yields the Process. `Share` with a null handle yields another
//! handle to a Memory or an Event, and the Memory of an IoQueue's rings.
//!
//! Devices and what belongs to them are in [`crate::device`].

use core::mem::offset_of;

use crate::{Error, limits::Limits, status::Fault};

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum $name {
            $($(#[$doc])* $variant = $value,)*
        }

        impl $name {
            /// The member with this number, if there is one.
            pub const fn from_raw(raw: u64) -> Option<Self> {
                match raw {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// The kinds of kernel object.
    ObjectKind {
        /// An address space with its handle table, limits and counters.
        Process = 1,
        /// A thread of a process.
        Thread = 2,
        /// Pages, committed when created.
        Memory = 3,
        /// Lines for the system log.
        Log = 4,
        /// The monotonic clock.
        Clock = 5,
        /// The counters of a process, or of the whole system.
        Counters = 6,
        /// The machine's power switch.
        Power = 7,
        /// The table of PCI functions.
        Devices = 8,
        /// A PCI function that was granted.
        PciFunction = 9,
        /// What a function may reach by DMA.
        DmaSpace = 10,
        /// One range of memory in a DmaSpace.
        Pin = 11,
        /// One of a function's vectors.
        Interrupt = 12,
        /// Where requests on the objects of a server arrive.
        Service = 13,
        /// Submission and completion rings.
        IoQueue = 14,
        /// A wake-up.
        Event = 15,
        /// A wake-up by the clock.
        Timer = 16,
        /// The table of a process's descendants.
        Processes = 17,
    }
}

numbered! {
    /// `Create` on a Process, the kind being argument `a`. Needs [`crate::Rights::MANAGE`].
    CreateKind {
        /// `b` = bytes, rounded up to pages; `c` = [`memory_contiguous`] or 0. Charged to that
        /// process. The handle goes to the caller, with every right that a Memory knows.
        Memory = 1,
        /// `b` = address of [`ThreadArguments`]. The thread starts at once.
        Thread = 2,
        /// `b` = address of [`ProcessArguments`]. A child without threads, charged to that
        /// process's limit of processes.
        Process = 3,
        /// The counters of that process, readable.
        Counters = 4,
        /// `b` = entries of the submission ring, `c` = entries of the completion ring, or 0 for
        /// twice as many ([`crate::queue`]).
        IoQueue = 5,
        /// An Event that was not signalled.
        Event = 6,
        /// A Timer that is not set.
        Timer = 7,
        /// A Service whose server that process is ([`crate::service`]).
        Service = 8,
        /// The table of that process's descendants, in which more can be made.
        Processes = 9,
    }
}

/// For [`CreateKind::Memory`]: the frames follow each other in physical memory.
pub const MEMORY_CONTIGUOUS: u64 = 1;
/// The fewest bits of a physical address that can be asked for.
pub const LEAST_ADDRESS_BITS: u32 = 20;

/// [`MEMORY_CONTIGUOUS`], all of it at physical addresses of at most so many bits: for devices that
/// are trusted without an IOMMU and cannot express longer ones. 64 is no limit.
pub const fn memory_contiguous(address_bits: u32) -> u64 {
    MEMORY_CONTIGUOUS | (address_bits as u64) << 8
}

/// What [`CreateKind::Memory`] is asked for: the bits of a physical address if the frames are to
/// follow each other, else `None`. [`Error::BadArgument`] for flags that mean nothing.
pub const fn memory_address_bits(flags: u64) -> Result<Option<u32>, Error> {
    const LEAST: u64 = LEAST_ADDRESS_BITS as u64;
    match (flags & 0xff, flags >> 8) {
        (0, 0) => Ok(None),
        (MEMORY_CONTIGUOUS, 0) => Ok(Some(64)),
        (MEMORY_CONTIGUOUS, bits @ LEAST..=64) => Ok(Some(bits as u32)),
        _ => Err(Error::BadArgument),
    }
}

numbered! {
    /// Keys of a Process. Reading needs [`crate::Rights::READ`].
    ProcessMeta {
        /// Bytes of memory charged to it and its descendants now.
        MemoryUsed = 1,
        /// Handles in use.
        HandlesUsed = 2,
        /// Threads that have not ended.
        ThreadsUsed = 3,
        /// Child processes, and theirs, whose resources are not all back yet.
        ProcessesUsed = 4,
        /// Bytes of memory that it may have.
        MemoryLimit = 5,
        /// [`Fault`] that ended it; the low byte, 0 if none.
        FaultKind = 6,
        /// The instruction that faulted.
        FaultInstruction = 7,
        /// The address that the instruction tried to reach, where the fault has one.
        FaultAddress = 8,
        /// Bytes of physical memory free in the whole machine.
        MachineMemoryFree = 9,
        /// Cores that are running.
        MachineCores = 10,
    }
}

numbered! {
    /// Keys of a Thread. Reading needs [`crate::Rights::READ`], setting [`crate::Rights::MANAGE`].
    ThreadMeta {
        /// 0 (lowest) to [`crate::limits::MAX_PRIORITY`].
        Priority = 1,
        /// A bit per core on which it may run; at least one of them must exist.
        Affinity = 2,
        /// Its number, unique while the system runs.
        Id = 3,
        /// 1 asks the thread to stop: its waiting calls return [`crate::Error::Interrupted`], now
        /// and until this is 0 again.
        Stop = 4,
        /// A [`ThreadPhase`].
        Phase = 5,
    }
}

numbered! {
    /// Where a thread was at the moment of the question.
    ThreadPhase {
        /// It runs, or would if a core had time for it.
        Runnable = 1,
        /// It waits in a system call.
        Waiting = 2,
        /// It has ended.
        Ended = 3,
    }
}

numbered! {
    /// Keys of a Timer. Setting needs [`crate::Rights::MANAGE`], reading [`crate::Rights::READ`].
    TimerMeta {
        /// When it fires, in nanoseconds on the monotonic clock; 0 if it is not set.
        Deadline = 1,
        /// After how many nanoseconds it fires again, at least [`MIN_TIMER_PERIOD`]; 0 for never.
        Period = 2,
    }
}

/// The shortest period of a Timer, in nanoseconds.
pub const MIN_TIMER_PERIOD: u64 = 10_000;

numbered! {
    /// Keys of a Memory. Needs no right.
    MemoryMeta {
        /// Bytes, a multiple of the page size.
        Size = 1,
    }
}

numbered! {
    /// Keys of a Clock. Reading needs [`crate::Rights::READ`].
    ClockMeta {
        /// Nanoseconds since the kernel's clock began.
        Now = 1,
        /// Ticks of the time-stamp counter per second.
        TscFrequency = 2,
        /// The time-stamp counter at the kernel's first instruction.
        KernelEntryTsc = 3,
    }
}

/// What a new thread starts with. Lies in the caller's memory during `Create`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadArguments {
    /// Its first instruction.
    pub entry: u64,
    /// Its first stack pointer; 16-byte aligned, so the entry sees what a `jmp` would leave.
    pub stack: u64,
    /// `rdi` and `rsi` at the entry.
    pub arguments: [u64; 2],
    /// The base of `fs`, for the thread's own data.
    pub fs_base: u64,
    /// 0 to [`crate::limits::MAX_PRIORITY`], at most the priority that its process may use.
    pub priority: u32,
    /// Must be 0.
    pub reserved: u32,
    /// A bit per core on which it may run; 0 stands for all that the process may use.
    pub affinity: u64,
}

/// What a new process starts with. Lies in the caller's memory during `Create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessArguments {
    /// For people: the log, panics, lists. See [`is_process_name`]; padded with zeros.
    pub name: [u8; PROCESS_NAME_LENGTH],
    /// At most those of the creator.
    pub limits: Limits,
    /// A bit per core on which its threads may run; 0 stands for all that the creator may use.
    pub affinity: u64,
    /// The highest priority that its threads may have, at most the creator's.
    pub max_priority: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Bytes of [`ProcessArguments`], as a server of a table of processes gets them.
pub const PROCESS_ARGUMENTS_SIZE: usize = size_of::<ProcessArguments>();

impl ProcessArguments {
    /// What lies in memory, little-endian. Whether it makes sense is not checked.
    pub fn from_bytes(bytes: &[u8; PROCESS_ARGUMENTS_SIZE]) -> Self {
        const LIMITS: usize = offset_of!(ProcessArguments, limits);
        let half = |at: usize| {
            let mut half = [0; 4];
            half.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(half)
        };
        let word = |at: usize| u64::from(half(at)) | u64::from(half(at + 4)) << 32;
        let mut name = [0; PROCESS_NAME_LENGTH];
        name.copy_from_slice(&bytes[..PROCESS_NAME_LENGTH]);
        Self {
            name,
            limits: Limits {
                memory: word(LIMITS + offset_of!(Limits, memory)),
                handles: half(LIMITS + offset_of!(Limits, handles)),
                threads: half(LIMITS + offset_of!(Limits, threads)),
                processes: half(LIMITS + offset_of!(Limits, processes)),
                requests: half(LIMITS + offset_of!(Limits, requests)),
            },
            affinity: word(offset_of!(ProcessArguments, affinity)),
            max_priority: half(offset_of!(ProcessArguments, max_priority)),
            reserved: half(offset_of!(ProcessArguments, reserved)),
        }
    }
}

/// One process in a table of processes: a record of [`PROCESS_ENTRY_SIZE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessEntry {
    /// Its number, unique while the system runs.
    pub id: u64,
    /// The offset from which the rest of the table is read.
    pub next: u64,
    /// As in [`ProcessArguments`].
    pub name: [u8; PROCESS_NAME_LENGTH],
}

/// Bytes of a [`ProcessEntry`].
pub const PROCESS_ENTRY_SIZE: usize = size_of::<ProcessEntry>();

impl ProcessEntry {
    /// As it is read, little-endian.
    pub fn to_bytes(&self) -> [u8; PROCESS_ENTRY_SIZE] {
        let mut bytes = [0; PROCESS_ENTRY_SIZE];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.next.to_le_bytes());
        bytes[16..].copy_from_slice(&self.name);
        bytes
    }

    /// The entry that was read.
    pub fn from_bytes(bytes: &[u8; PROCESS_ENTRY_SIZE]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let mut name = [0; PROCESS_NAME_LENGTH];
        name.copy_from_slice(&bytes[16..]);
        Self {
            id: word(0),
            next: word(8),
            name,
        }
    }
}

/// Bytes in a process's name.
pub const PROCESS_NAME_LENGTH: usize = 32;

/// Whether a process can be called this: 1 to [`PROCESS_NAME_LENGTH`] lower-case letters, digits,
/// `-`, `_` and `.`. So no name breaks a line of the log, or passes for one of the log's levels.
pub const fn is_process_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.') {
            return false;
        }
        at += 1;
    }
    0 < at && at <= PROCESS_NAME_LENGTH
}

const _: () = {
    assert!(size_of::<ThreadArguments>() == 56);
    assert!(offset_of!(ThreadArguments, affinity) == 48);
    assert!(size_of::<ProcessArguments>() == PROCESS_NAME_LENGTH + size_of::<Limits>() + 16);
    assert!(Fault::COUNT < 256);
};

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;

    #[test]
    fn names_of_processes_are_plain() {
        for name in ["a", "init", "az-09_.x", &"n".repeat(32)] {
            assert!(is_process_name(name.as_bytes()), "{name:?}");
        }
        for name in [
            "",
            "A",
            "two words",
            "a]",
            "a:",
            "a\n",
            "a\0",
            "\u{1b}",
            "gr\u{fc}n",
            &"n".repeat(33),
        ] {
            assert!(!is_process_name(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn arguments_of_a_process_are_read_where_they_lie() {
        let bytes = core::array::from_fn(|index| index as u8);
        let word = |at: u64| (0..8).fold(0, |word, byte| word | (at + byte) << (8 * byte));
        let arguments = ProcessArguments::from_bytes(&bytes);
        assert_eq!(arguments.name, core::array::from_fn(|index| index as u8));
        let Limits {
            memory,
            handles,
            threads,
            processes,
            requests,
        } = arguments.limits;
        assert_eq!(memory, word(32));
        assert_eq!([handles, threads], [word(40) as u32, word(44) as u32]);
        assert_eq!([processes, requests], [word(48) as u32, word(52) as u32]);
        assert_eq!(arguments.affinity, word(56));
        assert_eq!(arguments.max_priority, word(64) as u32);
        assert_eq!(arguments.reserved, word(68) as u32);
    }

    #[test]
    fn flags_of_a_memory_are_those_that_mean_something() {
        assert_eq!(memory_address_bits(0), Ok(None));
        assert_eq!(memory_address_bits(MEMORY_CONTIGUOUS), Ok(Some(64)));
        for bits in 0..=200 {
            let expected = match bits {
                0 => Ok(Some(64)),
                LEAST_ADDRESS_BITS..=64 => Ok(Some(bits)),
                _ => Err(Error::BadArgument),
            };
            assert_eq!(memory_address_bits(memory_contiguous(bits)), expected);
        }
        for flags in [2, 1 << 8, 32 << 8, MEMORY_CONTIGUOUS | 1 << 40, u64::MAX] {
            assert_eq!(memory_address_bits(flags), Err(Error::BadArgument));
        }
    }
}
