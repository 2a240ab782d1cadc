//! What every [`BlockDevice`] must do, whatever the path to it.
//!
//! A test is a function of a [`Subject`]: the device, and what else the test's side can do with it.
//! It says what was wrong instead of panicking, so it runs in a program of the guest as well as
//! under `cargo test`. [`TESTS`](tests) lists all of them by name.
//!
//! The device belongs to the suite: it has at least 2 MiB and room for 16 blocks more than
//! its largest transfer, and its content is overwritten.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod life;
mod limits;
mod queue;
mod transfers;

use alloc::{format, string::String, vec::Vec};

use spillway_io::{
    BlockDevice, BlockQueue, Buffer, Buffers, ByteOffset, Completion, Error, Pool, QueueOptions,
    Request,
};

/// What a test found.
pub type Outcome = Result<(), String>;

/// A device under test.
pub trait Subject {
    /// Its type.
    type Device: BlockDevice;

    /// The device.
    fn device(&self) -> &Self::Device;

    /// A pool that is not registered with the device.
    fn foreign_pool(&self) -> Pool;

    /// Makes the device keep what it gets from now on; false if that is impossible here.
    fn hold(&self) -> bool {
        false
    }

    /// The device goes on, also with what it kept.
    fn release(&self) {}

    /// Makes every request fail from now on, or no longer. Returns the error that is expected;
    /// `None` if that is impossible here.
    fn fail(&self, failing: bool) -> Option<Error> {
        let _ = failing;
        None
    }

    /// Resets the device; false if that is impossible here.
    fn reset(&self) -> bool {
        false
    }

    /// Flushes, and requests with FUA, that have reached the device so far.
    fn durable(&self) -> Option<(u64, u64)> {
        None
    }
}

/// A test by name.
pub type Test<S> = (&'static str, fn(&S) -> Outcome);

/// All tests.
pub fn tests<S: Subject>() -> [Test<S>; 17] {
    [
        ("all_sizes_and_places", transfers::all_sizes_and_places),
        ("lists_are_one_transfer", transfers::lists_are_one_transfer),
        (
            "shared_buffers_stay_readable",
            transfers::shared_buffers_stay_readable,
        ),
        (
            "a_disk_is_what_was_written",
            transfers::a_disk_is_what_was_written,
        ),
        ("flush_and_fua_arrive", transfers::flush_and_fua_arrive),
        ("sizes_at_the_limit", limits::sizes_at_the_limit),
        ("places_at_the_limit", limits::places_at_the_limit),
        ("half_blocks_are_refused", limits::half_blocks_are_refused),
        (
            "foreign_memory_is_refused",
            limits::foreign_memory_is_refused,
        ),
        ("a_full_queue_refuses", limits::a_full_queue_refuses),
        ("batches_are_one_doorbell", queue::batches_are_one_doorbell),
        (
            "two_queues_are_one_device",
            queue::two_queues_are_one_device,
        ),
        ("waiting_ends", queue::waiting_ends),
        ("errors_are_the_devices", queue::errors_are_the_devices),
        (
            "a_cancelled_request_completes_once",
            life::a_cancelled_request_completes_once,
        ),
        (
            "a_dropped_queue_gives_back_or_keeps",
            life::a_dropped_queue_gives_back_or_keeps,
        ),
        (
            "a_reset_gives_everything_back",
            life::a_reset_gives_everything_back,
        ),
    ]
}

/// Runs a test; what it did to the device is undone.
pub fn run<S: Subject>(subject: &S, test: Test<S>) -> Outcome {
    let outcome = (test.1)(subject);
    subject.fail(false);
    subject.release();
    outcome.map_err(|reason| format!("{}: {reason}", test.0))
}

/// An error unless something holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(alloc::format!($($why)+));
        }
    };
}
use ensure;

type Queue<S> = <<S as Subject>::Device as BlockDevice>::Queue;

/// How long a drain or a wait may take that is meant to end, in nanoseconds.
const LONG: u64 = 5_000_000_000;
/// The same for one that is meant to be too short.
const SHORT: u64 = 20_000;

fn failed(error: impl Into<Error>) -> String {
    format!("{}", error.into())
}

/// A queue that, when it is dropped, waits for so many nanoseconds.
fn open<S: Subject>(subject: &S, depth: u16, drain: u64) -> Result<Queue<S>, String> {
    let options = QueueOptions {
        depth,
        drain,
        ..QueueOptions::default()
    };
    subject.device().open_queue(options).map_err(failed)
}

fn pool<S: Subject>(subject: &S, bytes: usize) -> Result<Pool, String> {
    subject.device().create_pool(bytes).map_err(failed)
}

/// Takes completions until nothing is in flight.
fn drain(queue: &mut impl BlockQueue) -> Result<Vec<Completion>, String> {
    let deadline = queue.now().saturating_add(LONG);
    let mut all = Vec::new();
    while queue.in_flight() > 0 {
        queue
            .wait(deadline, |completion| all.push(completion))
            .map_err(failed)?;
    }
    Ok(all)
}

/// Does one request and returns its memory.
fn perform(queue: &mut impl BlockQueue, request: Request) -> Result<Buffers, String> {
    let id = queue.submit(request).map_err(failed)?;
    let mut all = drain(queue)?;
    let completion = all.pop().ok_or("a request was not given back")?;
    ensure!(all.is_empty(), "one request, several completions");
    ensure!(completion.id == id, "the completion of another request");
    completion.result.map_err(failed)?;
    Ok(completion.buffers)
}

/// The same with one buffer.
fn perform_one(queue: &mut impl BlockQueue, request: Request) -> Result<Buffer, String> {
    let buffers = perform(queue, request)?;
    Ok(buffers
        .into_buffer()
        .ok_or("another kind of memory came back")?)
}

/// Fills a buffer with what belongs at `offset` in the pattern of `seed`.
fn fill(seed: u64, offset: u64, buffer: &mut [u8]) {
    test_pattern::fill(seed, offset, buffer);
}

fn check(seed: u64, offset: u64, bytes: &[u8]) -> Outcome {
    match test_pattern::first_wrong(seed, offset, bytes) {
        None => Ok(()),
        Some(at) => Err(format!(
            "wrong data at {at:#x}, of {} from {offset:#x}",
            bytes.len()
        )),
    }
}

/// Where a block begins.
const fn at(offset: u64) -> ByteOffset {
    ByteOffset(offset)
}
