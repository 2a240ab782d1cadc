//! Any back end, with a log of what the driver does to it.

use core::fmt;

use crate::{
    Access, ConfigWidth, Device, DeviceId, DmaBuffer, DmaConstraints, DmaDirection, HalError,
    Interrupt, IoAddress, Readable, Register, Registers, Word, Writable,
};

/// Where the events of a [`Traced`] device go. Any `Fn(Event)` that can be cloned is one.
pub trait Trace: Clone {
    /// Takes one event, in the order in which things happened.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Clone> Trace for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// What a driver did, and what came of it. Its `Display` is one line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A register was read.
    Read {
        /// Its BAR.
        bar: u8,
        /// Its name.
        name: &'static str,
        /// Its place in its array, if it is part of one.
        index: Option<u32>,
        /// What it held.
        value: u64,
    },
    /// A register was written.
    Write {
        /// Its BAR.
        bar: u8,
        /// Its name.
        name: &'static str,
        /// Its place in its array, if it is part of one.
        index: Option<u32>,
        /// What it was given.
        value: u64,
    },
    /// Configuration space was read.
    ConfigRead {
        /// Offset in bytes.
        offset: u16,
        /// What it held, or why it was not read.
        result: Result<u32, HalError>,
    },
    /// Configuration space was written.
    ConfigWrite {
        /// Offset in bytes.
        offset: u16,
        /// What was to be written.
        value: u32,
        /// Whether it was.
        result: Result<(), HalError>,
    },
    /// DMA memory was pinned.
    Pinned {
        /// Where the device finds it.
        address: IoAddress,
        /// Bytes.
        bytes: usize,
    },
    /// An interrupt was waited for.
    Interrupt {
        /// The vector.
        vector: u16,
        /// Edges, or why there were none.
        result: Result<u64, HalError>,
    },
    /// Bus mastering was turned on or off.
    BusMaster {
        /// Which.
        on: bool,
        /// Whether it was.
        result: Result<(), HalError>,
    },
    /// The function was reset.
    Reset {
        /// Whether it was.
        result: Result<(), HalError>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read {
                bar,
                name,
                index,
                value,
            } => {
                write!(out, "bar{bar} {} -> {value:#x}", Name(name, index))
            }
            Self::Write {
                bar,
                name,
                index,
                value,
            } => {
                write!(out, "bar{bar} {} <- {value:#x}", Name(name, index))
            }
            Self::ConfigRead {
                offset,
                result: Ok(value),
            } => {
                write!(out, "config {offset:#x} -> {value:#x}")
            }
            Self::ConfigRead {
                offset,
                result: Err(error),
            } => {
                write!(out, "config {offset:#x} -> {error}")
            }
            Self::ConfigWrite {
                offset,
                value,
                result,
            } => {
                write!(out, "config {offset:#x} <- {value:#x}{}", Failure(result))
            }
            Self::Pinned { address, bytes } => write!(out, "pinned {bytes} bytes at {address:#x}"),
            Self::Interrupt {
                vector,
                result: Ok(edges),
            } => {
                write!(out, "interrupt {vector}: {edges}")
            }
            Self::Interrupt {
                vector,
                result: Err(error),
            } => {
                write!(out, "interrupt {vector}: {error}")
            }
            Self::BusMaster { on, result } => {
                write!(
                    out,
                    "bus master {}{}",
                    if on { "on" } else { "off" },
                    Failure(result)
                )
            }
            Self::Reset { result } => write!(out, "reset{}", Failure(result)),
        }
    }
}

/// `NAME` or `NAME[3]`.
struct Name(&'static str, Option<u32>);

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)?;
        match self.1 {
            Some(index) => write!(out, "[{index}]"),
            None => Ok(()),
        }
    }
}

/// Nothing, or `: why`.
struct Failure(Result<(), HalError>);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(()) => Ok(()),
            Err(error) => write!(out, ": {error}"),
        }
    }
}

/// A device that tells a [`Trace`] of every access, by register name. DMA memory is handed through
/// as it is: its accesses are the hot path, and the doorbells tell of them.
#[derive(Clone, Debug)]
pub struct Traced<D, S> {
    device: D,
    trace: S,
}

impl<D: Device, S: Trace> Traced<D, S> {
    /// Traces `device` into `trace`.
    pub const fn new(device: D, trace: S) -> Self {
        Self { device, trace }
    }

    /// Tells the trace of a result, and gives it on.
    fn tell<T: Copy>(&self, result: T, event: impl FnOnce(T) -> Event) -> T {
        self.trace.event(event(result));
        result
    }
}

impl<D: Device, S: Trace> Device for Traced<D, S> {
    type Registers = TracedRegisters<D::Registers, S>;
    type Dma = D::Dma;
    type Interrupt = TracedInterrupt<D::Interrupt, S>;
    type Clock = D::Clock;

    fn id(&self) -> DeviceId {
        self.device.id()
    }

    fn config_read(&self, offset: u16, width: ConfigWidth) -> Result<u32, HalError> {
        let result = self.device.config_read(offset, width);
        self.tell(result, |result| Event::ConfigRead { offset, result })
    }

    fn config_write(&self, offset: u16, width: ConfigWidth, value: u32) -> Result<(), HalError> {
        let result = self.device.config_write(offset, width, value);
        self.tell(result, |result| Event::ConfigWrite {
            offset,
            value,
            result,
        })
    }

    fn bar(&self, index: u8, minimum: usize) -> Result<Self::Registers, HalError> {
        let registers = self.device.bar(index, minimum)?;
        Ok(TracedRegisters {
            registers,
            bar: index,
            trace: self.trace.clone(),
        })
    }

    fn allocate<T: DmaDirection>(
        &self,
        bytes: usize,
        constraints: DmaConstraints,
    ) -> Result<DmaBuffer<Self::Dma, T>, HalError> {
        let buffer = self.device.allocate::<T>(bytes, constraints)?;
        let (address, bytes) = (buffer.io_address(0), buffer.len());
        self.trace.event(Event::Pinned { address, bytes });
        Ok(buffer)
    }

    fn interrupt(&self, vector: u16) -> Result<Self::Interrupt, HalError> {
        let interrupt = self.device.interrupt(vector)?;
        Ok(TracedInterrupt {
            interrupt,
            vector,
            trace: self.trace.clone(),
        })
    }

    fn set_bus_master(&self, on: bool) -> Result<(), HalError> {
        self.tell(self.device.set_bus_master(on), |result| Event::BusMaster {
            on,
            result,
        })
    }

    fn reset(&self) -> Result<(), HalError> {
        self.tell(self.device.reset(), |result| Event::Reset { result })
    }

    fn clock(&self) -> Self::Clock {
        self.device.clock()
    }
}

/// The registers of a [`Traced`] device.
#[derive(Clone, Debug)]
pub struct TracedRegisters<R, S> {
    registers: R,
    bar: u8,
    trace: S,
}

impl<R: Registers, S: Trace> Registers for TracedRegisters<R, S> {
    fn len(&self) -> usize {
        self.registers.len()
    }

    fn read<T: Word, A: Readable>(&self, register: Register<T, A>) -> T {
        let value = self.registers.read(register);
        let (name, index) = label(register);
        self.trace.event(Event::Read {
            bar: self.bar,
            name,
            index,
            value: value.to_u64(),
        });
        value
    }

    // Told before it is done, so that what the device does in answer comes after it in the log.
    fn write<T: Word, A: Writable>(&self, register: Register<T, A>, value: T) {
        let (name, index) = label(register);
        self.trace.event(Event::Write {
            bar: self.bar,
            name,
            index,
            value: value.to_u64(),
        });
        self.registers.write(register, value);
    }
}

fn label<T: Word, A: Access>(register: Register<T, A>) -> (&'static str, Option<u32>) {
    (register.name(), register.index())
}

/// A vector of a [`Traced`] device.
#[derive(Debug)]
pub struct TracedInterrupt<I, S> {
    interrupt: I,
    vector: u16,
    trace: S,
}

impl<I: Interrupt, S: Trace> Interrupt for TracedInterrupt<I, S> {
    fn wait(&mut self, deadline: u64) -> Result<u64, HalError> {
        let result = self.interrupt.wait(deadline);
        self.trace.event(Event::Interrupt {
            vector: self.vector,
            result,
        });
        result
    }

    /// A poll that found nothing is not told: there are too many of them.
    fn poll(&mut self) -> u64 {
        let edges = self.interrupt.poll();
        if edges > 0 {
            self.trace.event(Event::Interrupt {
                vector: self.vector,
                result: Ok(edges),
            });
        }
        edges
    }
}
