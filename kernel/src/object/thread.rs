//! Threads.

use core::cell::UnsafeCell;

use alloc::sync::Arc;
use spillway_abi::{Error, ExitStatus, PAGE_SIZE, object::ThreadArguments, service::Message};
use spillway_kernel_core::queue::List;

use super::{Event, Interrupt, IoQueue, Process, Service, Timer, service::ServiceKey};
use crate::{
    arch::context::Context,
    ipc::{Asked, direct::Handed, reply::Answer},
    kernel::Kernel,
    sched::work::Work,
    sync::Locked,
};

/// A thread. It is never ended from outside: it ends by itself or with its process.
#[derive(Debug)]
pub struct Thread {
    /// The saved state; the entry code's while the thread runs.
    context: UnsafeCell<Context>,
    /// Whose thread it is.
    pub process: Arc<Process>,
    /// Its position in the scheduler's tables.
    pub slot: u16,
    /// Never used twice.
    pub id: u64,
    /// The base of `fs`.
    pub fs_base: u64,
    /// What the kernel lock protects.
    pub state: Locked<ThreadState>,
}

// SAFETY: the context is touched by the entry code of the core on which the thread runs, or,
// while it does not run, under the kernel lock (`set_result`). Everything else is `Sync`.
unsafe impl Sync for Thread {}

/// What a thread costs of the kernel's own memory, in bytes; charged to its process.
pub const THREAD_COST: u64 = PAGE_SIZE / 2;

impl Drop for Thread {
    fn drop(&mut self) {
        self.process.account.release(THREAD_COST);
    }
}

/// Where a thread is.
#[derive(Debug)]
pub enum Phase {
    /// In the run queue of its home core.
    Ready,
    /// On its home core.
    Running,
    /// Its home core does a step of its work; it is on no list.
    Working,
    /// Until something happens.
    Waiting(Wait),
    /// For good.
    Ended(ExitStatus),
}

/// What a thread waits for; says from which list it is taken if it must not wait on.
#[derive(Clone, Debug)]
pub enum Wait {
    /// A word of its process's memory, at this address.
    Futex(u64),
    /// The end of a process.
    Process(Arc<Process>),
    /// The end of a thread.
    Thread(Arc<Thread>),
    /// An interrupt of a device.
    Interrupt(Arc<Interrupt>),
    /// An event.
    Event(Arc<Event>),
    /// A timer.
    Timer(Arc<Timer>),
    /// The answer of a server; what was asked is in the thread.
    Answer,
    /// Room in the window of a server; with a queue, also completions there.
    Window(Arc<Service>, Option<Arc<IoQueue>>),
    /// A request on an object of this service of its process. A service that has ended has nobody
    /// who waits, so while there is somebody the process has it.
    Serve(ServiceKey),
    /// Completions in a queue.
    Queue(Arc<IoQueue>),
    /// Only the deadline.
    Time,
}

impl Wait {
    /// The list of those who wait for the object. Words have a table of their own, who asked or serves
    /// is known to the service, a queue has one who waits, and for the deadline alone there is no
    /// list.
    pub fn waiters<'a>(&'a self, kernel: &'a mut Kernel) -> Option<&'a mut List> {
        Some(match self {
            Self::Process(process) => &mut process.state.get_mut(kernel).waiters,
            Self::Thread(thread) => &mut thread.state.get_mut(kernel).waiters,
            Self::Interrupt(interrupt) => &mut interrupt.state.get_mut(kernel).waiters,
            Self::Event(event) => &mut event.state.get_mut(kernel).waiters,
            Self::Timer(timer) => &mut timer.state.get_mut(kernel).waiters,
            Self::Window(service, _) => &mut service.state.get_mut(kernel).window_waiters,
            Self::Futex(_) | Self::Answer | Self::Serve(_) | Self::Queue(_) | Self::Time => {
                return None;
            }
        })
    }
}

/// The part of a thread that the kernel lock protects.
#[derive(Debug)]
pub struct ThreadState {
    /// Where it is.
    pub phase: Phase,
    /// 0 to 31: its own, or while it serves a thread, that thread's.
    pub priority: u8,
    /// Its own priority.
    pub own_priority: u8,
    /// A bit per core on which it may run.
    pub affinity: u64,
    /// The core on which it runs, is ready, or ran last.
    pub home: usize,
    /// Ticks of its time slice that it has not used, because a thread of higher priority came; 0
    /// if it begins a new one.
    pub slice_left: u64,
    /// The rest of a long operation, to be done before the program goes on.
    pub work: Option<Work>,
    /// Who waits for its end.
    pub waiters: List,
    /// What it asked a server, while it waits for the answer.
    pub asked: Option<Asked>,
    /// The same, if it was switched from straight to the server.
    pub handed: Option<Handed>,
    /// A slot of a window that was handed to it.
    pub window_slot: Option<(Arc<Service>, u16)>,
    /// It was asked to stop: it does not wait.
    pub stop: bool,
    /// It was asked to stop, or its process is ending: what it does goes the long way.
    pub hasty: bool,
    /// It waits, and the list of its home core has a deadline of it.
    pub timed: bool,
    /// The word that it waits for matters more than that.
    pub deaf: bool,
}

impl Thread {
    /// A thread that has not run. The arguments have been checked.
    pub fn new(
        process: Arc<Process>,
        slot: u16,
        id: u64,
        arguments: &ThreadArguments,
        priority: u8,
        affinity: u64,
    ) -> Self {
        Self {
            context: UnsafeCell::new(Context::new(
                arguments.entry,
                arguments.stack,
                arguments.arguments,
            )),
            process,
            slot,
            id,
            fs_base: arguments.fs_base,
            state: Locked::new(ThreadState {
                phase: Phase::Ready,
                priority,
                own_priority: priority,
                affinity,
                home: affinity.trailing_zeros() as usize,
                slice_left: 0,
                work: None,
                waiters: List::new(),
                asked: None,
                handed: None,
                window_slot: None,
                stop: false,
                hasty: false,
                timed: false,
                deaf: false,
            }),
        }
    }

    /// The saved state, for the entry code.
    #[inline]
    pub fn context_pointer(&self) -> *mut Context {
        self.context.get()
    }

    /// Sets what the system call that the thread waits in returns.
    #[inline]
    pub fn set_result(&self, _kernel: &mut Kernel, result: Result<u64, Error>) {
        // SAFETY: the thread waits in a system call, so no entry code uses its context; the
        // kernel lock is held, so no other core does this.
        unsafe { (*self.context.get()).set_result(result) }
    }

    /// Sets what a server answered as the result of the call that the thread waits in.
    #[inline]
    pub fn set_answer(&self, _kernel: &mut Kernel, answer: Answer) {
        // SAFETY: as in `set_result`.
        unsafe { (*self.context.get()).set_answer(answer) }
    }

    /// Sets a message as the result of the call that the thread waits in.
    #[inline]
    pub fn set_message(&self, _kernel: &mut Kernel, message: &Message) {
        // SAFETY: as in `set_result`.
        unsafe { (*self.context.get()).set_message(message) }
    }

    /// `r12` and `r13` of the system call that the thread is in.
    #[inline]
    pub fn extra_arguments(&self, _kernel: &Kernel) -> [u64; 2] {
        // SAFETY: the thread is in a system call, whose entry code has saved its registers and does
        // not touch them before the return.
        let registers = unsafe { &(*self.context.get()).registers };
        [registers.r12, registers.r13]
    }

    /// The queue in which the thread waits for completions alone, if it does.
    pub fn waited_queue(&self, kernel: &Kernel) -> Option<Arc<IoQueue>> {
        match &self.state.get(kernel).phase {
            Phase::Waiting(Wait::Queue(queue)) => Some(queue.clone()),
            _ => None,
        }
    }
}
