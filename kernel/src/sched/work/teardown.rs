//! Taking a process apart, once none of its threads runs any more.
//!
//! The order: every core leaves the address space; devices are taken back; the clients of its
//! services are told; handles are closed; mappings go; page tables go. Each step is bounded. Then whoever waits is told, and the parent is free to make another.

use alloc::sync::Arc;
use spillway_abi::ExitStatus;

use super::{super::wait::wake_all, Progress, Revoke, Work, revoke::Revoked};
use crate::{
    arch::{core, shootdown},
    ipc::{self, end::EndService},
    kernel::{Guard, Kernel},
    memory::{
        paging,
        space::{self, MAPPING_COST},
    },
    object::{Object, Process},
};

/// Handles closed, or mappings dropped, per step.
const OBJECTS: usize = 16;
/// Page tables freed per step.
const TABLES: u64 = 64;

/// A process that is being taken apart.
#[derive(Debug)]
pub struct Teardown {
    process: Arc<Process>,
    stage: Stage,
    /// The thread that does it is the process's last, and ends with it.
    own: bool,
    /// `process` is one that became unreachable when the first was taken apart.
    is_orphan: bool,
}

#[derive(Debug)]
enum Stage {
    Leave,
    Devices(Option<Revoke>),
    Services(Option<EndService>),
    Handles,
    Mappings,
    Tables,
}

impl Teardown {
    /// By the process's own last thread.
    pub fn own(process: Arc<Process>) -> Self {
        Self {
            process,
            stage: Stage::Leave,
            own: true,
            is_orphan: false,
        }
    }

    /// By somebody else's thread: the process has none.
    pub fn of_another(process: Arc<Process>) -> Self {
        Self {
            process,
            stage: Stage::Leave,
            own: false,
            is_orphan: false,
        }
    }

    /// Whether the thread that does it ends with it.
    pub fn is_own(&self) -> bool {
        self.own
    }

    pub(super) fn step(mut self, guard: &mut Guard) -> Progress {
        let stage = core::mem::replace(&mut self.stage, Stage::Leave);
        self.stage = match stage {
            Stage::Leave => {
                self.leave(guard);
                Stage::Devices(None)
            }
            Stage::Devices(None) if Revoke::begin_next(guard, &self.process) => {
                Stage::Devices(None)
            }
            Stage::Devices(work) => match self.take_device(guard, work) {
                Ok(next) => next,
                Err((rest, until)) => {
                    self.stage = Stage::Devices(Some(rest));
                    return Progress::Sleep(Work::Teardown(self), until);
                }
            },
            Stage::Services(work) => self.end_service(guard, work),
            Stage::Handles if self.close_handles(guard) => Stage::Mappings,
            Stage::Mappings if self.drop_mappings(guard) => Stage::Tables,
            Stage::Tables if self.free_tables() => {
                self.process.clear(guard);
                return self.finish(guard);
            }
            unfinished => unfinished,
        };
        Progress::More(Work::Teardown(self))
    }

    /// No core keeps the address space loaded, so its tables are nobody's afterwards.
    fn leave(&self, guard: &mut Guard) {
        let cores = self.process.space.cores();
        lock_api::MutexGuard::unlocked(guard, || {
            if cores & 1 << core().index.get() != 0 {
                space::leave();
            }
            shootdown::flush_others(cores);
        });
        debug_assert_eq!(self.process.space.cores(), 0);
    }

    /// Goes on taking back the process's functions. A revocation that must wait is an error, with
    /// the time until when.
    fn take_device(&self, guard: &mut Guard, work: Option<Revoke>) -> Result<Stage, (Revoke, u64)> {
        let work = match work {
            Some(work) => work,
            None => match self.process.state.get(guard).grants.first().cloned() {
                Some(grant) => Revoke::begin(guard, grant),
                None => return Ok(Stage::Services(None)),
            },
        };
        match work.advance(guard) {
            Revoked::Done => Ok(Stage::Devices(None)),
            Revoked::More(rest) => Ok(Stage::Devices(Some(rest))),
            Revoked::Later(rest, until) => Err((rest, until)),
        }
    }

    /// Goes on letting the clients of the process's services know.
    fn end_service(&self, guard: &mut Guard, work: Option<EndService>) -> Stage {
        let mut work = match work {
            Some(work) => work,
            None => match self.process.state.get(guard).services.first().cloned() {
                Some(service) => EndService::with_server(guard, service),
                None => return Stage::Handles,
            },
        };
        if work.advance(guard) {
            Stage::Services(None)
        } else {
            Stage::Services(Some(work))
        }
    }

    /// Whether all are closed.
    fn close_handles(&self, guard: &mut Guard) -> bool {
        for _ in 0..OBJECTS {
            let Some((object, _)) = self.process.state.get_mut(guard).handles.pop_any() else {
                return true;
            };
            // The services of the process have ended before.
            let _ = close(guard, &self.process, object);
        }
        false
    }

    /// Whether all are gone.
    fn drop_mappings(&self, guard: &mut Guard) -> bool {
        for _ in 0..OBJECTS {
            let Some(region) = self.process.space.regions.get_mut(guard).pop_any() else {
                return true;
            };
            region.value.memory.let_go(guard, &self.process.account);
            self.process.account.release(MAPPING_COST);
        }
        false
    }

    /// Whether all are free.
    fn free_tables(&self) -> bool {
        if paging::free_tables(self.process.space.root(), TABLES) == TABLES {
            return false;
        }
        self.process.space.free_root();
        self.process.account.release_tables();
        true
    }

    /// The next unreachable process, or the end.
    fn finish(self, guard: &mut Guard) -> Progress {
        // The own process is announced when its last thread is gone too.
        if !self.own || self.is_orphan {
            announce(guard, &self.process);
        }
        match take_orphan(guard) {
            Some(process) => Progress::More(Work::Teardown(Self {
                process,
                stage: Stage::Leave,
                own: self.own,
                is_orphan: true,
            })),
            None => Progress::Done(Ok(0)),
        }
    }
}

/// Everything is back: tells whoever waits, and the parent's count.
pub fn announce(kernel: &mut Kernel, process: &Arc<Process>) {
    let state = process.state.get_mut(kernel);
    state.gone = true;
    let status = state.status.unwrap_or(ExitStatus::Killed(0));
    let waiters = core::mem::take(&mut state.waiters);
    if let Some(parent) = state.parent.take() {
        parent.account.remove_process();
    }
    wake_all(kernel, waiters, status);
}

/// Lets go of an object that a handle of `holder` led to. A process that has no thread and that
/// nobody else can reach to give it one becomes an orphan, to be taken apart by a teardown. A service
/// whose server lets go of it ends: that is to be done by the caller.
pub fn close(kernel: &mut Kernel, holder: &Arc<Process>, object: Object) -> Option<EndService> {
    match &object {
        Object::Process(process) => close_process(kernel, holder, process),
        Object::Memory(memory) => memory.let_go(kernel, &holder.account),
        Object::Remote(remote) => ipc::release(kernel, remote),
        Object::IoQueue(queue) => {
            let state = queue.state.get_mut(kernel);
            state.handles -= 1;
            if state.handles == 0 {
                ipc::end::end_queue(kernel, queue);
            }
        }
        Object::Timer(timer) => {
            let state = timer.state.get_mut(kernel);
            state.handles -= 1;
            if state.handles == 0 {
                timer.end(kernel);
            }
        }
        Object::Service(service) if Arc::ptr_eq(&service.owner, holder) => {
            let state = service.state.get_mut(kernel);
            state.handles -= 1;
            if state.handles == 0 && !state.ended {
                return Some(EndService::by_wish(kernel, service.clone()));
            }
        }
        _ => {}
    }
    None
}

fn close_process(kernel: &mut Kernel, holder: &Arc<Process>, process: &Arc<Process>) {
    if Arc::ptr_eq(process, holder) {
        return;
    }
    let state = process.state.get_mut(kernel);
    state.outside_handles -= 1;
    if state.outside_handles == 0 && state.thread_count == 0 && !process.is_ending() {
        process.begin_end(kernel, ExitStatus::Killed(0));
        let next = kernel.sched.orphans.replace(process.clone());
        process.state.get_mut(kernel).next_orphan = next;
    }
}

/// A process that nobody can reach, if there is one.
pub fn take_orphan(kernel: &mut Kernel) -> Option<Arc<Process>> {
    let orphan = kernel.sched.orphans.take()?;
    kernel.sched.orphans = orphan.state.get_mut(kernel).next_orphan.take();
    Some(orphan)
}
