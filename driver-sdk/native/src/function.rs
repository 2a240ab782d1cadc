//! A PCI function that this process owns.

use alloc::{format, sync::Arc, vec::Vec};

use spillway_abi::{
    Error, Handle, Rights,
    device::{Caching, FunctionMeta, PIN_FROM_DEVICE, PIN_TO_DEVICE, PinArguments},
    startup::DEVICE_PREFIX,
};
use spillway_hal::{
    ConfigWidth, Device, DeviceId, Direction, DmaBuffer, DmaConstraints, DmaDirection, HalError,
    HalErrorKind, PAGE_SIZE,
};
use spillway_rt::{
    object::{Memory, Object, OwnedHandle, PciFunction},
    startup,
    sync::Mutex,
    time,
};

use crate::{
    Clock, DmaMemory, Interrupt, Registers,
    error::{because, from_kernel},
};

/// Offset of the first BAR (PCI Local Bus Specification 3.0, 6.2.5.1).
const BAR0: u16 = 0x10;
/// Bit of a BAR: it is a range of I/O ports.
const BAR_PORTS: u32 = 1;
/// The kind of a BAR, and that of a memory BAR with 64 bits, whose upper half is the next one.
const BAR_KIND: u32 = 0b111;
const BAR_64: u32 = 0b100;
/// What the low half of a memory BAR has besides its address.
const BAR_FLAGS: u32 = 0xf;

/// The fewest address bits for which the kernel looks for an address.
const LEAST_ADDRESS_BITS: u8 = 20;
/// The largest alignment that it knows.
const MOST_ALIGNMENT: usize = 1 << 30;

/// The handles that [`Function::named`] has given away.
static TAKEN: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// A PCI function that this process owns. It is given back, and reset, when this and everything
/// that came from it are dropped.
#[derive(Debug)]
pub struct Function {
    function: Arc<PciFunction>,
    id: DeviceId,
}

impl Function {
    /// The device that the manifest calls `name`. Once: it belongs to whoever asks first.
    ///
    /// # Errors
    ///
    /// `NotFound` if the manifest gives this process no such device, `Busy` if it was asked for
    /// before, `Gone`.
    pub fn named(name: &str) -> Result<Self, HalError> {
        const NONE: HalError = HalError::new(
            HalErrorKind::NotFound,
            "the process was given no device of this name; add it to `devices` in its manifest",
        );
        const SECOND: HalError =
            HalError::new(HalErrorKind::Busy, "this device was asked for before");
        let full = format!("{DEVICE_PREFIX}{name}");
        let handle = startup().handle(&full).ok_or(NONE)?;
        let mut taken = TAKEN.lock();
        if taken.contains(&handle) {
            return Err(SECOND);
        }
        taken.push(handle);
        drop(taken);
        Self::new(PciFunction::from(OwnedHandle::new(handle)))
    }

    /// A function that was opened in the table of devices.
    ///
    /// # Errors
    ///
    /// `Gone`, or what else the handle is refused for.
    pub fn new(function: PciFunction) -> Result<Self, HalError> {
        let identity = function.meta(FunctionMeta::Identity).map_err(from_kernel)?;
        let class = function.meta(FunctionMeta::Class).map_err(from_kernel)? as u32;
        let [revision, interface, subclass, class] = class.to_le_bytes();
        let id = DeviceId {
            vendor: identity as u16,
            device: (identity >> 16) as u16,
            class,
            subclass,
            interface,
            revision,
        };
        let function = Arc::new(function);
        Ok(Self { function, id })
    }

    /// The kernel's object, for what the traits do not offer.
    pub fn object(&self) -> &PciFunction {
        &self.function
    }

    /// Pins whole pages of a memory, which stays the caller's, and maps them.
    ///
    /// # Errors
    ///
    /// As for [`Device::allocate`]; `OutOfMemory` also if nothing but `dma=trust` confines the
    /// device and the pages are not contiguous.
    ///
    /// # Safety
    ///
    /// Whoever else has the memory mapped expects the device to write to it, if the direction
    /// says so, and everybody uses it in ways that permit that.
    pub unsafe fn pin<D: DmaDirection>(
        &self,
        memory: &Memory,
        offset: usize,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<DmaMemory, D>, HalError> {
        let constraints = check(bytes, constraints)?;
        let window = Window {
            offset,
            length: bytes,
        };
        self.pinned(memory, window, constraints, D::DIRECTION, |_| window)
            .map(DmaBuffer::new)
    }

    /// Pins and maps a window of a memory. Which part of it is used is decided by its address.
    fn pinned(
        &self,
        memory: &Memory,
        window: Window,
        constraints: DmaConstraints,
        direction: Direction,
        used: impl FnOnce(u64) -> Window,
    ) -> Result<DmaMemory, HalError> {
        let Window { offset, length } = window;
        let space = self.function.dma_space().map_err(from_kernel)?;
        let arguments = PinArguments {
            memory: memory.handle().raw(),
            direction: flags(direction),
            offset: offset as u64,
            length: length as u64,
            address_bits: constraints.address_bits.into(),
            alignment_bits: constraints.alignment.trailing_zeros(),
        };
        let pin = space.pin(&arguments).map_err(no_memory)?;
        let address = pin.io_address().map_err(from_kernel)?;
        let mapping = memory
            .map_range(offset as u64, length as u64, Rights::READ | Rights::WRITE)
            .map_err(no_memory)?;
        let used = used(address);
        let inside = used.offset - offset;
        let (address, function) = (address + inside as u64, self.function.clone());
        DmaMemory::new(pin, mapping, inside, used.length, address, function)
            .ok_or(from_kernel(Error::OutOfRange))
    }

    /// Whether a BAR is a range of I/O ports.
    fn is_ports(&self, index: u8) -> Result<bool, HalError> {
        let mut slot = 0;
        while slot < index {
            slot += match self.bar_register(slot)? & BAR_KIND {
                BAR_64 => 2,
                _ => 1,
            };
        }
        Ok(slot == index && self.bar_register(index)? & BAR_PORTS != 0)
    }

    fn bar_register(&self, index: u8) -> Result<u32, HalError> {
        let offset = BAR0 + 4 * u16::from(index);
        self.function.config_read(offset, 4).map_err(from_kernel)
    }
}

/// Whole pages of a memory.
#[derive(Clone, Copy)]
struct Window {
    offset: usize,
    length: usize,
}

const fn flags(direction: Direction) -> u32 {
    match direction {
        Direction::ToDevice => PIN_TO_DEVICE,
        Direction::FromDevice => PIN_FROM_DEVICE,
        Direction::Both => PIN_TO_DEVICE | PIN_FROM_DEVICE,
    }
}

/// The constraints in terms of the kernel: at least a page.
fn check(bytes: usize, constraints: DmaConstraints) -> Result<DmaConstraints, HalError> {
    const BYTES: HalError = HalError::new(HalErrorKind::InvalidArgument, "no bytes, or too many");
    const ALIGNMENT: HalError = HalError::new(
        HalErrorKind::InvalidArgument,
        "an alignment is a power of two",
    );
    const BITS: HalError = HalError::new(
        HalErrorKind::InvalidArgument,
        "an address has at most 64 bits",
    );
    let DmaConstraints {
        address_bits,
        alignment,
    } = constraints;
    let fits = bytes
        .checked_add(alignment)
        .is_some_and(|sum| sum <= isize::MAX as usize);
    match () {
        () if bytes == 0 || !fits => Err(BYTES),
        () if !alignment.is_power_of_two() => Err(ALIGNMENT),
        () if address_bits > 64 => Err(BITS),
        () if address_bits < LEAST_ADDRESS_BITS || alignment > MOST_ALIGNMENT => {
            Err(no_memory(Error::OutOfRange))
        }
        () => Ok(DmaConstraints {
            address_bits,
            alignment: alignment.max(PAGE_SIZE),
        }),
    }
}

/// Why memory could not be had. Arguments were checked, so a bad one is an amount that no machine has.
fn none_left(error: Error) -> HalError {
    match error {
        Error::BadArgument => from_kernel(Error::OutOfMemory),
        _ => no_memory(error),
    }
}

/// Why memory could not be had, pinned or mapped.
fn no_memory(error: Error) -> HalError {
    let reason = match error {
        Error::OutOfRange => {
            "no memory at an address that the device can express and with the alignment that it needs"
        }
        Error::LimitReached => {
            "the process's limit of memory or handles, or the function's of pins, is reached"
        }
        _ => return from_kernel(error),
    };
    because(HalErrorKind::OutOfMemory, reason, error)
}

impl Device for Function {
    type Registers = Registers;
    type Dma = DmaMemory;
    type Interrupt = Interrupt;
    type Clock = Clock;

    fn id(&self) -> DeviceId {
        self.id
    }

    fn config_read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError> {
        let width = width.bytes() as u8;
        self.function
            .config_read(offset, width)
            .map_err(from_kernel)
    }

    fn config_write(&self, offset: u16, width: ConfigWidth, value: u32) -> Result<(), HalError> {
        let width = width.bytes() as u8;
        self.function
            .config_write(offset, width, value)
            .map_err(from_kernel)
    }

    fn bar(&self, index: u8, minimum: usize) -> Result<Self::Registers, HalError> {
        const NONE: HalError = HalError::new(
            HalErrorKind::NotFound,
            "the function has no such BAR; a 64-bit BAR has the index of its lower half",
        );
        const PORTS: HalError = HalError::new(HalErrorKind::Unsupported, "a BAR of I/O ports");
        const SHORT: HalError = HalError::new(
            HalErrorKind::NotFound,
            "the BAR is shorter than the driver needs",
        );
        if index > 5 {
            return Err(NONE);
        }
        let size = self.function.bar_size(index).map_err(from_kernel)?;
        match size {
            0 if self.is_ports(index)? => return Err(PORTS),
            0 => return Err(NONE),
            _ if size < minimum as u64 => return Err(SHORT.with_code(size)),
            _ => {}
        }
        let memory = self
            .function
            .bar(index, Caching::Uncached)
            .map_err(from_kernel)?;
        let mapping = memory
            .map(Rights::READ | Rights::WRITE)
            .map_err(from_kernel)?;
        // A BAR of less than a page can begin inside of one.
        let start = (self.bar_register(index)? & !BAR_FLAGS) as usize % PAGE_SIZE;
        Registers::new(mapping, start, size as usize, self.function.clone()).ok_or(NONE)
    }

    /// Where no IOMMU confines the function, the memory is contiguous and lies where the device can
    /// reach it.
    fn allocate<D: DmaDirection>(
        &self,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<Self::Dma, D>, HalError> {
        let constraints = check(bytes, constraints)?;
        let length = bytes.next_multiple_of(PAGE_SIZE);
        let alignment = constraints.alignment;
        let space = self.function.dma_space().map_err(from_kernel)?;
        let whole = |length| Window { offset: 0, length };
        let memory = if space.is_confined().map_err(from_kernel)? {
            let memory = Memory::new(length as u64).map_err(none_left)?;
            let window = whole(length);
            self.pinned(&memory, window, constraints, D::DIRECTION, |_| window)
        } else {
            // So much that an aligned part of it is long enough.
            let window = whole(length + alignment - PAGE_SIZE);
            let memory =
                Memory::contiguous_below(window.length as u64, constraints.address_bits.into())
                    .map_err(none_left)?;
            let any = DmaConstraints::bits(constraints.address_bits);
            self.pinned(&memory, window, any, D::DIRECTION, |address| Window {
                offset: (address.next_multiple_of(alignment as u64) - address) as usize,
                length,
            })
        };
        memory.map(DmaBuffer::new)
    }

    fn interrupt(&self, vector: u16) -> Result<Self::Interrupt, HalError> {
        const NONE: HalError = HalError::new(
            HalErrorKind::Unsupported,
            "the function has neither MSI-X nor MSI",
        );
        const NO_SUCH: HalError =
            HalError::new(HalErrorKind::NotFound, "the function has no such vector");
        match self
            .function
            .meta(FunctionMeta::Vectors)
            .map_err(from_kernel)?
        {
            0 => return Err(NONE),
            vectors if u64::from(vector) >= vectors => return Err(NO_SUCH),
            _ => {}
        }
        let interrupt = self
            .function
            .interrupt(vector, time::core_index())
            .map_err(from_kernel)?;
        Ok(Interrupt::new(interrupt, self.function.clone()))
    }

    fn set_bus_master(&self, on: bool) -> Result<(), HalError> {
        if on {
            // The kernel asks that something says what the function may reach.
            self.function.dma_space().map_err(from_kernel)?;
        }
        self.function.set_bus_master(on).map_err(from_kernel)
    }

    fn reset(&self) -> Result<(), HalError> {
        self.function.reset().map_err(from_kernel)
    }

    fn clock(&self) -> Self::Clock {
        Clock
    }
}
