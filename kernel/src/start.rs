//! From the loader's jump to the first program, on the first core and on the others.

use core::{
    arch::naked_asm,
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use log::LevelFilter;
use spillway_abi::limits::MAX_CORES;
use spillway_bootinfo::BootInfo;
use spillway_kernel_core::options::{Branch, Dma, Exit, Idle, LogLevel, Options};

use crate::{
    arch::{self, core_data, cpu},
    first, iommu, kernel,
    memory::{frames, heap, paging, stacks},
    object::reach,
    pci,
    platform::{self, acpi::Machine, apic, backtrace, clock, legacy, power, smp},
    sched, selftest, time_page,
};

/// Bytes of the stack on which the first core begins.
const BOOT_STACK_SIZE: usize = 32 << 10;

#[repr(C, align(16))]
struct BootStack(UnsafeCell<[u8; BOOT_STACK_SIZE]>);

// SAFETY: only the first core uses it, as its stack, until it enters the scheduler.
unsafe impl Sync for BootStack {}

static BOOT_STACK: BootStack = BootStack(UnsafeCell::new([0; BOOT_STACK_SIZE]));

/// The time-stamp counter at the kernel's first instruction.
static ENTRY_TSC: AtomicU64 = AtomicU64::new(0);
/// Cores that wait for the first to be done.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
/// The first core is done; the others may run programs.
static GO: AtomicBool = AtomicBool::new(false);

/// The time-stamp counter at the kernel's first instruction.
pub fn entry_tsc() -> u64 {
    ENTRY_TSC.load(Ordering::Relaxed)
}

/// Whether the stack on which the first core began has this address.
pub fn is_boot_stack(address: u64) -> bool {
    let start = BOOT_STACK.0.get() as u64;
    (start..start + BOOT_STACK_SIZE as u64).contains(&address)
}

/// Where the loader jumps to: `rdi` is the address of the [`BootInfo`].
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn kernel_entry() -> ! {
    naked_asm!(
        "rdtsc",
        "shl rdx, 32",
        "lea rsi, [rax + rdx]",
        "lea rsp, [rip + {stack} + {size}]",
        "xor ebp, ebp",
        "call {main}",
        "ud2",
        stack = sym BOOT_STACK,
        size = const BOOT_STACK_SIZE,
        main = sym main,
    )
}

extern "C" fn main(boot: &'static BootInfo, entry_tsc: u64) -> ! {
    core_data::install(0);
    ENTRY_TSC.store(entry_tsc, Ordering::Relaxed);
    clock::start();
    platform::log::init(LevelFilter::Info);
    if let Err(error) = boot.validate() {
        log::error!("the loader's boot information cannot be used: {error}");
        power::halt();
    }
    let options = options(boot);
    if options.exit == Exit::Debug {
        power::use_debug_exit();
    }
    if !cpu::features().rdtscp {
        log::error!("the processor has no rdtscp, by which programs learn on which core they run");
        power::exit(power::Outcome::Failure);
    }
    backtrace::init(boot, stacks::is_stack);
    let free = frames::init(boot);
    paging::init_kernel_root(boot.page_table);
    arch::init_core(0);
    log::info!(
        "Spillway {}, {} MiB of memory free",
        env!("CARGO_PKG_VERSION"),
        free >> 20
    );
    describe_protection(&options);

    let machine = Machine::read(boot);
    power::init(&machine, options.exit == Exit::Debug);
    legacy::mask_all(&machine);
    apic::init_bsp(&clock::calibrate(&machine));
    start_first_core();
    pci::init(&machine, boot);
    iommu::init(boot);
    let cores = 1 + start_other_cores(&machine, boot, &options);
    time_page::init(cores);
    log::info!("{cores} core{} running", if cores == 1 { "" } else { "s" });

    let init = first::start(boot).unwrap_or_else(|reason| {
        log::error!("{reason}");
        power::exit(power::Outcome::Failure)
    });
    if let Some(test) = options.self_test {
        selftest::run(test, &init, boot);
    }
    drop(init);
    frames::reclaim(boot);
    let (used, unused) = heap::usage();
    log::debug!("kernel heap: {used} bytes used, {unused} bytes free");
    GO.store(true, Ordering::Release);
    leave_boot_stack()
}

/// Reads the command line and says what of it was not understood.
fn options(boot: &BootInfo) -> Options {
    let (options, complaints) = Options::parse(boot.command_line());
    log::set_max_level(match options.log {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    });
    complaints.for_each(|complaint| log::warn!("boot command line: {complaint}"));
    sched::set_idle_poll(options.idle == Idle::Poll);
    reach::set_trust(options.dma == Dma::Trust);
    options
}

/// Says what the processor protects, and what not.
fn describe_protection(options: &Options) {
    let features = cpu::features();
    let word = |present, name| if present { name } else { "" };
    log::info!(
        "protection: {}{}{}{}write protection, no page writable and executable",
        word(features.no_execute, "NX, "),
        word(features.smep, "SMEP, "),
        word(features.smap, "SMAP, "),
        word(features.umip, "UMIP, "),
    );
    if !features.invariant_tsc {
        log::warn!("the time-stamp counter may change its rate with the processor's power state");
    }
    if !features.meltdown_immune {
        log::warn!(
            "the processor does not say that it is immune to Meltdown, and the kernel is mapped \
             in every address space: programs may be able to read all memory"
        );
    }
    let flush = options.branch == Branch::Flush;
    if flush && !features.branch_barrier {
        log::warn!("branch=flush: the processor has no branch predictor barrier; ignored");
    }
    cpu::set_branch_flush(flush && features.branch_barrier);
}

fn start_first_core() {
    let mut guard = kernel::lock();
    guard.sched.init().expect("no memory for the scheduler");
    guard.requests.init().expect("no memory for requests");
    guard
        .sched
        .add_core(0)
        .expect("no memory for a core's queue");
    let core = arch::core();
    core.set_kernel_stack(stacks::kernel_stack());
    core.apic_id.store(apic::id(), Ordering::Relaxed);
    core.online.store(true, Ordering::Relaxed);
}

/// Starts the other cores and waits until each is ready for programs. Returns how many.
fn start_other_cores(machine: &Machine, boot: &BootInfo, options: &Options) -> usize {
    let most = options.cores.unwrap_or(MAX_CORES).clamp(1, MAX_CORES);
    let started = smp::start_cores(machine, |index| {
        (index < most).then(|| {
            let core = arch::of(index);
            // Asked again with the same number after a core that did not come up.
            if core.kernel_stack() == 0 {
                core.set_kernel_stack(stacks::kernel_stack());
            }
            let stack_top = core.kernel_stack();
            smp::ApStart {
                stack_top,
                // The loader's tables have the low memory where a core begins.
                cr3: boot.page_table,
                entry: other_core as *const () as u64,
                argument: index as u64,
            }
        })
    });
    while ARRIVED.load(Ordering::Acquire) < started {
        core::hint::spin_loop();
    }
    started
}

/// Where each other core begins.
extern "C" fn other_core(index: u64) -> ! {
    let index = index as usize;
    core_data::install(index);
    paging::load(paging::kernel_root());
    arch::init_core(index);
    apic::init_ap();
    let core = arch::core();
    core.apic_id.store(apic::id(), Ordering::Relaxed);
    core.online.store(true, Ordering::Relaxed);
    kernel::lock()
        .sched
        .add_core(index)
        .expect("no memory for a core's queue");
    ARRIVED.fetch_add(1, Ordering::Release);
    while !GO.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    sched::schedule(kernel::lock())
}

/// Goes on in the scheduler, on the first core's own stack.
fn leave_boot_stack() -> ! {
    extern "C" fn enter() -> ! {
        sched::schedule(kernel::lock())
    }
    // SAFETY: the new stack is this core's own and empty, and nothing on the old one is used
    // again.
    unsafe {
        core::arch::asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {enter}",
            "ud2",
            stack = in(reg) arch::core().kernel_stack(),
            enter = sym enter,
            options(noreturn),
        )
    }
}
