//! Serving objects: a server is a loop around one `match`.
//!
//! ```ignore
//! let server = Server::named("greeter", 4, 4096)?;
//! server.run(|mut request| match request.ask {
//!     Ask::Read { offset, .. } => request.reply_data(b"hello".get(offset as usize..).unwrap_or(&[])),
//!     _ => request.refuse(Error::BadOperation),
//! })
//! ```
//!
//! Each [`Request`] is answered once: now, by what the handler returns, or later, by whoever keeps
//! it. One that is dropped is answered with [`Error::Failed`], so that no client waits for an answer
//! that nobody will give. `docs/server-guide.md` is the guide.

mod answer;
mod request;

pub use answer::{Answer, LATE};
pub use request::{Ask, Registered, Request};

use alloc::format;
use core::mem::ManuallyDrop;

use spillway_abi::{
    Error, Handle, Rights,
    service::{Message, Reply, Token},
    startup::SERVICE_PREFIX,
};

use crate::{
    object::{IoQueue, Object, OwnedHandle, Remote, Service, Slot, Window},
    startup::object,
    time::Deadline,
};

/// A service with its receive window. Any number of threads can take requests from it.
#[derive(Debug)]
pub struct Server {
    /// A service that this program was given is found again by its name, and so not given back.
    service: ManuallyDrop<Service>,
    is_own: bool,
    window: Option<Window>,
}

impl Server {
    /// Serves a service, with a window of `slots` of `slot_bytes` each for the data of requests: so
    /// many requests with data can be under way, and none has more data.
    ///
    /// # Errors
    ///
    /// See [`Service::set_window`].
    pub fn new(service: Service, slots: u32, slot_bytes: usize) -> Result<Self, Error> {
        let window = service.set_window(slots, slot_bytes)?;
        Ok(Self {
            service: ManuallyDrop::new(service),
            is_own: true,
            window: Some(window),
        })
    }

    /// Serves a service without a window: requests with data are refused as too long.
    pub const fn without_window(service: Service) -> Self {
        Self {
            service: ManuallyDrop::new(service),
            is_own: true,
            window: None,
        }
    }

    /// Serves the service that the manifest calls so, in the `provides` of this process.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none, and see [`Service::set_window`].
    pub fn named(name: &str, slots: u32, slot_bytes: usize) -> Result<Self, Error> {
        let service =
            object::<Service>(&format!("{SERVICE_PREFIX}{name}")).ok_or(Error::NotFound)?;
        let window = service.set_window(slots, slot_bytes)?;
        Ok(Self {
            service,
            is_own: false,
            window: Some(window),
        })
    }

    /// The service.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The receive window, if there is one.
    pub const fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// A handle to the object of this number, to be given to a client.
    ///
    /// # Errors
    ///
    /// See [`Service::mint`].
    pub fn mint(&self, number: u64, rights: Rights) -> Result<Remote, Error> {
        self.service.mint(number, rights)
    }

    /// Answers everything by the handler, until the service ends or the thread is asked to stop.
    /// The answer and the wait for the next request are one system call.
    ///
    /// # Errors
    ///
    /// Those of the service's handle.
    pub fn run<'s>(
        &'s self,
        mut handler: impl FnMut(Request<'s>) -> Answer<'s>,
    ) -> Result<(), Error> {
        let mut answer = Answer::later();
        loop {
            match self.next(answer, Deadline::NEVER) {
                Ok(request) => answer = handler(request),
                Err(Error::Interrupted | Error::ServerGone) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives an answer, and waits for the next request or notice.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::ServerGone`] after the service's end,
    /// [`Error::Busy`] if it is bound to a queue, and those of its handle. The answer was given in
    /// any case.
    #[inline(always)]
    pub fn next(&self, answer: Answer<'_>, deadline: Deadline) -> Result<Request<'_>, Error> {
        match self.service.serve(answer.take_along(), deadline) {
            Ok(message) => Ok(self.accept(message)),
            Err(error) => self.next_after(error, deadline),
        }
    }

    /// The client may have given up before its answer came.
    #[cold]
    fn next_after(&self, error: Error, deadline: Deadline) -> Result<Request<'_>, Error> {
        match error {
            Error::NotFound => Ok(self.accept(self.service.serve(None, deadline)?)),
            error => Err(error),
        }
    }

    /// From now on messages arrive as completions of a queue: [`crate::object::message`] takes
    /// them out, [`Self::accept`] makes requests of them, and [`Answer::submit`] answers. Returns
    /// the number by which they name the service.
    ///
    /// # Errors
    ///
    /// See [`Service::bind`].
    pub fn bind(&self, queue: &IoQueue) -> Result<u32, Error> {
        self.service.bind(queue)
    }

    /// The request behind a message, which must be answered through it.
    #[inline(always)]
    pub fn accept(&self, message: Message) -> Request<'_> {
        Request::new(self, message)
    }

    /// Answers by a call of its own. A client that is gone misses nothing.
    #[cold]
    fn send(&self, token: Token, reply: Reply) {
        let sent = self.service.reply(token, reply);
        if let Err(error) = sent
            && error != Error::NotFound
        {
            // The handle or object of the reply was not to be had: so that is the answer.
            let _ = self.service.reply(token, Reply::Error(error, 0));
        }
    }

    fn slot(&self, token: Token) -> Option<Slot<'_>> {
        self.window.as_ref()?.slot(token)
    }

    fn handle(&self) -> Handle {
        self.service.handle()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.service) };
        }
    }
}

impl AsRef<OwnedHandle> for Server {
    fn as_ref(&self) -> &OwnedHandle {
        (*self.service).as_ref()
    }
}
