//! How much there can be of everything.

/// The most cores that are used; more are left asleep, with a warning.
pub const MAX_CORES: usize = 64;
/// Threads in the whole system.
pub const MAX_THREADS: usize = 4096;
/// Requests of all queues of the system that can be in flight, and timers.
pub const MAX_REQUESTS: usize = 8192;
/// Entries of the submission ring of one queue.
pub const MAX_QUEUE_ENTRIES: u32 = 1024;
/// Entries of the completion ring of one queue.
pub const MAX_COMPLETIONS: u32 = 4096;
/// Slots of one service's receive window.
pub const MAX_WINDOW_SLOTS: u32 = 1024;
/// Bytes of one slot of a receive window: the most that one request copies.
pub const MAX_WINDOW_SLOT: u64 = 64 << 10;
/// How far down from the first process a process can be.
pub const MAX_PROCESS_DEPTH: u32 = 16;
/// Handles in one process.
pub const MAX_HANDLES: u32 = 4096;
/// The highest thread priority; 0 is the lowest.
pub const MAX_PRIORITY: u32 = 31;
/// What a thread gets when nobody says otherwise.
pub const DEFAULT_PRIORITY: u32 = 16;
/// Bytes that one `Write` on the Log takes.
pub const MAX_LOG_WRITE: u64 = 1024;
/// Lines that one `Write` on the Log takes; the result says how many bytes they had.
pub const MAX_LOG_LINES: usize = 16;
/// Bytes of RAM that are used; more is left alone, with a warning.
pub const MAX_MEMORY: u64 = 64 << 30;
/// How long a thread runs before another of its priority may, in nanoseconds.
pub const TIME_SLICE: u64 = 10_000_000;

/// What one process may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    /// Bytes of memory, with page tables, the kernel's share for its objects, and all of its
    /// descendants'.
    pub memory: u64,
    /// Open handles.
    pub handles: u32,
    /// Threads that have not ended.
    pub threads: u32,
    /// Child processes, and theirs, that have not been given back.
    pub processes: u32,
    /// Requests that can be in flight in its queues and its descendants', and their timers.
    pub requests: u32,
}

const _: () = assert!(size_of::<Limits>() == 24);

impl Limits {
    /// Modest: a program that says nothing about its needs.
    pub const DEFAULT: Self = Self {
        memory: 16 << 20,
        handles: 256,
        threads: 32,
        processes: 0,
        requests: 256,
    };
}
