//! Which I/O addresses lead to which memory: the emulated IOMMU.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use spillway_hal::{Direction, DmaConstraints, HalError, HalErrorKind, PAGE_SIZE};

use crate::memory::Memory;
use crate::violation::ViolationKind;

/// Where pins are placed, by the address bits that a device has at least: the highest window that
/// it can express, so that a driver that loses upper bits is found out. Each window is used once
/// from bottom to top, with a hole after each pin; no address is used twice.
const WINDOWS: [Window; 3] = [
    Window {
        bits: 48,
        start: 0xabcd_0000_0000,
        end: 1 << 48,
    },
    Window {
        bits: 32,
        start: 0x8000_0000,
        end: 0xfee0_0000,
    },
    Window {
        bits: 0,
        start: 0x10_0000,
        end: 0x8000_0000,
    },
];

struct Window {
    bits: u8,
    start: u64,
    end: u64,
}

/// The most memory in one pin, in bytes: a driver that computes a size from what the device said
/// must not be able to eat the host's memory.
const MAX_PIN: usize = 1 << 30;
/// Pins that are remembered after they were given back; the oldest is forgotten first.
const REMEMBERED: usize = 1024;

/// A range of I/O addresses that is or was pinned.
struct Pin {
    bytes: usize,
    direction: Direction,
    /// `None` once it was given back.
    memory: Option<Rc<Memory>>,
}

/// All pins of a function, by first address.
pub(crate) struct Pins {
    pins: BTreeMap<u64, Pin>,
    next: [u64; WINDOWS.len()],
    /// First addresses of pins that were given back, the oldest first.
    given_back: VecDeque<u64>,
}

impl Pins {
    pub(crate) fn new() -> Self {
        Self {
            pins: BTreeMap::new(),
            next: WINDOWS.map(|window| window.start),
            given_back: VecDeque::new(),
        }
    }

    /// Allocates and pins; gives the first address and the memory.
    pub(crate) fn pin(
        &mut self,
        bytes: usize,
        direction: Direction,
        constraints: DmaConstraints,
    ) -> Result<(u64, Rc<Memory>), HalError> {
        let invalid = |reason| HalError::new(HalErrorKind::InvalidArgument, reason);
        let exhausted = |reason| HalError::new(HalErrorKind::OutOfMemory, reason);
        let DmaConstraints {
            address_bits,
            alignment,
        } = constraints;
        if bytes == 0 {
            return Err(invalid("DMA memory has at least one byte"));
        }
        if !alignment.is_power_of_two() {
            return Err(invalid("an alignment is a power of two"));
        }
        if address_bits > 64 {
            return Err(invalid("an address has at most 64 bits"));
        }
        if bytes > MAX_PIN {
            return Err(exhausted("one pin of an emulated device has at most 1 GiB"));
        }
        let bytes = bytes.next_multiple_of(PAGE_SIZE);
        let index = WINDOWS
            .iter()
            .position(|window| address_bits >= window.bits)
            .unwrap_or(2);
        let limit = WINDOWS[index]
            .end
            .min(1u64.checked_shl(address_bits.into()).unwrap_or(u64::MAX));
        let mask = alignment.max(PAGE_SIZE) as u64 - 1;
        let start = (self.next[index] + mask) & !mask;
        let end = start + bytes as u64;
        if end > limit {
            return Err(exhausted(
                "no addresses are left that the device can express",
            ));
        }
        self.next[index] = end + PAGE_SIZE as u64;
        let memory = Rc::new(Memory::new(bytes));
        self.pins.insert(
            start,
            Pin {
                bytes,
                direction,
                memory: Some(memory.clone()),
            },
        );
        Ok((start, memory))
    }

    /// Takes a pin back. Its addresses stay known, as no longer valid.
    pub(crate) fn unpin(&mut self, start: u64) {
        if let Some(pin) = self.pins.get_mut(&start) {
            pin.memory = None;
        }
        self.given_back.push_back(start);
        if self.given_back.len() > REMEMBERED
            && let Some(oldest) = self.given_back.pop_front()
        {
            self.pins.remove(&oldest);
        }
    }

    /// The memory behind `bytes` bytes at `address` and the offset in it, if the device may access
    /// all of them in this way.
    #[inline]
    pub(crate) fn find(
        &self,
        address: u64,
        bytes: usize,
        write: bool,
    ) -> Result<(&Memory, usize), ViolationKind> {
        let (start, pin) = self
            .pins
            .range(..=address)
            .next_back()
            .ok_or(ViolationKind::NotPinned)?;
        let offset = address - start;
        let inside = offset
            .checked_add(bytes as u64)
            .is_some_and(|end| end <= pin.bytes as u64);
        if !inside {
            return Err(ViolationKind::NotPinned);
        }
        let Some(memory) = &pin.memory else {
            return Err(ViolationKind::Unpinned);
        };
        match (write, pin.direction) {
            (true, Direction::ToDevice) => Err(ViolationKind::WriteToDeviceMemory),
            (false, Direction::FromDevice) => Err(ViolationKind::ReadFromDeviceMemory),
            _ => Ok((memory, offset as usize)),
        }
    }

    /// Pins that are in use.
    pub(crate) fn count(&self) -> usize {
        self.pins
            .values()
            .filter(|pin| pin.memory.is_some())
            .count()
    }
}
