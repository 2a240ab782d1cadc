//! One thread that makes the load, or several, each with its part of the depth.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use bench_harness::report::Histogram;
use driver_sdk::{
    io::{BlockDevice, BlockQueue, Pool},
    prelude::*,
};

use crate::{
    Terms, failed,
    load::{Load, Pace, Vain},
    script::Script,
    watch::Watch,
    way::Way,
};

/// Whoever makes the load.
pub enum Crew<Q, S, W> {
    /// This thread.
    Alone(Load<Q, S, W>),
    /// Others, which this one waits for.
    Team(Vec<Member>),
}

/// Another thread.
pub struct Member {
    orders: Arc<Orders>,
    thread: thread::JoinHandle<Result<(), String>>,
}

/// What it is told, and tells.
struct Orders {
    /// What is to be done next: operations and pace, or nothing more.
    next: Mutex<Option<(u64, Pace)>>,
    begin: Semaphore,
    done: Semaphore,
    latencies: Mutex<Option<Histogram>>,
    wrong: Mutex<Option<String>>,
}

/// Bytes of a thread's stack.
const STACK: usize = 64 << 10;

impl<Q, S, W> Crew<Q, S, W>
where
    Q: BlockQueue,
    S: Script,
    W: Watch,
{
    /// The threads of a case. `make` says what the thread of a number does.
    pub fn new<D>(
        way: &Way<D>,
        terms: &Terms,
        make: impl Fn(u32) -> Result<(S, W), String>,
    ) -> Result<Self, String>
    where
        D: BlockDevice<Queue = Q> + Send + 'static,
    {
        // One for all: a server knows a bounded number of them.
        let bytes = terms.case.block_size as usize;
        // Buffers begin with a page if they are longer, some with eight.
        let room = bytes.next_multiple_of(if bytes > 4096 { 32768 } else { 512 });
        let room = room * terms.case.queue_depth as usize;
        let pool = way.device.create_pool(room).map_err(failed)?;
        if terms.case.threads == 1 {
            let (script, watch) = make(0)?;
            return Ok(Self::Alone(Load::new(way, terms, &pool, script, watch)?));
        }
        let member = |index| {
            let (script, watch) = make(index)?;
            Member::start(way.clone(), terms.clone(), &pool, script, watch, index)
        };
        let members: Vec<_> = (0..terms.case.threads)
            .map(member)
            .collect::<Result<_, _>>()?;
        // Each has a queue by then, or says why not.
        members
            .iter()
            .for_each(|member| member.orders.done.acquire());
        members.iter().try_for_each(Member::check)?;
        Ok(Self::Team(members))
    }

    /// Does so many operations, each thread its part, and waits for all.
    #[inline(always)]
    pub fn run(&mut self, operations: u64, pace: Pace) {
        match self {
            Self::Alone(load) => load.run(operations, pace),
            Self::Team(members) => run_team(members, operations, pace),
        }
    }

    /// An error, if a request of any thread has gone wrong.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Alone(load) => load.check(),
            Self::Team(members) => members.iter().try_for_each(Member::check),
        }
    }

    /// Finds out what is left out of the count; see [`Load::calibrate`].
    pub fn calibrate(&mut self, longer: bool) {
        if let Self::Alone(load) = self {
            load.calibrate(longer);
        }
    }

    /// What was done in vain since the last time.
    pub fn take_vain(&mut self) -> Vain {
        match self {
            Self::Alone(load) => core::mem::take(&mut load.vain),
            Self::Team(_) => Vain::default(),
        }
    }

    /// The latencies of all threads since the last time, if they are taken.
    pub fn latencies(&mut self) -> Option<Histogram> {
        match self {
            Self::Alone(load) => load.latencies(),
            Self::Team(members) => {
                let taken = members
                    .iter()
                    .filter_map(|member| member.orders.latencies.lock().take());
                taken.reduce(|mut all, one| {
                    all.merge(&one);
                    all
                })
            }
        }
    }

    /// Ends the threads.
    pub fn end(self) -> Result<(), String> {
        let Self::Team(members) = self else {
            return Ok(());
        };
        for member in members {
            *member.orders.next.lock() = None;
            member.orders.begin.release(1);
            member.thread.join()?;
        }
        Ok(())
    }
}

/// Divides the operations.
fn run_team(members: &[Member], operations: u64, pace: Pace) {
    let count = members.len() as u64;
    let pace = match pace {
        Pace::Every(interval) => Pace::Every(interval * count),
        pace => pace,
    };
    for (index, member) in (0..).zip(members) {
        let part = operations / count + u64::from(index < operations % count);
        *member.orders.next.lock() = Some((part, pace));
        member.orders.begin.release(1);
    }
    members
        .iter()
        .for_each(|member| member.orders.done.acquire());
}

impl Member {
    fn start<D, S, W>(
        way: Way<D>,
        terms: Terms,
        pool: &Pool,
        script: S,
        watch: W,
        index: u32,
    ) -> Result<Self, String>
    where
        D: BlockDevice + Send + 'static,
        S: Script,
        W: Watch,
    {
        let orders = Arc::new(Orders {
            next: Mutex::new(None),
            begin: Semaphore::new(0),
            done: Semaphore::new(0),
            latencies: Mutex::new(None),
            wrong: Mutex::new(None),
        });
        let (theirs, pool) = (orders.clone(), pool.clone());
        let work = move || {
            let load = Load::new(&way, &terms, &pool, script, watch);
            let served = match load {
                Ok(mut load) => theirs.serve(&mut load),
                Err(error) => Err(error),
            };
            if let Err(error) = &served {
                *theirs.wrong.lock() = Some(error.clone());
            }
            theirs.done.release(1);
            served
        };
        let builder = thread::Builder::new()
            .name(format!("load-{index}"))
            .stack_size(STACK);
        let thread = builder
            .spawn(work)
            .map_err(|error| format!("no thread {index}: {}", error.describe()))?;
        Ok(Self { orders, thread })
    }

    fn check(&self) -> Result<(), String> {
        self.orders.wrong.lock().clone().map_or(Ok(()), Err)
    }
}

impl Orders {
    /// Does what is told until there is no more.
    fn serve<Q: BlockQueue, S: Script, W: Watch>(
        &self,
        load: &mut Load<Q, S, W>,
    ) -> Result<(), String> {
        loop {
            self.done.release(1);
            self.begin.acquire();
            let Some((operations, pace)) = *self.next.lock() else {
                return Ok(());
            };
            load.run(operations, pace);
            *self.latencies.lock() = load.latencies();
            load.check()?;
        }
    }
}
