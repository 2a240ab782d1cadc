//! Channels between threads.

use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;

use driver_sdk::{prelude::*, rt::sync::SendError};
use guest_harness::child::PATIENCE;

use crate::{
    harness::{Outcome, check, equal, tests},
    serving::until_it_waits,
};

tests![
    a_channel_passes_everything_from_three_senders_in_the_order_of_each,
    a_channel_holds_as_many_as_it_says,
    a_channel_without_senders_is_closed_when_it_is_empty,
    a_channel_without_a_receiver_takes_nothing,
    a_closed_channel_wakes_both_sides,
];

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn a_channel_passes_everything_from_three_senders_in_the_order_of_each() -> Outcome {
    const EACH: u64 = 2_000;
    let (sender, receiver) = channel::<(usize, u64)>(4);
    let senders: Vec<_> = (0..3)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                (0..EACH).all(|value| sender.send((number, value), Deadline::NEVER).is_ok())
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; 3];
    loop {
        match receiver.receive(soon()) {
            Ok((number, value)) => {
                equal!(value, next[number]);
                next[number] += 1;
            }
            Err(error) => {
                equal!(error, ChannelError::Closed);
                break;
            }
        }
    }
    equal!(next, [EACH; 3]);
    check!(senders.into_iter().all(thread::JoinHandle::join));
    Ok(())
}

fn a_channel_holds_as_many_as_it_says() -> Outcome {
    for (asked, holds) in [(0, 1), (1, 1), (3, 3)] {
        let (sender, receiver) = channel(asked);
        equal!(receiver.try_receive(), Err(ChannelError::TimedOut));
        for value in 0..holds {
            sender.try_send(value)?;
        }
        let full = Err(SendError(holds, ChannelError::TimedOut));
        equal!(sender.try_send(holds), full);
        let start = Instant::now();
        let late = sender.send(holds, Deadline::after(Duration::from_millis(2)));
        equal!(late, full);
        check!(start.elapsed() >= Duration::from_millis(2));
        equal!(receiver.try_receive(), Ok(0));
        sender.try_send(holds)?;
        for value in 1..=holds {
            equal!(receiver.try_receive(), Ok(value));
        }
    }
    Ok(())
}

fn a_channel_without_senders_is_closed_when_it_is_empty() -> Outcome {
    let (sender, receiver) = channel(2);
    let other = sender.clone();
    sender.try_send(1)?;
    drop(sender);
    other.try_send(2)?;
    drop(other);
    equal!(receiver.try_receive(), Ok(1));
    equal!(receiver.try_receive(), Ok(2));
    equal!(receiver.try_receive(), Err(ChannelError::Closed));
    Ok(())
}

fn a_channel_without_a_receiver_takes_nothing() -> Outcome {
    let (sender, receiver) = channel(2);
    let value = Arc::new(());
    sender.try_send(value.clone())?;
    drop(receiver);
    equal!(
        sender.try_send(value.clone()),
        Err(SendError(value.clone(), ChannelError::Closed))
    );
    drop(sender);
    equal!(Arc::strong_count(&value), 1);
    Ok(())
}

fn a_closed_channel_wakes_both_sides() -> Outcome {
    let (sender, receiver) = channel::<u32>(1);
    let closer = sender.clone();
    let waiting = thread::spawn(move || receiver.receive(Deadline::NEVER));
    until_it_waits(&waiting)?;
    closer.close();
    equal!(waiting.join(), Err(ChannelError::Closed));

    let (sender, receiver) = channel::<u32>(1);
    sender.try_send(0)?;
    let waiting = thread::spawn(move || sender.send(1, Deadline::NEVER));
    until_it_waits(&waiting)?;
    drop(receiver);
    equal!(waiting.join(), Err(SendError(1, ChannelError::Closed)));
    Ok(())
}
