//! The interrupt controller of each core: x2APIC where there is one, xAPIC otherwise.
//!
//! Both have the same registers; x2APIC reaches them as model-specific registers, xAPIC in
//! memory. One pointer tells which: null means x2APIC, so a hot function costs one branch more
//! than the access itself. Everything cites the Intel SDM, volume 3.

use core::{
    arch::x86_64::{_mm_lfence, _mm_mfence},
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

use raw_cpuid::CpuId;

use super::{
    clock::{self, Calibration, now_tsc},
    io::Msr,
    vectors,
};
use crate::memory;

/// Register numbers: the offset in memory divided by 16 (table 11-1), or added to 0x800 the
/// model-specific register (table 11-6).
mod register {
    pub const ID: u32 = 0x02;
    pub const VERSION: u32 = 0x03;
    pub const TASK_PRIORITY: u32 = 0x08;
    pub const END_OF_INTERRUPT: u32 = 0x0b;
    pub const SPURIOUS: u32 = 0x0f;
    pub const IN_SERVICE: u32 = 0x10;
    pub const REQUESTS: u32 = 0x20;
    pub const ERROR_STATUS: u32 = 0x28;
    pub const LVT_CMCI: u32 = 0x2f;
    pub const COMMAND: u32 = 0x30;
    pub const DESTINATION: u32 = 0x31;
    pub const LVT_TIMER: u32 = 0x32;
    pub const LVT_THERMAL: u32 = 0x33;
    pub const LVT_PERFORMANCE: u32 = 0x34;
    pub const LVT_LINT0: u32 = 0x35;
    pub const LVT_LINT1: u32 = 0x36;
    pub const LVT_ERROR: u32 = 0x37;
    pub const INITIAL_COUNT: u32 = 0x38;
    pub const CURRENT_COUNT: u32 = 0x39;
    pub const DIVIDE: u32 = 0x3e;
}

/// Bytes of the registers in memory.
const REGISTERS_SIZE: u64 = 4096;

// SAFETY: every processor with an APIC has it. Written only to turn the APIC on; where its
// registers lie is never changed.
const APIC_BASE: Msr = unsafe { Msr::new(0x1b) };
/// The controller is on (section 11.4.4).
const BASE_ENABLED: u64 = 1 << 11;
/// It is an x2APIC (section 11.12.1).
const BASE_X2APIC: u64 = 1 << 10;
/// The bits of the address.
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

// SAFETY: used only where CPUID reports it (section 11.5.4.1). It sets a time, nothing else.
const TSC_DEADLINE: Msr = unsafe { Msr::new(0x6e0) };

/// An entry of the local vector table is off (figure 11-8).
const LVT_MASKED: u32 = 1 << 16;
/// Delivers a non-maskable interrupt (section 11.5.1).
const LVT_NMI: u32 = 0b100 << 8;
/// The timer fires when the TSC passes a value.
const LVT_TSC_DEADLINE: u32 = 0b10 << 17;
/// The timer counts at its full speed (figure 11-10).
const DIVIDE_BY_1: u32 = 0b1011;
/// The controller takes interrupts (section 11.9).
const SPURIOUS_ENABLE: u32 = 1 << 8;

/// Delivery modes in the command register (figure 11-12), with the level bit that all need.
const COMMAND_FIXED: u32 = 1 << 14;
const COMMAND_NMI: u32 = 1 << 14 | 0b100 << 8;
const COMMAND_INIT: u32 = 1 << 14 | 0b101 << 8;
const COMMAND_STARTUP: u32 = 1 << 14 | 0b110 << 8;
/// The last command has not been taken yet.
const COMMAND_PENDING: u32 = 1 << 12;
/// How often that is looked at. The bus takes some microseconds at most.
const COMMAND_PATIENCE: u32 = 100_000;

/// A timer that nobody could measure counts as this slow: then it fires too early, never too
/// late, and whoever set it sets it again.
const SLOWEST_TIMER: u64 = 10_000_000;

/// The registers in memory; null for x2APIC.
static REGISTERS: AtomicPtr<u32> = AtomicPtr::new(ptr::null_mut());
/// Ticks of the timer for one of the TSC, as a fraction of 2³²; 0 if the timer takes a TSC value.
static TIMER_RATIO: AtomicU64 = AtomicU64::new(0);

#[inline]
fn msr(register: u32) -> Msr {
    // SAFETY: only used for registers of the list above while the controller is an x2APIC, which
    // has them all. None of them has an effect on memory.
    unsafe { Msr::new(0x800 + register) }
}

#[inline]
fn read(register: u32) -> u32 {
    let base = REGISTERS.load(Ordering::Relaxed);
    if base.is_null() {
        msr(register).read() as u32
    } else {
        // SAFETY: the pointer is the mapping of the registers, which stays, and the number is
        // from the list above, so within the page.
        unsafe { base.byte_add(register as usize * 16).read_volatile() }
    }
}

#[inline]
fn write(register: u32, value: u32) {
    let base = REGISTERS.load(Ordering::Relaxed);
    if base.is_null() {
        msr(register).write(value.into());
    } else {
        // SAFETY: as in `read`. No register has an effect on memory.
        unsafe { base.byte_add(register as usize * 16).write_volatile(value) };
    }
}

/// Sets up the controller of the first core, after [`clock::calibrate`].
///
/// # Panics
/// If there is an xAPIC whose registers cannot be mapped: without interrupts nothing works.
pub fn init_bsp(calibration: &Calibration) {
    let features = CpuId::new().get_feature_info();
    let has = |feature: fn(&raw_cpuid::FeatureInfo) -> bool| features.as_ref().is_some_and(feature);
    let x2apic = has(|features| features.has_x2apic());
    if x2apic {
        REGISTERS.store(ptr::null_mut(), Ordering::Relaxed);
    } else {
        assert!(
            map_registers(),
            "the local APIC's registers could not be mapped"
        );
    }
    turn_on();
    let deadline = has(|features| features.has_tsc_deadline());
    if !deadline {
        let frequency = calibration
            .apic_hz
            .or_else(measure_by_request)
            .unwrap_or_else(|| {
                log::warn!("the APIC timer could not be measured: timers will be rough");
                SLOWEST_TIMER
            });
        let ratio = (u128::from(frequency) << 32) / u128::from(calibration.tsc_hz.max(1));
        TIMER_RATIO.store(
            u64::try_from(ratio).unwrap_or(u64::MAX).max(1),
            Ordering::Relaxed,
        );
    }
    set_up_timer();
    let mode = if x2apic { "x2APIC" } else { "xAPIC" };
    let timer = if deadline { "TSC deadline" } else { "one-shot" };
    log::info!("{mode} {}, {timer} timer", id());
}

/// Sets up the controller of any other core, in the mode of the first.
pub fn init_ap() {
    turn_on();
    set_up_timer();
}

/// The number by which this core's controller is addressed.
pub fn id() -> u32 {
    if is_x2apic() {
        read(register::ID)
    } else {
        read(register::ID) >> 24
    }
}

/// The same before the controller is set up, from CPUID (leaf 0xb, or the 8 bits of leaf 1).
pub fn boot_id() -> u32 {
    let cpuid = CpuId::new();
    let features = cpuid.get_feature_info();
    let wide = features.as_ref().filter(|features| features.has_x2apic());
    wide.and_then(|_| cpuid.get_extended_topology_info()?.next())
        .map(|level| level.x2apic_id())
        .or_else(|| features.map(|features| features.initial_local_apic_id().into()))
        .unwrap_or(0)
}

/// Whether controllers with numbers above 255 can be reached.
pub fn is_x2apic() -> bool {
    REGISTERS.load(Ordering::Relaxed).is_null()
}

/// Ends the interrupt that is being handled, so that the next of its priority can come.
#[inline]
pub fn end_of_interrupt() {
    write(register::END_OF_INTERRUPT, 0);
}

/// Makes this core's timer fire once, at the given TSC value or as soon as that is past.
///
/// It may fire early (a far deadline does not fit the counter), never late by more than the
/// timer's resolution: the handler looks at the clock and sets it again.
#[inline]
pub fn set_timer(deadline_tsc: u64) {
    let ratio = TIMER_RATIO.load(Ordering::Relaxed);
    if ratio == 0 {
        // 0 would turn the timer off.
        TSC_DEADLINE.write(deadline_tsc.max(1));
    } else {
        let distance = deadline_tsc.saturating_sub(now_tsc());
        let ticks = (u128::from(distance) * u128::from(ratio)) >> 32;
        let count = ticks.min(u128::from(u32::MAX - 1)) as u32 + 1;
        write(register::INITIAL_COUNT, count);
    }
}

/// Turns this core's timer off. An interrupt that is already on its way still comes.
#[inline]
#[expect(
    dead_code,
    reason = "for cores that are given to one thread, which are still to come"
)]
pub fn stop_timer() {
    if TIMER_RATIO.load(Ordering::Relaxed) == 0 {
        TSC_DEADLINE.write(0);
    } else {
        write(register::INITIAL_COUNT, 0);
    }
}

/// Whether a vector was delivered by the controller and not acknowledged yet. It is not for the
/// spurious interrupts that the controller makes itself (section 11.9).
pub fn is_in_service(vector: u8) -> bool {
    // 8 registers of 32 bits (section 11.8.4).
    let word = read(register::IN_SERVICE + u32::from(vector) / 32);
    word & 1 << (vector % 32) != 0
}

/// Interrupts another core, or this one.
#[inline]
pub fn send(apic_id: u32, vector: u8) {
    command(apic_id, COMMAND_FIXED | u32::from(vector));
}

/// Interrupts another core even if it does not take interrupts.
pub fn send_nmi(apic_id: u32) {
    command(apic_id, COMMAND_NMI);
}

/// Puts another core into the state in which it waits for [`send_startup`].
pub fn send_init(apic_id: u32) {
    command(apic_id, COMMAND_INIT);
}

/// Starts a core that waits, in real mode at the beginning of a page below 1 MiB.
pub fn send_startup(apic_id: u32, page: u8) {
    command(apic_id, COMMAND_STARTUP | u32::from(page));
}

/// Errors since the last call, as in section 11.5.3; 0 if all is well.
pub fn take_errors() -> u32 {
    // A write makes the controller show what it has collected.
    write(register::ERROR_STATUS, 0);
    read(register::ERROR_STATUS)
}

#[inline]
fn command(apic_id: u32, low: u32) {
    if is_x2apic() {
        // The write of the register does not wait for earlier stores (section 11.12.3), but the
        // other core must see them.
        // SAFETY: fences have no precondition; every x86_64 processor has them.
        unsafe {
            _mm_mfence();
            _mm_lfence();
        }
        msr(register::COMMAND).write(u64::from(apic_id) << 32 | u64::from(low));
    } else {
        let mut patience = COMMAND_PATIENCE;
        while read(register::COMMAND) & COMMAND_PENDING != 0 && patience > 0 {
            patience -= 1;
            core::hint::spin_loop();
        }
        write(register::DESTINATION, apic_id << 24);
        write(register::COMMAND, low);
    }
}

/// Maps the registers if they are in memory. Says whether that is so and worked.
fn map_registers() -> bool {
    if !is_x2apic() {
        return true;
    }
    let base = APIC_BASE.read();
    if base & BASE_X2APIC != 0 {
        return false;
    }
    let mapped = memory::map_device(base & BASE_ADDRESS, REGISTERS_SIZE);
    let Some(registers) = mapped else {
        return false;
    };
    REGISTERS.store(registers.as_ptr().cast(), Ordering::Relaxed);
    true
}

/// Brings this core's controller into a known state: on, and quiet.
fn turn_on() {
    // Section 11.12.5: from off to x2APIC the way leads through xAPIC.
    let base = APIC_BASE.read() | BASE_ENABLED;
    APIC_BASE.write(base);
    if is_x2apic() {
        APIC_BASE.write(base | BASE_X2APIC);
    }
    write(
        register::SPURIOUS,
        SPURIOUS_ENABLE | u32::from(vectors::SPURIOUS),
    );
    write(register::TASK_PRIORITY, 0);
    // The version register says which entries there are (section 11.4.8).
    let last_entry = read(register::VERSION) >> 16 & 0xff;
    let entries = [
        (register::LVT_TIMER, 0),
        (register::LVT_LINT0, 0),
        (register::LVT_LINT1, 0),
        (register::LVT_ERROR, 3),
        (register::LVT_PERFORMANCE, 4),
        (register::LVT_THERMAL, 5),
        (register::LVT_CMCI, 6),
    ];
    for (entry, number) in entries {
        if number <= last_entry {
            write(entry, LVT_MASKED | u32::from(vectors::SPURIOUS));
        }
    }
    // The machine's non-maskable interrupt: PCs have it at this pin (MP specification 1.4, 5.1).
    write(register::LVT_LINT1, LVT_NMI);
    take_errors();
}

fn set_up_timer() {
    let vector = u32::from(vectors::TIMER);
    if TIMER_RATIO.load(Ordering::Relaxed) == 0 {
        write(register::LVT_TIMER, LVT_TSC_DEADLINE | vector);
        // An xAPIC sees that write only after a fence (section 11.5.4.1).
        // SAFETY: fences have no precondition.
        unsafe { _mm_mfence() };
    } else {
        write(register::DIVIDE, DIVIDE_BY_1);
        write(register::LVT_TIMER, vector);
    }
}

/// The timer as a counter to measure, before [`init_bsp`].
///
/// Only an xAPIC lends it: in an x2APIC the count is not read, because an emulator that counts
/// instructions stops at that.
#[derive(Debug)]
pub struct Counter(());

impl Counter {
    /// Starts it; `None` if the timer needs no measuring or cannot be read.
    pub fn start() -> Option<Self> {
        let features = CpuId::new().get_feature_info()?;
        if features.has_tsc_deadline() || !map_registers() {
            return None;
        }
        APIC_BASE.write(APIC_BASE.read() | BASE_ENABLED);
        write(
            register::SPURIOUS,
            SPURIOUS_ENABLE | u32::from(vectors::SPURIOUS),
        );
        write(register::LVT_TIMER, LVT_MASKED | u32::from(vectors::TIMER));
        write(register::DIVIDE, DIVIDE_BY_1);
        write(register::INITIAL_COUNT, u32::MAX);
        Some(Self(()))
    }

    /// Ticks since the start.
    pub fn read(&self) -> u64 {
        u64::from(u32::MAX - read(register::CURRENT_COUNT))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        write(register::INITIAL_COUNT, 0);
    }
}

/// Measures the timer of an x2APIC that was on before the kernel came: sets it and looks with
/// interrupts off when its interrupt is requested.
///
/// That request stays: the first time interrupts are on, a timer interrupt comes too many.
fn measure_by_request() -> Option<u64> {
    /// Long enough to measure a timer with 1 GHz, short enough for one with 20 MHz.
    const COUNT: u32 = 16_384;
    const VECTOR: u32 = vectors::TIMER as u32;
    write(register::DIVIDE, DIVIDE_BY_1);
    write(register::LVT_TIMER, VECTOR);
    write(register::INITIAL_COUNT, COUNT);
    let start = now_tsc();
    let limit = clock::ticks(1_000_000);
    loop {
        let elapsed = now_tsc() - start;
        if read(register::REQUESTS + VECTOR / 32) & 1 << (VECTOR % 32) != 0 {
            let nanoseconds = clock::nanoseconds(elapsed).max(1);
            return clock::plausible_apic(u64::from(COUNT) * 1_000_000_000 / nanoseconds);
        }
        if elapsed > limit {
            return None;
        }
    }
}
