//! What the emulated bus must catch, on a device that does as it is told.

use spillway_emu::{
    BarKind, Bus, ConfigSpace, DmaFault, EmulatedDevice, Faults, Function, Machine, ViolationKind,
};
use spillway_hal::{
    Both, Clock, ConfigWidth, Device, DeviceId, DmaBuffer, DmaConstraints, DmaDirection,
    FromDevice, HalErrorKind, Interrupt, ReadWrite, Register, Registers, ToDevice,
};

/// A device with one register and an alarm that raises vector 0.
#[derive(Default)]
struct Puppet {
    register: u64,
    alarm: Option<u64>,
}

const REGISTER: Register<u32, ReadWrite> = Register::new("REGISTER", 0x10);

impl EmulatedDevice for Puppet {
    fn config(&self) -> ConfigSpace {
        let id = DeviceId {
            vendor: 1,
            device: 2,
            class: 3,
            subclass: 4,
            interface: 5,
            revision: 6,
        };
        ConfigSpace::new(id)
            .bar(0, BarKind::Memory64, 0x4000)
            .bar(2, BarKind::Io, 16)
            .express()
            .msix(4, 0, 0x2000)
            .capability(0x09, &[0; 14])
    }

    fn read(&mut self, _: &Bus<'_>, _: u8, _: usize, _: usize) -> u64 {
        self.register
    }

    fn write(&mut self, _: &Bus<'_>, _: u8, _: usize, _: usize, value: u64) {
        self.register = value;
    }

    fn step(&mut self, bus: &Bus<'_>) {
        if self.alarm.take_if(|time| *time <= bus.now()).is_some() {
            bus.raise(0);
        }
    }

    fn next_event(&self) -> Option<u64> {
        self.alarm
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

fn plugged() -> (Machine<Puppet>, Function<Puppet>) {
    let machine = Machine::new(Puppet::default());
    let function = machine.function().unwrap();
    function.set_bus_master(true).unwrap();
    (machine, function)
}

fn pin<D: DmaDirection>(
    function: &Function<Puppet>,
) -> DmaBuffer<<Function<Puppet> as Device>::Dma, D> {
    function
        .allocate::<D>(4096, DmaConstraints::default())
        .unwrap()
}

/// The device accesses memory; the answer is the only violation that came of it.
fn caught(
    machine: &Machine<Puppet>,
    access: impl FnOnce(&Bus<'_>) -> Result<(), DmaFault>,
) -> ViolationKind {
    machine.act(|_, bus| assert_eq!(access(bus), Err(DmaFault)));
    let violations = machine.take_violations();
    assert_eq!(violations.len(), 1);
    violations[0].kind
}

#[test]
fn pinned_memory_is_reached_from_both_sides() {
    let (machine, function) = plugged();
    let buffer = pin::<Both>(&function);
    let address = buffer.io_address(0).as_u64();
    buffer.store(8, 0x1234_5678u32);
    machine.act(|_, bus| {
        assert_eq!(bus.load::<u32>(address + 8), Ok(0x1234_5678));
        bus.write(address + 4093, &[1, 2, 3]).unwrap();
    });
    let mut end = [0; 3];
    buffer.copy_to_slice(4093, &mut end);
    assert_eq!(end, [1, 2, 3]);
}

#[test]
fn outside_of_a_pin() {
    let (machine, function) = plugged();
    let address = pin::<Both>(&function).io_address(0).as_u64();
    let _held = pin::<Both>(&function);
    let buffer = pin::<Both>(&function);
    let start = buffer.io_address(0).as_u64();
    assert_eq!(
        caught(&machine, |bus| bus.store(start - 8, 0u64)),
        ViolationKind::NotPinned
    );
    assert_eq!(
        caught(&machine, |bus| bus.write(start + 4090, &[0; 7])),
        ViolationKind::NotPinned
    );
    assert_eq!(
        caught(&machine, |bus| bus.store(0, 0u64)),
        ViolationKind::NotPinned
    );
    assert_eq!(
        caught(&machine, |bus| bus.write(u64::MAX, &[0; 7])),
        ViolationKind::NotPinned
    );
    assert_ne!(start, address, "addresses are not used twice");
}

#[test]
fn after_unpin() {
    let (machine, function) = plugged();
    let buffer = pin::<Both>(&function);
    let address = buffer.io_address(0).as_u64();
    assert_eq!(machine.pins(), 1);
    drop(buffer);
    assert_eq!(machine.pins(), 0);
    assert_eq!(
        caught(&machine, |bus| bus.store(address, 0u64)),
        ViolationKind::Unpinned
    );
}

#[test]
fn in_the_wrong_direction() {
    let (machine, function) = plugged();
    let (to, from) = (pin::<ToDevice>(&function), pin::<FromDevice>(&function));
    let (into, out_of) = (to.io_address(0).as_u64(), from.io_address(0).as_u64());
    assert_eq!(
        caught(&machine, |bus| bus.store(into, 0u64)),
        ViolationKind::WriteToDeviceMemory
    );
    assert_eq!(
        caught(&machine, |bus| bus.read(out_of, &mut [0; 8])),
        ViolationKind::ReadFromDeviceMemory
    );
}

#[test]
fn without_bus_mastering() {
    let (machine, function) = plugged();
    let buffer = pin::<Both>(&function);
    let address = buffer.io_address(0).as_u64();
    function.set_bus_master(false).unwrap();
    assert_eq!(
        caught(&machine, |bus| bus.store(address, 0u64)),
        ViolationKind::DmaWithoutBusMaster
    );
    machine.act(|_, bus| bus.raise(0));
    assert_eq!(
        machine.take_violations()[0].kind,
        ViolationKind::InterruptWithoutBusMaster
    );
}

#[test]
#[should_panic(
    expected = "1 violations on the emulated bus:\n  0 ns: DMA outside of every pin 0x10"
)]
fn a_violation_fails_the_test() {
    let (machine, _function) = plugged();
    machine.act(|_, bus| bus.store(0x10, 0u64).unwrap_err());
}

#[test]
fn a_tolerant_machine_blocks_and_records() {
    let machine = Machine::new(Puppet::default()).tolerant();
    machine.act(|_, bus| bus.store(0x10, 0u64).unwrap_err());
    assert_eq!(machine.take_violations().len(), 1);
    machine.act(|_, bus| bus.store(0x10, 0u64).unwrap_err());
}

#[test]
fn addresses_meet_their_constraints() {
    let (_machine, function) = plugged();
    for bits in [28, 32, 40, 64] {
        let constraints = DmaConstraints {
            address_bits: bits,
            alignment: 0x10000,
        };
        let buffer = function.allocate::<Both>(1, constraints).unwrap();
        let last = buffer.io_address(buffer.len() - 1).as_u64();
        assert!(
            bits == 64 || last >> bits == 0,
            "{last:#x} has more than {bits} bits"
        );
        assert!(buffer.io_address(0).as_u64().is_multiple_of(0x10000));
        assert_eq!(buffer.len(), 4096);
        assert_eq!(buffer.load::<u64>(4088), 0);
    }
}

#[test]
fn allocation_has_limits() {
    let (_machine, function) = plugged();
    let refused = |bytes, address_bits, alignment| {
        let constraints = DmaConstraints {
            address_bits,
            alignment,
        };
        function
            .allocate::<Both>(bytes, constraints)
            .err()
            .unwrap()
            .kind
    };
    assert_eq!(refused(0, 64, 4096), HalErrorKind::InvalidArgument);
    assert_eq!(refused(1, 65, 4096), HalErrorKind::InvalidArgument);
    assert_eq!(refused(1, 64, 3), HalErrorKind::InvalidArgument);
    assert_eq!(refused(1, 64, 0), HalErrorKind::InvalidArgument);
    assert_eq!(refused(usize::MAX, 64, 4096), HalErrorKind::OutOfMemory);
    assert_eq!(refused(1, 20, 4096), HalErrorKind::OutOfMemory);
    assert_eq!(refused(1, 0, 4096), HalErrorKind::OutOfMemory);
    assert_eq!(refused(1, 64, 1 << 63), HalErrorKind::OutOfMemory);
}

#[test]
fn bars_have_their_length() {
    let (machine, function) = plugged();
    let bar = function.bar(0, 0x4000).unwrap();
    assert_eq!(bar.len(), 0x4000);
    let refused = |index, minimum| function.bar(index, minimum).err().unwrap().kind;
    assert_eq!(refused(0, 0x4001), HalErrorKind::NotFound);
    assert_eq!(refused(1, 0), HalErrorKind::NotFound);
    assert_eq!(refused(2, 0), HalErrorKind::Unsupported);
    assert_eq!(refused(6, 0), HalErrorKind::NotFound);
    const TABLE: Register<u32, ReadWrite> = Register::new("TABLE", 0x2ffc);
    bar.write(TABLE, 7);
    assert_eq!(
        machine.take_violations()[0].kind,
        ViolationKind::VectorTableWrite
    );
    assert_eq!(bar.read(REGISTER), 0, "the write did not arrive");
}

#[test]
#[should_panic(expected = "OUTSIDE@0x4000 is outside of its BAR of 0x4000 bytes")]
fn a_register_outside_of_its_bar() {
    let (_machine, function) = plugged();
    const OUTSIDE: Register<u32, ReadWrite> = Register::new("OUTSIDE", 0x4000);
    function.bar(0, 0).unwrap().read(OUTSIDE);
}

#[test]
fn configuration_space_is_mediated() {
    let (_machine, function) = plugged();
    let write = |offset, width| {
        function
            .config_write(offset, width, 0xff)
            .map_err(|e| e.kind)
    };
    assert_eq!(function.config_read(0, ConfigWidth::Dword), Ok(0x0002_0001));
    for offset in [0x04, 0x10, 0x34, 0x40, 0x80] {
        assert_eq!(
            write(offset, ConfigWidth::Byte),
            Err(HalErrorKind::Refused),
            "{offset:#x}"
        );
    }
    assert_eq!(write(0x92, ConfigWidth::Word), Ok(()), "vendor-specific");
    assert_eq!(function.config_read(0x92, ConfigWidth::Word), Ok(0xff));
    assert_eq!(
        write(0x92, ConfigWidth::Dword),
        Err(HalErrorKind::InvalidArgument)
    );
    assert_eq!(
        write(4096, ConfigWidth::Byte),
        Err(HalErrorKind::InvalidArgument)
    );
    assert_eq!(write(4095, ConfigWidth::Byte), Ok(()));
}

#[test]
fn one_owner_at_a_time() {
    let (machine, function) = plugged();
    assert_eq!(machine.function().err().unwrap().kind, HalErrorKind::Busy);
    drop(function);
    assert!(machine.function().is_ok());
}

#[test]
fn interrupts_wait_in_virtual_time() {
    let (machine, function) = plugged();
    let mut interrupt = function.interrupt(0).unwrap();
    assert_eq!(
        function.interrupt(0).err().unwrap().kind,
        HalErrorKind::Busy
    );
    assert_eq!(
        function.interrupt(4).err().unwrap().kind,
        HalErrorKind::NotFound
    );
    machine.with(|puppet| puppet.alarm = Some(5_000_000_000));
    assert_eq!(
        interrupt.wait(1_000_000_000).unwrap_err().kind,
        HalErrorKind::TimedOut
    );
    assert_eq!(machine.now(), 1_000_000_000);
    assert_eq!(interrupt.wait(u64::MAX), Ok(1));
    assert_eq!(machine.now(), 5_000_005_000, "with the wake-up");
    assert_eq!(interrupt.poll(), 0);
    machine.act(|_, bus| bus.raise(4));
    assert_eq!(
        machine.take_violations()[0].kind,
        ViolationKind::NoSuchVector
    );
}

/// The device raises its vector all the time; a driver that only loops around `wait` must not be
/// caught by that.
#[test]
fn a_storm_does_not_outlast_the_deadline() {
    struct Storm;
    impl Faults for Storm {
        fn spurious(&mut self) -> Option<u16> {
            Some(0)
        }
    }
    let (machine, function) = plugged();
    machine.set_faults(Storm);
    let mut interrupt = function.interrupt(0).unwrap();
    let error = loop {
        match interrupt.wait(1_000_000) {
            Ok(edges) => assert!(edges > 0),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, HalErrorKind::TimedOut);
    assert!(interrupt.poll() > 0, "what arrived stays counted");
}

#[test]
#[should_panic(expected = "waits for ever")]
fn a_wait_without_an_end() {
    let (_machine, function) = plugged();
    let _ = function.interrupt(0).unwrap().wait(u64::MAX);
}

#[test]
fn polling_ends_at_its_deadline() {
    let (machine, function) = plugged();
    let clock = function.clock();
    assert_eq!(clock.poll_until(10_000, || None::<()>), None);
    assert!((10_000..11_000).contains(&machine.now()));
    clock.delay(1_000);
    assert!(machine.now() >= 11_000);
}

/// Every read is inverted, every second write lost, every interrupt doubled, all DMA broken.
struct Broken(u32);

impl Faults for Broken {
    fn register_read(&mut self, _: u8, _: usize, value: u64) -> u64 {
        !value
    }
    fn register_write(&mut self, _: u8, _: usize, value: u64) -> Option<u64> {
        self.0 += 1;
        self.0.is_multiple_of(2).then_some(value)
    }
    fn interrupt(&mut self, _: u16) -> u32 {
        2
    }
    fn dma(&mut self, _: u64, _: usize, _: bool) -> bool {
        false
    }
}

#[test]
fn faults_on_command() {
    let (machine, function) = plugged();
    let bar = function.bar(0, 0x4000).unwrap();
    let mut interrupt = function.interrupt(0).unwrap();
    let buffer = pin::<Both>(&function);
    machine.set_faults(Broken(0));
    bar.write(REGISTER, 1);
    assert_eq!(bar.read(REGISTER), !0, "lost");
    bar.write(REGISTER, 1);
    assert_eq!(bar.read(REGISTER), !1);
    machine.act(|_, bus| {
        bus.raise(0);
        assert_eq!(
            bus.store(buffer.io_address(0).as_u64(), 0u64),
            Err(DmaFault)
        );
    });
    assert_eq!(interrupt.poll(), 2);
    machine.clear_faults();
    assert_eq!(bar.read(REGISTER), 1);
}

#[test]
fn an_unplugged_device_is_gone() {
    let (machine, function) = plugged();
    let bar = function.bar(0, 0x4000).unwrap();
    let mut interrupt = function.interrupt(0).unwrap();
    machine.unplug();
    assert_eq!(bar.read(REGISTER), u32::MAX);
    bar.write(REGISTER, 0);
    assert_eq!(
        interrupt.wait(u64::MAX).unwrap_err().kind,
        HalErrorKind::Gone
    );
    assert_eq!(function.reset().unwrap_err().kind, HalErrorKind::Gone);
    assert_eq!(
        function.config_read(0, ConfigWidth::Byte).unwrap_err().kind,
        HalErrorKind::Gone
    );
}
