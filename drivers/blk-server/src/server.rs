//! The loop of the server, and how it passes the time when there is nothing to do.
//!
//! ```text
//!  messages ─┐                           ┌─► answers to messages ──┐
//!  rings ────┼─► checked ─► the driver ──┤                         ├─► one entry to the kernel,
//!  waiting ──┘                           └─► entries of rings ─────┘    if somebody sleeps
//! ```
//!
//! Answers to messages, and signals for those who sleep beside their rings, are held back while the
//! device goes on answering, for a bounded number of answers and looks, so that a batch costs one entry
//! to the kernel. That entry is also the one in which the server waits.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use driver_sdk::{
    abi::Error,
    hal::{
        DriverError,
        block::{BlockDriver, BlockDriverQueue, QueueOptions},
    },
    io::WaitMode,
    prelude::*,
};

use crate::{
    backend::{Backend, capacity},
    client::{QueueOf, Range},
    flights::Flights,
    hot::Hot,
    out::{Out, Slots},
    wake::{EVENTS, INTERRUPT},
};

/// Slots of the window for requests whose data is copied, and bytes of each.
const WINDOW: (u32, usize) = (16, 64 << 10);
/// Entries of the queue in which everything arrives.
const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 1024;
/// Answers are held back until so many requests and answers more have passed, or so many looks were in
/// vain: the first bounds what one client may have while another waits to be woken, the second for how
/// long the device may take.
const HOLD: usize = 64;
const HOLD_LOOKS: u32 = 256;
/// How long the server sleeps with requests at the device, in nanoseconds: then it looks whether any
/// is late.
const TICK: u64 = 500_000_000;

/// How the server behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Requests that the driver has at most.
    pub depth: u16,
    /// How the time is passed until the device has answered: `Adaptive` counts looks.
    pub wait: WaitMode,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth: 256,
            wait: WaitMode::Adaptive(1000),
        }
    }
}

/// Why the server ended.
#[derive(Debug)]
pub enum Failure {
    /// The kernel refused something.
    Kernel(Error),
    /// The driver did.
    Driver(DriverError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(out),
            Self::Driver(error) => error.fmt(out),
        }
    }
}

/// How long the server has looked in vain, on this core, while nobody else ran there.
#[derive(Default)]
pub(crate) struct Idle {
    /// In ticks of the time-stamp counter.
    pub(crate) ticks: u64,
    /// Looks that were not in vain.
    pub(crate) looks: u64,
    /// The end of the last look, if nothing else is to be done until the device answers.
    since: u64,
}

impl Idle {
    /// A look has found something; the next may be in vain.
    #[inline]
    fn found(&mut self) {
        self.looks += 1;
        self.since = time::tsc();
    }

    /// One more look was in vain.
    #[inline]
    fn vain(&mut self) {
        let now = time::tsc();
        self.ticks += now - self.since;
        self.since = now;
    }
}

/// A server of one controller, on one thread.
pub struct BlkServer<B: Backend> {
    pub(crate) hot: Hot<B>,
    pub(crate) backend: B,
    pub(crate) ranges: Vec<Range>,
    /// Connections so far.
    pub(crate) connections: u64,
    pub(crate) idle: Idle,
    options: Options,
    /// Keeps the window reachable for the device.
    _window: Option<B::Pinned>,
}

impl<B: Backend> BlkServer<B> {
    /// Serves ranges of a driver's namespaces through the service that the manifest calls so.
    ///
    /// # Errors
    ///
    /// `NotFound` without such a service; what the kernel and the driver refuse.
    pub fn new(
        name: &str,
        mut backend: B,
        ranges: Vec<Range>,
        options: Options,
    ) -> Result<Self, Failure> {
        let (slots, slot_bytes) = WINDOW;
        // As long as the process.
        let server: &'static Server = Box::leak(Box::new(Server::named(name, slots, slot_bytes)?));
        let window = server.window().ok_or(Error::NotFound)?.memory();
        // Without an IOMMU it may be too scattered. Then data is not copied.
        let pinned = backend.pin(window, window.size()?).ok();
        let slots = pinned.as_ref().map(|(_, address)| Slots {
            address: *address,
            bytes: slot_bytes as u64,
        });
        let queue = open(&mut backend, &options)?;
        let io = IoQueue::new(ENTRIES, COMPLETIONS)?;
        server.bind(&io)?;
        Ok(Self {
            hot: Hot {
                out: Out {
                    server,
                    io,
                    owes: false,
                },
                share: capacity(&queue) as u32,
                flights: Flights::new(capacity(&queue)),
                clients: Vec::new(),
                links: Vec::new(),
                window: slots,
                pending: 0,
                turn: 0,
                attention: false,
                lost: false,
                dirty: false,
                waits_for_interrupt: false,
                queue,
            },
            backend,
            ranges,
            connections: 0,
            idle: Idle::default(),
            options,
            _window: pinned.map(|(pinned, _)| pinned),
        })
    }

    /// Serves until the process is asked to stop.
    ///
    /// # Errors
    ///
    /// A device that does not come back; what the kernel refuses.
    pub fn run(mut self) -> Result<(), Failure> {
        let (mut held, mut vain) = (0, 0);
        loop {
            let found = self.look()?;
            if self.hot.queue.in_flight() == 0 && self.hot.pending == 0 {
                (held, vain) = (0, 0);
                if !self.sleep(false)? {
                    return Ok(());
                }
                continue;
            }
            if found > 0 {
                vain = 0;
                self.hot.publish();
                self.idle.found();
            } else {
                vain += 1;
            }
            if self.hot.owes() {
                held += found;
                if held >= HOLD || vain >= HOLD_LOOKS {
                    held = 0;
                    self.hot.wake();
                    self.hot.out.io.enter(0, Deadline::NOW)?;
                }
            }
            if found == 0 && !self.look_again(vain)? {
                return Ok(());
            }
        }
    }

    /// Takes everything that there is, and gives it to whom it is for; how much there was.
    #[inline]
    fn look(&mut self) -> Result<usize, Failure> {
        let mut found = self.take_messages()?;
        found += self.hot.take_calls();
        if self.hot.pending > 0 {
            self.hot.take_pending();
        }
        if self.hot.queue.in_flight() > 0 {
            self.hot.queue.kick();
            found += self.hot.reap();
        }
        if self.hot.attention {
            self.tidy();
        }
        if self.hot.lost {
            self.recover()?;
        }
        // With one of them it is always its turn.
        if self.hot.links.len() > 1 || self.hot.pending > 0 {
            self.hot.turn = self.hot.turn.wrapping_add(1) % self.hot.links.len().max(1);
        }
        Ok(found)
    }

    #[inline]
    fn take_messages(&mut self) -> Result<usize, Error> {
        let mut found = 0;
        loop {
            let (count, other) = self.hot.take_messages()?;
            found += count;
            match other {
                Some(completion) => self.control(&completion),
                None => return Ok(found),
            }
        }
    }

    /// Passes the time while the device is busy; false if the process is asked to stop.
    fn look_again(&mut self, vain: u32) -> Result<bool, Error> {
        let most = match self.options.wait {
            WaitMode::Poll => u64::MAX,
            WaitMode::Interrupt => 0,
            WaitMode::Adaptive(looks) => looks,
        };
        let is_wanted = time::is_core_wanted();
        if !is_wanted && u64::from(vain) <= most {
            self.idle.vain();
            return Ok(true);
        }
        if self.options.wait != WaitMode::Poll {
            let slept = self.sleep(true);
            self.idle.since = time::tsc();
            return slept;
        }
        self.hot.wake();
        self.hot.out.io.enter(0, Deadline::NOW)?;
        thread::yield_now();
        self.idle.since = time::tsc();
        Ok(true)
    }

    /// Gives all that is owed, and sleeps until there is something to do: with requests at the
    /// device, also until it interrupts. False if the process is asked to stop.
    fn sleep(&mut self, for_device: bool) -> Result<bool, Error> {
        let signals = self.hot.wake();
        let Hot {
            queue,
            out,
            links,
            waits_for_interrupt,
            ..
        } = &mut self.hot;
        let mut may_sleep = true;
        for (index, link) in links.iter_mut().enumerate() {
            let Some(link) = link.as_mut().filter(|link| link.is_open()) else {
                continue;
            };
            // Corrupt ones are found by the next look. A client that has calls but no room for answers
            // has its own queue to mend, and a signal to send.
            may_sleep &= link.rings.calls.arm() == Ok(true) || link.is_full();
            if !link.is_waited_for
                && let Some(event) = &link.own
            {
                let user_data = EVENTS + index as u64;
                let waited = out.io.submit_wait(event, user_data, Deadline::NEVER);
                link.is_waited_for = waited.is_ok();
                may_sleep &= waited.is_ok();
            }
        }
        let mut deadline = Deadline::NEVER;
        if for_device {
            deadline = Deadline::after(core::time::Duration::from_nanos(TICK));
            match B::interrupt(queue) {
                Some(_) if *waits_for_interrupt => {}
                Some(vector) => {
                    let waited = out.io.submit_wait(vector, INTERRUPT, Deadline::NEVER);
                    *waits_for_interrupt = waited.is_ok();
                    may_sleep &= waited.is_ok();
                }
                None => may_sleep = false,
            }
        }
        let entered = match may_sleep {
            // Each signal has a completion of its own, which is there at once.
            true => out.io.enter(1 + signals, deadline),
            false => out.io.enter(0, Deadline::NOW),
        };
        for link in links.iter_mut().flatten().filter(|link| link.is_open()) {
            link.rings.calls.disarm();
        }
        if !may_sleep && for_device {
            thread::yield_now();
        }
        match entered {
            Ok(_) | Err(Error::TimedOut) => Ok(true),
            Err(Error::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Resets a device whose queue died: what it had is given back.
    #[cold]
    fn recover(&mut self) -> Result<(), Failure> {
        self.backend.driver().reset()?;
        self.hot.reap();
        self.hot.lost = false;
        self.hot.waits_for_interrupt = false;
        for client in self.hot.clients.iter_mut().flatten() {
            client.forget_usual();
        }
        self.hot.queue = open(&mut self.backend, &self.options)?;
        Ok(())
    }
}

fn open<B: Backend>(backend: &mut B, options: &Options) -> Result<QueueOf<B>, DriverError> {
    let with_interrupt = QueueOptions {
        depth: options.depth,
        interrupt: options.wait != WaitMode::Poll,
    };
    backend.driver().open_queue(with_interrupt)
}
