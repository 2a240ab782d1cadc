//! A device that is lent to a driver, and used again by its owner when the driver is done.

use crate::{ConfigWidth, Device, DeviceId, DmaBuffer, DmaConstraints, DmaDirection, HalError};

impl<D: Device> Device for &D {
    type Registers = D::Registers;
    type Dma = D::Dma;
    type Interrupt = D::Interrupt;
    type Clock = D::Clock;

    fn id(&self) -> DeviceId {
        D::id(self)
    }

    fn config_read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError> {
        D::config_read(self, offset, width)
    }

    fn config_write(&self, offset: u16, width: ConfigWidth, value: u32) -> Result<(), HalError> {
        D::config_write(self, offset, width, value)
    }

    fn bar(&self, index: u8, minimum: usize) -> Result<Self::Registers, HalError> {
        D::bar(self, index, minimum)
    }

    fn allocate<T: DmaDirection>(
        &self,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<Self::Dma, T>, HalError> {
        D::allocate(self, bytes, constraints)
    }

    fn interrupt(&self, vector: u16) -> Result<Self::Interrupt, HalError> {
        D::interrupt(self, vector)
    }

    fn set_bus_master(&self, on: bool) -> Result<(), HalError> {
        D::set_bus_master(self, on)
    }

    fn reset(&self) -> Result<(), HalError> {
        D::reset(self)
    }

    fn clock(&self) -> Self::Clock {
        D::clock(self)
    }
}
