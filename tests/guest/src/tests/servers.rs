//! Servers made with `rt::serve`: what becomes of each request, whatever its handler does.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{
    num::NonZeroU16,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::object::ProcessMeta,
    prelude::*,
    rt::object::{OwnedHandle, Registered},
};
use guest_harness::child::{PATIENCE, leaves_nothing};

use crate::harness::{Outcome, check, equal, tests};

tests![
    a_request_that_is_dropped_is_answered,
    answers_come_later_and_in_any_order,
    an_answer_to_a_client_that_gave_up_stops_no_server,
    a_reason_of_the_servers_own_reaches_the_client,
    data_that_is_no_text_is_refused_as_text,
    a_read_gets_at_most_what_it_asked_for,
    objects_and_handles_are_passed,
    what_cannot_be_passed_is_an_error_for_the_client,
    a_gift_is_the_servers_or_given_back,
    each_minted_object_is_closed_once,
    a_cancelled_request_is_named_and_still_answered,
    two_threads_serve_one_service,
    a_request_to_stop_ends_a_server,
    a_server_without_a_window_takes_no_data,
    there_is_no_service_of_a_name_that_was_not_provided,
];

const ALL: Rights = Rights::READ
    .union(Rights::WRITE)
    .union(Rights::MANAGE)
    .union(Rights::MAP)
    .union(Rights::PASS);

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn server() -> Result<Arc<Server>, Error> {
    Ok(Arc::new(Server::new(Service::new()?, 4, 256)?))
}

/// A thread that serves by the handler until the service ends, or its object 99 is closed.
fn serve(
    server: &Arc<Server>,
    handler: impl for<'s> FnMut(Request<'s>) -> Answer<'s> + Send + 'static,
) -> thread::JoinHandle<Result<(), Error>> {
    let server = server.clone();
    thread::spawn(move || server.run(handler))
}

/// Ends the service, and waits for its threads.
fn end<const N: usize>(
    server: &Server,
    threads: [thread::JoinHandle<Result<(), Error>>; N],
) -> Outcome {
    server.service().end()?;
    for thread in threads {
        equal!(thread.join(), Ok(()));
    }
    Ok(())
}

fn error_of<T>(result: Result<T, driver_sdk::rt::syscall::Failure>) -> Option<(Error, u64)> {
    result.err().map(|failure| (failure.error, failure.detail))
}

fn a_request_that_is_dropped_is_answered() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| {
        drop(request);
        Answer::later()
    });
    for _ in 0..3 {
        let answer = object.until(soon()).get_meta(0);
        equal!(error_of(answer), Some((Error::Failed, 0)));
        let answer = object.until(soon()).write(0, b"data");
        equal!(error_of(answer), Some((Error::Failed, 0)));
    }
    end(&server, [thread])
}

fn answers_come_later_and_in_any_order() -> Outcome {
    let server = server()?;
    let object = Arc::new(server.mint(1, ALL)?);
    let serving = server.clone();
    let thread = thread::spawn(move || -> Result<(), Error> {
        let mut kept = Vec::new();
        while kept.len() < 4 {
            kept.push(serving.next(Answer::later(), soon())?);
        }
        // The last first, each with the key that it asked for.
        while let Some(request) = kept.pop() {
            match request.ask {
                Ask::GetMeta { key } => request.value(key * 10).send(),
                _ => request.refuse(Error::BadOperation).send(),
            }
        }
        Ok(())
    });
    let clients = [1, 2, 3, 4].map(|key| {
        let object = object.clone();
        thread::spawn(move || object.until(soon()).get_meta(key))
    });
    for (client, key) in clients.into_iter().zip(1..) {
        equal!(client.join(), Ok(key * 10));
    }
    equal!(thread.join(), Ok(()));
    Ok(())
}

fn an_answer_to_a_client_that_gave_up_stops_no_server() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| {
        if let Ask::GetMeta { key: 0 } | Ask::Write { offset: 0, .. } = request.ask {
            thread::sleep(Duration::from_millis(5));
        }
        request.value(3)
    });
    let hasty = || object.until(Deadline::after(Duration::from_millis(1)));
    for _ in 0..8 {
        equal!(
            error_of(hasty().get_meta(0)),
            Some((Error::TimedOut, 0)),
            "without data"
        );
        equal!(
            error_of(hasty().write(0, b"abc")),
            Some((Error::TimedOut, 0)),
            "with data"
        );
    }
    // All slots of the window are back.
    let writers = [1, 2, 3, 4].map(|offset| {
        let object = server.mint(1, ALL);
        thread::spawn(move || {
            object?
                .until(soon())
                .write(offset, &[7; 256])
                .map_err(Error::from)
        })
    });
    for writer in writers {
        equal!(writer.join(), Ok(3));
    }
    end(&server, [thread])
}

fn a_reason_of_the_servers_own_reaches_the_client() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| request.fail(0x1234_5678_9abc));
    let reason = Some((Error::Failed, 0x1234_5678_9abc));
    equal!(error_of(object.set_meta(1, 2)), reason);
    equal!(error_of(object.read(0, &mut [0; 16])), reason);
    end(&server, [thread])
}

fn data_that_is_no_text_is_refused_as_text() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| match request.text() {
        Ok(text) => request.value(text.chars().count() as u64),
        Err(error) => request.refuse(error),
    });
    let write = |bytes: &[u8]| object.until(soon()).write(0, bytes);
    equal!(write("češnja".as_bytes()), Ok(6));
    equal!(error_of(write(&[0xff])), Some((Error::BadArgument, 0)));
    equal!(write(b""), Ok(0));
    end(&server, [thread])
}

fn a_read_gets_at_most_what_it_asked_for() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| request.reply_data(&[5; 1000]));
    for length in [0, 1, 100, 256] {
        let mut buffer = [0; 300];
        let read = object.until(soon()).read(0, &mut buffer[..length]);
        equal!(read, Ok(length));
        check!(buffer[..length].iter().all(|&byte| byte == 5));
        check!(buffer[length..].iter().all(|&byte| byte == 0));
    }
    end(&server, [thread])
}

fn objects_and_handles_are_passed() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let memory = Memory::new(4096)?;
    memory.write_all(0, b"shared")?;
    let thread = serve(&server, move |request| match request.ask {
        Ask::Open { value } => request.reply_object(value, Rights::READ),
        Ask::Share { rights, .. } => request.reply_handle(&memory, rights),
        _ => {
            let number = request.object();
            request.value(number)
        }
    });
    let opened = object.until(soon()).open("any", 77)?;
    equal!(opened.until(soon()).get_meta(0), Ok(77));
    // The handle has no more rights than the server gave.
    equal!(
        error_of(opened.write(0, b"x")),
        Some((Error::MissingRight, 0))
    );
    let memory: Memory = object.until(soon()).obtain(Rights::READ, 0)?;
    let mut text = [0; 6];
    equal!(memory.read(0, &mut text), Ok(6));
    equal!(&text, b"shared");
    equal!(memory.write(0, b"x"), Err(Error::MissingRight));
    end(&server, [thread])
}

fn what_cannot_be_passed_is_an_error_for_the_client() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let kept = Memory::new(4096)?.duplicate(Rights::READ | Rights::MAP)?;
    let thread = serve(&server, move |request| match request.ask {
        // It may not be passed on,
        Ask::Share { key: 0, .. } => request.reply_handle(&kept, Rights::READ),
        // and this handle leads nowhere.
        _ => {
            let nothing = OwnedHandle::new(driver_sdk::abi::Handle::NULL);
            request.reply_handle(&nothing, Rights::READ)
        }
    });
    let share = |key| object.until(soon()).obtain::<Memory>(Rights::READ, key);
    equal!(error_of(share(0)), Some((Error::MissingRight, 0)));
    equal!(error_of(share(1)), Some((Error::BadHandle, 0)));
    end(&server, [thread])
}

fn a_gift_is_the_servers_or_given_back() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let mut kept: Vec<Memory> = Vec::new();
    let thread = serve(&server, move |mut request| match request.ask {
        Ask::Share { key: 1, .. } => match request.take_gift::<Memory>() {
            Some(memory) => {
                kept.push(memory);
                request.value(kept.len() as u64)
            }
            None => request.refuse(Error::BadArgument),
        },
        Ask::GetMeta { .. } => {
            let mut text = [0; 4];
            let read = kept[0].read(0, &mut text);
            request.value(u64::from(read.is_ok() && &text == b"gift"))
        }
        _ => request.refuse(Error::Refused),
    });
    let gift = Memory::new(4096)?;
    gift.write_all(0, b"gift")?;
    equal!(object.until(soon()).share(&gift, Rights::READ, 1), Ok(1));
    equal!(object.until(soon()).get_meta(0), Ok(1));
    // What the server does not take is closed there.
    let handles = own_process().meta(ProcessMeta::HandlesUsed)?;
    for _ in 0..5 {
        let refused = object.until(soon()).share(&gift, Rights::READ, 2);
        equal!(error_of(refused), Some((Error::Refused, 0)));
    }
    equal!(own_process().meta(ProcessMeta::HandlesUsed), Ok(handles));
    end(&server, [thread])
}

fn each_minted_object_is_closed_once() -> Outcome {
    leaves_nothing(|| {
        let server = server()?;
        let closed = Arc::new(AtomicU64::new(0));
        let count = closed.clone();
        let thread = serve(&server, move |request| match request.ask {
            Ask::Closed => {
                count.fetch_add(request.object(), Ordering::SeqCst);
                // A notice takes no answer, whatever the handler says.
                request.refuse(Error::BadOperation)
            }
            Ask::GetMeta { .. } => request.value(count.load(Ordering::SeqCst)),
            _ => request.done(),
        });
        let judge = server.mint(1000, ALL)?;
        let first = server.mint(1, ALL)?;
        let again = first.duplicate(ALL)?;
        let other = server.mint(10, ALL)?;
        drop(first);
        equal!(judge.until(soon()).get_meta(0), Ok(0));
        drop(again);
        equal!(judge.until(soon()).get_meta(0), Ok(1));
        drop(other);
        equal!(judge.until(soon()).get_meta(0), Ok(11));
        // The same number minted twice is two objects for this.
        let twins = [server.mint(100, ALL)?, server.mint(100, ALL)?];
        drop(twins);
        equal!(judge.until(soon()).get_meta(0), Ok(211));
        end(&server, [thread])
    })
}

fn a_cancelled_request_is_named_and_still_answered() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let mut queue = IoQueue::new(4, 0)?;
    let read = Registered {
        object: object.handle(),
        write: false,
        offset: 8,
        registration: NonZeroU16::MIN,
        at: 16,
        length: 32,
        user_data: 5,
        trace: 9,
    };
    queue.submit_registered(&read)?;
    queue.enter(0, Deadline::NOW)?;
    let request = server.next(Answer::later(), soon())?;
    let Ask::ReadRegistered(part) = request.ask else {
        return Err("not a registered read".into());
    };
    equal!(
        (part.registration, part.offset, part.at, part.length),
        (1, 8, 16, 32)
    );
    equal!(request.trace(), 9);
    // A device may still write: the completion waits for the answer.
    equal!(queue.cancel(5), Ok(true));
    equal!(queue.enter(1, Deadline::NOW), Err(Error::TimedOut));
    let notice = server.next(Answer::later(), soon())?;
    equal!(notice.ask, Ask::Cancelled(request.token()));
    drop(notice);
    equal!(queue.enter(1, Deadline::NOW), Err(Error::TimedOut));
    request.refuse(Error::Cancelled).send();
    queue.enter(1, soon())?;
    let completion = queue.pop()?.ok_or("a completion is missing")?;
    equal!(completion.user_data, 5);
    equal!(completion.result(), Err(Error::Cancelled));
    Ok(())
}

fn two_threads_serve_one_service() -> Outcome {
    const EACH: u64 = 500;
    let server = server()?;
    let total = Arc::new(AtomicU64::new(0));
    let threads = [0, 1].map(|_| {
        let total = total.clone();
        serve(&server, move |request| match request.ask {
            Ask::SetMeta { value, .. } => {
                total.fetch_add(value, Ordering::SeqCst);
                request.done()
            }
            _ => request.refuse(Error::BadOperation),
        })
    });
    let clients = [1, 2, 3].map(|value| {
        let object = server.mint(1, ALL);
        thread::spawn(move || -> Result<(), Error> {
            let object = object?;
            for _ in 0..EACH {
                object.until(soon()).set_meta(0, value)?;
            }
            Ok(())
        })
    });
    for client in clients {
        equal!(client.join(), Ok(()));
    }
    equal!(total.load(Ordering::SeqCst), 6 * EACH);
    end(&server, threads)
}

fn a_request_to_stop_ends_a_server() -> Outcome {
    let server = server()?;
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| request.value(1));
    equal!(object.until(soon()).get_meta(0), Ok(1));
    thread.ask_to_stop()?;
    equal!(thread.join(), Ok(()));
    // The service is still there; nobody takes the request.
    let answer = object
        .until(Deadline::after(Duration::from_millis(1)))
        .get_meta(0);
    equal!(error_of(answer), Some((Error::TimedOut, 0)));
    Ok(())
}

fn a_server_without_a_window_takes_no_data() -> Outcome {
    let server = Arc::new(Server::without_window(Service::new()?));
    let object = server.mint(1, ALL)?;
    let thread = serve(&server, |request| {
        let length = request.length();
        request.value(length as u64)
    });
    equal!(object.until(soon()).get_meta(0), Ok(0));
    let write = object.until(soon()).write(0, &[0; 1]);
    equal!(error_of(write), Some((Error::TooLong, 0)));
    equal!(object.until(soon()).write(0, &[]), Ok(0));
    end(&server, [thread])
}

fn there_is_no_service_of_a_name_that_was_not_provided() -> Outcome {
    let name = String::from("nothing");
    equal!(Server::named(&name, 1, 64).map(drop), Err(Error::NotFound));
    Ok(())
}
