//! The loop that makes the load, the same at every level.

use alloc::{string::String, vec::Vec};

use bench_harness::{
    measure::{begin, end, overhead},
    plan::Wait,
    report::Histogram,
};
use driver_sdk::{
    io::{
        BlockDevice, BlockQueue, Buffer, Completion, Error, ErrorKind, Pool, QueueOptions, Request,
        WaitMode,
    },
    prelude::*,
};

use crate::{
    Terms, failed,
    script::Script,
    watch::{Due, Watch, now},
    way::Way,
};

/// How long an adaptive wait looks before it sleeps, in nanoseconds.
const LOOK: u64 = 20_000;
/// Looks in vain whose cost is measured together.
const LOOKS: u64 = 4096;
/// Turns of an idle loop between sending and reaping, at first and at most.
const FIRST_REST: u64 = 2_000;
const LAST_REST: u64 = 64_000;

/// One thread's part of a load.
pub struct Load<Q, S, W> {
    queue: Q,
    /// Those that are in no request.
    buffers: Vec<Buffer>,
    script: S,
    /// Sees requests begin and end.
    pub watch: W,
    batch: usize,
    /// The thread looks by itself, instead of waiting for somebody.
    looks: bool,
    /// What was done in vain.
    pub vain: Vain,
    rest: Rest,
    /// Ticks of [`LOOKS`] looks in vain.
    look_cost: u64,
    error: Option<Error>,
    waits: WaitMode,
}

/// Time that the device gets between sending and reaping. The device works in the host's time: a program
/// that polls while it posts gets a batch in pieces, as many as the host's scheduling makes, and each
/// is a look more.
struct Rest {
    turns: u64,
    /// In ticks.
    cost: u64,
}

/// What a thread did in vain while it measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vain {
    /// Looks that found nothing, and ticks in them.
    pub looks: u64,
    pub ticks: u64,
    /// Ticks of rests.
    pub rest: u64,
    /// Batches that came back in more than one piece.
    pub torn: u64,
}

/// How requests begin.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// All, when all have come back.
    Batches,
    /// Each, when another has come back.
    Rolling,
    /// Each so many nanoseconds after the other.
    Every(u64),
}

impl<Q: BlockQueue, S: Script, W: Watch> Load<Q, S, W> {
    /// One with a queue of its own, and buffers of a pool.
    pub fn new<D>(
        way: &Way<D>,
        terms: &Terms,
        pool: &Pool,
        script: S,
        watch: W,
    ) -> Result<Self, String>
    where
        D: BlockDevice<Queue = Q>,
    {
        let (depth, bytes) = (terms.depth(), terms.case.block_size as usize);
        let waits = match terms.case.wait {
            Wait::Poll => WaitMode::Poll,
            Wait::Interrupt => WaitMode::Interrupt,
            Wait::Adaptive => WaitMode::Adaptive(LOOK),
        };
        let options = QueueOptions {
            depth,
            wait: waits,
            ..QueueOptions::default()
        };
        let buffers: Result<Vec<_>, _> = (0..depth).map(|_| pool.allocate(bytes)).collect();
        Ok(Self {
            queue: way.device.open_queue(options).map_err(failed)?,
            buffers: buffers.map_err(failed)?,
            script,
            watch,
            batch: terms.case.batch as usize,
            looks: way.is_own() && waits == WaitMode::Poll,
            vain: Vain::default(),
            rest: Rest {
                turns: FIRST_REST,
                cost: 0,
            },
            look_cost: 0,
            error: None,
            waits,
        })
    }

    /// Does so many operations, and waits until all have come back.
    pub fn run(&mut self, operations: u64, pace: Pace) {
        match pace {
            Pace::Batches => self.batches(operations),
            Pace::Rolling => self.rolling(operations),
            Pace::Every(interval) => self.open(operations, interval),
        }
    }

    /// An error, if any request has failed or read what it should not.
    pub fn check(&self) -> Result<(), String> {
        match (self.error, self.watch.wrong()) {
            (Some(error), _) => Err(failed(error)),
            (None, Some(wrong)) => Err(wrong),
            (None, None) => Ok(()),
        }
    }

    /// The latencies since the last time, if they are taken.
    pub fn latencies(&mut self) -> Option<Histogram> {
        self.watch.latencies()
    }

    /// As many in flight as there are buffers, then none, and so on.
    fn batches(&mut self, mut left: u64) {
        while left > 0 && self.error.is_none() {
            let count = left.min(self.buffers.len() as u64);
            self.send_batches(count as usize);
            left -= count;
            if self.looks {
                idle(self.rest.turns);
                self.vain.rest += self.rest.cost;
                self.drain(self.queue.in_flight(), u64::MAX);
            } else {
                while self.queue.in_flight() > 0 && self.error.is_none() {
                    self.reap(u64::MAX);
                }
            }
        }
    }

    /// Looks until `count` requests have come back, but not more than `most` times in vain. Never
    /// inlined, so that a look in vain costs the same wherever it is counted.
    #[inline(never)]
    fn drain(&mut self, mut count: usize, most: u64) {
        let (mut vain, mut pieces) = (0, 0);
        while count > 0 && vain < most {
            let reaped = self.reap(u64::MAX);
            vain += u64::from(reaped == 0);
            pieces += u64::from(reaped != 0);
            count -= reaped;
        }
        self.vain.looks += vain;
        self.vain.ticks += vain * self.look_cost / LOOKS;
        self.vain.torn += u64::from(pieces > 1);
    }

    /// Finds out what looks in vain and rests cost, for closed batches. With `longer` rests.
    pub fn calibrate(&mut self, longer: bool) {
        if !self.looks {
            return;
        }
        if longer {
            self.rest.turns = (self.rest.turns * 2).min(LAST_REST);
        }
        let overhead = overhead();
        let start = begin();
        self.drain(1, LOOKS);
        self.look_cost = end() - start - overhead;
        let start = begin();
        idle(self.rest.turns);
        self.rest.cost = end() - start - overhead;
        self.vain = Vain::default();
    }

    /// Sends `count` requests, rung for once a batch.
    #[inline(always)]
    fn send_batches(&mut self, mut count: usize) {
        while count > 0 {
            let some = count.min(self.batch);
            self.send(some, Due::Now);
            self.queue.kick();
            count -= some;
        }
    }

    /// Whatever comes back is sent again at once.
    fn rolling(&mut self, mut left: u64) {
        while (left > 0 || self.queue.in_flight() > 0) && self.error.is_none() {
            let count = (left.min(self.buffers.len() as u64)) as usize;
            self.send_batches(count);
            left -= count as u64;
            self.reap(u64::MAX);
        }
    }

    /// One in each interval, whether or not earlier ones have come back. One for which there is no
    /// room begins later, but its latency counts from when it was due.
    fn open(&mut self, mut left: u64, interval: u64) {
        let mut due = now() + interval;
        while (left > 0 || self.queue.in_flight() > 0) && self.error.is_none() {
            let mut begun = false;
            while left > 0 && due <= now() && !self.buffers.is_empty() {
                self.send(1, Due::At(due));
                (left, due, begun) = (left - 1, due + interval, true);
            }
            if begun {
                self.queue.kick();
            }
            let until = match left > 0 && !self.buffers.is_empty() {
                true => due,
                false => u64::MAX,
            };
            if self.queue.in_flight() > 0 {
                self.reap(until);
            } else if left > 0 {
                self.wait_for(due);
            }
        }
    }

    /// Passes the time until a moment, with nothing in flight.
    fn wait_for(&self, moment: u64) {
        match self.waits {
            WaitMode::Poll => {
                while now() < moment && !time::is_core_wanted() {
                    core::hint::spin_loop();
                }
                thread::yield_now();
            }
            _ => time::sleep_until(Instant::from_nanoseconds(moment)),
        }
    }

    /// Puts `count` requests into the next batch.
    #[inline(always)]
    fn send(&mut self, count: usize, due: Due) {
        let Self {
            queue,
            buffers,
            script,
            watch,
            error,
            ..
        } = self;
        let rest = buffers.len() - count;
        let mut steps = *script;
        for mut buffer in buffers.drain(rest..) {
            let mut step = steps.next();
            while !watch.may_begin(step) {
                step = steps.next();
            }
            let name = watch.begins(step, due, &mut buffer);
            let request = match step.write {
                false => Request::read(step.offset, buffer),
                true => Request::write(step.offset, buffer),
            };
            if let Err(rejected) = queue.push(request.with_user_data(name)) {
                *error = Some(rejected.error);
            }
        }
        *script = steps;
    }

    /// Takes what has come back; waits for the first, until a moment. Returns how many.
    #[inline(always)]
    fn reap(&mut self, until: u64) -> usize {
        let Self {
            queue,
            buffers,
            watch,
            error,
            looks,
            ..
        } = self;
        let taken = |completion: Completion| {
            if let Err(failure) = completion.result {
                *error = Some(failure);
            }
            if let Some(buffer) = completion.buffers.into_buffer() {
                watch.ends(completion.user_data, &buffer);
                buffers.push(buffer);
            }
        };
        if !*looks {
            return match queue.wait(until, taken) {
                Ok(count) => count,
                Err(failure) if failure.kind == ErrorKind::TimedOut => 0,
                Err(failure) => {
                    *error = Some(failure);
                    0
                }
            };
        }
        queue.poll(taken)
    }
}

/// Lets the device work. Never inlined, so that it costs the same wherever it is counted.
#[inline(never)]
fn idle(turns: u64) {
    (0..turns).for_each(|_| core::hint::spin_loop());
}
