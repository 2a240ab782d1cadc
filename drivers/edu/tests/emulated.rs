//! The driver on an emulated device. A machine that is dropped with a violation on its bus fails
//! its test, so none of these has to ask for that.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use spillway_edu::{BUFFER_SIZE, DEFAULT_ADDRESS_BITS, Edu};
use spillway_emu::{
    BarKind, Bus, ConfigSpace, EmulatedDevice, Faults, Machine, ViolationKind, edu,
};
use spillway_hal::{Device, DeviceId, DriverErrorKind, Event, Traced};

/// A device as QEMU makes it, and its driver.
fn plugged() -> (Machine<edu::Edu>, Edu<spillway_emu::Function<edu::Edu>>) {
    let machine = Machine::new(edu::Edu::new());
    let driver = Edu::new(machine.function().unwrap(), DEFAULT_ADDRESS_BITS).unwrap();
    (machine, driver)
}

#[test]
fn it_says_what_it_is() {
    let (_machine, driver) = plugged();
    assert_eq!(driver.version(), (1, 0));
    assert!(driver.is_alive());
}

#[test]
fn factorials_come_by_interrupt() {
    let (_machine, mut driver) = plugged();
    for (n, factorial) in [
        (0, 1),
        (1, 1),
        (5, 120),
        (12, 479_001_600),
        (13, 1_932_053_504),
    ] {
        assert_eq!(driver.factorial(n), Ok(factorial));
    }
    assert_eq!(driver.factorial(34), Ok(0), "modulo 2^32");
    assert_eq!(driver.factorial(u32::MAX), Ok(0));
}

#[test]
fn data_goes_both_ways() {
    let (machine, mut driver) = plugged();
    let sent: Vec<u8> = (0..BUFFER_SIZE).map(|index| (index * 7) as u8).collect();
    driver.store(0, &sent).unwrap();
    assert_eq!(machine.with(|edu| edu.buffer().to_vec()), sent);
    let mut received = vec![0; BUFFER_SIZE];
    driver.load(0, &mut received).unwrap();
    assert_eq!(received, sent);
}

#[test]
fn the_end_of_the_buffer() {
    let (_machine, mut driver) = plugged();
    let mut whole = [0; BUFFER_SIZE + 1];
    let too_far = Err(DriverErrorKind::OutOfRange);
    assert_eq!(driver.store(0, &whole).map_err(|error| error.kind), too_far);
    assert_eq!(
        driver
            .load(1, &mut whole[..BUFFER_SIZE])
            .map_err(|error| error.kind),
        too_far
    );
    assert_eq!(
        driver
            .load(usize::MAX, &mut whole[..1])
            .map_err(|error| error.kind),
        too_far
    );
    assert_eq!(driver.store(BUFFER_SIZE, &[]), Ok(()));
    assert_eq!(driver.store(BUFFER_SIZE - 1, &[1]), Ok(()));
}

/// The default device cuts addresses to 28 bits. A driver that takes any address sends its DMA
/// astray, and the bus tells.
#[test]
fn address_bits_matter() {
    let machine = Machine::new(edu::Edu::new());
    let mut driver = Edu::new(machine.function().unwrap(), 64).unwrap();
    driver.store(0, &[1, 2, 3]).unwrap();
    let violations = machine.take_violations();
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].kind, ViolationKind::NotPinned);

    let machine = Machine::new(edu::Edu::with_dma_mask(u64::MAX));
    let mut driver = Edu::new(machine.function().unwrap(), 64).unwrap();
    driver.store(0, &[1, 2, 3]).unwrap();
    assert_eq!(machine.with(|edu| edu.buffer()[..3].to_vec()), [1, 2, 3]);
}

#[test]
fn a_device_that_hangs() {
    let (machine, mut driver) = plugged();
    machine.with(edu::Edu::hang);
    let timed_out = Some(DriverErrorKind::TimedOut);
    assert_eq!(driver.factorial(5).err().map(|error| error.kind), timed_out);
    assert_eq!(
        driver.store(0, &[1]).err().map(|error| error.kind),
        timed_out
    );
    let before = machine.now();
    assert_eq!(
        driver.store(0, &[1]).err().map(|error| error.kind),
        timed_out
    );
    assert!(
        machine.now() - before < 1_000_000,
        "it does not wait for a device known to be busy"
    );
    drop(driver);
    assert_eq!(
        Edu::new(machine.function().unwrap(), 28)
            .err()
            .map(|error| error.kind),
        timed_out,
        "the next owner finds a transfer running"
    );
}

/// What was given up is finished later: its result and its interrupt belong to nobody.
#[test]
fn a_late_answer_is_not_taken_for_another() {
    let (machine, mut driver) = plugged();
    machine.with(edu::Edu::hang);
    assert!(driver.factorial(5).is_err());
    assert!(driver.store(0, &[1]).is_err());
    machine.with(edu::Edu::wake);
    machine.advance(1_000);
    assert_eq!(driver.factorial(6), Ok(720));
    let mut received = [9; 2];
    driver.load(0, &mut received).unwrap();
    assert_eq!(received, [1, 0], "the late transfer took place");
}

#[test]
fn a_device_that_is_pulled_out() {
    let (machine, mut driver) = plugged();
    machine.unplug();
    assert!(!driver.is_alive());
    assert!(driver.factorial(5).is_err());
    assert!(driver.load(0, &mut [0]).is_err());
}

#[test]
fn memory_is_given_back_only_when_the_device_is_quiet() {
    let (machine, driver) = plugged();
    assert_eq!(machine.pins(), 2);
    drop(driver);
    assert_eq!(machine.pins(), 0);
    assert!(!machine.act(|_, bus| bus.is_bus_master()));
}

/// Another identification, and interrupts that are lost.
struct Broken;

impl Faults for Broken {
    fn register_read(&mut self, _: u8, offset: usize, value: u64) -> u64 {
        if offset == 0 { 0x0100_00ee } else { value }
    }
    fn interrupt(&mut self, _: u16) -> u32 {
        0
    }
}

/// The same registers under another PCI ID.
struct Relative;

impl EmulatedDevice for Relative {
    fn config(&self) -> ConfigSpace {
        let id = DeviceId {
            device: 0x11e9,
            ..edu::Edu::new().config().id()
        };
        ConfigSpace::new(id).bar(0, BarKind::Memory32, 1 << 20)
    }
    fn read(&mut self, _: &Bus<'_>, _: u8, _: usize, _: usize) -> u64 {
        panic!("a driver looks at the ID first")
    }
    fn write(&mut self, _: &Bus<'_>, _: u8, _: usize, _: usize, _: u64) {
        panic!("a driver looks at the ID first")
    }
    fn reset(&mut self) {}
}

#[test]
fn a_device_with_another_id() {
    let machine = Machine::new(Relative);
    let error = Edu::new(machine.function().unwrap(), 28).err().unwrap();
    assert_eq!(error.kind, DriverErrorKind::WrongDevice);
}

#[test]
fn a_device_that_is_something_else() {
    let machine = Machine::new(edu::Edu::new());
    machine.set_faults(Broken);
    let error = Edu::new(machine.function().unwrap(), 28).err().unwrap();
    assert_eq!(error.kind, DriverErrorKind::WrongDevice);
    assert_eq!(
        error.to_string(),
        "this is not an edu, PCI ID 1234:11e8 (WrongDevice)"
    );
}

#[test]
fn a_lost_interrupt_ends_in_time() {
    let (machine, mut driver) = plugged();
    machine.set_faults(Broken);
    assert_eq!(
        driver.factorial(5).unwrap_err().kind,
        DriverErrorKind::TimedOut
    );
    machine.clear_faults();
    assert_eq!(driver.factorial(5), Ok(120));
}

/// What the driver does, in the words of the specification.
#[test]
fn a_trace_reads_like_the_specification() {
    let machine = Machine::new(edu::Edu::new());
    let log = Rc::new(RefCell::new(Vec::new()));
    let sink = {
        let log = log.clone();
        move |event: Event| log.borrow_mut().push(event.to_string())
    };
    let mut driver = Edu::new(Traced::new(machine.function().unwrap(), sink), 28).unwrap();
    log.borrow_mut().clear();
    driver.factorial(5).unwrap();
    drop(driver);
    let expected = [
        "bar0 STATUS -> 0x0",
        "bar0 INTERRUPT_STATUS -> 0x0",
        "bar0 INTERRUPT_ACK <- 0x0",
        "bar0 STATUS <- 0x80",
        "bar0 FACTORIAL <- 0x5",
        "bar0 INTERRUPT_STATUS -> 0x0",
        "bar0 INTERRUPT_ACK <- 0x0",
        "interrupt 0: 1",
        "bar0 INTERRUPT_STATUS -> 0x1",
        "bar0 INTERRUPT_ACK <- 0x1",
        "bar0 STATUS -> 0x80",
        "bar0 FACTORIAL -> 0x78",
        "bus master off",
    ];
    assert_eq!(*log.borrow(), expected);
}

/// Registers and interrupts that follow no rule.
struct Garbage(Vec<u64>, usize);

impl Garbage {
    fn next(&mut self) -> u64 {
        self.1 = (self.1 + 1) % self.0.len();
        self.0[self.1]
    }
}

impl Faults for Garbage {
    fn register_read(&mut self, _: u8, _: usize, value: u64) -> u64 {
        value ^ self.next()
    }
    fn register_write(&mut self, _: u8, _: usize, value: u64) -> Option<u64> {
        let garbage = self.next();
        (!garbage.is_multiple_of(3)).then_some(value ^ garbage)
    }
    fn interrupt(&mut self, _: u16) -> u32 {
        (self.next() % 3) as u32
    }
    fn spurious(&mut self) -> Option<u16> {
        (self.next() % 50 == 1).then_some(0)
    }
}

proptest! {
    /// A device that lies about everything costs time and wrong answers, and nothing else.
    #[test]
    fn a_hostile_device(
        garbage in prop::collection::vec(prop_oneof![3 => Just(0), 1 => any::<u64>()], 1..40),
    ) {
        let machine = Machine::new(edu::Edu::new()).tolerant();
        machine.set_faults(Garbage(garbage, 0));
        if let Ok(mut driver) = Edu::new(machine.function().unwrap(), 28) {
            driver.is_alive();
            let _ = driver.factorial(5);
            let _ = driver.store(3, &[1, 2, 3]);
            let _ = driver.load(3, &mut [0; 3]);
        }
        prop_assert_eq!(machine.pins(), 0);
        prop_assert!(machine.now() < 20_000_000_000, "every wait has an end");
        prop_assert_eq!(machine.function().unwrap().id().vendor, 0x1234);
    }

    /// What is stored at one place comes back from there, and nothing beside it changes.
    #[test]
    fn any_range_of_the_buffer(offset in 0..BUFFER_SIZE, data in prop::collection::vec(any::<u8>(), 0..300)) {
        let (machine, mut driver) = plugged();
        machine.with(|edu| edu.buffer().fill(0xee));
        let end = offset + data.len();
        let stored = driver.store(offset, &data);
        prop_assert_eq!(stored.is_ok(), end <= BUFFER_SIZE);
        let mut expected = [0xee; BUFFER_SIZE];
        if stored.is_ok() {
            expected[offset..end].copy_from_slice(&data);
        }
        let mut all = [0; BUFFER_SIZE];
        driver.load(0, &mut all).unwrap();
        prop_assert_eq!(all, expected);
    }
}
