//! An emulated device whose DMA memory can be the memory of a pool.

use std::ptr::NonNull;

use spillway_emu::{EmulatedDevice, EmulatedDma, Function};
use spillway_hal::{
    ConfigWidth, Device, DeviceId, DmaBuffer, DmaConstraints, DmaDirection, DmaMemory, HalError,
    IoAddress, Word,
};
use spillway_io::PoolMemory;

/// A function whose memory is [`LentDma`].
pub struct Lent<E: EmulatedDevice>(pub Function<E>);

/// Emulated DMA memory.
pub struct LentDma(EmulatedDma);

// SAFETY: an emulated device has one thread, and so have the tests that use it.
unsafe impl Send for LentDma {}
// SAFETY: as above.
unsafe impl Sync for LentDma {}

// SAFETY: cells of the heap, so at a fixed place, initialised with zeroes, and changeable through a
// shared reference; they begin with a page. Only the device has another way to them, and it moves
// only while the test is inside of a call.
unsafe impl PoolMemory for LentDma {
    fn bytes(&self) -> NonNull<[u8]> {
        let start = NonNull::new(self.as_ptr()).expect("memory is not at null");
        NonNull::slice_from_raw_parts(start, self.len())
    }
}

impl DmaMemory for LentDma {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn io_address(&self, offset: usize) -> IoAddress {
        self.0.io_address(offset)
    }

    fn load<T: Word>(&self, offset: usize) -> T {
        self.0.load(offset)
    }

    fn load_acquire<T: Word>(&self, offset: usize) -> T {
        self.0.load_acquire(offset)
    }

    fn store<T: Word>(&self, offset: usize, value: T) {
        self.0.store(offset, value);
    }

    fn store_release<T: Word>(&self, offset: usize, value: T) {
        self.0.store_release(offset, value);
    }

    fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
        self.0.load_words(offset)
    }

    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        self.0.store_words(offset, words);
    }

    fn set_ring(&mut self, bytes: usize) {
        self.0.set_ring(bytes);
    }

    fn ring(&self) -> usize {
        self.0.ring()
    }

    fn copy_to_slice(&self, offset: usize, bytes: &mut [u8]) {
        self.0.copy_to_slice(offset, bytes);
    }

    fn copy_from_slice(&self, offset: usize, bytes: &[u8]) {
        self.0.copy_from_slice(offset, bytes);
    }

    fn fill(&self, offset: usize, length: usize, value: u8) {
        self.0.fill(offset, length, value);
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }
}

impl<E: EmulatedDevice> Device for Lent<E> {
    type Registers = <Function<E> as Device>::Registers;
    type Dma = LentDma;
    type Interrupt = <Function<E> as Device>::Interrupt;
    type Clock = <Function<E> as Device>::Clock;

    fn id(&self) -> DeviceId {
        self.0.id()
    }

    fn config_read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError> {
        self.0.config_read(offset, width)
    }

    fn config_write(&self, offset: u16, width: ConfigWidth, value: u32) -> Result<(), HalError> {
        self.0.config_write(offset, width, value)
    }

    fn bar(&self, index: u8, minimum: usize) -> Result<Self::Registers, HalError> {
        self.0.bar(index, minimum)
    }

    fn allocate<D: DmaDirection>(
        &self,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<LentDma, D>, HalError> {
        let buffer = self.0.allocate::<D>(bytes, constraints)?;
        Ok(DmaBuffer::new(LentDma(buffer.into_memory())))
    }

    fn interrupt(&self, vector: u16) -> Result<Self::Interrupt, HalError> {
        self.0.interrupt(vector)
    }

    fn set_bus_master(&self, on: bool) -> Result<(), HalError> {
        self.0.set_bus_master(on)
    }

    fn reset(&self) -> Result<(), HalError> {
        self.0.reset()
    }

    fn clock(&self) -> Self::Clock {
        self.0.clock()
    }
}
