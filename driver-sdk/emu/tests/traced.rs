//! What `Traced` tells, on an emulated device.

use std::cell::RefCell;
use std::rc::Rc;

use spillway_emu::{Machine, edu::Edu};
use spillway_hal::{
    Both, Clock, ConfigWidth, Device, DmaConstraints, Event, HalErrorKind, Interrupt, ReadWrite,
    Register, RegisterArray, Registers, Traced,
};

const LIVENESS: Register<u32, ReadWrite> = Register::new("LIVENESS", 0x04);
const DMA: RegisterArray<u64, ReadWrite> = RegisterArray::new("DMA", 0x80, 8, 4);

#[test]
fn every_access_has_a_name() {
    let machine = Machine::new(Edu::new());
    let log = Rc::new(RefCell::new(Vec::new()));
    let sink = {
        let log = log.clone();
        move |event: Event| log.borrow_mut().push(event)
    };
    let device = Traced::new(machine.function().unwrap(), sink);
    assert_eq!(device.id().device, 0x11e8);

    let bar = device.bar(0, 0x100).unwrap();
    bar.write(LIVENESS, 1);
    assert_eq!(bar.read(LIVENESS), !1);
    bar.write(DMA.at(2), 100);
    let buffer = device
        .allocate::<Both>(5000, DmaConstraints::bits(28))
        .unwrap();
    device.config_read(0, ConfigWidth::Word).unwrap();
    let refused = device.config_write(4, ConfigWidth::Byte, 7).unwrap_err();
    assert_eq!(refused.kind, HalErrorKind::Refused);
    device.set_bus_master(true).unwrap();
    let mut interrupt = device.interrupt(0).unwrap();
    assert_eq!(interrupt.poll(), 0, "not told");
    machine.act(|_, bus| bus.raise(0));
    assert_eq!(interrupt.poll(), 1);
    assert!(interrupt.wait(device.clock().now() + 100).is_err());
    device.reset().unwrap();

    let lines: Vec<String> = log.borrow().iter().map(ToString::to_string).collect();
    let address = buffer.io_address(0).as_u64();
    let expected = [
        "bar0 LIVENESS <- 0x1",
        "bar0 LIVENESS -> 0xfffffffe",
        "bar0 DMA[2] <- 0x64",
        &format!("pinned 8192 bytes at {address:#x}"),
        "config 0x0 -> 0x1234",
        &format!("config 0x4 <- 0x7: {refused}"),
        "bus master on",
        "interrupt 0: 1",
        "interrupt 0: the deadline passed (TimedOut)",
        "reset",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        log.borrow()[1],
        Event::Read {
            bar: 0,
            name: "LIVENESS",
            index: None,
            value: 0xffff_fffe
        }
    );
}

/// What the driver sees is the same with and without.
#[test]
fn a_trace_changes_nothing() {
    let machine = Machine::new(Edu::new());
    let device = Traced::new(machine.function().unwrap(), |_| {});
    assert_eq!(device.bar(0, 1 << 20).unwrap().len(), 1 << 20);
    assert_eq!(
        device.bar(0, (1 << 20) + 1).err().unwrap().kind,
        HalErrorKind::NotFound
    );
    assert_eq!(
        device.interrupt(1).err().unwrap().kind,
        HalErrorKind::NotFound
    );
    machine.unplug();
    assert_eq!(device.reset().unwrap_err().kind, HalErrorKind::Gone);
    assert_eq!(
        device.set_bus_master(true).unwrap_err().kind,
        HalErrorKind::Gone
    );
}
