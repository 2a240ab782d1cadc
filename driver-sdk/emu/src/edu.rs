//! QEMU's teaching device, from its specification (QEMU, docs/specs/edu.rst), with the corners that
//! the text leaves open as `-device edu` has them.

use spillway_hal::DeviceId;

use crate::{BarKind, Bus, ConfigSpace, EmulatedDevice};

/// How long a factorial takes, in nanoseconds; the specification says nothing.
const FACTORIAL_TIME: u64 = 20_000;
/// How long a transfer takes, in nanoseconds: the 100 ms of QEMU.
const TRANSFER_TIME: u64 = 100_000_000;

/// Where the device sees its own buffer, and how long that is.
const BUFFER: u64 = 0x40000;
const BUFFER_SIZE: usize = 4096;

/// Bits of the status register, 0x20.
const COMPUTING: u32 = 0x01;
const RAISE_WHEN_COMPUTED: u32 = 0x80;
/// Bits of the DMA command register, 0x98.
const START: u64 = 0x1;
const TO_RAM: u64 = 0x2;
const RAISE_WHEN_MOVED: u64 = 0x4;
/// Bits of the interrupt status register, 0x24.
const COMPUTED: u32 = 0x001;
const MOVED: u32 = 0x100;

/// The device.
pub struct Edu {
    dma_mask: u64,
    liveness: u32,
    factorial: u32,
    status: u32,
    interrupt_status: u32,
    /// When the factorial is ready.
    computed_at: Option<u64>,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    /// When the transfer is carried out.
    moved_at: Option<u64>,
    buffer: Box<[u8; BUFFER_SIZE]>,
    /// The device has stopped computing and moving, see [`hang`](Self::hang).
    hung: bool,
}

impl Edu {
    /// The device as QEMU makes it by default: it can express 28 bits of an address.
    pub fn new() -> Self {
        Self::with_dma_mask((1 << 28) - 1)
    }

    /// With `-device edu,dma_mask=…`.
    pub fn with_dma_mask(dma_mask: u64) -> Self {
        Self {
            dma_mask,
            liveness: 0,
            factorial: 0,
            status: 0,
            interrupt_status: 0,
            computed_at: None,
            source: 0,
            destination: 0,
            count: 0,
            command: 0,
            moved_at: None,
            buffer: Box::new([0; BUFFER_SIZE]),
            hung: false,
        }
    }

    /// Whether it computes or moves something.
    pub fn is_busy(&self) -> bool {
        self.computed_at.is_some() || self.moved_at.is_some()
    }

    /// The internal buffer, which only DMA reaches.
    pub fn buffer(&mut self) -> &mut [u8; BUFFER_SIZE] {
        &mut self.buffer
    }

    /// From now on it finishes nothing.
    pub fn hang(&mut self) {
        self.hung = true;
    }

    /// It goes on, with what it should have finished long ago.
    pub fn wake(&mut self) {
        self.hung = false;
    }

    fn raise(&mut self, bus: &Bus<'_>, cause: u32) {
        self.interrupt_status |= cause;
        if self.interrupt_status != 0 {
            bus.raise(0);
        }
    }

    /// Carries out the transfer. An impossible one is dropped, as nobody would be told.
    fn transfer(&mut self, bus: &Bus<'_>) {
        let to_ram = self.command & TO_RAM != 0;
        let (inside, outside) = match to_ram {
            true => (self.source, self.destination),
            false => (self.destination, self.source),
        };
        let range = inside.checked_sub(BUFFER).and_then(|start| {
            let end = start.checked_add(self.count)?;
            (end <= BUFFER_SIZE as u64).then_some(start as usize..end as usize)
        });
        // An address that does not fit is cut, and hits something else.
        let address = outside & self.dma_mask;
        if let Some(range) = range {
            let _ = match to_ram {
                true => bus.write(address, &self.buffer[range]),
                false => bus.read(address, &mut self.buffer[range]),
            };
        }
        self.command &= !START;
        if self.command & RAISE_WHEN_MOVED != 0 {
            self.raise(bus, MOVED);
        }
    }
}

impl Default for Edu {
    fn default() -> Self {
        Self::new()
    }
}

impl EmulatedDevice for Edu {
    fn config(&self) -> ConfigSpace {
        ConfigSpace::new(DeviceId {
            vendor: 0x1234,
            device: 0x11e8,
            class: 0x00,
            subclass: 0xff,
            interface: 0x00,
            revision: 0x10,
        })
        .bar(0, BarKind::Memory32, 1 << 20)
        .msi(1)
    }

    fn read(&mut self, _: &Bus<'_>, _: u8, offset: usize, bytes: usize) -> u64 {
        let allowed = bytes == 4 || offset >= 0x80 && bytes == 8;
        match offset {
            _ if !allowed => u64::MAX,
            0x00 => 0x0100_00ed,
            0x04 => self.liveness.into(),
            0x08 => self.factorial.into(),
            0x20 => self.status.into(),
            0x24 => self.interrupt_status.into(),
            0x80 => self.source,
            0x88 => self.destination,
            0x90 => self.count,
            0x98 => self.command,
            _ => u64::MAX,
        }
    }

    fn write(&mut self, bus: &Bus<'_>, _: u8, offset: usize, bytes: usize, value: u64) {
        let allowed = bytes == 4 || offset >= 0x80 && bytes == 8;
        let moving = self.command & START != 0;
        match offset {
            _ if !allowed => {}
            0x04 => self.liveness = !value as u32,
            0x08 if self.status & COMPUTING == 0 => {
                self.factorial = value as u32;
                self.status |= COMPUTING;
                self.computed_at = Some(bus.now() + FACTORIAL_TIME);
            }
            0x20 => {
                let raise = value as u32 & RAISE_WHEN_COMPUTED;
                self.status = self.status & !RAISE_WHEN_COMPUTED | raise;
            }
            0x60 => self.raise(bus, value as u32),
            0x64 => self.interrupt_status &= !(value as u32),
            // While a transfer runs its registers cannot be changed.
            0x80 if !moving => self.source = value,
            0x88 if !moving => self.destination = value,
            0x90 if !moving => self.count = value,
            0x98 if !moving && value & START != 0 => {
                self.command = value;
                self.moved_at = Some(bus.now() + TRANSFER_TIME);
            }
            _ => {}
        }
    }

    fn step(&mut self, bus: &Bus<'_>) {
        let due = |time: &mut u64| *time <= bus.now();
        if self.hung {
            return;
        }
        if self.computed_at.take_if(due).is_some() {
            // 34! and all beyond are multiples of 2^32.
            let last = self.factorial.min(34);
            self.factorial = (1..=last).fold(1, u32::wrapping_mul);
            self.status &= !COMPUTING;
            if self.status & RAISE_WHEN_COMPUTED != 0 {
                self.raise(bus, COMPUTED);
            }
        }
        if self.moved_at.take_if(due).is_some() {
            self.transfer(bus);
        }
    }

    fn next_event(&self) -> Option<u64> {
        if self.hung {
            return None;
        }
        [self.computed_at, self.moved_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn reset(&mut self) {
        *self = Self {
            hung: self.hung,
            ..Self::with_dma_mask(self.dma_mask)
        };
    }
}
