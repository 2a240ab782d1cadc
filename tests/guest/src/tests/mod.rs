//! The tests, by what they are about.

mod accounts;
mod calls;
mod channels;
mod ends;
mod faults;
mod handles;
mod heap;
mod hostile;
mod isolation;
mod life;
mod limits;
mod logs;
mod memory;
mod operations;
mod pointers;
mod queues;
mod regressions;
mod relay;
mod rights;
mod schedule;
mod served;
mod servers;
mod services;
mod sharing;
mod shootdown;
mod start;
mod stops;
mod sync;
mod table;
mod tasks;
mod threads;
mod times;
mod turns;
mod vector;
mod wakeups;
mod windows;

use crate::harness::Test;

/// All of them, the simple ones first.
pub const ALL: &[&[Test]] = &[
    start::TESTS,
    logs::TESTS,
    times::TESTS,
    heap::TESTS,
    calls::TESTS,
    operations::TESTS,
    handles::TESTS,
    rights::TESTS,
    memory::TESTS,
    pointers::TESTS,
    threads::TESTS,
    sync::TESTS,
    channels::TESTS,
    schedule::TESTS,
    services::TESTS,
    served::TESTS,
    sharing::TESTS,
    windows::TESTS,
    queues::TESTS,
    relay::TESTS,
    turns::TESTS,
    wakeups::TESTS,
    ends::TESTS,
    table::TESTS,
    stops::TESTS,
    servers::TESTS,
    tasks::TESTS,
    vector::TESTS,
    faults::TESTS,
    isolation::TESTS,
    shootdown::TESTS,
    limits::TESTS,
    accounts::TESTS,
    hostile::TESTS,
    life::TESTS,
    regressions::TESTS,
];
