//! An IOMMU that stops answering while a function is granted. xtask hangs it when it reads
//! [`REQUEST`] in the log.

use driver_sdk::{
    abi::device::{FunctionMeta, FunctionState},
    prelude::*,
    rt::{
        object::{DmaSpace, OwnedHandle},
        syscall,
    },
};
use guest_harness::{
    child::{PATIENCE, Use},
    harness::{Outcome, check, equal, tests},
};

use super::{forged::cores_work, life::state_of};
use crate::machine::{DISK, devices, disk, edu, whole};

tests![what_a_hung_iommu_may_let_through_is_kept];

const REQUEST: &str = "now hang the IOMMU";
/// Bytes that are pinned when it hangs.
const PINNED: u64 = 1 << 20;

fn what_a_hung_iommu_may_let_through_is_kept() -> Outcome {
    let (disk, other) = (disk()?, edu()?);
    let address = disk.meta(FunctionMeta::Address)? as u32;
    let space = disk.dma_space()?;
    let interrupt = disk.interrupt(0, time::core_index())?;
    let memory = Memory::new(PINNED)?;
    let pin = space.pin(&whole(&memory)?)?;
    disk.set_bus_master(true)?;
    hang(&space)?;

    // Nothing more is granted behind it, and what was tried leaves nothing.
    let refused = || -> Outcome {
        equal!(other.dma_space().map(drop), Err(Error::TimedOut));
        for (function, vector) in [(&disk, 1), (&other, 0)] {
            let bound = function.interrupt(vector, time::core_index()).map(drop);
            equal!(bound, Err(Error::TimedOut));
        }
        Ok(())
    };
    refused()?;
    let before = Use::now()?;
    (0..5).try_for_each(|_| refused())?;
    equal!(Use::now()?, before);

    // The function is reset and taken back, but may not be cut off.
    equal!(
        syscall::close(OwnedHandle::from(pin).into_raw()),
        Err(Error::TimedOut)
    );
    drop((interrupt, memory));
    disk.revoke()?;
    equal!(state_of(address)?, FunctionState::Blocked as u8);
    equal!(devices().open(DISK).map(drop), Err(Error::DeviceFailed));
    let after = Use::now()?;
    check!(
        after.machine_free < before.machine_free + PINNED,
        "memory that the function may still reach is free"
    );
    check!(
        after.memory >= PINNED,
        "nobody pays for the memory that is kept"
    );
    cores_work()
}

/// Asks for it, and returns when an unpinning is not answered.
fn hang(space: &DmaSpace) -> Outcome {
    let page = Memory::new(4096)?;
    let unpin = || -> Outcome<Result<(), Error>> {
        let pin = space.pin(&whole(&page)?)?;
        Ok(syscall::close(OwnedHandle::from(pin).into_raw()))
    };
    unpin()?.map_err(|error| alloc::format!("it hangs already: {error}"))?;
    println!("{REQUEST}");
    let deadline = Instant::now() + PATIENCE;
    while unpin()? != Err(Error::TimedOut) {
        check!(Instant::now() < deadline, "it still answers");
        thread::sleep(core::time::Duration::from_millis(2));
    }
    Ok(())
}
