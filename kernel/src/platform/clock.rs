//! Time: the time-stamp counter, and how fast it is.
//!
//! The frequency comes from the first of these that gives a plausible one: the processor
//! (CPUID), the hypervisor (CPUID), a measurement against the HPET, the ACPI timer or the old
//! interval timer. A measurement takes half a millisecond, and the APIC timer is measured in the
//! same time.

use core::{
    arch::x86_64::_rdtsc,
    sync::atomic::{AtomicU64, Ordering},
};

use raw_cpuid::CpuId;
use spillway_abi::time::{scale, to_nanoseconds, to_ticks};

use super::{acpi::Machine, apic::Counter, reference::Reference};

/// How long a measurement takes, in femtoseconds.
const WINDOW: u64 = 500_000_000_000;
/// How often the clocks are read to find the two readings that lie closest together.
const TRIES: usize = 5;
/// How often a reference is read until it must have moved …
const FIRST_PATIENCE: u32 = 1_000;
/// … and until the window must be over.
const PATIENCE: u32 = 1_000_000;
/// The fastest counter that is believed, in ticks per second.
const MAX_TSC: u64 = 10_000_000_000;
/// Femtoseconds in a second.
const SECOND: u128 = 1_000_000_000_000_000;

/// The TSC when the clock was 0.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Ticks per second; 0 before the calibration.
static FREQUENCY: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per tick as a fraction of 2³²; 0 before the calibration.
static SCALE: AtomicU64 = AtomicU64::new(0);

/// What [`calibrate`] found.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// Ticks of the TSC per second.
    pub tsc_hz: u64,
    /// Ticks of the APIC timer per second, if it had to be measured and could be.
    pub apic_hz: Option<u64>,
}

/// Makes now the moment 0. The clock stands still until [`calibrate`].
pub fn start() {
    BASE.store(now_tsc(), Ordering::Relaxed);
}

/// The time-stamp counter.
#[inline]
pub fn now_tsc() -> u64 {
    // SAFETY: every x86_64 processor has the instruction, and the kernel may always use it.
    unsafe { _rdtsc() }
}

/// Nanoseconds since the kernel's start.
#[inline]
pub fn now_ns() -> u64 {
    nanoseconds(now_tsc().saturating_sub(base()))
}

/// Nanoseconds for a number of ticks, rounded down.
#[inline]
pub fn nanoseconds(ticks: u64) -> u64 {
    to_nanoseconds(ticks, SCALE.load(Ordering::Relaxed))
}

/// Ticks for a number of nanoseconds, rounded up; the maximum before the calibration.
#[inline]
pub fn ticks(nanoseconds: u64) -> u64 {
    to_ticks(nanoseconds, SCALE.load(Ordering::Relaxed))
}

/// The TSC value of a moment given in nanoseconds since the kernel's start.
#[inline]
pub fn tsc_at(nanoseconds: u64) -> u64 {
    base().saturating_add(ticks(nanoseconds))
}

/// The TSC when the clock was 0.
#[inline]
pub fn base() -> u64 {
    BASE.load(Ordering::Relaxed)
}

/// Ticks of the TSC per second; 0 before the calibration.
pub fn frequency() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// The TSC value at which at least so many nanoseconds from now have passed.
pub fn tsc_after(nanoseconds: u64) -> u64 {
    // Before the calibration the fastest counter is assumed.
    let longest = nanoseconds.saturating_mul(MAX_TSC / 1_000_000_000);
    now_tsc().saturating_add(ticks(nanoseconds).min(longest))
}

/// Waits at least so long, with the processor busy. Only for the boot and for the end.
pub fn spin_ns(nanoseconds: u64) {
    let end = tsc_after(nanoseconds);
    while now_tsc() < end {
        core::hint::spin_loop();
    }
}

/// Finds the frequencies of the TSC and, where that is needed, of the APIC timer, and sets the
/// clock going. Before [`super::apic::init_bsp`].
///
/// # Panics
/// If no clock of the machine can be used: the kernel cannot run without one.
pub fn calibrate(machine: &Machine) -> Calibration {
    let counter = Counter::start();
    let known = from_processor().or_else(from_hypervisor);
    let (calibration, source) = match known {
        Some((mut calibration, source)) => {
            // The processor's word on the TSC serves to measure the APIC timer if need be.
            if let (Some(counter), None) = (&counter, calibration.apic_hz) {
                let tsc = Reference::tsc(calibration.tsc_hz);
                calibration.apic_hz = measure(&tsc, Some(counter)).and_then(|found| found.apic_hz);
            }
            (calibration, source)
        }
        None => measure_by_any(machine, counter.as_ref()),
    };
    FREQUENCY.store(calibration.tsc_hz, Ordering::Relaxed);
    SCALE.store(scale(calibration.tsc_hz), Ordering::Relaxed);
    log::info!(
        "TSC {} kHz by {source}, APIC timer {} kHz",
        calibration.tsc_hz / 1000,
        calibration.apic_hz.unwrap_or(0) / 1000
    );
    calibration
}

type Found = (Calibration, &'static str);

/// CPUID leaves 0x15 and 0x16 (Intel SDM volume 3, section 19.7.3).
fn from_processor() -> Option<Found> {
    let cpuid = CpuId::new();
    let info = cpuid.get_tsc_info()?;
    if let Some(tsc_hz) = info.tsc_frequency().and_then(plausible_tsc) {
        // The APIC timer counts the same crystal.
        let apic_hz = plausible_apic(info.nominal_frequency().into());
        return Some((Calibration { tsc_hz, apic_hz }, "CPUID 0x15"));
    }
    // Some processors leave the crystal out; then the TSC has the base frequency.
    if info.numerator() == 0 || info.denominator() == 0 {
        return None;
    }
    let base = cpuid
        .get_processor_frequency_info()?
        .processor_base_frequency();
    let tsc_hz = plausible_tsc(u64::from(base) * 1_000_000)?;
    Some((
        Calibration {
            tsc_hz,
            apic_hz: None,
        },
        "CPUID 0x16",
    ))
}

/// CPUID leaf 0x40000010, which several hypervisors agreed on: kHz of the TSC and the APIC timer.
fn from_hypervisor() -> Option<Found> {
    let hypervisor = CpuId::new().get_hypervisor_info()?;
    let tsc_hz = plausible_tsc(u64::from(hypervisor.tsc_frequency()?) * 1000)?;
    let apic_hz = hypervisor.apic_frequency().map(|khz| u64::from(khz) * 1000);
    Some((
        Calibration {
            tsc_hz,
            apic_hz: apic_hz.and_then(plausible_apic),
        },
        "the hypervisor",
    ))
}

fn measure_by_any(machine: &Machine, counter: Option<&Counter>) -> Found {
    let sources = [
        Reference::hpet,
        Reference::pm_timer,
        Reference::interval_timer,
    ];
    for reference in sources.iter().filter_map(|source| source(machine)) {
        match measure(&reference, counter) {
            Some(found) => return (found, reference.name()),
            None => log::warn!("the {} cannot be used to measure the TSC", reference.name()),
        }
    }
    panic!(
        "no clock to measure the TSC with: neither HPET nor ACPI timer nor interval timer works"
    );
}

/// A reading of another clock and the TSC at the same time.
#[derive(Clone, Copy)]
struct Sample {
    tsc: u64,
    value: u64,
}

impl Sample {
    /// Reads both some times and keeps the pair with the least time in between.
    fn take(read: impl Fn() -> u64) -> Self {
        let mut best = Self { tsc: 0, value: 0 };
        let mut least = u64::MAX;
        for _ in 0..TRIES {
            let before = now_tsc();
            let value = read();
            let between = now_tsc().saturating_sub(before);
            if between < least {
                least = between;
                best = Self {
                    tsc: before + between / 2,
                    value,
                };
            }
        }
        best
    }
}

/// Measures the TSC, and the APIC timer if it is given, against a reference clock. `None` if
/// the reference stands still or the result is implausible.
fn measure(reference: &Reference, counter: Option<&Counter>) -> Option<Calibration> {
    let apic_start = counter.map(|counter| Sample::take(|| counter.read()));
    let start = Sample::take(|| reference.read());
    wait(reference, start.value)?;
    let end = Sample::take(|| reference.read());
    let apic_end = counter.map(|counter| Sample::take(|| counter.read()));

    let elapsed =
        u128::from(reference.between(start.value, end.value)) * u128::from(reference.period());
    let tsc_hz = u128::from(end.tsc.checked_sub(start.tsc)?) * SECOND / elapsed.max(1);
    let tsc_hz = plausible_tsc(u64::try_from(tsc_hz).ok()?)?;
    let apic_hz = apic_start.zip(apic_end).and_then(|(start, end)| {
        let ticks = u128::from(end.value.checked_sub(start.value)?) * u128::from(tsc_hz);
        u64::try_from(ticks / u128::from(end.tsc.checked_sub(start.tsc)?.max(1))).ok()
    });
    Some(Calibration {
        tsc_hz,
        apic_hz: apic_hz.and_then(plausible_apic),
    })
}

/// Lets the window pass on a reference clock; `None` if the clock stands still.
fn wait(reference: &Reference, start: u64) -> Option<()> {
    let wanted = WINDOW / reference.period();
    for reads in 0..PATIENCE {
        let elapsed = reference.between(start, reference.read());
        if elapsed >= wanted {
            return Some(());
        }
        if elapsed == 0 && reads > FIRST_PATIENCE {
            return None;
        }
    }
    None
}

fn plausible_tsc(hz: u64) -> Option<u64> {
    (100_000_000..=MAX_TSC).contains(&hz).then_some(hz)
}

/// The frequency, if an APIC timer can have it.
pub fn plausible_apic(hz: u64) -> Option<u64> {
    (1_000_000..=10_000_000_000).contains(&hz).then_some(hz)
}
