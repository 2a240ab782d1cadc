//! Victims that run, wait, or keep secrets.

use core::{sync::atomic::Ordering, time::Duration};

use driver_sdk::{
    abi::{Call, Handle, startup as names},
    prelude::*,
    rt::{object::OwnedHandle, syscall},
};

use crate::{
    child::Shared,
    vectors::{Vectors, across_call, hold},
};

/// The seed of the secret patterns, which must never be seen elsewhere.
pub const SECRET: u64 = 0x5ec2_e700;

/// Checks what it was started with against what [`crate::tests::start`] gave it.
pub fn arguments_are_as_given() -> i32 {
    let mut given = arguments();
    let expected = ["victim", "arguments", "", "two words", "grüße", "last"];
    let as_given = given.by_ref().eq(expected) && given.next().is_none();
    let handles: alloc::vec::Vec<_> = startup().handles().map(|(name, _)| name).collect();
    let named = handles.contains(&names::SELF) && handles.contains(&"a name with spaces");
    let missing = startup().handle("power").is_none();
    println!("arguments {as_given}, handles {handles:?}");
    i32::from(!(as_given && named && missing))
}

/// Waits for a word that nobody changes.
pub fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Counts in the shared page, on as many threads, and never makes a system call again.
pub fn spin_for_ever(threads: usize) -> ! {
    for slot in 1..threads {
        let spinner = thread::Builder::new()
            .stack_size(8192)
            .spawn(move || spin(slot));
        spinner.expect("the test leaves room for the threads");
    }
    spin(0)
}

fn spin(slot: usize) -> ! {
    let shared = Shared::given();
    loop {
        shared.slots()[slot].fetch_add(1, Ordering::Relaxed);
    }
}

/// Fills the vector registers with a secret before each yield; checks that they come back
/// clear.
pub fn yield_with_a_secret() -> i32 {
    let shared = Shared::given();
    let secret = Vectors::pattern(SECRET);
    while shared.get(1) == 0 {
        let (after, _, _) = across_call(&secret, Call::Yield as u64);
        if after != Vectors::CLEAR {
            return 1;
        }
        shared.slots()[0].fetch_add(1, Ordering::SeqCst);
    }
    0
}

/// Spins with a secret in the vector registers; checks that it stays there.
pub fn spin_with_a_secret() -> i32 {
    let shared = Shared::given();
    let secret = Vectors::pattern(SECRET);
    let slice = time::tsc_frequency() / 500;
    while shared.get(1) == 0 {
        if hold(&secret, time::tsc() + slice) != secret {
            return 1;
        }
        shared.slots()[0].fetch_add(1, Ordering::SeqCst);
    }
    0
}

/// Takes its own thread pointer away before each yield.
pub fn take_own_thread_pointer() -> i32 {
    let shared = Shared::given();
    while shared.get(1) == 0 {
        // SAFETY: nothing uses the thread pointer until the kernel has set it again, at the latest
        // when this thread goes on after the other.
        unsafe { core::arch::asm!("mov fs, {:e}", in(reg) 0) };
        syscall::yield_now();
        shared.slots()[0].fetch_add(1, Ordering::SeqCst);
    }
    0
}

/// Uses its thread pointer after each yield.
pub fn look_at_thread_pointer() -> i32 {
    let shared = Shared::given();
    while shared.get(1) == 0 {
        syscall::yield_now();
        if thread::name().is_some() {
            return 1;
        }
        shared.slots()[0].fetch_add(1, Ordering::SeqCst);
    }
    0
}

/// Writes down when its first instruction ran.
pub fn tell_entry_tsc() -> i32 {
    Shared::given().set(0, time::entry_tsc());
    0
}

/// Ends with memory, mappings, handles, threads and a child still there.
pub fn leave_everything_open() -> i32 {
    let memory = Memory::new(64 << 10).expect("there is room");
    core::mem::forget(memory.map(Rights::READ | Rights::WRITE));
    core::mem::forget(memory.duplicate(Rights::READ));
    core::mem::forget(memory);
    core::mem::forget(alloc::vec![1u8; 300_000]);
    for _ in 0..3 {
        core::mem::forget(
            thread::Builder::new()
                .stack_size(8192)
                .spawn(|| sleep_for_ever()),
        );
    }
    7
}

/// The first thread returns from `main` while another spins and a third waits.
pub fn end_while_threads_run() -> i32 {
    thread::spawn(|| spin(0));
    thread::spawn(|| sleep_for_ever());
    let shared = Shared::given();
    while shared.get(0) < 1000 {
        thread::yield_now();
    }
    5
}

/// The first thread ends by itself; a second one is then the last.
pub fn end_by_the_last_thread() -> i32 {
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(5));
        // SAFETY: nothing refers to this stack; its memory goes with the process.
        unsafe { syscall::exit_thread(9) }
    });
    // SAFETY: as above.
    unsafe { syscall::exit_thread(8) }
}

/// Where [`map_elsewhere`] maps.
pub const ELSEWHERE: u64 = 0x2000_0000;
/// Bytes: many steps of the kernel.
pub const ELSEWHERE_LENGTH: u64 = 64 << 20;

/// Maps a large memory into another process, whose handle comes in the shared page, and unmaps it
/// again, without end.
pub fn map_elsewhere() -> ! {
    let memory = object::<Memory>("memory").expect("the test gives a memory");
    let shared = Shared::given();
    while shared.get(1) == 0 {
        thread::yield_now();
    }
    let target = OwnedHandle::new(Handle::from_raw(shared.get(1) as u32));
    let target = Process::from(target);
    loop {
        shared.slots()[0].fetch_add(1, Ordering::SeqCst);
        // SAFETY: another address space.
        unsafe {
            let _ = target.map(&memory, ELSEWHERE, 0, ELSEWHERE_LENGTH, Rights::READ);
            let _ = syscall::unmap(target.handle(), ELSEWHERE, ELSEWHERE_LENGTH);
        }
    }
}

/// One thread reads a page without pause, another, on another core, takes the page away.
pub fn unmap_under_reader() -> i32 {
    let page = Memory::new(4096)
        .and_then(|memory| memory.map(Rights::READ | Rights::WRITE))
        .expect("there is room for a page");
    let address = page.address();
    let shared = Shared::given();
    shared.set(1, address);
    let on_core = |core: u64| thread::Builder::new().affinity(1 << core);
    let reader = on_core(1).spawn(move || {
        let shared = Shared::given();
        loop {
            // SAFETY: mapped until the other thread unmaps it; then this must fault.
            let seen = unsafe { (address as *const u64).read_volatile() };
            shared.slots()[0].fetch_add(1 + seen, Ordering::SeqCst);
        }
    });
    core::mem::forget(reader);
    let remover = on_core(0).spawn(move || {
        let shared = core::mem::ManuallyDrop::new(Shared::given());
        while shared.get(0) < 1000 {
            core::hint::spin_loop();
        }
        drop(page);
        // No read has succeeded since; give the reader time to prove otherwise.
        let count = shared.get(0);
        thread::sleep(Duration::from_millis(50));
        i32::from(shared.get(0) > count + 1) + 1
    });
    remover.map_or(3, thread::JoinHandle::join)
}

/// The first thread ends by itself. Then a thread on the second core ends the process, while one
/// sleeps on the first core, which so becomes the last.
pub fn end_on_the_second_core() -> ! {
    let on_core = |core: u64| thread::Builder::new().affinity(1 << core);
    let sleeper = on_core(0).spawn(|| sleep_for_ever());
    let last = on_core(1).spawn(|| {
        thread::sleep(Duration::from_millis(2));
        syscall::exit_process(4)
    });
    core::mem::forget((sleeper, last));
    // SAFETY: nothing refers to this stack; its memory goes with the process.
    unsafe { syscall::exit_thread(8) }
}
