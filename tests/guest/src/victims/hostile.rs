//! A victim that makes random system calls: every number, every handle that it can guess, and
//! arguments that are likely to be at an edge; and that writes anything into the rings of queues.

use alloc::vec::Vec;
use core::{
    mem::{ManuallyDrop, forget},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use driver_sdk::{
    abi::{
        Call, Handle, Rights,
        call::{CALL_COUNT, OPERATION_COUNT, Operation, TIMED, TRACED},
        layout,
        object::CreateKind,
        queue::{ENTRIES, ENTRY_SIZE},
    },
    prelude::*,
    rt::object::{Event, Mapping, OwnedHandle, Processes, Remote, Service, Timer},
};

use crate::{raw, serving::ALL};

/// Calls of each thread.
const CALLS: u32 = 4_000;
const THREADS: u64 = 3;
/// Entries of the submission ring of a queue, and bytes before the entries of the other.
const SUBMISSIONS: u32 = 16;

/// Bytes that calls may overwrite: the addresses that they name, and as much behind them as one
/// read moves at most.
static SCRATCH: [AtomicU64; 10_000] = [const { AtomicU64::new(0) }; 10_000];

/// Marsaglia's xorshift: a new number from each.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 8) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// A handle that may be one.
    fn handle(&mut self) -> u64 {
        match self.below(6) {
            0..=4 => 1 << 16 | self.below(48),
            _ => (self.below(4) << 16) | self.below(110),
        }
    }

    /// An argument: a handle, an address, a small number, an edge, or noise.
    fn argument(&mut self) -> u64 {
        let scratch = SCRATCH.as_ptr() as u64;
        let edges = [
            0,
            1,
            64,
            4095,
            4096,
            8192,
            65_536,
            1 << 20,
            u64::from(u32::MAX),
            u64::MAX,
            u64::MAX - 4095,
            layout::USER_START,
            layout::MAP_START,
            layout::MAP_END - 4096,
            layout::TIME_PAGE,
            layout::USER_END - 1,
            layout::USER_END,
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            0xffff_ffff_8000_0000,
        ];
        match self.below(8) {
            0..=2 => self.handle(),
            3 => u64::from(Rights::all().bits()) & self.next(),
            4 => scratch + self.below(9000),
            5 => self.below(16),
            6 => edges[self.below(edges.len() as u64) as usize],
            _ => self.next() >> self.below(64),
        }
    }

    /// A deadline that is over, or soon will be.
    fn deadline(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(3),
            _ => Instant::now().as_nanoseconds() + self.below(200_000),
        }
    }

    /// The number of an operation. What ends something is rare, or soon nothing would be left to
    /// do anything with.
    fn operation(&mut self) -> u64 {
        let operation = self.below(OPERATION_COUNT + 1);
        match Operation::from_raw(operation) {
            Some(Operation::Destroy) if !self.one_in(100) => Operation::Nothing as u64,
            Some(Operation::Close) if !self.one_in(20) => Operation::GetMeta as u64,
            _ => operation,
        }
    }
}

/// A queue whose rings are written to at random.
struct Rings {
    handle: u64,
    mapping: Mapping,
    tail: u32,
    head: u32,
}

impl Rings {
    fn new() -> Option<Self> {
        let own = own_process().handle();
        let kind = CreateKind::IoQueue as u64;
        let create = [kind, SUBMISSIONS.into(), 0, 0];
        let handle = raw::do_io(own, Operation::Create, create).ok()?;
        let rights = Rights::READ | Rights::WRITE | Rights::MAP;
        let share = [0, rights.bits().into(), 0, 0];
        let object = Handle::from_raw(handle as u32);
        let memory = raw::do_io(object, Operation::Share, share).ok()?;
        let memory = Memory::from(OwnedHandle::new(Handle::from_raw(memory as u32)));
        let mapping = memory.map(Rights::READ | Rights::WRITE).ok()?;
        Some(Self {
            handle,
            mapping,
            tail: 0,
            head: 0,
        })
    }

    /// A word of the rings; the offset is inside.
    fn word<T>(&self, offset: usize) -> &T {
        // SAFETY: the mapping has this word, of which any bits are a value; it is only used as an
        // atomic number.
        unsafe { &*self.mapping.as_ptr().add(offset).cast() }
    }

    /// Puts in entries, likely ones and noise, and has the kernel look at them.
    fn play(&mut self, random: &mut Random) -> Result<u64, Error> {
        for _ in 0..random.below(6) {
            let slot = self.tail % SUBMISSIONS;
            let start = ENTRIES + slot as usize * ENTRY_SIZE;
            let first = random.handle() & 0xffff_ffff | random.operation() << 32;
            let deadline = if random.one_in(3) {
                random.deadline()
            } else {
                0
            };
            let words = [
                first,
                random.below(8),
                random.next(),
                random.argument(),
                random.argument(),
                random.argument(),
                if random.one_in(4) {
                    random.argument()
                } else {
                    0
                },
                deadline,
            ];
            for (index, word) in words.into_iter().enumerate() {
                let word = if random.one_in(100) {
                    random.next()
                } else {
                    word
                };
                self.word::<AtomicU64>(start + index * 8)
                    .store(word, Ordering::Relaxed);
            }
            self.tail = self.tail.wrapping_add(1);
        }
        use core::sync::atomic::AtomicU32;
        let (tail, head) = match random.below(400) {
            0 => (random.next() as u32, self.head),
            1 => (self.tail, random.next() as u32),
            _ => (self.tail, self.head),
        };
        self.word::<AtomicU32>(64).store(tail, Ordering::SeqCst);
        if random.one_in(2) {
            // As far as the kernel has come.
            let produced = self.word::<AtomicU32>(256 + 64).load(Ordering::SeqCst);
            self.head = produced;
        }
        self.word::<AtomicU32>(256 + 128)
            .store(head, Ordering::SeqCst);
        let arguments = [
            self.handle,
            random.below(4),
            random.deadline(),
            random.argument(),
            0,
            0,
        ];
        raw::call(Call::Enter, arguments)
    }
}

/// Threads that have made all of their calls.
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Makes the calls that follow from a seed.
pub fn play(seed: u64) -> i32 {
    let objects = objects();
    let threads: Vec<_> = (0..THREADS)
        .filter_map(|thread| {
            let random = Random((seed * THREADS + thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let builder = thread::Builder::new().stack_size(16 << 10);
            builder.spawn(move || call_at_random(random)).ok()
        })
        .collect();
    // They may have closed the handles that a join needs, and lowered their priorities.
    while DONE.load(Ordering::SeqCst) < threads.len() {
        thread::sleep(Duration::from_micros(200));
    }
    forget((threads, objects));
    0
}

/// A few of everything that handles can lead to.
fn objects() -> Vec<OwnedHandle> {
    let mut handles = Vec::new();
    let mut keep = |handle: Result<OwnedHandle, Error>| handles.extend(handle);
    for _ in 0..2 {
        keep(Memory::new(16 << 10).map(Into::into));
        keep(Event::new().map(Into::into));
        keep(Timer::new().map(Into::into));
        let service = Service::new().map(ManuallyDrop::new);
        if let Ok(service) = &service {
            forget(service.set_window(4, 4096));
            keep(service.mint(1, ALL).map(Into::into));
            keep(service.mint(2, ALL).map(Into::into));
            keep(service.duplicate(Rights::all()).map(Into::into));
        }
    }
    keep(Processes::of(own_process()).map(Into::into));
    keep(own_process().counters().map(Into::into));
    // The other end is a server that lives on.
    if let Some(object) = object::<Remote>("object") {
        keep(object.duplicate(ALL).map(Into::into));
        keep(object.duplicate(ALL).map(Into::into));
    }
    handles
}

fn call_at_random(mut random: Random) {
    let mut rings = Rings::new();
    let (mut calls, mut rest) = (0, 0);
    while calls < CALLS && rest < 100 * CALLS {
        rest += 1;
        if random.one_in(4) {
            match rings.as_mut().map(|rings| rings.play(&mut random)) {
                Some(Err(Error::Corrupt | Error::Gone | Error::BadHandle)) | None => {
                    if let Some(old) = rings.take() {
                        let _ = raw::call(Call::Close, [old.handle, 0, 0, 0, 0, 0]);
                    }
                    rings = Rings::new();
                }
                Some(_) => {}
            }
            calls += 1;
            continue;
        }
        let number = random.below(CALL_COUNT + 1);
        let mut arguments = [(); 6].map(|()| random.argument());
        let deadline = random.deadline();
        let mut timed = 0;
        match Call::from_raw(number) {
            // These would end the campaign.
            Some(Call::ExitThread | Call::ExitProcess) => continue,
            Some(Call::DoIo) => {
                // Whoever serves the object, the call comes back.
                arguments[1] = random.operation() | TIMED | TRACED;
                timed = deadline;
                if random.one_in(50) {
                    arguments[1] = random.next();
                    timed = 0;
                    arguments[1] |= TIMED;
                }
            }
            // Rare, or soon nothing would be left to do anything with.
            Some(Call::Close) if !random.one_in(50) => continue,
            Some(Call::Unmap) if !random.one_in(10) => continue,
            // Waits end by themselves.
            Some(Call::Wait) => arguments[1] = deadline,
            Some(Call::FutexWait | Call::Enter | Call::SignalAndWait) => arguments[2] = deadline,
            Some(Call::Serve) => arguments[5] = deadline,
            _ => {}
        }
        let _ = raw::call_timed(number, arguments, [random.next(), timed]);
        calls += 1;
    }
    forget(rings);
    DONE.fetch_add(1, Ordering::SeqCst);
}
