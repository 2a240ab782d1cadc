//! Turns that are handed over without a deadline: the fast path of `SignalAndWait`, and how it ends
//! when something else happens.

use alloc::{sync::Arc, vec::Vec};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use driver_sdk::{
    prelude::*,
    rt::{
        object::{Event, Operations},
        time::core_count,
    },
};

use crate::{
    child::{Shared, Victim, end_of, leaves_nothing},
    harness::{Outcome, equal, tests},
    serving::{Desk, error_of, soon, until_it_waits},
};

tests![
    turns_go_back_and_forth,
    a_turn_goes_to_one_of_lower_priority,
    who_waits_for_a_turn_can_be_stopped,
    who_was_asked_to_stop_does_not_wait_for_a_turn,
    who_was_asked_to_stop_is_not_handed_to_a_server,
    a_turn_comes_by_any_signal,
    others_wait_behind_who_waits_for_a_turn,
    a_process_can_be_ended_between_its_turns,
];

/// Two events: of this side, and of the other.
fn pair() -> Outcome<(Arc<Event>, Arc<Event>)> {
    Ok((Arc::new(Event::new()?), Arc::new(Event::new()?)))
}

fn on_first_core(priority: u32) -> thread::Builder {
    thread::Builder::new().affinity(1).priority(priority)
}

/// Two threads of one core count in turn; at these priorities.
fn count_in_turn(priorities: [u32; 2]) -> Outcome {
    const ROUNDS: u64 = 1000;
    let count = Arc::new(AtomicU64::new(0));
    let (ping, pong) = pair()?;
    let side = |first: u64, own: Arc<Event>, other: Arc<Event>| {
        let count = count.clone();
        move || {
            if first == 1 {
                own.wait(soon())?;
            }
            for round in 0..ROUNDS {
                if count.fetch_add(1, Ordering::Relaxed) != 2 * round + first {
                    return Err(Error::Corrupt);
                }
                if round == ROUNDS - 1 {
                    return other.signal();
                }
                if other.signal_and_wait(&own, Deadline::NEVER)? != 1 {
                    return Err(Error::Failed);
                }
            }
            Ok(())
        }
    };
    let [first, second] = priorities;
    let second = on_first_core(second).spawn(side(1, pong.clone(), ping.clone()))?;
    until_it_waits(&second)?;
    let first = on_first_core(first).spawn(side(0, ping, pong))?;
    equal!((first.join(), second.join()), (Ok(()), Ok(())));
    equal!(count.load(Ordering::Relaxed), 2 * ROUNDS);
    Ok(())
}

fn turns_go_back_and_forth() -> Outcome {
    count_in_turn([5, 5])
}

fn a_turn_goes_to_one_of_lower_priority() -> Outcome {
    count_in_turn([9, 3])
}

fn who_waits_for_a_turn_can_be_stopped() -> Outcome {
    let (own, other) = pair()?;
    let mine = own.clone();
    let thread = thread::spawn(move || other.signal_and_wait(&mine, Deadline::NEVER));
    until_it_waits(&thread)?;
    thread.ask_to_stop()?;
    equal!(thread.join(), Err(Error::Interrupted));
    // Nobody waits any more, so a signal is remembered.
    own.signal()?;
    equal!(own.wait(Deadline::NOW), Ok(1));
    Ok(())
}

fn who_was_asked_to_stop_does_not_wait_for_a_turn() -> Outcome {
    let (own, other) = pair()?;
    let (theirs, unused) = (other.clone(), pair()?.0);
    let waits = on_first_core(5).spawn(move || unused.signal_and_wait(&theirs, Deadline::NEVER))?;
    until_it_waits(&waits)?;
    let go = Arc::new(Event::new()?);
    let started = go.clone();
    let asked = on_first_core(5).spawn(move || {
        // The request ends this wait, and stands.
        let first = started.wait(soon());
        (first, other.signal_and_wait(&own, Deadline::NEVER))
    })?;
    until_it_waits(&asked)?;
    asked.ask_to_stop()?;
    equal!(
        asked.join(),
        (Err(Error::Interrupted), Err(Error::Interrupted))
    );
    equal!(waits.join(), Ok(1));
    Ok(())
}

fn who_was_asked_to_stop_is_not_handed_to_a_server() -> Outcome {
    let desk = Desk::new()?;
    let serving = desk.service.clone();
    let server = on_first_core(5).spawn(move || serving.serve(None, soon()).map(drop))?;
    until_it_waits(&server)?;
    let (object, go) = (desk.object.clone(), Event::new()?);
    let asked = on_first_core(5).spawn(move || {
        let first = go.wait(soon());
        (first, error_of(object.get_meta(1)))
    })?;
    until_it_waits(&asked)?;
    asked.ask_to_stop()?;
    equal!(
        asked.join(),
        (Err(Error::Interrupted), Some(Error::Interrupted))
    );
    desk.service.end()?;
    equal!(server.join(), Err(Error::ServerGone));
    Ok(())
}

fn a_turn_comes_by_any_signal() -> Outcome {
    let (own, other) = pair()?;
    let (mine, theirs) = (own.clone(), other.clone());
    let thread = thread::spawn(move || {
        (0..3)
            .map(|_| theirs.signal_and_wait(&mine, Deadline::NEVER))
            .collect::<Vec<_>>()
    });
    let wait = || -> Outcome {
        equal!(other.wait(soon()), Ok(1));
        until_it_waits(&thread)
    };
    wait()?;
    own.signal()?;
    wait()?;
    let unused = Event::new()?;
    let soon_over = Deadline::after(Duration::from_millis(1));
    equal!(
        own.signal_and_wait(&unused, soon_over),
        Err(Error::TimedOut)
    );
    wait()?;
    // With a deadline the way is the long one.
    equal!(
        own.signal_and_wait(&unused, Deadline::NOW),
        Err(Error::TimedOut)
    );
    equal!(thread.join(), [Ok(1), Ok(1), Ok(1)]);
    Ok(())
}

fn others_wait_behind_who_waits_for_a_turn() -> Outcome {
    let (event, unused) = pair()?;
    let woken = Arc::new(AtomicU64::new(0));
    let threads = (0..3).map(|index| {
        let (event, unused, woken) = (event.clone(), unused.clone(), woken.clone());
        let thread = thread::spawn(move || {
            let result = match index {
                0 | 2 => unused.signal_and_wait(&event, Deadline::NEVER),
                _ => event.wait(soon()),
            };
            (result, woken.fetch_add(1, Ordering::SeqCst))
        });
        until_it_waits(&thread).map(|()| thread)
    });
    let threads = threads.collect::<Outcome<Vec<_>>>()?;
    for (index, thread) in (0..).zip(threads) {
        event.signal()?;
        equal!(thread.join(), (Ok(1), index));
    }
    equal!(event.wait(Deadline::NOW), Err(Error::TimedOut));
    Ok(())
}

/// A process of one core takes turns with a thread of this one, and is ended from another core, if
/// there is one, at any point of it.
fn a_process_can_be_ended_between_its_turns() -> Outcome {
    let core = core_count().min(2) as u64;
    leaves_nothing(|| {
        for number in 0..20 {
            let (own, theirs) = pair()?;
            let shared = Shared::new()?;
            let rights = Rights::READ | Rights::WRITE | Rights::WAIT;
            let victim = Victim::new("turn-taker")
                .argument(core)
                .with(|command| command.give("own", &*theirs, rights))
                .with(|command| command.give("other", &*own, rights))
                .shared(&shared)
                .spawn()?;
            let (ours, other) = (own.clone(), theirs.clone());
            let partner = thread::Builder::new().affinity(core).spawn(move || {
                while other.signal_and_wait(&ours, Deadline::NEVER).is_ok() {}
            })?;
            shared.wait_for(0, 10)?;
            thread::sleep(Duration::from_micros(100 + 37 * number));
            victim.kill(7)?;
            let end = end_of(&victim)?;
            partner.ask_to_stop()?;
            partner.join();
            equal!(end.status, ExitStatus::Killed(7));
        }
        Ok(())
    })
}
