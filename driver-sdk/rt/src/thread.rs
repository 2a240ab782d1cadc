//! Threads of this process.
//!
//! A thread's stack is a mapping of its own, with the unmapped page below it that the kernel
//! leaves around every mapping. At the stack's top lies the thread's control block, where `fs`
//! points. Whoever joins a thread frees both; what nobody joins is freed when the next thread is
//! started or joined after its end.
//!
//! Nobody can end a thread but itself. [`JoinHandle::ask_to_stop`] asks it to: its waits in the
//! kernel return [`Error::Interrupted`] from then on, and a loop that does not wait looks at
//! [`stop_requested`]. [`crate::sync::channel`] has an example.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use spillway_abi::{
    Error, PAGE_SIZE, Rights,
    limits::DEFAULT_PRIORITY,
    object::{ThreadArguments, ThreadMeta},
    startup::MAGIC,
};

use crate::{
    object::{Mapping, Memory, Thread},
    startup::{environment, own_process},
    sync::Mutex,
    syscall,
    time::{self, Deadline},
};

/// Bytes of stack when nobody says otherwise.
pub const DEFAULT_STACK: usize = 64 << 10;

/// How often a thread that was itself asked to stop looks whether the one that it joins has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a thread knows about itself; `fs` points here, except in the first thread.
#[repr(C, align(16))]
struct ControlBlock {
    /// Its own address, so that `fs:0` gives a pointer.
    itself: *const ControlBlock,
    stack_top: u64,
    start: *mut Start,
}

/// What a thread is to do.
struct Start {
    work: Option<Box<dyn FnOnce() + Send>>,
    name: Option<String>,
    stop: Arc<AtomicBool>,
}

/// The control block of the calling thread; `None` in the first one.
fn control_block() -> Option<&'static ControlBlock> {
    let itself: u64;
    // SAFETY: `fs` points to a control block or, in the first thread, to the startup block; both
    // are readable and have 8 bytes.
    unsafe {
        core::arch::asm!("mov {}, fs:0", out(reg) itself, options(nostack, readonly, pure, preserves_flags));
    }
    // The startup block begins with its magic number, which is no aligned address.
    if itself as u32 == MAGIC {
        return None;
    }
    // SAFETY: `spawn` put a control block there, which lives as long as its thread.
    Some(unsafe { &*(itself as *const ControlBlock) })
}

/// One past the stack of the calling thread, or something below in the first thread.
pub(crate) fn stack_top() -> u64 {
    match control_block() {
        Some(block) => block.stack_top,
        None => environment().map_or(0, |environment| environment.stack_top),
    }
}

/// The name that the calling thread was given; the first one has none.
pub fn name() -> Option<&'static str> {
    let block = control_block()?;
    // SAFETY: the thread owns `start` while it runs, and only reads the name.
    unsafe { (*block.start).name.as_deref() }
}

/// Whether [`JoinHandle::ask_to_stop`] was called for the calling thread. Costs no system call.
pub fn stop_requested() -> bool {
    control_block().is_some_and(|block| {
        // SAFETY: the thread owns `start` while it runs, and only reads the flag.
        unsafe { (*block.start).stop.load(Ordering::Relaxed) }
    })
}

/// The first instructions of a thread: the end of the chain of frames, then [`run`].
///
/// # Safety
///
/// Only for the kernel, as the entry of a thread, with a [`Start`] in `rdi`.
#[unsafe(naked)]
unsafe extern "C" fn enter() -> ! {
    core::arch::naked_asm!("xor ebp, ebp", "call {run}", "ud2", run = sym run)
}

/// # Safety
///
/// Called once, by a new thread, with what `spawn` made for it.
unsafe extern "C" fn run(start: *mut Start) -> ! {
    // SAFETY: nobody else touches the work; the name stays while it runs.
    if let Some(work) = unsafe { (*start).work.take() } {
        work();
    }
    // SAFETY: `spawn` made it with `Box::into_raw`; nothing refers to it after this.
    drop(unsafe { Box::from_raw(start) });
    // SAFETY: what is left on the stack has nothing to drop.
    unsafe { syscall::exit_thread(0) }
}

/// How a thread is to be started.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    stack: usize,
    priority: u32,
    affinity: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: None,
            stack: DEFAULT_STACK,
            priority: DEFAULT_PRIORITY,
            affinity: 0,
        }
    }
}

impl Builder {
    /// A thread without a name, with the default stack and priority, on any core.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bytes of stack, rounded up to pages.
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.stack = bytes;
        self
    }

    /// 0 (lowest) to [`spillway_abi::limits::MAX_PRIORITY`].
    pub const fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// A bit per core on which it may run; 0 stands for all that the process may use.
    pub const fn affinity(mut self, cores: u64) -> Self {
        self.affinity = cores;
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`] or [`Error::OutOfMemory`] for the stack or the thread,
    /// [`Error::BadArgument`] for a priority or cores that the process may not use.
    pub fn spawn<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        reap();
        let result = Arc::new(Slot(UnsafeCell::new(None)));
        let theirs = result.clone();
        let work = move || {
            let value = work();
            // SAFETY: only this thread touches the slot until it has ended.
            unsafe { *theirs.0.get() = Some(value) };
        };
        let stop = Arc::new(AtomicBool::new(false));
        let start = Start {
            work: Some(Box::new(work)),
            name: self.name.clone(),
            stop: stop.clone(),
        };
        let ended = self.start(start)?;
        Ok(JoinHandle {
            running: Some(ended),
            result,
            stop,
        })
    }

    fn start(&self, start: Start) -> Result<Running, Error> {
        let length = (self.stack.max(1) as u64).next_multiple_of(PAGE_SIZE);
        let stack = Memory::new(length)?.map(Rights::READ | Rights::WRITE)?;
        let stack_top = stack.address() + length;
        let block = (stack_top - size_of::<ControlBlock>() as u64) as *mut ControlBlock;
        let start = Box::into_raw(Box::new(start));
        // SAFETY: the block lies in the new stack, which is ours alone and page-aligned.
        unsafe {
            block.write(ControlBlock {
                itself: block,
                stack_top,
                start,
            })
        };
        let arguments = ThreadArguments {
            entry: enter as *const () as u64,
            stack: block as u64,
            arguments: [start as u64, 0],
            fs_base: block as u64,
            priority: self.priority,
            reserved: 0,
            affinity: self.affinity,
        };
        // SAFETY: `enter` never returns, and the stack is the thread's until it has ended.
        match unsafe { own_process().create_thread(&arguments) } {
            Ok(thread) => Ok(Running {
                thread,
                _stack: stack,
            }),
            Err(error) => {
                // SAFETY: no thread got it.
                drop(unsafe { Box::from_raw(start) });
                Err(error)
            }
        }
    }
}

/// Starts a thread with default settings.
///
/// # Panics
///
/// If the kernel refuses; [`Builder::spawn`] returns the error.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match Builder::new().spawn(work) {
        Ok(handle) => handle,
        Err(error) => panic!("cannot start a thread: {error}"),
    }
}

/// A thread that may still run, with what must outlive it.
#[derive(Debug)]
struct Running {
    thread: Thread,
    _stack: Mapping,
}

/// Threads that nobody will join.
static DETACHED: Mutex<Vec<Running>> = Mutex::new(Vec::new());

/// Frees the stacks of detached threads that have ended.
fn reap() {
    // Taken out first: freeing may take time, and the lock is not needed for it.
    let ended: Vec<_> = DETACHED
        .lock()
        .extract_if(.., |running| running.thread.wait(Deadline::NOW).is_ok())
        .collect();
    drop(ended);
}

struct Slot<T>(UnsafeCell<Option<T>>);

// SAFETY: one thread writes before it ends, another reads after that.
unsafe impl<T: Send> Sync for Slot<T> {}

/// The right to wait for a thread. Dropping it detaches the thread, which then runs on.
pub struct JoinHandle<T> {
    running: Option<Running>,
    result: Arc<Slot<T>>,
    stop: Arc<AtomicBool>,
}

impl<T> JoinHandle<T> {
    /// Waits for the thread's end and returns its result.
    ///
    /// # Panics
    ///
    /// If the thread ended itself by a raw [`syscall::exit_thread`], so that there is no result.
    pub fn join(mut self) -> T {
        if let Some(running) = self.running.take() {
            // A request to stop this thread does not let it go on without the result; it can only
            // look again now and then.
            while running.thread.wait(Deadline::NEVER).is_err() {
                time::sleep(LOOK_AGAIN);
            }
        }
        reap();
        // SAFETY: the thread has ended.
        let result = unsafe { (*self.result.0.get()).take() };
        result.expect("the thread ended without a result")
    }

    /// Asks the thread to stop: its waits in the kernel return [`Error::Interrupted`], now and from
    /// now on, and [`stop_requested`] says so. What it does about it is its own matter.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn ask_to_stop(&self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread().ask_to_stop(true)
    }

    /// Whether the thread has ended, so that [`Self::join`] will not wait.
    pub fn is_finished(&self) -> bool {
        self.thread().wait(Deadline::NOW).is_ok()
    }

    /// The thread's object, for its priority and affinity.
    pub fn thread(&self) -> &Thread {
        match &self.running {
            Some(running) => &running.thread,
            None => unreachable!("only `join` and `drop` take it out"),
        }
    }

    /// The thread's number, unique while the system runs.
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn id(&self) -> Result<u64, Error> {
        self.thread().meta(ThreadMeta::Id)
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            DETACHED.lock().push(running);
        }
    }
}

/// Lets another ready thread of the same priority run first.
pub fn yield_now() {
    syscall::yield_now();
}

/// Sleeps for at least this long.
pub fn sleep(duration: Duration) {
    time::sleep(duration);
}
