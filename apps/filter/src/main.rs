//! Stands before a block device and lets nobody write. `docs/interposition.md` explains it.
//!
//! It holds the real object as `real`, and serves one by the service `filtered` that a client cannot
//! tell from it, but for the writes: they are refused, and the log has a line for each. Reads are
//! asked of the real one; memory that a client shares goes on to the real one, whose device then
//! reaches it, so that no byte is copied here.
//!
//! Requests on the rings of level 3 pass by. So the filter asks for no right to write either: what
//! it does not see, the real server refuses, because the connection is a reader's.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{boxed::Box, collections::BTreeMap, rc::Rc, vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    num::NonZeroU16,
    pin::Pin,
    time::Duration,
};

use driver_sdk::{
    abi::service::{Reply, Token},
    io::protocol::{FLAG_SHIFT, LIFELINE, key, share},
    prelude::*,
    rt::{
        object::Registered as Ahead,
        serve::Registered,
        syscall::Failure,
        task::{Executor, Handle, Operation, Request as Task, outcome},
    },
};

driver_sdk::main!(main);

/// Bytes of a request whose data is copied.
const WINDOW: u64 = 64 << 10;
/// Requests that can be with the real server at once.
const REQUESTS: u32 = 256;
/// Clients that can be connected at once.
const CONNECTIONS: usize = 64;
/// How long the real server may take to say what it is like.
const PATIENCE: Duration = Duration::from_secs(5);

/// One client's connection to the real server.
struct Connection {
    object: Remote,
    /// What the client sleeps for beside its rings.
    events: RefCell<Vec<Event>>,
}

struct Filter {
    server: &'static Server,
    tasks: Handle,
    real: Remote,
    /// By the number of the object that the client has. 0 is the device itself.
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    last: Cell<u64>,
    /// Reads of shared memory, which a client can cancel.
    under_way: RefCell<BTreeMap<u64, Rc<RefCell<Operation<()>>>>>,
}

fn main() -> Result<(), Error> {
    let server: &Server = Box::leak(Box::new(Server::named("filtered", 8, WINDOW as usize)?));
    let mut executor = Executor::new(REQUESTS)?;
    let tasks = executor.handle();
    tasks.bind(server)?;
    let real = object::<Remote>("real").ok_or(Error::NotFound)?;
    let filter = Rc::new(Filter {
        server,
        tasks,
        real: real.duplicate(Rights::READ | Rights::MAP)?,
        connections: RefCell::default(),
        last: Cell::new(0),
        under_way: RefCell::default(),
    });
    executor.block_on(filter.serve())
}

impl Filter {
    async fn serve(self: Rc<Self>) {
        loop {
            let (_, message) = self.tasks.message().await;
            let request = self.server.accept(message);
            match request.ask {
                Ask::Write { .. } | Ask::WriteRegistered(_) => refuse(request),
                Ask::ReadRegistered(part) => self.start_shared(request, part),
                // It goes on by itself.
                Ask::Read { offset, .. } => {
                    drop(self.tasks.spawn(self.clone().read(request, offset)));
                }
                Ask::Closed => drop(self.connections.borrow_mut().remove(&request.object())),
                Ask::Cancelled(Token(token)) => {
                    if let Some(read) = self.under_way.borrow().get(&token) {
                        read.borrow().cancel();
                    }
                }
                _ => self.control(request),
            }
        }
    }

    /// Everything that moves no data is asked of the real object, and answered at once.
    fn control(&self, mut request: Request<'static>) {
        let connection = self.connection(&request);
        let asked = match (request.ask, &connection) {
            (Ask::Open { .. }, None) => return self.connect(request),
            (Ask::GetMeta { key }, Some(connection)) => {
                let value = connection.object.until(soon()).get_meta(key);
                value.map(|value| {
                    if key == key::WINDOW {
                        value.min(WINDOW)
                    } else {
                        value
                    }
                })
            }
            (Ask::Share { key, rights }, Some(connection)) => {
                pass_on(&mut request, connection, key, rights)
            }
            _ => Err(Error::BadOperation.into()),
        };
        answer(request, asked);
    }

    /// Connects to the real server, for a client.
    fn connect(&self, request: Request<'static>) {
        if self.connections.borrow().len() == CONNECTIONS {
            return request.refuse(Error::LimitReached).send();
        }
        match self.real.until(soon()).open("", 0) {
            Ok(object) => {
                let connection = Connection {
                    object,
                    events: RefCell::default(),
                };
                let number = self.last.get() + 1;
                self.last.set(number);
                let connection = Rc::new(connection);
                self.connections.borrow_mut().insert(number, connection);
                let rights = request.rights();
                request.reply_object(number, rights).send();
            }
            Err(failure) => answer(request, Err(failure)),
        }
    }

    /// A read whose data is copied.
    async fn read(self: Rc<Self>, request: Request<'static>, offset: u64) {
        let Some(connection) = self.connection(&request) else {
            return request.refuse(Error::BadOperation).send();
        };
        let read = Task::read(&connection.object, offset, vec![0; request.length()]);
        let Ok((done, data)) = self.tasks.run(read).await else {
            return request.refuse(Error::Gone).send();
        };
        match outcome(&done) {
            Ok(length) => request
                .reply_data(&data[..data.len().min(length as usize)])
                .send(),
            Err(failure) => answer(request, Err(failure)),
        }
    }

    /// A read into memory that the real server knows by the same number as the client. It begins at
    /// once: what comes next may be that it is cancelled.
    fn start_shared(self: &Rc<Self>, request: Request<'static>, part: Registered) {
        let connection = self.connection(&request);
        let (Some(connection), Some(registration)) =
            (connection, NonZeroU16::new(part.registration))
        else {
            return request.refuse(Error::BadOperation).send();
        };
        let ahead = Ahead {
            object: connection.object.handle(),
            write: false,
            offset: part.offset,
            registration,
            at: part.at,
            length: part.length,
            user_data: 0,
            trace: request.trace(),
        };
        let Ok(read) = self.tasks.start(Task::registered(&ahead, ())) else {
            return request.refuse(Error::Busy).send();
        };
        let read = Rc::new(RefCell::new(read));
        let Token(token) = request.token();
        self.under_way.borrow_mut().insert(token, read.clone());
        let filter = self.clone();
        drop(self.tasks.spawn(async move {
            let done = poll_fn(|context| Pin::new(&mut *read.borrow_mut()).poll(context)).await;
            filter.under_way.borrow_mut().remove(&token);
            answer(request, outcome(&done.0));
            if (part.offset >> FLAG_SHIFT) as u8 == LIFELINE {
                // The connection is over: a client that sleeps beside its rings is to look.
                for event in &*connection.events.borrow() {
                    let _ = event.signal();
                }
            }
        }));
    }

    fn connection(&self, request: &Request<'_>) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&request.object()).cloned()
    }
}

/// What the client shares, the real server gets: pools, rings, events.
fn pass_on(
    request: &mut Request<'static>,
    connection: &Connection,
    key: u64,
    rights: Rights,
) -> Result<u64, Failure> {
    let object = connection.object.until(soon());
    if key & 0xff != share::CLIENT_EVENT {
        return match request.take_gift::<Remote>() {
            Some(gift) => object.share(&gift, rights, key),
            None => object.share_nothing(key),
        };
    }
    let event = request.take_gift::<Event>().ok_or(Error::BadArgument)?;
    let shared = object.share(&event, rights, key)?;
    connection.events.borrow_mut().push(event);
    Ok(shared)
}

fn refuse(request: Request<'static>) {
    println!("filter: a write of {} is refused", bytes(&request));
    request.refuse(Error::MissingRight).send();
}

fn bytes(request: &Request<'_>) -> u64 {
    match request.ask {
        Ask::WriteRegistered(part) => part.length,
        _ => request.length() as u64,
    }
}

fn answer(request: Request<'static>, asked: Result<u64, Failure>) {
    let reply = match asked {
        Ok(value) => Reply::Value(value),
        Err(Failure { error, detail }) => Reply::Error(error, detail),
    };
    request.reply(reply).send();
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}
