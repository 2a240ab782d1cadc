//! The end: switching the machine off, resetting it, or telling the emulator how it went.

use core::sync::atomic::{AtomicBool, Ordering};

use spillway_kernel_core::aml;
use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::{hlt, interrupts, tables},
    structures::DescriptorTablePointer,
};

use super::{
    acpi::{Machine, PowerPorts},
    clock::spin_ns,
    io::Port,
    serial,
    tables::HEADER,
};

/// How long the machine may take to do what it is told.
const WAIT: u64 = 500_000_000;
/// How often the firmware is asked whether it has handed the registers over, once a millisecond.
const ENABLE_TRIES: usize = 300;

// SAFETY: QEMU's debug exit device, if the boot option says that it is there; it ends the machine.
const DEBUG_EXIT: Port<u32> = unsafe { Port::new(0xf4) };
// SAFETY: the keyboard controller's commands; the only one sent pulses the reset line.
const KEYBOARD_COMMAND: Port<u8> = unsafe { Port::new(0x64) };
/// The keyboard controller has not taken the last command.
const KEYBOARD_BUSY: u8 = 1 << 1;
/// Pulses the reset line.
const KEYBOARD_RESET: u8 = 0xfe;

/// The registers belong to the kernel, not to the firmware (ACPI 6.5, section 4.8.3.2.1).
const PM1_ENABLED: u16 = 1 << 0;
/// Where the sleep type is.
const PM1_TYPE_SHIFT: u16 = 10;
const PM1_TYPE: u16 = 0b111 << PM1_TYPE_SHIFT;
/// Does it.
const PM1_SLEEP: u16 = 1 << 13;

/// How the system ended, as the debug exit device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// The first program ended well. QEMU's exit status is 33.
    Success = 0x10,
    /// It did not. QEMU's exit status is 35.
    Failure = 0x11,
    /// The kernel panicked. QEMU's exit status is 37.
    Panic = 0x12,
}

#[derive(Debug)]
struct Settings {
    power: Option<PowerPorts>,
    reset: Option<(u16, u8)>,
}

static SETTINGS: Once<Settings> = Once::new();
/// The debug exit device is there.
static HAS_DEBUG_EXIT: AtomicBool = AtomicBool::new(false);

/// Keeps what is needed for the end. `debug_exit` says that QEMU's debug exit device is there.
pub fn init(machine: &Machine, debug_exit: bool) {
    if debug_exit {
        use_debug_exit();
    }
    SETTINGS.call_once(|| Settings {
        power: machine.power,
        reset: machine.reset,
    });
}

/// Ends the machine by QEMU's debug exit device from now on. May be called long before [`init`],
/// so that a failure in between is told, too.
pub fn use_debug_exit() {
    HAS_DEBUG_EXIT.store(true, Ordering::Relaxed);
}

/// Ends the machine: by the debug exit device, by switching off, or by standing still.
pub fn exit(outcome: Outcome) -> ! {
    interrupts::disable();
    serial::flush();
    if HAS_DEBUG_EXIT.load(Ordering::Relaxed) {
        DEBUG_EXIT.write(outcome as u32);
        spin_ns(WAIT);
    }
    if let Some(ports) = SETTINGS.get().and_then(|settings| settings.power) {
        switch_off(&ports);
    }
    log::error!("halted: the machine cannot be switched off");
    serial::flush();
    halt()
}

/// Starts the machine anew.
#[expect(dead_code, reason = "for the Power object, which is still to come")]
pub fn reset() -> ! {
    interrupts::disable();
    serial::flush();
    if let Some((port, value)) = SETTINGS.get().and_then(|settings| settings.reset) {
        // SAFETY: the firmware named the port that resets the machine.
        unsafe { Port::<u8>::new(port) }.write(value);
        spin_ns(WAIT);
    }
    for _ in 0..1000 {
        if KEYBOARD_COMMAND.read() & KEYBOARD_BUSY == 0 {
            break;
        }
        spin_ns(1000);
    }
    KEYBOARD_COMMAND.write(KEYBOARD_RESET);
    spin_ns(WAIT);
    let nothing = DescriptorTablePointer {
        limit: 0,
        base: VirtAddr::zero(),
    };
    // SAFETY: a breakpoint without a descriptor table resets the processor, which is wanted.
    unsafe {
        tables::lidt(&nothing);
        core::arch::asm!("int3");
    }
    halt()
}

/// Stops this core for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

/// Enters the sleep state "soft off" (ACPI 6.5, section 7.4.2 and 16.1). Returns if that fails.
fn switch_off(ports: &PowerPorts) {
    let aml = ports.dsdt.get(HEADER..).unwrap_or_default();
    let Some((type_a, type_b)) = aml::soft_off(aml) else {
        return log::error!("the ACPI DSDT does not say how to switch the machine off");
    };
    // SAFETY: the firmware named the ports that control its power states.
    let pm1a = unsafe { Port::<u16>::new(ports.pm1a) };
    if let Some((port, value)) = ports.enable
        && pm1a.read() & PM1_ENABLED == 0
    {
        // SAFETY: the firmware named the port and the value.
        unsafe { Port::<u8>::new(port) }.write(value);
        for _ in 0..ENABLE_TRIES {
            if pm1a.read() & PM1_ENABLED != 0 {
                break;
            }
            spin_ns(1_000_000);
        }
    }
    let value = |register: u16, sleep_type: u8| {
        register & !PM1_TYPE | u16::from(sleep_type) << PM1_TYPE_SHIFT | PM1_SLEEP
    };
    pm1a.write(value(pm1a.read(), type_a));
    if let Some(port) = ports.pm1b {
        // SAFETY: as for the first port.
        let pm1b = unsafe { Port::<u16>::new(port) };
        pm1b.write(value(pm1b.read(), type_b));
    }
    spin_ns(WAIT);
}
