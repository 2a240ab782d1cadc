//! The driver's side: `spillway-hal` on an emulated device.

use std::rc::Rc;

use spillway_hal::{
    Clock, ConfigWidth, Device, DeviceId, DmaBuffer, DmaConstraints, DmaDirection, DmaMemory,
    HalError, HalErrorKind, Interrupt, IoAddress, Readable, Register, Registers, Word, Writable,
};

use crate::bus::{Bus, Shared};
use crate::config::BarKind;
use crate::device::EmulatedDevice;
use crate::machine::Core;
use crate::memory::Memory;
use crate::violation::ViolationKind;

/// What the driver's actions take, in virtual nanoseconds: roughly what hardware takes, and never
/// nothing, so that every loop ends at its deadline.
const READ: u64 = 500;
const WRITE: u64 = 100;
const PAUSE: u64 = 50;
const NOW: u64 = 10;
const WAKE_UP: u64 = 5_000;

const GONE: HalError = HalError::new(HalErrorKind::Gone, "the device was unplugged or revoked");

/// An emulated function in a driver's hands.
pub struct Function<E: EmulatedDevice> {
    core: Rc<Core<E>>,
}

impl<E: EmulatedDevice> Function<E> {
    pub(crate) fn new(core: Rc<Core<E>>) -> Self {
        Self { core }
    }

    fn present(&self) -> Result<&Shared, HalError> {
        if self.core.shared.unplugged.get() {
            Err(GONE)
        } else {
            Ok(&self.core.shared)
        }
    }
}

/// The next owner may come.
impl<E: EmulatedDevice> Drop for Function<E> {
    fn drop(&mut self) {
        self.core.shared.owned.set(false);
    }
}

impl<E: EmulatedDevice> Device for Function<E> {
    type Registers = EmulatedRegisters<E>;
    type Dma = EmulatedDma;
    type Interrupt = EmulatedInterrupt<E>;
    type Clock = EmulatedClock<E>;

    fn id(&self) -> DeviceId {
        self.core.shared.config.borrow().id()
    }

    fn config_read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError> {
        self.present()?.config.borrow().read(offset, width)
    }

    fn config_write(&self, offset: u16, width: ConfigWidth, value: u32) -> Result<(), HalError> {
        self.present()?
            .config
            .borrow_mut()
            .write(offset, width, value)
    }

    fn bar(&self, index: u8, minimum: usize) -> Result<Self::Registers, HalError> {
        let (kind, len) = self
            .present()?
            .config
            .borrow()
            .bar_at(index)
            .ok_or(HalError::new(
                HalErrorKind::NotFound,
                "the function has no such BAR; a 64-bit BAR has the index of its lower half",
            ))?;
        if kind == BarKind::Io {
            return Err(HalError::new(
                HalErrorKind::Unsupported,
                "a BAR of I/O ports",
            ));
        }
        if len < minimum {
            return Err(HalError::new(
                HalErrorKind::NotFound,
                "the BAR is shorter than the driver needs",
            )
            .with_code(len as u64));
        }
        Ok(EmulatedRegisters {
            core: self.core.clone(),
            bar: index,
            len,
        })
    }

    fn allocate<D: DmaDirection>(
        &self,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<Self::Dma, D>, HalError> {
        let mut pins = self.present()?.pins.borrow_mut();
        let (address, memory) = pins.pin(bytes, D::DIRECTION, constraints)?;
        Ok(DmaBuffer::new(EmulatedDma {
            shared: self.core.shared.clone(),
            ring: 1 << memory.len().ilog2(),
            memory,
            address,
        }))
    }

    fn interrupt(&self, vector: u16) -> Result<Self::Interrupt, HalError> {
        let vectors = &self.present()?.vectors;
        if vectors.is_empty() {
            return Err(HalError::new(
                HalErrorKind::Unsupported,
                "the function has neither MSI-X nor MSI",
            ));
        }
        let entry = vectors.get(usize::from(vector)).ok_or(HalError::new(
            HalErrorKind::NotFound,
            "the function has no such vector",
        ))?;
        if !entry.take() {
            return Err(HalError::new(HalErrorKind::Busy, "the vector is taken"));
        }
        Ok(EmulatedInterrupt {
            core: self.core.clone(),
            vector,
        })
    }

    fn set_bus_master(&self, on: bool) -> Result<(), HalError> {
        let shared = self.present()?;
        shared.bus_master.set(on);
        shared.config.borrow_mut().set_bus_master(on);
        Ok(())
    }

    fn reset(&self) -> Result<(), HalError> {
        self.set_bus_master(false)?;
        self.core.device.borrow_mut().reset();
        for vector in &self.core.shared.vectors {
            vector.reset();
        }
        Ok(())
    }

    fn clock(&self) -> Self::Clock {
        EmulatedClock {
            core: self.core.clone(),
        }
    }
}

/// A BAR of an emulated device.
pub struct EmulatedRegisters<E> {
    core: Rc<Core<E>>,
    bar: u8,
    len: usize,
}

impl<E> Clone for EmulatedRegisters<E> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            ..*self
        }
    }
}

impl<E: EmulatedDevice> EmulatedRegisters<E> {
    #[track_caller]
    fn check<T: Word, A: spillway_hal::Access>(&self, register: Register<T, A>) {
        let len = self.len;
        assert!(
            self.contains(register),
            "{register:?} is outside of its BAR of {len:#x} bytes"
        );
    }
}

impl<E: EmulatedDevice> Registers for EmulatedRegisters<E> {
    fn len(&self) -> usize {
        self.len
    }

    fn read<T: Word, A: Readable>(&self, register: Register<T, A>) -> T {
        self.check(register);
        let (core, offset) = (&*self.core, register.offset());
        core.advance(READ);
        if core.shared.unplugged.get() {
            return T::from_u64(u64::MAX);
        }
        let bus = Bus::new(&core.shared);
        let value = core
            .device
            .borrow_mut()
            .read(&bus, self.bar, offset, T::BYTES);
        T::from_u64(core.shared.faulty(value, |faults| {
            faults.register_read(self.bar, offset, value)
        }))
    }

    fn write<T: Word, A: Writable>(&self, register: Register<T, A>, value: T) {
        self.check(register);
        let (core, offset, value) = (&*self.core, register.offset(), value.to_u64());
        if core
            .shared
            .config
            .borrow()
            .is_vector_table(self.bar, offset)
        {
            let kind = ViolationKind::VectorTableWrite;
            return core.shared.violation(kind, offset as u64, T::BYTES);
        }
        let value = core.shared.faulty(Some(value), |faults| {
            faults.register_write(self.bar, offset, value)
        });
        if let Some(value) = value
            && !core.shared.unplugged.get()
        {
            let bus = Bus::new(&core.shared);
            core.device
                .borrow_mut()
                .write(&bus, self.bar, offset, T::BYTES, value);
        }
        core.advance(WRITE);
    }
}

/// Memory that an emulated device reaches.
pub struct EmulatedDma {
    shared: Rc<Shared>,
    memory: Rc<Memory>,
    /// Bytes of the ring.
    ring: usize,
    address: u64,
}

/// The device loses its access.
impl Drop for EmulatedDma {
    fn drop(&mut self) {
        self.shared.pins.borrow_mut().unpin(self.address);
    }
}

impl DmaMemory for EmulatedDma {
    #[inline]
    fn len(&self) -> usize {
        self.memory.len()
    }

    #[inline]
    fn io_address(&self, offset: usize) -> IoAddress {
        assert!(
            offset < self.len(),
            "no byte {offset} in {} bytes",
            self.len()
        );
        IoAddress(self.address + offset as u64)
    }

    #[inline]
    fn load<T: Word>(&self, offset: usize) -> T {
        self.memory.load(offset)
    }

    #[inline]
    fn load_acquire<T: Word>(&self, offset: usize) -> T {
        self.memory.load(offset)
    }

    #[inline]
    fn store<T: Word>(&self, offset: usize, value: T) {
        self.memory.store(offset, value);
    }

    #[inline]
    fn store_release<T: Word>(&self, offset: usize, value: T) {
        self.memory.store(offset, value);
    }

    #[inline]
    fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
        self.memory.load_words(offset)
    }

    #[inline]
    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        self.memory.store_words(offset, words);
    }

    fn set_ring(&mut self, bytes: usize) {
        let fits = bytes.is_power_of_two() && (64..=self.len()).contains(&bytes);
        assert!(fits, "no ring of {bytes} bytes in {} bytes", self.len());
        self.ring = bytes;
    }

    #[inline]
    fn ring(&self) -> usize {
        self.ring
    }

    fn copy_to_slice(&self, offset: usize, bytes: &mut [u8]) {
        self.memory.read(offset, bytes);
    }

    fn copy_from_slice(&self, offset: usize, bytes: &[u8]) {
        self.memory.write(offset, bytes);
    }

    fn fill(&self, offset: usize, length: usize, value: u8) {
        self.memory.fill(offset, length, value);
    }

    fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr()
    }
}

/// A vector of an emulated device.
pub struct EmulatedInterrupt<E: EmulatedDevice> {
    core: Rc<Core<E>>,
    vector: u16,
}

impl<E: EmulatedDevice> EmulatedInterrupt<E> {
    fn report(&self) -> u64 {
        self.core.shared.vectors[usize::from(self.vector)].report()
    }
}

/// Somebody else may take the vector.
impl<E: EmulatedDevice> Drop for EmulatedInterrupt<E> {
    fn drop(&mut self) {
        self.core.shared.vectors[usize::from(self.vector)].give_back();
    }
}

impl<E: EmulatedDevice> Interrupt for EmulatedInterrupt<E> {
    fn wait(&mut self, deadline: u64) -> Result<u64, HalError> {
        loop {
            if self.core.shared.unplugged.get() {
                return Err(GONE);
            }
            if self.core.shared.now.get() >= deadline {
                return Err(HalError::new(HalErrorKind::TimedOut, "the deadline passed"));
            }
            match self.report() {
                0 => self.core.advance_towards(deadline),
                edges => {
                    self.core.advance(WAKE_UP);
                    return Ok(edges);
                }
            }
        }
    }

    fn poll(&mut self) -> u64 {
        self.core.advance(NOW);
        self.report()
    }
}

/// The virtual clock.
pub struct EmulatedClock<E> {
    core: Rc<Core<E>>,
}

impl<E> Clone for EmulatedClock<E> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
        }
    }
}

impl<E: EmulatedDevice> Clock for EmulatedClock<E> {
    fn now(&self) -> u64 {
        self.core.advance(NOW);
        self.core.shared.now.get()
    }

    fn pause(&self) {
        self.core.advance(PAUSE);
    }

    fn sleep_until(&self, deadline: u64) {
        while self.core.shared.now.get() < deadline {
            self.core.advance_towards(deadline);
        }
    }
}
