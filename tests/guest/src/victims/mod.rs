//! What the victims do. Each kind is one act; most should not survive it.

pub mod fault;
mod hostile;
mod limit;
mod peer;
pub mod run;

use driver_sdk::prelude::*;

/// Does what the kind says; returns the exit code if that comes to an end.
pub fn play(kind: &str, argument: &str) -> i32 {
    let number = || argument.parse().unwrap_or(0);
    match kind {
        "exit" => argument.parse().unwrap_or(-1),
        "panic" => panic!("as asked"),
        "arguments" => run::arguments_are_as_given(),
        "sleep" => run::sleep_for_ever(),
        "spin" => run::spin_for_ever(number()),
        "secret-yield" => run::yield_with_a_secret(),
        "secret-spin" => run::spin_with_a_secret(),
        "thread-pointer-taker" => run::take_own_thread_pointer(),
        "thread-pointer-keeper" => run::look_at_thread_pointer(),
        "entry-tsc" => run::tell_entry_tsc(),
        "leave-all" => run::leave_everything_open(),
        "main-ends-first" => run::end_while_threads_run(),
        "last-thread" => run::end_by_the_last_thread(),
        "hostile" => hostile::play(number() as u64),
        "end-on-second-core" => run::end_on_the_second_core(),
        "unmap-under-reader" => run::unmap_under_reader(),
        "memory-limit" => limit::memory(),
        "heap-limit" => limit::heap(),
        "handle-limit" => limit::handles(),
        "thread-limit" => limit::threads(),
        "process-limit" => limit::processes(),
        "request-limit" => limit::requests(),
        "event-limit" => limit::events(),
        "service-limit" => limit::services(),
        "object-limit" => limit::objects(),
        "family-limit" => limit::family(),
        "memory-of-the-dead" => limit::memory_of_the_dead(),
        "memory-of-others" => limit::memory_of_others(),
        "turn-taker" => peer::take_turns(number() as u64),
        "peer-server" => peer::serve(argument),
        "peer-client" => peer::ask(),
        "peer-sharer" => peer::share(),
        "peer-intruder" => peer::intrude(argument.parse().unwrap_or(0)),
        "map-elsewhere" => run::map_elsewhere(),
        kind => match fault::provoke(kind) {
            true => 0,
            false => {
                println!("there is no victim `{kind}`");
                99
            }
        },
    }
}
