//! What an emulated device can reach: memory by its pins, interrupts, and time.

use std::cell::{Cell, RefCell};

use spillway_hal::Word;

use crate::config::ConfigSpace;
use crate::faults::Faults;
use crate::interrupts::Vector;
use crate::pins::Pins;
use crate::violation::{Violation, ViolationKind};

/// Violations that are kept; more are only counted.
const MAX_VIOLATIONS: usize = 64;

/// What the machine's parts share, without the device itself.
pub(crate) struct Shared {
    pub(crate) now: Cell<u64>,
    pub(crate) config: RefCell<ConfigSpace>,
    pub(crate) bus_master: Cell<bool>,
    pub(crate) unplugged: Cell<bool>,
    pub(crate) owned: Cell<bool>,
    pub(crate) pins: RefCell<Pins>,
    pub(crate) vectors: Box<[Vector]>,
    pub(crate) faults: RefCell<Option<Box<dyn Faults>>>,
    pub(crate) violations: RefCell<Vec<Violation>>,
    pub(crate) violation_count: Cell<u64>,
}

impl Shared {
    pub(crate) fn new(config: ConfigSpace) -> Self {
        Self {
            now: Cell::new(0),
            bus_master: Cell::new(false),
            unplugged: Cell::new(false),
            owned: Cell::new(false),
            pins: RefCell::new(Pins::new()),
            vectors: (0..config.vectors()).map(|_| Vector::default()).collect(),
            config: RefCell::new(config),
            faults: RefCell::new(None),
            violations: RefCell::new(Vec::new()),
            violation_count: Cell::new(0),
        }
    }

    #[cold]
    pub(crate) fn violation(&self, kind: ViolationKind, address: u64, bytes: usize) {
        self.violation_count.set(self.violation_count.get() + 1);
        let mut violations = self.violations.borrow_mut();
        if violations.len() < MAX_VIOLATIONS {
            let address = spillway_hal::IoAddress(address);
            violations.push(Violation {
                kind,
                address,
                bytes,
                time: self.now.get(),
            });
        }
    }

    /// What a fault makes of something; `normal` where there is no fault.
    #[inline]
    pub(crate) fn faulty<T>(&self, normal: T, fault: impl FnOnce(&mut dyn Faults) -> T) -> T {
        match &mut *self.faults.borrow_mut() {
            Some(faults) => fault(&mut **faults),
            None => normal,
        }
    }

    pub(crate) fn raise(&self, vector: u16) {
        if !self.bus_master.get() {
            return self.violation(ViolationKind::InterruptWithoutBusMaster, vector.into(), 0);
        }
        let Some(entry) = self.vectors.get(usize::from(vector)) else {
            return self.violation(ViolationKind::NoSuchVector, vector.into(), 0);
        };
        for _ in 0..self.faulty(1, |faults| faults.interrupt(vector)) {
            entry.raise();
        }
    }
}

/// A DMA access that was not carried out. What is wrong has been recorded; a device reports it to
/// its driver in its own way, or does as if nothing were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaFault;

/// What an emulated device can reach.
pub struct Bus<'a> {
    shared: &'a Shared,
}

impl<'a> Bus<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared }
    }

    /// Virtual time in nanoseconds.
    #[inline]
    pub fn now(&self) -> u64 {
        self.shared.now.get()
    }

    /// Whether the function may access memory and interrupt.
    pub fn is_bus_master(&self) -> bool {
        self.shared.bus_master.get()
    }

    /// Raises interrupt vector `vector`, an edge.
    pub fn raise(&self, vector: u16) {
        self.shared.raise(vector);
    }

    /// Reads memory into `bytes`.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), DmaFault> {
        self.access(address, bytes.len(), false, |memory, offset| {
            memory.read(offset, bytes)
        })
    }

    /// Writes `bytes` to memory.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.access(address, bytes.len(), true, |memory, offset| {
            memory.write(offset, bytes)
        })
    }

    /// Reads one little-endian value; `address` is a multiple of its size.
    #[inline]
    pub fn load<T: Word>(&self, address: u64) -> Result<T, DmaFault> {
        debug_assert!(
            address.is_multiple_of(T::BYTES as u64),
            "unaligned; use read"
        );
        self.access(address, T::BYTES, false, |memory, offset| {
            memory.load(offset)
        })
    }

    /// Writes one little-endian value; `address` is a multiple of its size.
    #[inline]
    pub fn store<T: Word>(&self, address: u64, value: T) -> Result<(), DmaFault> {
        debug_assert!(
            address.is_multiple_of(T::BYTES as u64),
            "unaligned; use write"
        );
        self.access(address, T::BYTES, true, |memory, offset| {
            memory.store(offset, value)
        })
    }

    /// Reads `N` little-endian words; `address` is a multiple of 8.
    #[inline]
    pub fn load_words<const N: usize>(&self, address: u64) -> Result<[u64; N], DmaFault> {
        self.access(address, 8 * N, false, |memory, offset| {
            memory.load_words(offset)
        })
    }

    /// Writes `N` little-endian words; `address` is a multiple of 8.
    #[inline]
    pub fn store_words<const N: usize>(
        &self,
        address: u64,
        words: [u64; N],
    ) -> Result<(), DmaFault> {
        self.access(address, 8 * N, true, |memory, offset| {
            memory.store_words(offset, words)
        })
    }

    #[inline]
    fn access<T>(
        &self,
        address: u64,
        bytes: usize,
        write: bool,
        carry_out: impl FnOnce(&crate::memory::Memory, usize) -> T,
    ) -> Result<T, DmaFault> {
        let shared = self.shared;
        if !shared.bus_master.get() {
            shared.violation(ViolationKind::DmaWithoutBusMaster, address, bytes);
            return Err(DmaFault);
        }
        if !shared.faulty(true, |faults| faults.dma(address, bytes, write)) {
            return Err(DmaFault);
        }
        match shared.pins.borrow().find(address, bytes, write) {
            Ok((memory, offset)) => Ok(carry_out(memory, offset)),
            Err(kind) => {
                shared.violation(kind, address, bytes);
                Err(DmaFault)
            }
        }
    }
}
