//! Processes: an address space with its handles, limits and counters, and how it ends.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{
    Error, ExitStatus, Fault, Handle, PAGE_SIZE, Rights,
    counters::{COUNTER_COUNT, Counter},
    limits::Limits,
    object::{PROCESS_NAME_LENGTH, ProcessArguments},
};
use spillway_kernel_core::{handles::HandleTable, queue::List, regions::RegionMap};

use super::{Grant, Object, Service, service::ServiceKey};
use crate::{
    arch::core,
    kernel::{self, Guard, Kernel},
    memory::{account::Account, space::AddressSpace},
    sched,
    sync::Locked,
};

/// What a process costs of the kernel's own memory, in bytes; charged to it.
const PROCESS_COST: u64 = PAGE_SIZE;
/// What each handle that it may have costs, in bytes; charged from the start.
const HANDLE_COST: u64 = 32;

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Never used twice.
    pub id: u64,
    name: [u8; PROCESS_NAME_LENGTH],
    /// What it may have.
    pub limits: Limits,
    /// A bit per core on which its threads may run.
    pub affinity: u64,
    /// The highest priority that its threads may have.
    pub max_priority: u8,
    /// Who pays for its memory.
    pub account: Arc<Account>,
    /// Its pages.
    pub space: AddressSpace,
    /// At [`Counter`].
    pub counters: [AtomicU64; COUNTER_COUNT],
    /// It is ending: no thread of it goes back to its program.
    ending: AtomicBool,
    /// What the kernel lock protects.
    pub state: Locked<ProcessState>,
}

/// The part of a process that the kernel lock protects.
#[derive(Debug)]
pub struct ProcessState {
    /// What it can reach.
    pub handles: HandleTable<Object>,
    /// Its threads that have not ended.
    pub threads: List,
    /// How many those are.
    pub thread_count: u32,
    /// Who made it; let go when it is gone.
    pub parent: Option<Arc<Process>>,
    /// How it ends or ended.
    pub status: Option<ExitStatus>,
    /// The fault that ended it.
    pub fault: FaultReport,
    /// Everything that it had is back.
    pub gone: bool,
    /// The functions that it owns.
    pub grants: Vec<Arc<Grant>>,
    /// The services of which it is the server.
    pub services: Vec<Arc<Service>>,
    /// Who waits for that.
    pub waiters: List,
    /// Handles to it in other processes' tables.
    pub outside_handles: u32,
    /// The next process that nobody can reach any more ([`sched::work`]).
    pub next_orphan: Option<Arc<Process>>,
}

/// What is known of the fault that ended a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultReport {
    /// Which.
    pub kind: Option<Fault>,
    /// The instruction's address.
    pub instruction: u64,
    /// The address that it tried to reach.
    pub address: u64,
}

impl Process {
    /// A process without threads. `arguments` have been checked against the creator's limits.
    pub fn new(
        kernel: &mut Kernel,
        arguments: &ProcessArguments,
        affinity: u64,
        parent: Option<Arc<Process>>,
    ) -> Result<Arc<Self>, Error> {
        let above = parent.as_ref().map(|parent| parent.account.clone());
        let account = Arc::new(Account::new(&arguments.limits, above)?);
        account.charge(PROCESS_COST + HANDLE_COST * arguments.limits.handles as u64)?;
        let space = AddressSpace::new(&account)?;
        Ok(Arc::new(Self {
            id: kernel.new_id(),
            name: arguments.name,
            limits: arguments.limits,
            affinity,
            max_priority: arguments.max_priority as u8,
            account,
            space,
            counters: [const { AtomicU64::new(0) }; COUNTER_COUNT],
            ending: AtomicBool::new(false),
            state: Locked::new(ProcessState {
                handles: HandleTable::new(arguments.limits.handles),
                threads: List::new(),
                thread_count: 0,
                parent,
                status: None,
                fault: FaultReport::default(),
                gone: false,
                grants: Vec::new(),
                services: Vec::new(),
                waiters: List::new(),
                outside_handles: 0,
                next_orphan: None,
            }),
        }))
    }

    /// The name as its creator gave it.
    pub fn padded_name(&self) -> [u8; PROCESS_NAME_LENGTH] {
        self.name
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        let end = self
            .name
            .iter()
            .position(|&b| b == 0)
            .unwrap_or(self.name.len());
        core::str::from_utf8(&self.name[..end]).unwrap_or("?")
    }

    /// Whether it is ending or has ended.
    #[inline]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// [`Error::Gone`] if it is ending or has ended.
    pub fn check_alive(&self) -> Result<(), Error> {
        if self.is_ending() {
            Err(Error::Gone)
        } else {
            Ok(())
        }
    }

    /// What a handle leads to if it is of the wanted kind and has the rights, checked in this
    /// order.
    pub fn typed<T: Clone>(
        &self,
        kernel: &Kernel,
        handle: Handle,
        needed: Rights,
        kind: fn(&Object) -> Result<&T, Error>,
    ) -> Result<T, Error> {
        let (object, rights) = self.state.get(kernel).handles.get(handle)?;
        let object = kind(object)?;
        if rights.contains(needed) {
            Ok(object.clone())
        } else {
            Err(Error::MissingRight)
        }
    }

    /// One of the services that it serves, until that has ended and nobody waits for its answers.
    pub fn service(&self, kernel: &Kernel, key: ServiceKey) -> Option<Arc<Service>> {
        let services = &self.state.get(kernel).services;
        services
            .iter()
            .find(|service| service.key() == key)
            .cloned()
    }

    /// Counts something for this process.
    #[inline]
    pub fn count(&self, counter: Counter, by: u64) {
        self.counters[counter as usize].fetch_add(by, Ordering::Relaxed);
    }

    /// Begins the end of a process: none of its threads goes back to its program. False, and
    /// nothing changes, if the end had begun.
    ///
    /// Who begins it sees to [`sched::work::Teardown`] if the process has no thread; otherwise its
    /// last thread does.
    pub fn begin_end(&self, kernel: &mut Kernel, status: ExitStatus) -> bool {
        if self.ending.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.state.get_mut(kernel).status = Some(status);
        let mut next = self.state.get(kernel).threads.front();
        while let Some(slot) = next {
            next = kernel
                .sched
                .next_sibling(&self.state.get(kernel).threads, slot);
            sched::interrupt_thread(kernel, slot);
        }
        true
    }

    /// Gives back the empty tables, so that a process that is only remembered costs little.
    pub fn clear(&self, kernel: &mut Kernel) {
        *self.space.regions.get_mut(kernel) = RegionMap::new();
        let state = self.state.get_mut(kernel);
        state.handles = HandleTable::new(0);
        state.grants = Vec::new();
        state.services = Vec::new();
        self.account
            .release(PROCESS_COST + HANDLE_COST * u64::from(self.limits.handles));
    }

    /// How it ended, once everything that it had is back.
    pub fn final_status(&self, kernel: &Kernel) -> Option<ExitStatus> {
        let state = self.state.get(kernel);
        state.status.filter(|_| state.gone)
    }
}

/// Ends the running thread's process because of what its program did, with a line in the log.
/// Called from the trap handlers only, which have saved the thread's state.
pub fn fault_current(fault: Fault, instruction: u64, address: u64, stack: u64) -> ! {
    let mut kernel = kernel::lock();
    core().with_current(|thread| {
        let process = &thread.process;
        let fault = match fault {
            Fault::Page if is_stack_guard(&kernel, process, address, stack) => Fault::StackGuard,
            other => other,
        };
        lock_api::MutexGuard::unlocked(&mut kernel, || {
            log::warn!(
                "{} (process {}, thread {}) is ended by {}: instruction {instruction:#x}, \
                 address {address:#x}, stack {stack:#x}",
                process.name(),
                process.id,
                thread.id,
                fault.describe(),
            );
        });
        if !process.is_ending() {
            process.state.get_mut(&mut kernel).fault = FaultReport {
                kind: Some(fault),
                instruction,
                address,
            };
        }
        process.begin_end(&mut kernel, ExitStatus::Faulted(fault));
        sched::end_thread(&mut kernel, thread, ExitStatus::Faulted(fault));
    });
    sched::schedule(kernel)
}

/// Whether a fault looks like running over the end of a stack: at the unmapped page below a
/// mapping, near the stack pointer.
fn is_stack_guard(kernel: &Guard, process: &Process, address: u64, stack: u64) -> bool {
    let regions = process.space.regions.get(kernel);
    let above = (address | (PAGE_SIZE - 1)).wrapping_add(1);
    regions.find(address).is_none()
        && regions.find(above).is_some()
        && address.abs_diff(stack) <= PAGE_SIZE
}
