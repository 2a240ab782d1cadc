//! A whole driver on a granted device.

use guest_harness::harness::{Outcome, check, equal, tests};
use spillway_edu::{BUFFER_SIZE, DEFAULT_ADDRESS_BITS, Edu};
use spillway_hal::HalErrorKind;
use spillway_native::Function;

use crate::machine::wide_edu;

tests![
    the_driver_works_on_the_device_of_the_manifest,
    the_driver_works_on_a_device_with_all_address_bits,
];

fn the_driver_works_on_the_device_of_the_manifest() -> Outcome {
    let none = Function::named("no-such-device").map(drop).unwrap_err();
    equal!(none.kind, HalErrorKind::NotFound);
    let function = Function::named("edu")?;
    let second = Function::named("edu").map(drop).unwrap_err();
    equal!(second.kind, HalErrorKind::Busy);
    // Without an IOMMU, too: memory is found where the device reaches it.
    works(function, DEFAULT_ADDRESS_BITS)
}

fn the_driver_works_on_a_device_with_all_address_bits() -> Outcome {
    works(Function::new(wide_edu()?)?, 64)
}

fn works(function: Function, address_bits: u8) -> Outcome {
    let mut edu = Edu::new(function, address_bits)?;
    check!(edu.is_alive());
    equal!(edu.version().0, 1);
    for (n, factorial) in [(0, 1), (5, 120), (10, 3_628_800), (13, 1_932_053_504)] {
        equal!(edu.factorial(n)?, factorial, "{n}!");
    }
    let sent: [u8; BUFFER_SIZE] = core::array::from_fn(|index| (index * 31 + index / 256) as u8);
    edu.store(0, &sent)?;
    let mut back = [0; BUFFER_SIZE];
    edu.load(0, &mut back)?;
    check!(back == sent, "other bytes came back");
    edu.store(100, b"here")?;
    let mut part = [0; 6];
    edu.load(99, &mut part)?;
    equal!(part, [sent[99], b'h', b'e', b'r', b'e', sent[104]]);
    equal!(edu.factorial(6)?, 720);
    Ok(())
}
