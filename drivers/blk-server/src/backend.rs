//! What the server needs of a driver besides the driver itself: clients' memory for its device, and
//! its interrupt as something to wait for.

use driver_sdk::{
    abi::{
        Error,
        device::{PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
    },
    hal::{
        IoAddress,
        block::{BlockDriver, BlockDriverQueue},
    },
    native::Function,
    prelude::*,
    rt::object::{Mapping, OwnedHandle, Pin},
};
use spillway_nvme::Nvme;
use spillway_ramdisk::{RamDisk, Reach};

use alloc::{rc::Rc, vec::Vec};
use core::cell::RefCell;

/// A driver, and how its device gets at the memory of others.
pub trait Backend {
    /// The driver.
    type Driver: BlockDriver;
    /// Keeps memory reachable for the device; dropping it ends that.
    type Pinned;

    /// The driver.
    fn driver(&mut self) -> &mut Self::Driver;

    /// Lets the device reach all of a memory, which is then at the address.
    ///
    /// # Errors
    ///
    /// Those of the handle, and of its rights; `LimitReached`; `OutOfRange` for memory that cannot
    /// be reached.
    fn pin(&self, memory: &Memory, bytes: u64) -> Result<(Self::Pinned, IoAddress), Error>;

    /// Whether memory must be contiguous to be pinned.
    fn needs_contiguous(&self) -> bool;

    /// What to wait for until there is something to reap: `None` if there is nothing to wait for,
    /// or something to reap already.
    fn interrupt(queue: &mut <Self::Driver as BlockDriver>::Queue) -> Option<&OwnedHandle>;
}

/// An NVMe controller.
pub struct NvmeBackend {
    driver: Nvme<&'static Function>,
    function: &'static Function,
    confined: bool,
}

impl NvmeBackend {
    /// The backend of an initialised driver.
    ///
    /// # Errors
    ///
    /// Those of the function's handle.
    pub fn new(
        driver: Nvme<&'static Function>,
        function: &'static Function,
    ) -> Result<Self, Error> {
        Ok(Self {
            driver,
            function,
            confined: function.object().dma_space()?.is_confined()?,
        })
    }
}

/// The I/O addresses of clients' memory have as many bits as there are, and begin with a page.
const ADDRESS_BITS: u32 = 64;
const ALIGNMENT_BITS: u32 = 12;

impl Backend for NvmeBackend {
    type Driver = Nvme<&'static Function>;
    type Pinned = Pin;

    fn driver(&mut self) -> &mut Self::Driver {
        &mut self.driver
    }

    /// The server itself does not map the memory, so it can neither read nor change it.
    fn pin(&self, memory: &Memory, bytes: u64) -> Result<(Pin, IoAddress), Error> {
        let space = self.function.object().dma_space()?;
        let pin = space.pin(&PinArguments {
            memory: memory.handle().raw(),
            direction: PIN_TO_DEVICE | PIN_FROM_DEVICE,
            offset: 0,
            length: bytes,
            address_bits: ADDRESS_BITS,
            alignment_bits: ALIGNMENT_BITS,
        })?;
        let address = pin.io_address()?;
        Ok((pin, IoAddress(address)))
    }

    fn needs_contiguous(&self) -> bool {
        !self.confined
    }

    fn interrupt(queue: &mut <Self::Driver as BlockDriver>::Queue) -> Option<&OwnedHandle> {
        if !queue.may_sleep() {
            return None;
        }
        queue.interrupt().map(|vector| vector.object().as_ref())
    }
}

/// A disk that is only memory.
pub struct RamBackend(pub RamDisk<Mapped, driver_sdk::native::Clock>);

/// The memory of clients that a RAM-disk reaches: an address is the number of a mapping, counted
/// from one, and a place in it.
#[derive(Clone, Default)]
pub struct Mapped(Rc<RefCell<Vec<Option<Mapping>>>>);

/// The number of a mapping is above these bits of an address.
const NUMBER_SHIFT: u32 = 40;

/// A mapping in use.
pub struct Used {
    mapped: Mapped,
    number: usize,
}

impl Drop for Used {
    fn drop(&mut self) {
        self.mapped.0.borrow_mut()[self.number] = None;
    }
}

impl Mapped {
    fn add(&self, mapping: Mapping) -> (Used, IoAddress) {
        let mut mappings = self.0.borrow_mut();
        let number = match mappings.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                mappings.push(None);
                mappings.len() - 1
            }
        };
        mappings[number] = Some(mapping);
        let used = Used {
            mapped: self.clone(),
            number,
        };
        (used, IoAddress((number as u64 + 1) << NUMBER_SHIFT))
    }

    fn at<R>(&self, address: IoAddress, f: impl FnOnce(&Mapping, usize) -> R) -> Option<R> {
        let number = usize::try_from(address.0 >> NUMBER_SHIFT)
            .ok()?
            .checked_sub(1)?;
        let offset = address.0 & ((1 << NUMBER_SHIFT) - 1);
        let mappings = self.0.borrow();
        Some(f(mappings.get(number)?.as_ref()?, offset as usize))
    }
}

impl Reach for Mapped {
    fn read(&self, address: IoAddress, bytes: &mut [u8]) -> bool {
        let length = bytes.len();
        self.at(address, |mapping, offset| mapping.read(offset, bytes)) == Some(length)
    }

    fn write(&self, address: IoAddress, bytes: &[u8]) -> bool {
        self.at(address, |mapping, offset| mapping.write(offset, bytes)) == Some(bytes.len())
    }
}

impl Backend for RamBackend {
    type Driver = RamDisk<Mapped, driver_sdk::native::Clock>;
    type Pinned = Used;

    fn driver(&mut self) -> &mut Self::Driver {
        &mut self.0
    }

    fn pin(&self, memory: &Memory, bytes: u64) -> Result<(Used, IoAddress), Error> {
        let mapping = memory.map_range(0, bytes, Rights::READ | Rights::WRITE)?;
        Ok(self.0.reach().add(mapping))
    }

    fn needs_contiguous(&self) -> bool {
        false
    }

    fn interrupt(_: &mut <Self::Driver as BlockDriver>::Queue) -> Option<&OwnedHandle> {
        None
    }
}

/// Checks that a queue of the driver is deep enough to be shared.
pub(crate) fn capacity(queue: &impl BlockDriverQueue) -> usize {
    queue.capacity()
}
