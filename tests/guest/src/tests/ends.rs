//! Servers and clients that die with requests in every state.

use alloc::vec::Vec;
use core::{
    mem::ManuallyDrop,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        Handle, Rights,
        call::Operation,
        object::ProcessMeta,
        service::{Notice, Reply, ServiceMeta},
    },
    prelude::*,
    rt::{
        object::{IoQueue, Object, Operations, OwnedHandle, Remote, Service},
        syscall::Failure,
    },
};

use crate::{
    child::{Shared, Victim, end_of, leaves_nothing},
    harness::{Outcome, check, equal, tests},
    serving::{ALL, Desk, completion, entry, error_of, soon, submit, until_it_waits},
};

tests![
    the_death_of_a_server_is_told_once,
    a_server_is_killed_again_and_again_under_load,
    a_service_that_ends_tells_everybody,
    registered_requests_stay_with_a_server_that_lives,
    the_death_of_a_client_is_told_to_the_server,
    memory_of_a_dead_client_is_charged_to_who_keeps_it,
    only_the_server_serves,
    a_service_is_replaced_while_a_client_holds_the_table,
];

/// A server in a process of its own.
struct Server {
    process: Process,
    shared: Shared,
    object: ManuallyDrop<Remote>,
}

impl Server {
    fn start(how: &str) -> Outcome<Self> {
        let registry = Desk::new()?;
        let shared = Shared::new()?;
        let process = Victim::new("peer-server")
            .argument(how)
            .with(|command| command.give("registry", &*registry.object, ALL))
            .shared(&shared)
            .spawn()?;
        let message = registry.request()?;
        let handle = Handle::from_raw(message.arguments[0] as u32);
        let object = Remote::from(OwnedHandle::new(handle));
        registry.value(message.token, 0)?;
        Ok(Self {
            process,
            shared,
            object: ManuallyDrop::new(object),
        })
    }

    fn kill(&self) -> Outcome {
        self.process.kill(1)?;
        end_of(&self.process)?;
        Ok(())
    }

    /// A call by a thread of its own.
    fn call(
        &self,
        call: impl FnOnce(&Remote) -> Result<u64, Failure> + Send + 'static,
    ) -> Outcome<thread::JoinHandle<Result<u64, Failure>>> {
        let object = self.object.duplicate(ALL)?;
        Ok(thread::spawn(move || call(&object)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
        // SAFETY: it is not used again.
        unsafe { ManuallyDrop::drop(&mut self.object) };
    }
}

fn the_death_of_a_server_is_told_once() -> Outcome {
    for how in ["untaken", "taken", "queue", "exit"] {
        leaves_nothing(|| {
            let server = Server::start(how)?;
            let mut queue = IoQueue::new(16, 16)?;
            let data = [1u8; 8];
            let mut buffer = [0u8; 8];
            let memory = Memory::new(4096)?;
            let share = [memory.handle().raw().into(), 0, 0, 0];
            let object = server.object.handle();
            for (number, operation, arguments) in [
                (0, Operation::GetMeta, [0; 4]),
                (1, Operation::Write, [0, 0, 8, 3]),
                (2, Operation::Share, share),
                (3, Operation::Read, [0, buffer.as_mut_ptr() as u64, 8, 0]),
                (4, Operation::Write, [0, data.as_ptr() as u64, 8, 0]),
                // Both slots of the window are in use: this one waits for one.
                (5, Operation::Write, [0, data.as_ptr() as u64, 8, 0]),
            ] {
                submit(&mut queue, &entry(object, operation, number, arguments))?;
            }
            queue.enter(0, soon())?;
            let mut calls = Vec::new();
            for _ in 0..3 {
                calls.push(server.call(|object| object.get_meta(1))?);
                calls.push(server.call(|object| object.write_registered(0, 3, 0, 8))?);
                calls.push(server.call(|object| {
                    let mut buffer = [0; 8];
                    object.read(0, &mut buffer).map(|read| read as u64)
                })?);
            }
            if how == "taken" || how == "queue" {
                server.shared.wait_for(0, 11)?;
            } else if how == "untaken" {
                thread::sleep(Duration::from_millis(3));
            }
            if how == "exit" {
                equal!(end_of(&server.process)?.status, ExitStatus::Exited(3));
            } else {
                server.kill()?;
            }
            let mut told = [0u8; 6];
            while told.iter().sum::<u8>() < 6 {
                let done = completion(&mut queue)?;
                equal!(done.result(), Err(Error::ServerGone), "{how}");
                told[done.user_data as usize] += 1;
            }
            equal!(told, [1; 6]);
            equal!(queue.enter(1, Deadline::NOW), Err(Error::TimedOut));
            for call in calls {
                equal!(error_of(call.join()), Some(Error::ServerGone), "{how}");
            }
            equal!(error_of(server.object.get_meta(1)), Some(Error::ServerGone));
            equal!(
                error_of(server.object.write(1, &data)),
                Some(Error::ServerGone)
            );
            Ok(())
        })?;
    }
    Ok(())
}

fn a_server_is_killed_again_and_again_under_load() -> Outcome {
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    leaves_nothing(|| {
        for round in 0..6 {
            ANSWERED.store(0, Ordering::SeqCst);
            let server = Server::start("echo")?;
            let mut calls = Vec::new();
            for client in 0..4u64 {
                calls.push(server.call(move |object| {
                    loop {
                        let answer = match client % 2 {
                            0 => object.get_meta(client)?,
                            _ => object.write(0, b"12345")? as u64,
                        };
                        let expected = if client.is_multiple_of(2) {
                            client + 1
                        } else {
                            5
                        };
                        if answer != expected {
                            return Ok(answer);
                        }
                        ANSWERED.fetch_add(1, Ordering::SeqCst);
                    }
                })?);
            }
            while ANSWERED.load(Ordering::SeqCst) < 50 * round {
                thread::sleep(Duration::from_micros(100));
            }
            server.kill()?;
            for call in calls {
                equal!(error_of(call.join()), Some(Error::ServerGone));
            }
        }
        Ok(())
    })
}

fn a_service_that_ends_tells_everybody() -> Outcome {
    leaves_nothing(|| {
        for by_handle in [false, true] {
            let service = Service::new()?;
            let object = service.mint(1, ALL)?;
            let mut queue = IoQueue::new(64, 64)?;
            for number in 0..60 {
                submit(
                    &mut queue,
                    &entry(object.handle(), Operation::GetMeta, number, [0; 4]),
                )?;
            }
            queue.enter(0, soon())?;
            let mut tokens = Vec::new();
            for _ in 0..25 {
                tokens.push(service.serve(None, soon())?.token);
            }
            let other = service.duplicate(Rights::WRITE)?;
            if by_handle {
                // The last handle of the server.
                drop(service);
                equal!(completion_count(&mut queue)?, 0);
                drop(other);
            } else {
                service.end()?;
                service.end()?;
                equal!(service.mint(1, ALL).map(drop), Err(Error::ServerGone));
                equal!(service.serve(None, soon()), Err(Error::ServerGone));
                for token in &tokens {
                    equal!(other.reply(*token, Reply::Value(0)), Err(Error::NotFound));
                }
                equal!(service.meta(ServiceMeta::Taken), Ok(0));
            }
            equal!(queue.enter(60, soon()), Ok(60));
            while let Some(done) = queue.pop()? {
                equal!(done.result(), Err(Error::ServerGone));
            }
            equal!(error_of(object.get_meta(1)), Some(Error::ServerGone));
        }
        // Threads that wait for requests are told.
        let service = alloc::sync::Arc::new(Service::new()?);
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let service = service.clone();
                thread::spawn(move || service.serve(None, soon()).map(drop))
            })
            .collect();
        for thread in &waiting {
            until_it_waits(thread)?;
        }
        service.end()?;
        for thread in waiting {
            equal!(thread.join(), Err(Error::ServerGone));
        }
        Ok(())
    })
}

fn completion_count(queue: &mut IoQueue) -> Outcome<u32> {
    Ok(queue.enter(0, soon())?)
}

/// A device of the server may reach the memory until the server says that it is done, or is gone.
fn registered_requests_stay_with_a_server_that_lives() -> Outcome {
    leaves_nothing(|| {
        let desk = Desk::new()?;
        let mut queue = IoQueue::new(8, 8)?;
        let object = desk.object.handle();
        for number in 0..3 {
            submit(
                &mut queue,
                &entry(object, Operation::Write, number, [number, 0, 8, 3]),
            )?;
        }
        queue.enter(0, soon())?;
        let (first, second) = (desk.request()?.token, desk.request()?.token);
        desk.service.end()?;
        // The one that it never took.
        equal!(queue.enter(1, soon()), Ok(1));
        let told = queue.pop()?.ok_or("nobody is told")?;
        equal!((told.user_data, told.result()), (2, Err(Error::ServerGone)));
        equal!(queue.enter(1, Deadline::NOW), Err(Error::TimedOut));
        desk.value(first, 8)?;
        equal!(completion(&mut queue)?.result(), Ok(8));
        equal!(queue.cancel(1), Ok(true));
        desk.value(second, 9)?;
        equal!(completion(&mut queue)?.result(), Ok(9));
        Ok(())
    })
}

fn the_death_of_a_client_is_told_to_the_server() -> Outcome {
    // How many of its requests are taken before it dies, and whether those are answered.
    for (takes, answers) in [(0, false), (3, false), (64, false), (64, true)] {
        leaves_nothing(|| {
            let desk = Desk::with_window(2, 4096)?;
            let lent = desk.service.mint(50, ALL)?;
            let shared = Shared::new()?;
            let client = Victim::new("peer-client")
                .with(|command| command.give("object", &lent, ALL))
                .shared(&shared)
                .spawn()?;
            drop(lent);
            shared.wait_for(1, 1)?;
            thread::sleep(Duration::from_millis(3));
            let mut tokens = Vec::new();
            while tokens.len() < takes {
                match desk
                    .service
                    .serve(None, Deadline::after(Duration::from_millis(5)))
                {
                    Ok(message) => {
                        equal!(message.object, 50);
                        tokens.push(message.token);
                        if message.what.operation() == Operation::Share as u64 {
                            let handle = Handle::from_raw(message.arguments[0] as u32);
                            drop(OwnedHandle::new(handle));
                        }
                        if answers {
                            desk.value(message.token, 8)?;
                        }
                    }
                    Err(Error::TimedOut) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            client.kill(1)?;
            end_of(&client)?;
            loop {
                let message = desk.service.serve(None, soon())?;
                match message.what.notice() {
                    Notice::Closed => {
                        equal!(message.object, 50);
                        break;
                    }
                    Notice::Cancelled => check!(tokens.contains(&message.token)),
                    Notice::Request => check!(false, "a request of a client that is gone"),
                }
            }
            desk.nothing()?;
            equal!(desk.counts()?, (0, 0));
            // Nobody hears the answers; the slots of the window are back with them.
            for token in tokens {
                let late = desk.value(token, 1);
                check!(late == Err(Error::NotFound) || token.window_slot().is_some());
            }
            for _ in 0..4 {
                let call = desk.call(|object| object.until(soon()).write(0, b"x"));
                desk.value(desk.request()?.token, 1)?;
                check!(call.join() == Ok(1));
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn memory_of_a_dead_client_is_charged_to_who_keeps_it() -> Outcome {
    const BYTES: u64 = 256 << 10;
    leaves_nothing(|| {
        let server = Server::start("hoard")?;
        let used = || server.process.meta(ProcessMeta::MemoryUsed);
        for count in 1..=3 {
            let before = used()?;
            let client = Victim::new("peer-sharer")
                .with(|command| command.give("object", &*server.object, ALL))
                .spawn()?;
            server.shared.wait_for(0, count)?;
            thread::sleep(Duration::from_millis(1));
            // The first may make its heap larger.
            let at_most = before + if count == 1 { BYTES / 2 } else { 0 };
            check!(used()? <= at_most, "the client pays while it is there");
            client.kill(0)?;
            end_of(&client)?;
            let after = used()?;
            check!(
                after >= before + BYTES && after <= at_most + BYTES,
                "{before} before, {after} after"
            );
        }
        Ok(())
    })
}

fn only_the_server_serves() -> Outcome {
    leaves_nothing(|| {
        let desk = Desk::new()?;
        let call = desk.get_meta(1);
        let token = desk.request()?.token;
        let rights = Rights::READ | Rights::WRITE | Rights::MANAGE | Rights::WAIT | Rights::PASS;
        let intruder = Victim::new("peer-intruder")
            .argument(token.0)
            .with(|command| command.give("service", &*desk.service, rights))
            .run()?;
        equal!(intruder.status, ExitStatus::Exited(0));
        // What it minted went with it.
        desk.closed(33)?;
        equal!(desk.counts()?, (0, 1));
        desk.value(token, 5)?;
        check!(call.join() == Ok(5));
        // Nor the answer to a request that went from queue to queue.
        let desk = Desk::new()?;
        let (mut server, mut client) = (IoQueue::new(4, 8)?, IoQueue::new(4, 8)?);
        desk.service.bind(&server)?;
        let ask = entry(desk.object.handle(), Operation::GetMeta, 1, [0; 4]);
        submit(&mut client, &ask)?;
        client.enter(0, soon())?;
        let token = completion(&mut server)?.token();
        let intruder = Victim::new("peer-intruder")
            .argument(token.0)
            .with(|command| command.give("service", &*desk.service, rights))
            .run()?;
        equal!(intruder.status, ExitStatus::Exited(0));
        check!(client.pop()?.is_none());
        desk.value(token, 5)?;
        equal!(completion(&mut client)?.result(), Ok(5));
        Ok(())
    })
}

/// The table opens objects of whatever server there is now.
fn a_service_is_replaced_while_a_client_holds_the_table() -> Outcome {
    leaves_nothing(|| {
        let table = Desk::with_window(2, 4096)?;
        let mut held: Option<Remote> = None;
        for _ in 0..3 {
            let server = Server::start("echo")?;
            if let Some(object) = held.take() {
                equal!(error_of(object.get_meta(1)), Some(Error::ServerGone));
            }
            let opening = table.call(|table| table.until(soon()).open("disk", 0));
            let message = table.request()?;
            equal!(message.what.operation(), Operation::Open as u64);
            let given = Reply::Handle(server.object.handle(), ALL);
            table.service.reply(message.token, given)?;
            let object = opening.join().map_err(|failure| failure.error)?;
            check!(object.until(soon()).get_meta(41) == Ok(42));
            server.kill()?;
            equal!(error_of(object.get_meta(1)), Some(Error::ServerGone));
            held = Some(object);
        }
        Ok(())
    })
}
