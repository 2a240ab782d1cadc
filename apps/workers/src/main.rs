//! Threads that end. Nobody can end a thread from outside: it would keep its locks, and leave its
//! work half done. It ends when the channel of its work is closed, or soon after it is asked to stop,
//! at a place of its own choice.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::time::Duration;

use driver_sdk::{prelude::*, rt::sync::Receiver};

driver_sdk::main!(main);

fn main() -> Result<(), Error> {
    // No more work: the channel is closed when its last sender is dropped.
    let (work, incoming) = channel::<u64>(4);
    let adder = thread::spawn(move || add(&incoming));
    for number in 1..=100 {
        // It waits while the channel is full.
        work.send(number, Deadline::NEVER)
            .map_err(|_| Error::Gone)?;
    }
    drop(work);
    println!("the sum {}", adder.join());

    // Stop now: the wait ends with an error, also where nothing will ever come.
    let (work, incoming) = channel::<u64>(1);
    let adder = thread::spawn(move || add(&incoming));
    for number in [40, 1, 0] {
        // In a channel for one, the next has room when the last was taken.
        work.send(number, Deadline::NEVER)
            .map_err(|_| Error::Gone)?;
    }
    adder.ask_to_stop()?;
    println!("the sum {}", adder.join());

    // The same for a thread that waits in the kernel, and for one that never waits: it looks.
    let sleeper = thread::spawn(|| Event::new()?.wait(Deadline::NEVER));
    let counter = thread::spawn(|| {
        let mut rounds = 1u64;
        while !thread::stop_requested() {
            rounds += 1;
            thread::yield_now();
        }
        rounds
    });
    thread::sleep(Duration::from_millis(1));
    sleeper.ask_to_stop()?;
    counter.ask_to_stop()?;
    println!(
        "the sleeper: {}",
        sleeper.join().expect_err("no signal came")
    );
    println!("the counter looked: {}", counter.join() > 0);
    Ok(())
}

/// Adds what comes, and says why it ended.
fn add(incoming: &Receiver<u64>) -> Sum {
    let mut sum = 0;
    loop {
        match incoming.receive(Deadline::NEVER) {
            Ok(number) => sum += number,
            Err(why) => return Sum { sum, why },
        }
    }
}

struct Sum {
    sum: u64,
    why: ChannelError,
}

impl core::fmt::Display for Sum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "is {}: {}", self.sum, self.why)
    }
}
