//! One device: the driver that it has now, and those who want to reach it.

use alloc::{
    boxed::Box,
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
    time::Duration,
};

use driver_sdk::{
    prelude::*,
    rt::{
        syscall::Failure,
        task::{Executor, Handle, Request as Ahead, opened},
    },
};
use spillway_devmgr_plan::{Deaths, Match, Settings};

use crate::driver::{Driver, Program};

/// Clients that can wait for a driver at once.
const WAITING: usize = 64;
/// Requests of this thread that can be under way: one for each of those, and a few more.
const REQUESTS: u32 = 128;
/// How many drivers there were so far, by `GetMeta`.
const STARTED: u64 = 0;
/// What a client can get of a driver's object.
const CLIENT: Rights = Rights::READ.union(Rights::WRITE).union(Rights::MAP);

/// What there is at the moment.
enum State {
    /// None, but one will come.
    None,
    Runs(Rc<Driver>),
    /// None, and none will come.
    Over,
}

/// A device, by its match.
pub struct Post {
    entry: Match,
    restarts: u32,
    program: Program,
    server: &'static Server,
    state: RefCell<State>,
    started: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    asking: Cell<usize>,
}

impl Post {
    /// The post for a match; a sentence if it cannot be.
    pub fn new(settings: &Settings, index: usize) -> Result<Rc<Self>, String> {
        let entry = settings.matches[index].clone();
        let server = Server::named(&entry.name, 8, 256)
            .map_err(|error| format!("cannot serve it: {error}; is it in `provides`?"))?;
        Ok(Rc::new(Self {
            program: Program::new(&entry, settings)?,
            entry,
            restarts: settings.restarts,
            // As long as the process.
            server: Box::leak(Box::new(server)),
            state: RefCell::new(State::None),
            started: Cell::new(0),
            waiting: RefCell::default(),
            asking: Cell::new(0),
        }))
    }

    /// Keeps a driver at work, and brings clients to it.
    pub fn keep(self: Rc<Self>) -> Result<(), String> {
        let failed = |error: Error| error.to_string();
        let mut executor = Executor::new(REQUESTS).map_err(failed)?;
        let tasks = executor.handle();
        tasks.bind(self.server).map_err(failed)?;
        let _supervises = tasks.spawn(self.clone().supervise(tasks.clone()));
        executor.block_on(self.serve(tasks)).map_err(failed)
    }

    /// Starts a driver, and another one after its end, until that was too often.
    async fn supervise(self: Rc<Self>, tasks: Handle) {
        let name = &self.entry.name;
        let mut deaths = Deaths::new(self.restarts);
        loop {
            let mut for_ever = false;
            match self.program.start(&self.entry) {
                Ok(driver) => {
                    let driver = Rc::new(driver);
                    self.started.set(self.started.get() + 1);
                    self.become_state(State::Runs(driver.clone()));
                    let ended = tasks.wait(&driver.process, Deadline::NEVER).await;
                    let how = ended.ok().and_then(ExitStatus::from_raw);
                    match how {
                        Some(status) => println!("devmgr: the driver of {name} {status}"),
                        None => println!("devmgr: the driver of {name} is gone"),
                    }
                }
                Err(refused) => {
                    println!("devmgr: no driver for {name}: {}", refused.reason);
                    for_ever = refused.for_ever;
                }
            }
            self.become_state(State::None);
            let now = Duration::from_nanos(Instant::now().as_nanoseconds());
            match deaths.another(now).filter(|_| !for_ever) {
                Some(pause) => tasks.sleep(pause).await,
                None => break,
            }
        }
        println!("devmgr: {name} is given up");
        self.become_state(State::Over);
    }

    fn become_state(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Answers what is asked of the manager's own objects.
    async fn serve(self: Rc<Self>, tasks: Handle) {
        loop {
            let (_, message) = tasks.message().await;
            let request = self.server.accept(message);
            let answer = match request.ask {
                Ask::Open { value } if self.asking.get() < WAITING => {
                    self.asking.set(self.asking.get() + 1);
                    let connect = self.clone().connect(tasks.clone(), request, value);
                    // It goes on by itself.
                    drop(tasks.spawn(connect));
                    continue;
                }
                Ask::Open { .. } => request.refuse(Error::Busy),
                Ask::GetMeta { key: STARTED } => request.value(self.started.get()),
                Ask::Destroy { code } => match self.end(code) {
                    Ok(()) => request.done(),
                    Err(error) => request.refuse(error),
                },
                _ => request.refuse(Error::BadOperation),
            };
            answer.send();
        }
    }

    /// Ends the driver. Another one follows, as after any death.
    fn end(&self, code: i32) -> Result<(), Error> {
        match &*self.state.borrow() {
            State::Runs(driver) => driver.process.kill(code),
            State::None | State::Over => Err(Error::NotFound),
        }
    }

    /// Opens the driver's object of the same number for a client, with what the client may do, and
    /// hands it over.
    async fn connect(self: Rc<Self>, tasks: Handle, request: Request<'static>, value: u64) {
        let opened = self.open(&tasks, &request, value).await;
        self.asking.set(self.asking.get() - 1);
        match opened {
            Ok(object) => {
                let rights = allowed(&object, request.rights() & CLIENT);
                request.reply_handle(&object, rights | Rights::PASS).send();
            }
            Err(Failure { error, detail }) => {
                let reply = driver_sdk::abi::service::Reply::Error(error, detail);
                request.reply(reply).send();
            }
        }
    }

    async fn open(
        &self,
        tasks: &Handle,
        request: &Request<'static>,
        value: u64,
    ) -> Result<Remote, Failure> {
        let name = request.text()?;
        let rights = request.rights() & CLIENT;
        let mut last = None;
        loop {
            // One that died meanwhile is no answer: the next one is.
            let driver = self.other_than(last.as_ref()).await.ok_or(Error::Gone)?;
            let opened = match driver.service.mint(request.object(), rights) {
                Ok(object) => {
                    let open = Ahead::open(&object, name.clone(), value);
                    let (completion, _) = tasks.run(open).await.map_err(|_| Error::Gone)?;
                    opened(&completion)
                }
                Err(error) => Err(error.into()),
            };
            match opened {
                Err(failure) if failure.error == Error::ServerGone => last = Some(driver),
                opened => return opened,
            }
        }
    }

    /// Waits for a driver that is not this one; `None` if none will come.
    async fn other_than(&self, last: Option<&Rc<Driver>>) -> Option<Rc<Driver>> {
        poll_fn(|context| match &*self.state.borrow() {
            State::Runs(driver) if last.is_none_or(|last| !Rc::ptr_eq(last, driver)) => {
                Poll::Ready(Some(driver.clone()))
            }
            State::Over => Poll::Ready(None),
            State::None | State::Runs(_) => {
                self.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// What of these rights a handle has: found out by trying, since no call tells.
fn allowed(object: &Remote, wanted: Rights) -> Rights {
    let has = |right: &Rights| object.duplicate(*right).is_ok();
    wanted.iter().filter(has).collect()
}
