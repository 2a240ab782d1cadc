//! The controller: found, started, asked what it is, and opened queue by queue.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use spillway_hal::block::{BlockCount, BlockDriver, BlockLimits, NamespaceId, QueueOptions};
use spillway_hal::{Clock, Device, DriverError, DriverErrorKind, HalErrorKind};

use crate::admin::Admin;
use crate::command::AdminCommand;
use crate::identify::{ControllerInfo, Namespace, active_namespaces, cns};
use crate::limits::Limits;
use crate::prepared::Usual;
use crate::queue::{DONE, IDLE, NONE, Queue, Slot};
use crate::recover::{ABORTED, Watch};
use crate::ring::{Memory, Ring};
use crate::shared::Core;
use crate::split::{Group, list_bytes};
use crate::status::StatusField;

/// Requests in flight in the deepest queue.
pub const MAX_DEPTH: u16 = 1024;
/// Queue pairs that the driver asks for.
pub const MAX_QUEUES: u16 = 64;
/// Namespaces that are offered; further ones are left out.
pub const MAX_NAMESPACES: usize = 64;

/// How the driver behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// After so many nanoseconds a command is late, and the controller is halted. It is noticed
    /// within another eighth of this, as long as somebody reaps or waits.
    pub command_timeout: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            command_timeout: 10_000_000_000,
        }
    }
}

/// An NVMe controller with the NVM command set.
///
/// Dropping it stops the controller and turns bus mastering off; see [`shut_down`](Self::shut_down)
/// for the announced way.
pub struct Nvme<D: Device> {
    core: Arc<Core<D>>,
    options: Options,
    admin: Option<Admin<D>>,
    info: ControllerInfo,
    limits: Limits,
    namespaces: Arc<[Namespace]>,
    ids: Vec<NamespaceId>,
    /// The memory of I/O queue pair n + 1. A queue that was dropped leaves it here, until the
    /// controller has forgotten it.
    queues: Vec<Option<Arc<Memory<D>>>>,
}

/// What the controller said when it was started.
struct Setup<D: Device> {
    admin: Admin<D>,
    info: ControllerInfo,
    limits: Limits,
    namespaces: Vec<Namespace>,
    pairs: u16,
}

impl<D: Device> Nvme<D> {
    /// Takes a controller in whatever state it is, resets and starts it.
    ///
    /// # Errors
    ///
    /// `WrongDevice` for anything but an NVMe controller; `Unsupported` without the NVM command
    /// set, pages of 4 KiB or a usable queue; `TimedOut`, `Device`, `Protocol` and `Gone` for a
    /// controller that does not work; those of the back end.
    pub fn new(device: D, options: Options) -> Result<Self, DriverError> {
        let core = Core::new(device)?;
        let setup = bring_up(&core, options)?;
        Ok(Self {
            core: Arc::new(core),
            options,
            info: setup.info,
            limits: setup.limits,
            ids: setup
                .namespaces
                .iter()
                .map(|namespace| namespace.id)
                .collect(),
            namespaces: setup.namespaces.into(),
            queues: (0..setup.pairs).map(|_| None).collect(),
            admin: Some(setup.admin),
        })
    }

    /// What the controller says about itself.
    pub fn info(&self) -> &ControllerInfo {
        &self.info
    }

    /// The namespaces that the driver can use.
    pub fn namespace_list(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// Queue pairs that can be open at once.
    pub fn queue_limit(&self) -> usize {
        self.queues.len()
    }

    /// The device, for what only its owner does.
    pub fn device(&self) -> &D {
        &self.core.device
    }

    /// Announces a shutdown, waits until the controller has brought its data to safety, and
    /// stops it.
    ///
    /// # Errors
    ///
    /// `TimedOut` when it is not in time; it was stopped all the same.
    pub fn shut_down(self) -> Result<(), DriverError> {
        self.core.shut_down()
    }

    /// Opens a queue with the controller's own type.
    ///
    /// # Errors
    ///
    /// See [`BlockDriver::open_queue`].
    pub fn open(&mut self, options: QueueOptions) -> Result<Queue<D>, DriverError> {
        if options.depth == 0 {
            return Err(DriverError::new(
                DriverErrorKind::InvalidRequest,
                "a queue has a depth of at least one",
            ));
        }
        let namespace = *self.namespaces.first().ok_or(DriverError::new(
            DriverErrorKind::Unsupported,
            "the controller has no namespace that the driver can use",
        ))?;
        self.reclaim()?;
        let free = self.queues.iter().position(Option::is_none);
        let number =
            free.ok_or(unsupported("the controller has no further queue pair"))? as u16 + 1;
        let (interrupt, vector) = match options.interrupt {
            true => self
                .take_vector(number)
                .map(|(interrupt, v)| (Some(interrupt), Some(v)))?,
            false => (None, None),
        };
        let Limits {
            command_bytes,
            max_transfer,
            max_segments,
            ..
        } = self.limits;
        let (depth, slots, entries) = self.limits.queue(options.depth);
        let list_bytes = list_bytes(command_bytes);
        let lists = usize::from(slots) * list_bytes;
        let memory = Arc::new(Memory::allocate(&self.core.device, entries, lists)?);
        self.create(number, entries, vector, &memory)?;
        let admin = self.admin.as_ref().ok_or(ABORTED)?;
        let now = self.core.clock.now();
        Ok(Queue {
            ring: Ring::new(&self.core, number, entries, memory),
            slots: idle_slots(depth, slots, entries),
            idle: 0,
            done: 0,
            usual: Usual::NONE,
            namespace,
            epoch: admin.epoch(),
            core: self.core.clone(),
            watch: Watch::new(now, self.options.command_timeout, slots),
            groups: (0..slots)
                .map(|_| Group {
                    left: 0,
                    status: StatusField(0),
                    first: 0,
                })
                .collect(),
            spare: if slots > depth { depth.into() } else { NONE },
            extra: 0,
            depth,
            usable: slots,
            list_bytes,
            command_bytes,
            max_segments,
            max_transfer,
            namespaces: self.namespaces.clone(),
            interrupt,
        })
    }

    /// Creates the queue pair on the controller, which has its memory from then on.
    fn create(
        &mut self,
        queue: u16,
        entries: u32,
        vector: Option<u16>,
        memory: &Arc<Memory<D>>,
    ) -> Result<(), DriverError> {
        let admin = self.admin.as_mut().ok_or(ABORTED)?;
        self.queues[usize::from(queue) - 1] = Some(memory.clone());
        let base = memory.completions.io_address(0);
        let create = AdminCommand::create_completion_queue(queue, entries, base, vector);
        let created = admin.execute(&self.core, create).and_then(|_| {
            let base = memory.submissions.io_address(0);
            let create = AdminCommand::create_submission_queue(queue, entries, base);
            admin.execute(&self.core, create).inspect_err(|_| {
                // If this fails too, the controller keeps the memory until it is reset.
                let delete = AdminCommand::delete_completion_queue(queue);
                let _ = admin.execute(&self.core, delete);
            })
        });
        created.map(|_| ())
    }

    /// Deletes the queues that were dropped, and their memory with them.
    fn reclaim(&mut self) -> Result<(), DriverError> {
        let admin = self.admin.as_mut().ok_or(ABORTED)?;
        for (index, memory) in self.queues.iter_mut().enumerate() {
            if memory
                .as_ref()
                .is_none_or(|memory| Arc::strong_count(memory) > 1)
            {
                continue;
            }
            let queue = index as u16 + 1;
            for delete in [
                AdminCommand::delete_submission_queue(queue),
                AdminCommand::delete_completion_queue(queue),
            ] {
                match admin.execute(&self.core, delete) {
                    // The controller says that it has no such queue: creating it had failed.
                    Ok(_)
                    | Err(DriverError {
                        kind: DriverErrorKind::Device,
                        ..
                    }) => {}
                    Err(error) => return Err(error),
                }
            }
            *memory = None;
        }
        Ok(())
    }

    /// Takes an interrupt vector for I/O queue `queue`: the lowest that is free, that of the admin
    /// queue last.
    fn take_vector(&self, queue: u16) -> Result<(D::Interrupt, u16), DriverError> {
        for vector in (1..=queue).chain([0]) {
            match self.core.device.interrupt(vector) {
                Ok(interrupt) => return Ok((interrupt, vector)),
                Err(error) if matches!(error.kind, HalErrorKind::Busy | HalErrorKind::NotFound) => {
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(unsupported(
            "the controller has no further interrupt vector",
        ))
    }
}

impl<D: Device> BlockDriver for Nvme<D> {
    type Queue = Queue<D>;

    fn namespaces(&self) -> &[NamespaceId] {
        &self.ids
    }

    fn limits(&self, namespace: NamespaceId) -> Option<BlockLimits> {
        let namespace = self.namespaces.iter().find(|known| known.id == namespace)?;
        let shift = namespace.block_size.shift();
        let atomic = BlockCount(u64::from(self.limits.command_bytes >> shift));
        Some(BlockLimits {
            block_size: namespace.block_size,
            capacity: namespace.capacity,
            max_transfer: BlockCount(u64::from(self.limits.max_transfer >> shift)),
            max_segments: self.limits.max_segments,
            segment_alignment: 4,
            atomic_write: namespace.atomic_write.min(atomic),
            volatile_cache: self.info.volatile_cache,
        })
    }

    fn open_queue(&mut self, options: QueueOptions) -> Result<Self::Queue, DriverError> {
        self.open(options)
    }

    fn reset(&mut self) -> Result<(), DriverError> {
        self.core.stop()?;
        self.admin = None;
        self.queues.fill_with(|| None);
        let setup = bring_up(&self.core, self.options)?;
        self.info = setup.info;
        self.limits = setup.limits;
        self.ids = setup
            .namespaces
            .iter()
            .map(|namespace| namespace.id)
            .collect();
        self.namespaces = setup.namespaces.into();
        self.queues.resize_with(setup.pairs.into(), || None);
        self.admin = Some(setup.admin);
        Ok(())
    }
}

/// Stops the controller. If that is impossible its memory is never given back.
impl<D: Device> Drop for Nvme<D> {
    fn drop(&mut self) {
        if self.core.stop().is_err() {
            core::mem::forget(core::mem::take(&mut self.queues));
            if let Some(admin) = &self.admin {
                admin.leak();
            }
        }
    }
}

/// Resets and starts the controller and asks what it is.
fn bring_up<D: Device>(core: &Core<D>, options: Options) -> Result<Setup<D>, DriverError> {
    core.stop()?;
    let mut admin = Admin::start(core, options.command_timeout)?;
    let asked = ask(core, &mut admin);
    if asked.is_err() && core.stop().is_err() {
        admin.leak();
    }
    let (info, limits, namespaces, pairs) = asked?;
    Ok(Setup {
        admin,
        info,
        limits,
        namespaces,
        pairs,
    })
}

type Answers = (ControllerInfo, Limits, Vec<Namespace>, u16);

fn ask<D: Device>(core: &Core<D>, admin: &mut Admin<D>) -> Result<Answers, DriverError> {
    let page = admin.identify(core, cns::CONTROLLER, 0)?;
    let info = ControllerInfo::parse(&page, core.version())?;
    let limits = Limits::new(core.capabilities, &info);
    let namespaces = find_namespaces(core, admin, &info, limits.command_bytes)?;
    // Dword 0: the numbers that it allocated, zero-based, submission queues in the lower half.
    let numbers = admin.execute(core, AdminCommand::set_number_of_queues(MAX_QUEUES))?;
    let pairs = (numbers & 0xffff).min(numbers >> 16) + 1;
    let pairs = core.reachable_pairs(pairs.min(MAX_QUEUES.into()) as u16);
    Ok((info, limits, namespaces, pairs))
}

fn find_namespaces<D: Device>(
    core: &Core<D>,
    admin: &mut Admin<D>,
    info: &ControllerInfo,
    command_bytes: u32,
) -> Result<Vec<Namespace>, DriverError> {
    // The list exists since version 1.1; before it, all numbers up to NN are namespaces.
    let active: Vec<u32> = match info.version >= 0x1_0100 {
        true => active_namespaces(&*admin.identify(core, cns::ACTIVE_NAMESPACES, 0)?)
            .take(MAX_NAMESPACES)
            .collect(),
        false => (1..=info.namespaces).take(MAX_NAMESPACES).collect(),
    };
    let mut namespaces = Vec::new();
    for id in active {
        let page = admin.identify(core, cns::NAMESPACE, id)?;
        namespaces.extend(Namespace::parse(
            &page,
            NamespaceId(id),
            info,
            command_bytes,
        ));
    }
    Ok(namespaces)
}

/// Slots 0 to `depth` in one list, the others up to `usable` in another, each with its index as its
/// last identifier. What is left of `entries` is in no list and never idle.
fn idle_slots(depth: u16, usable: u16, entries: u32) -> Box<[Slot]> {
    let slot = |index: u32| {
        let next = index + 1;
        let is_last = next == u32::from(depth) || next >= u32::from(usable);
        let state = if index < usable.into() { IDLE } else { DONE };
        Slot {
            state: u64::from(index) << 48 | state,
            tag: if is_last { NONE as u64 } else { next.into() },
        }
    };
    (0..entries).map(slot).collect()
}

const fn unsupported(reason: &'static str) -> DriverError {
    DriverError::new(DriverErrorKind::Unsupported, reason)
}
