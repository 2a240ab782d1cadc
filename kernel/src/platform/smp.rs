//! Starts the other cores, one after another, and can stop them in a panic.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use spillway_abi::limits::MAX_CORES;

use super::{
    acpi::Machine,
    apic,
    clock::{nanoseconds, now_tsc, spin_ns, tsc_after},
    trampoline::{MAILBOX, Trampoline},
};

/// How long a core needs after INIT at most (Intel MP specification 1.4, section B.4).
const INIT_WAIT: u64 = 10_000_000;
/// How long it may take after the first start-up interrupt, before the second (as above).
const FIRST_WAIT: u64 = 200_000;
/// How long it may take after the second. An emulator on a busy host needs its time.
const SECOND_WAIT: u64 = 1_000_000_000;

/// How one core begins.
#[derive(Clone, Copy, Debug)]
pub struct ApStart {
    /// The top of its stack; a multiple of 16.
    pub stack_top: u64,
    /// The physical address of its first page tables: below 4 GiB, with the kernel mapped, and
    /// the first MiB mapped at its physical address and executable.
    pub cr3: u64,
    /// The address of an `extern "C" fn(argument: u64) -> !`.
    pub entry: u64,
    /// What that function gets.
    pub argument: u64,
}

/// The controllers of the cores that run; index 0 is the first core.
static APIC_IDS: [AtomicU32; MAX_CORES] = [const { AtomicU32::new(0) }; MAX_CORES];
/// Cores that run.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

/// Starts the other cores. Returns how many came up.
///
/// `prepare` is called with the number that the next core would have, from 1 without gaps; it is
/// called again with the same number if the core did not come up, and `None` from it ends the
/// start. The entry runs on the new core while this one goes on with the next.
pub fn start_cores(machine: &Machine, mut prepare: impl FnMut(usize) -> Option<ApStart>) -> usize {
    APIC_IDS[0].store(apic::id(), Ordering::Relaxed);
    let waiting = machine.cores.get(1..).unwrap_or_default();
    if waiting.is_empty() {
        return 0;
    }
    let Some(trampoline) = Trampoline::place() else {
        log::warn!("no memory below 1 MiB, so only one core is used");
        return 0;
    };
    for &apic_id in waiting {
        apic::send_init(apic_id);
    }
    spin_ns(INIT_WAIT);
    for &apic_id in waiting {
        let index = RUNNING.load(Ordering::Relaxed);
        if apic_id > 0xff && !apic::is_x2apic() {
            log::warn!("core with APIC {apic_id} is left asleep: reaching it needs an x2APIC");
            continue;
        }
        let Some(start) = prepare(index) else {
            break;
        };
        match start_core(apic_id, &start, &trampoline) {
            Ok(()) => {
                APIC_IDS[index].store(apic_id, Ordering::Relaxed);
                RUNNING.store(index + 1, Ordering::Release);
            }
            Err(reason) => log::warn!("core with APIC {apic_id} is left out: {reason}"),
        }
    }
    RUNNING.load(Ordering::Relaxed) - 1
}

/// Interrupts all other cores that run even if they do not take interrupts.
pub fn send_nmi_others() {
    let running = RUNNING.load(Ordering::Acquire).min(MAX_CORES);
    if running == 1 {
        // Maybe the interrupt controller is not set up yet.
        return;
    }
    let this = apic::id();
    // Not by the shorthand for "all others": it would also reach cores that were never started,
    // and wake them into the firmware.
    for apic_id in &APIC_IDS[..running] {
        let apic_id = apic_id.load(Ordering::Relaxed);
        if apic_id != this {
            apic::send_nmi(apic_id);
        }
    }
}

fn start_core(apic_id: u32, start: &ApStart, trampoline: &Trampoline) -> Result<(), &'static str> {
    let cr3 = u32::try_from(start.cr3).map_err(|_| "its page tables are above 4 GiB")?;
    trampoline.set_tables(cr3);
    let before = now_tsc();
    MAILBOX.fill(start.entry, start.stack_top, start.argument);
    for wait in [FIRST_WAIT, SECOND_WAIT] {
        apic::send_startup(apic_id, trampoline.number());
        if let Some(arrived) = wait_for_arrival(wait) {
            compare_clocks(apic_id, before, arrived);
            return Ok(());
        }
    }
    if !MAILBOX.take_back() {
        // It came in the last moment: it has its start and runs.
        return wait_for_arrival(SECOND_WAIT)
            .map(drop)
            .ok_or("it stopped while it started");
    }
    // Should it come later, it must not take the start of the next core.
    apic::send_init(apic_id);
    Err("it did not come up")
}

fn wait_for_arrival(nanoseconds: u64) -> Option<u64> {
    let end = tsc_after(nanoseconds);
    loop {
        if let Some(tsc) = MAILBOX.arrived() {
            return Some(tsc);
        }
        if now_tsc() > end {
            return None;
        }
        core::hint::spin_loop();
    }
}

/// The kernel's time is one time only if the counters of all cores agree.
fn compare_clocks(apic_id: u32, before: u64, arrived: u64) {
    let after = now_tsc();
    let off = before
        .saturating_sub(arrived)
        .max(arrived.saturating_sub(after));
    if off > 0 {
        let off = nanoseconds(off);
        log::warn!("core with APIC {apic_id} has a time-stamp counter that is {off} ns off");
    }
}
