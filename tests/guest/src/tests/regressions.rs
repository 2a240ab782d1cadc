//! What went wrong once. Each test begins with the story of its bug.

use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        call::Operation,
        limits::Limits,
        object::{ProcessMeta, ThreadArguments, ThreadMeta},
        queue::Submission,
    },
    prelude::*,
    rt::syscall,
};

use crate::{
    child::{PATIENCE, Shared, Victim, end_of, idle_process, leaves_nothing},
    harness::{Outcome, check, equal, tests},
    serving::{Desk, entry, soon, submit},
    victims::run::{ELSEWHERE, ELSEWHERE_LENGTH},
};

tests![
    ending_what_has_ended_changes_nothing,
    who_waits_for_a_last_thread_is_woken,
    work_on_another_process_is_finished,
    a_batch_that_answers_its_own_queue_is_not_slept_over,
    who_sleeps_beside_a_service_is_woken_when_all_is_told,
    ; 2 cores:
    a_thread_is_changed_in_the_middle_of_its_work,
];

/// `Destroy` on a process that had ended by itself took it apart a second time: the kernel
/// panicked, because the tables were gone already.
fn ending_what_has_ended_changes_nothing() -> Outcome {
    leaves_nothing(|| {
        let child = Victim::new("exit").argument(3).spawn()?;
        equal!(end_of(&child)?.status, ExitStatus::Exited(3));
        equal!(child.meta(ProcessMeta::MemoryUsed), Ok(0));
        equal!(child.kill(0), Ok(()));
        equal!(child.kill(1), Ok(()));
        equal!(end_of(&child)?.status, ExitStatus::Exited(3));
        equal!(child.meta(ProcessMeta::MemoryUsed), Ok(0));
        // The same for one that never had a thread, which is taken apart by who ends it.
        let child = idle_process(own_process(), Limits::DEFAULT)?;
        for code in [1, 2] {
            equal!(child.kill(code), Ok(()));
            equal!(end_of(&child)?.status, ExitStatus::Killed(1));
        }
        Ok(())
    })
}

/// Where [`EXIT`] is in its process.
const CODE: u64 = 0x5000_0000;
/// `mov eax, 10 (ExitThread); mov edi, 7; syscall; ud2`
const EXIT: [u8; 14] = [0xb8, 10, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b];

/// A process's last thread takes the process apart, and told those who waited for it before that,
/// not after: who came in between slept on. Many handles make that time long.
fn who_waits_for_a_last_thread_is_woken() -> Outcome {
    let memory = Memory::new(4096)?;
    let code = Memory::new(4096)?;
    code.write(0, &EXIT)?;
    let limits = Limits {
        handles: 1600,
        ..Limits::DEFAULT
    };
    for _ in 0..10 {
        let child = idle_process(own_process(), limits)?;
        // SAFETY: another address space.
        unsafe { child.map(&code, CODE, 0, 4096, Rights::READ | Rights::EXECUTE)? };
        for _ in 0..1500 {
            memory.as_ref().duplicate_into(Rights::READ, &child)?;
        }
        let arguments = ThreadArguments {
            entry: CODE,
            stack: CODE,
            priority: 1,
            ..ThreadArguments::default()
        };
        // SAFETY: another address space.
        let thread = unsafe { child.create_thread(&arguments)? };
        let deadline = Instant::now() + PATIENCE;
        while child.counters().map(drop) != Err(Error::Gone) {
            check!(Instant::now() < deadline, "the thread does not end");
            thread::sleep(Duration::from_micros(20));
        }
        let ended = thread.wait(Deadline::after(PATIENCE / 4));
        equal!(ended, Ok(ExitStatus::Exited(7)));
        equal!(end_of(&child)?.status, ExitStatus::Exited(7));
    }
    Ok(())
}

/// A process that was ended while one of its threads mapped or unmapped pages of another left
/// them half done: that other could never map or unmap there again, everything was `Busy`.
fn work_on_another_process_is_finished() -> Outcome {
    leaves_nothing(|| {
        let memory = Memory::new(ELSEWHERE_LENGTH)?;
        let target = idle_process(own_process(), Limits::DEFAULT)?;
        for round in 0..12 {
            let shared = Shared::new()?;
            let worker = Victim::new("map-elsewhere")
                .shared(&shared)
                .with(|command| command.give("memory", &memory, Rights::READ | Rights::MAP))
                .spawn()?;
            // Neither may hold the other while both have no thread, so it comes now.
            let there = target.as_ref().duplicate_into(Rights::MANAGE, &worker)?;
            shared.set(1, there.raw().into());
            shared.wait_for(0, 1)?;
            thread::sleep(Duration::from_micros(137 * round));
            worker.kill(0)?;
            equal!(end_of(&worker)?.status, ExitStatus::Killed(0));
            // SAFETY: another address space, here and below.
            let left = unsafe { syscall::unmap(target.handle(), ELSEWHERE, ELSEWHERE_LENGTH) };
            check!(
                matches!(left, Ok(()) | Err(Error::NotMapped)),
                "in round {round} the other process is left with {left:?}"
            );
        }
        // SAFETY: as above.
        let mapped = unsafe { target.map(&memory, ELSEWHERE, 0, ELSEWHERE_LENGTH, Rights::READ) };
        equal!(mapped, Ok(ELSEWHERE));
        Ok(())
    })
}

/// A thread that answered, by an entry of its queue, a read that came from the same queue, went to
/// sleep with the answer's data uncopied: whoever answers wakes who waits, and nobody waited yet.
/// The same happened when another core answered while the thread copied something else.
fn a_batch_that_answers_its_own_queue_is_not_slept_over() -> Outcome {
    let server = Server::new(Service::new()?, 1, 64)?;
    let object = server.mint(1, Rights::READ)?;
    let mut queue = IoQueue::new(4, 0)?;
    let mut buffer = [0u8; 16];
    let arguments = [0, buffer.as_mut_ptr() as u64, 16, 0];
    let read = Submission::new(object.handle(), Operation::Read, 5, arguments);
    // SAFETY: the buffer lives until the queue is dropped, and is looked at after the completion.
    unsafe { queue.submit(&read) }.map_err(|_| "no room")?;
    queue.enter(0, Deadline::NOW)?;
    let request = server.next(Answer::later(), Deadline::after(PATIENCE))?;
    request.reply_data(&[7; 16]).submit(&mut queue);
    queue.enter(1, Deadline::after(Duration::from_millis(100)))?;
    let completion = queue.pop()?.ok_or("a completion is missing")?;
    equal!((completion.user_data, completion.result()), (5, Ok(16)));
    equal!(buffer, [7; 16]);
    Ok(())
}

/// At the end of a service the events of its clients were signalled first and their requests answered
/// then, in steps. On one core a client of level 3 woke between the two, found nothing, and slept
/// until its deadline.
fn who_sleeps_beside_a_service_is_woken_when_all_is_told() -> Outcome {
    const REQUESTS: u32 = 60;
    let desk = Desk::new()?;
    let event = Arc::new(Event::new()?);
    let given = event.clone();
    let shares = desk.call(move |object| object.until(soon()).share(&*given, Rights::WRITE, 1));
    desk.value(desk.request()?.token, 0)?;
    equal!(shares.join(), Ok(0));
    let object = desk.object.clone();
    let sleeper = thread::spawn(move || -> Outcome<u32> {
        let mut queue = IoQueue::new(64, 64)?;
        for number in 0..REQUESTS {
            let ask = entry(object.handle(), Operation::GetMeta, number.into(), [0; 4]);
            submit(&mut queue, &ask)?;
        }
        queue.enter(0, soon())?;
        event.wait(soon())?;
        let mut told = 0;
        while let Some(completion) = queue.pop()? {
            equal!(completion.result(), Err(Error::ServerGone));
            told += 1;
        }
        Ok(told)
    });
    desk.wait_for_counts(REQUESTS.into(), 0)?;
    // Half of them have been taken, which takes the service longer.
    for _ in 0..REQUESTS / 2 {
        desk.request()?;
    }
    desk.service.end()?;
    equal!(sleeper.join()?, REQUESTS);
    Ok(())
}

/// A thread in a step of a long operation is on no list, but looked as if it were ready: changing
/// its priority or its cores at that moment took it out of a list that it was not on, and the
/// kernel panicked.
fn a_thread_is_changed_in_the_middle_of_its_work() -> Outcome {
    const LARGE: u64 = 64 << 20;
    let changer = thread::Builder::new().affinity(1).spawn(|| {
        let done = Arc::new(AtomicBool::new(false));
        let theirs = done.clone();
        let worker = thread::Builder::new().affinity(2).priority(8);
        let worker = worker.spawn(move || -> Outcome {
            for _ in 0..3 {
                Memory::new(LARGE)?.map(Rights::READ | Rights::WRITE)?;
            }
            theirs.store(true, Ordering::Relaxed);
            Ok(())
        })?;
        let deadline = Instant::now() + PATIENCE;
        let mut changes = 0u64;
        while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
            let set = |key, value| worker.thread().set_meta(key, value);
            set(ThreadMeta::Priority, 8 + changes % 3)?;
            set(ThreadMeta::Affinity, if changes % 64 < 32 { 2 } else { 3 })?;
            changes += 1;
        }
        // Whatever it is waiting for: with its old core it comes to its end.
        worker.thread().set_meta(ThreadMeta::Affinity, 2)?;
        check!(changes > 100, "only {changes} changes while it worked");
        worker.join()
    })?;
    changer.join()
}
