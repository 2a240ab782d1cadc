//! Services, and the objects that a process serves.

use alloc::{sync::Arc, vec::Vec};
use spillway_abi::{
    Error,
    limits::{MAX_WINDOW_SLOT, MAX_WINDOW_SLOTS},
    service::Token,
};
use spillway_kernel_core::{queue::List, slots::Slots};

use super::{Event, IoQueue, Memory, Process, Thread};
use crate::{kernel::Kernel, memory::frames, sync::Locked};

/// What a service costs of the kernel's own memory, in bytes; charged to the server.
pub const SERVICE_COST: u64 = 512;
/// What a served object costs of the kernel's own memory, in bytes; charged to the server.
pub const REMOTE_COST: u64 = 128;
/// Events that one served object can remember, to signal them at the service's end.
pub const MAX_EVENTS: usize = 4;

/// Where requests on the objects of a server arrive.
#[derive(Debug)]
pub struct Service {
    /// The server.
    pub owner: Arc<Process>,
    /// What the kernel lock protects.
    pub state: Locked<ServiceState>,
}

/// Names a service among those of its server, without keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceKey(usize);

/// The part of a service that the kernel lock protects. An asker (a thread, or a request of a queue)
/// whose request was not taken, or is to be cancelled, is on one of the lists. One whose request was
/// taken is on none: at the end of the service, which is rare, all askers are looked at instead.
#[derive(Debug, Default)]
pub struct ServiceState {
    /// It takes no more requests.
    pub ended: bool,
    /// Handles to it in the server's own table.
    pub handles: u32,
    /// Where data of requests goes through.
    pub window: Option<Window>,
    /// The server has begun to take requests: without a window by now, it takes no data.
    pub begun: bool,
    /// The queue that it is bound to, and its number there.
    pub queue: Option<(Arc<IoQueue>, u32)>,
    /// Requests that nobody has taken, the oldest first.
    pub waiting: List,
    /// How many those are.
    pub waiting_count: u32,
    /// Requests that were taken and not answered, the cancelled ones included.
    pub taken_count: u32,
    /// Taken requests of whose cancellation the server is to be told.
    pub cancelled: List,
    /// Objects that nobody can reach any more, of which the server is to be told: the last first.
    pub closed: Option<Arc<Remote>>,
    /// Messages are being handed out.
    pub pumps: bool,
    /// A thread that waits for a request.
    pub server: Option<Arc<Thread>>,
    /// More of them.
    pub servers: List,
    /// Threads that wait for a slot of the window.
    pub window_waiters: List,
    /// Events that clients shared, each with the number of the object that it was shared with: to
    /// be signalled when the service ends.
    pub events: Vec<(u64, Arc<Event>)>,
}

/// An object that a process serves: a number of its own, and who can reach it.
#[derive(Debug)]
pub struct Remote {
    /// Whose it is.
    pub service: Arc<Service>,
    /// The server's number.
    pub number: u64,
    /// What the kernel lock protects.
    pub state: Locked<RemoteState>,
}

/// The part of a served object that the kernel lock protects.
#[derive(Debug, Default)]
pub struct RemoteState {
    /// Handles to it, and requests on it that are under way.
    pub uses: u32,
    /// The next of the service's closed ones.
    pub next: Option<Arc<Remote>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.owner.account.release(SERVICE_COST);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.service.owner.account.release(REMOTE_COST);
    }
}

impl Remote {
    /// [`Error::BadHandle`] if the last handle to it was closed: its server was told, and hears no
    /// more of it.
    pub fn check(&self, kernel: &Kernel) -> Result<(), Error> {
        match self.state.get(kernel).uses {
            0 => Err(Error::BadHandle),
            _ => Ok(()),
        }
    }
}

impl Service {
    /// A service of a process. [`Error::LimitReached`], [`Error::OutOfMemory`], [`Error::Gone`].
    pub fn new(kernel: &mut Kernel, owner: &Arc<Process>) -> Result<Arc<Self>, Error> {
        owner.check_alive()?;
        let services = &mut owner.state.get_mut(kernel).services;
        services.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        owner.account.charge(SERVICE_COST)?;
        let service = Arc::new(Self {
            owner: owner.clone(),
            state: Locked::default(),
        });
        owner.state.get_mut(kernel).services.push(service.clone());
        Ok(service)
    }

    /// Names it for [`Process::service`].
    #[inline]
    pub fn key(&self) -> ServiceKey {
        ServiceKey(core::ptr::from_ref(self).addr())
    }

    /// Nobody ever had a handle to it.
    pub fn withdraw(self: &Arc<Self>, kernel: &mut Kernel) {
        let services = &mut self.owner.state.get_mut(kernel).services;
        services.retain(|other| !Arc::ptr_eq(other, self));
    }

    /// [`Error::ServerGone`] if it has ended.
    pub fn check(&self, kernel: &Kernel) -> Result<(), Error> {
        if self.state.get(kernel).ended {
            Err(Error::ServerGone)
        } else {
            Ok(())
        }
    }

    /// A new object of the server. [`Error::ServerGone`], [`Error::LimitReached`],
    /// [`Error::OutOfMemory`].
    pub fn mint(self: &Arc<Self>, kernel: &Kernel, number: u64) -> Result<Arc<Remote>, Error> {
        self.check(kernel)?;
        if !frames::has_reserve() {
            return Err(Error::OutOfMemory);
        }
        self.owner.account.charge(REMOTE_COST)?;
        Ok(Arc::new(Remote {
            service: self.clone(),
            number,
            state: Locked::default(),
        }))
    }

    /// Registers the receive window, once. [`Error::Busy`] if there is one,
    /// [`Error::BadArgument`] for slots that do not fit.
    pub fn set_window(
        &self,
        kernel: &mut Kernel,
        memory: Arc<Memory>,
        slot_bytes: u64,
    ) -> Result<(), Error> {
        self.check(kernel)?;
        if self.state.get(kernel).window.is_some() {
            return Err(Error::Busy);
        }
        let window = Window::new(memory, slot_bytes)?;
        window.memory.hold(kernel, &self.owner.account)?;
        self.state.get_mut(kernel).window = Some(window);
        Ok(())
    }
}

/// Memory of a server through which data of requests goes, in slots.
#[derive(Debug)]
pub struct Window {
    /// The pages.
    pub memory: Arc<Memory>,
    /// Bytes of a slot.
    pub slot_bytes: u64,
    free: Slots,
    /// The request whose data a slot holds.
    tokens: Vec<Token>,
}

impl Window {
    fn new(memory: Arc<Memory>, slot_bytes: u64) -> Result<Self, Error> {
        let count = memory.bytes().checked_div(slot_bytes).unwrap_or(0);
        let count = count.min(MAX_WINDOW_SLOTS.into()) as u16;
        let fits = slot_bytes.is_multiple_of(64) && slot_bytes <= MAX_WINDOW_SLOT;
        if count == 0 || !fits || memory.is_registers() {
            return Err(Error::BadArgument);
        }
        let mut tokens = Vec::new();
        tokens
            .try_reserve_exact(count.into())
            .map_err(|_| Error::OutOfMemory)?;
        tokens.resize(count.into(), Token::NONE);
        Ok(Self {
            memory,
            slot_bytes,
            free: Slots::new(count)?,
            tokens,
        })
    }

    /// A slot that no request has.
    pub fn allocate(&mut self) -> Option<u16> {
        self.free.allocate()
    }

    /// Says which request has a slot.
    pub fn assign(&mut self, slot: u16, token: Token) {
        self.tokens[usize::from(slot)] = token;
    }

    /// Takes a slot back.
    pub fn release(&mut self, slot: u16) {
        self.tokens[usize::from(slot)] = Token::NONE;
        self.free.free(slot);
    }

    /// Whether the token's slot still belongs to that request.
    pub fn has(&self, token: Token) -> bool {
        let slot = token.window_slot().map(usize::from);
        slot.and_then(|slot| self.tokens.get(slot)) == Some(&token)
    }
}
