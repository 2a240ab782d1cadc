//! What needs no back end.

use std::cell::Cell;
use std::rc::Rc;

use spillway_hal::block::{BlockCount, BlockSize, ByteOffset, Lba};
use spillway_hal::{
    Both, Clock, Direction, DmaDirection, DriverError, DriverErrorKind, FromDevice, HalError,
    HalErrorKind, IoAddress, ReadOnly, Register, RegisterArray, ToDevice, Word, WriteOnly,
};

const VERSION: Register<u32, ReadOnly> = Register::new("VERSION", 8);
const DOORBELLS: RegisterArray<u32, WriteOnly> = RegisterArray::new("DOORBELL", 0x1000, 8, 4);

#[test]
fn registers_have_names() {
    assert_eq!(VERSION.to_string(), "VERSION");
    assert_eq!(format!("{VERSION:?}"), "VERSION@0x8");
    let last = DOORBELLS.at(3);
    assert_eq!(
        (last.to_string().as_str(), last.offset()),
        ("DOORBELL[3]", 0x1018)
    );
    assert_eq!((last.index(), VERSION.index()), (Some(3), None));
}

#[test]
#[should_panic(expected = "no such register")]
fn an_array_has_an_end() {
    DOORBELLS.at(DOORBELLS.count());
}

#[test]
#[should_panic(expected = "aligned")]
fn registers_are_aligned() {
    let _ = Register::<u64, ReadOnly>::new("ODD", 4);
}

#[test]
#[should_panic(expected = "overlap")]
fn registers_do_not_overlap() {
    let _ = RegisterArray::<u64, ReadOnly>::new("SAME", 0, 0, 2);
}

#[test]
#[should_panic(expected = "4 GiB")]
fn arrays_end_below_4_gib() {
    let _ = RegisterArray::<u32, ReadOnly>::new("LONG", 0x1000, 1 << 31, 2);
}

#[test]
fn directions_are_values_too() {
    assert_eq!(ToDevice::DIRECTION, Direction::ToDevice);
    assert!(ToDevice::DIRECTION.device_reads() && !ToDevice::DIRECTION.device_writes());
    assert!(FromDevice::DIRECTION.device_writes() && !FromDevice::DIRECTION.device_reads());
    assert!(Both::DIRECTION.device_reads() && Both::DIRECTION.device_writes());
}

#[test]
fn words_are_cut_and_extended() {
    assert_eq!(u16::from_u64(0x1_2345), 0x2345);
    assert_eq!(0xffu8.to_u64(), 0xff);
    assert_eq!(<u64 as Word>::BYTES, 8);
}

#[test]
fn addresses_do_not_panic() {
    assert_eq!(IoAddress(1).checked_add(2), Some(IoAddress(3)));
    assert_eq!(IoAddress(u64::MAX).checked_add(1), None);
    assert_eq!(IoAddress(u64::MAX) + 2, IoAddress(1));
    assert_eq!(format!("{:?}", IoAddress(16)), "IoAddress(0x10)");
}

#[test]
fn errors_say_what_and_why() {
    let error = HalError::new(HalErrorKind::Refused, "no dma right").with_code(7);
    assert_eq!(error.to_string(), "no dma right (Refused, status 0x7)");
    let error = DriverError::from(error);
    assert_eq!(error.kind, DriverErrorKind::Hal(HalErrorKind::Refused));
    assert_eq!((error.reason, error.status), ("no dma right", 7));
    for (hal, driver) in [
        (HalErrorKind::TimedOut, DriverErrorKind::TimedOut),
        (HalErrorKind::Gone, DriverErrorKind::Gone),
    ] {
        assert_eq!(DriverError::from(HalError::new(hal, "")).kind, driver);
    }
}

#[test]
fn blocks_and_bytes_do_not_mix() {
    for (bytes, valid) in [
        (256, false),
        (512, true),
        (4096, true),
        (65536, true),
        (131072, false),
    ] {
        assert_eq!(BlockSize::from_bytes(bytes).is_some(), valid, "{bytes}");
    }
    assert_eq!(BlockSize::from_bytes(0), None);
    assert_eq!(BlockSize::from_bytes(1000), None);
    assert_eq!(BlockSize::from_shift(12), Some(BlockSize::B4096));
    assert_eq!(BlockSize::from_shift(u32::MAX), None);
    assert_eq!(Lba(3).byte_offset(BlockSize::B512), Some(ByteOffset(1536)));
    assert_eq!(Lba(1 << 52).byte_offset(BlockSize::B4096), None);
    assert_eq!(ByteOffset(8192).lba(BlockSize::B4096), Some(Lba(2)));
    assert_eq!(ByteOffset(8192 + 512).lba(BlockSize::B4096), None);
    assert_eq!(Lba(u64::MAX).checked_add(BlockCount(1)), None);
    assert_eq!(BlockCount(2).bytes(BlockSize::B4096), Some(8192));
    assert_eq!(BlockCount(u64::MAX).bytes(BlockSize::B512), None);
}

/// A clock that stands still unless somebody pauses or sleeps.
#[derive(Clone, Default)]
struct Still(Rc<Cell<u64>>);

impl Clock for Still {
    fn now(&self) -> u64 {
        self.0.get()
    }
    fn pause(&self) {
        self.0.set(self.0.get() + 1);
    }
    fn sleep_until(&self, deadline: u64) {
        self.0.set(deadline.max(self.0.get()));
    }
}

#[test]
fn polling_looks_once_more_at_the_deadline() {
    let clock = Still::default();
    let mut looks = 0;
    let mut look = |ready_at: u64| {
        looks += 1;
        (clock.now() >= ready_at).then_some("ready")
    };
    assert_eq!(clock.poll_until(10, || look(10)), Some("ready"));
    assert_eq!(clock.poll_until(20, || look(21)), None);
    assert_eq!(
        clock.poll_until(0, || look(0)),
        Some("ready"),
        "late, but ready"
    );
    assert_eq!(looks, 11 + 11 + 1);
    clock.delay(u64::MAX);
    assert_eq!(clock.now(), u64::MAX);
}
