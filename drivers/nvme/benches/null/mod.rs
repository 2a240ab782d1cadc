//! A controller that costs nothing: memory and registers are plain memory, as they are on
//! Spillway, and commands complete when the bench says so. It answers the few admin commands of
//! the start by itself, and trusts the driver.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use spillway_hal::{
    Clock, ConfigWidth, Device, DeviceId, DmaBuffer, DmaConstraints, DmaDirection, DmaMemory,
    HalError, HalErrorKind, Interrupt, IoAddress, Readable, Register, Registers, Word, Writable,
};

/// Bytes of the BAR.
const BAR: usize = 0x2000;

/// Memory that is never freed, so that a plain pointer to it is always good.
#[derive(Clone, Copy)]
pub struct Plain {
    start: *mut u64,
    bytes: usize,
    ring_mask: usize,
}

impl Plain {
    fn new(bytes: usize) -> Self {
        let words = vec![0u64; bytes.next_multiple_of(4096) / 8 + 512].leak();
        let start = words.as_mut_ptr();
        // Page-aligned, as the addresses stand for I/O addresses too.
        let start = start.wrapping_add(start.align_offset(4096));
        Self {
            start,
            bytes: bytes.next_multiple_of(4096),
            ring_mask: (1 << bytes.next_multiple_of(4096).ilog2()) - 1,
        }
    }

    #[inline(always)]
    fn at<T: Word>(&self, offset: usize, count: usize) -> *mut T {
        let bytes = count * T::BYTES;
        let end = offset.checked_add(bytes);
        let inside = end.is_some_and(|end| end <= self.bytes);
        assert!(inside && offset.is_multiple_of(T::BYTES));
        self.start.cast::<u8>().wrapping_add(offset).cast()
    }
}

/// The values at one place in each of several entries.
struct Entries<T, const BYTES: usize> {
    next: *const T,
    end: *const T,
}

impl<T: Word, const BYTES: usize> Iterator for Entries<T, BYTES> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: it was checked that everything before the end is inside, and as for a load.
        let value = unsafe { self.next.read_volatile() };
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        self.next = self.next.wrapping_byte_add(BYTES);
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end.addr() - self.next.addr()) / BYTES;
        (left, Some(left))
    }
}

impl<T: Word, const BYTES: usize> ExactSizeIterator for Entries<T, BYTES> {}

impl DmaMemory for Plain {
    #[inline(always)]
    fn len(&self) -> usize {
        self.bytes
    }

    #[inline(always)]
    fn io_address(&self, offset: usize) -> IoAddress {
        IoAddress(self.start as u64 + offset as u64)
    }

    #[inline(always)]
    fn load<T: Word>(&self, offset: usize) -> T {
        // SAFETY: `at` has checked that it is inside, the memory is leaked, and there are no
        // references to it.
        unsafe { self.at::<T>(offset, 1).read_volatile() }
    }

    #[inline(always)]
    fn load_acquire<T: Word>(&self, offset: usize) -> T {
        let value = self.load(offset);
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        value
    }

    #[inline(always)]
    fn store<T: Word>(&self, offset: usize, value: T) {
        // SAFETY: as for a load.
        unsafe { self.at::<T>(offset, 1).write_volatile(value) }
    }

    #[inline(always)]
    fn store_release<T: Word>(&self, offset: usize, value: T) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        self.store(offset, value);
    }

    #[inline(always)]
    fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
        let at = self.at::<u64>(offset, N);
        // SAFETY: as for a load; `at` has checked all of the words.
        std::array::from_fn(|index| unsafe { at.add(index).read_volatile() })
    }

    #[inline(always)]
    fn store_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        let at = self.at::<u64>(offset, N);
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as for a load; `at` has checked all of the words.
            unsafe { at.add(index).write_volatile(word) };
        }
    }

    fn set_ring(&mut self, bytes: usize) {
        assert!(bytes.is_power_of_two() && (64..=self.bytes).contains(&bytes));
        self.ring_mask = bytes - 1;
    }

    fn ring(&self) -> usize {
        self.ring_mask + 1
    }

    #[inline(always)]
    fn store_entry<const N: usize>(&self, index: usize, words: [Option<u64>; N]) {
        const { assert!(N.is_power_of_two() && N <= 8) };
        let offset = index.wrapping_mul(8 * N) & self.ring_mask;
        let entry = self.start.wrapping_byte_add(offset);
        for (index, word) in words.into_iter().enumerate() {
            if let Some(word) = word {
                // SAFETY: an entry that begins in the ring ends there, as both lengths are powers
                // of two; and as for a load.
                unsafe { entry.add(index).write_volatile(word) };
            }
        }
    }

    #[inline(always)]
    fn load_entries<T: Word, const BYTES: usize>(
        &self,
        entries: Range<usize>,
        offset: usize,
    ) -> impl ExactSizeIterator<Item = T> {
        assert!(entries.start <= entries.end && entries.end <= self.bytes / BYTES);
        assert!(offset <= BYTES - T::BYTES && offset.is_multiple_of(T::BYTES));
        let first = self.start.wrapping_byte_add(offset).cast_const();
        Entries::<T, BYTES> {
            next: first.wrapping_byte_add(entries.start * BYTES).cast(),
            end: first.wrapping_byte_add(entries.end * BYTES).cast(),
        }
    }

    fn copy_to_slice(&self, offset: usize, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.load(offset + index);
        }
    }

    fn copy_from_slice(&self, offset: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            self.store(offset + index, *byte);
        }
    }

    fn fill(&self, offset: usize, length: usize, value: u8) {
        for index in 0..length {
            self.store(offset + index, value);
        }
    }

    fn as_ptr(&self) -> *mut u8 {
        self.start.cast()
    }
}

/// The registers: memory.
#[derive(Clone)]
pub struct Bar(Plain);

impl Registers for Bar {
    fn len(&self) -> usize {
        BAR
    }

    fn read<T: Word, A: Readable>(&self, register: Register<T, A>) -> T {
        match register.offset() {
            0x1c => T::from_u64(u64::from(self.0.load::<u32>(0x14)) & 1),
            offset => self.0.load(offset),
        }
    }

    #[inline(always)]
    fn write<T: Word, A: Writable>(&self, register: Register<T, A>, value: T) {
        assert!(register.offset() + T::BYTES <= self.0.bytes);
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        let at = self
            .0
            .start
            .wrapping_byte_add(register.offset())
            .cast::<T>();
        // SAFETY: inside, as was just checked, and registers are aligned; the memory is leaked.
        unsafe { at.write_volatile(value) };
    }
}

/// One ring pair on the device's side.
#[derive(Clone, Copy, Default)]
struct Pair {
    submissions: u64,
    completions: u64,
    entries: u32,
    at: u32,
    phase: u64,
}

/// The controller.
#[derive(Default)]
pub struct Rings {
    pairs: [Pair; 2],
}

impl Rings {
    /// Completes everything that was rung for in queue pair `queue`.
    fn run(&mut self, bar: &Plain, queue: usize) {
        if self.pairs[0].entries == 0 && bar.load::<u32>(0x14) & 1 != 0 {
            let load = |offset| bar.load::<u64>(offset);
            self.pairs[0] = Pair {
                submissions: load(0x28),
                completions: load(0x30),
                entries: (load(0x20) >> 32 & 0xfff) as u32 + 1,
                at: 0,
                phase: 1,
            };
        }
        let tail = bar.load::<u32>(0x1000 + 8 * queue);
        while self.pairs[queue].at != tail {
            let pair = self.pairs[queue];
            let at = pair.at as usize;
            let entry = (pair.submissions as *const [u64; 8]).wrapping_add(at);
            // SAFETY: the driver's ring, which is leaked memory.
            let entry = unsafe { entry.read_volatile() };
            let result = if queue == 0 { self.admin(entry) } else { 0 };
            let next = (pair.at + 1) % pair.entries;
            let identifier = entry[0] >> 16 & 0xffff;
            let low = u64::from(next) | (queue as u64) << 16;
            let completion = (pair.completions as *mut [u64; 2]).wrapping_add(at);
            // SAFETY: as above.
            unsafe {
                completion.write_volatile([result, low | identifier << 32 | pair.phase << 48])
            };
            self.pairs[queue].at = next;
            self.pairs[queue].phase ^= u64::from(next == 0);
        }
    }

    fn admin(&mut self, entry: [u64; 8]) -> u64 {
        let page = entry[3] as *mut u8;
        let put = |offset: usize, bytes: &[u8]| {
            for (index, byte) in bytes.iter().enumerate() {
                // SAFETY: the driver's page, which is leaked memory.
                unsafe { page.add(offset + index).write_volatile(*byte) };
            }
        };
        let entries = (entry[5] >> 16 & 0xffff) as u32 + 1;
        let pair = &mut self.pairs[1];
        match (entry[0] & 0xff, entry[5] & 0xff) {
            (0x06, 0) => {
                put(0, &(1u64 << 30).to_le_bytes());
                put(130, &[9]);
            }
            (0x06, 1) => {
                put(77, &[7]);
                put(512, &[0x66, 0x44]);
            }
            (0x06, 2) => put(0, &[1]),
            (0x05, _) => (pair.completions, pair.entries, pair.phase) = (entry[3], entries, 1),
            (0x01, _) => pair.submissions = entry[3],
            _ => {}
        }
        0
    }
}

/// The device. A clone is another handle.
#[derive(Clone)]
pub struct Null {
    bar: Plain,
    rings: Rc<RefCell<Rings>>,
    time: Rc<Cell<u64>>,
}

impl Null {
    pub fn new() -> Self {
        let bar = Plain::new(BAR);
        bar.store::<u64>(0, 0x0000_0020_0101_07ff); // CAP
        bar.store::<u32>(8, 0x2_0000); // VS
        Self {
            bar,
            rings: Rc::default(),
            time: Rc::default(),
        }
    }

    /// Completes all I/O commands that were rung for.
    #[inline(never)]
    pub fn complete(&self) {
        self.rings.borrow_mut().run(&self.bar, 1);
    }
}

/// Time passes by looking at it, and the admin queue runs meanwhile.
impl Clock for Null {
    fn now(&self) -> u64 {
        self.rings.borrow_mut().run(&self.bar, 0);
        self.time.set(self.time.get() + 10);
        self.time.get()
    }

    fn pause(&self) {}

    fn sleep_until(&self, _: u64) {}
}

impl Interrupt for Null {
    fn wait(&mut self, _: u64) -> Result<u64, HalError> {
        Ok(1)
    }

    fn poll(&mut self) -> u64 {
        0
    }
}

impl Device for Null {
    type Registers = Bar;
    type Dma = Plain;
    type Interrupt = Self;
    type Clock = Self;

    fn id(&self) -> DeviceId {
        DeviceId {
            vendor: 0,
            device: 0,
            class: 1,
            subclass: 8,
            interface: 2,
            revision: 0,
        }
    }

    fn config_read(&self, _: u16, _: ConfigWidth) -> Result<u32, HalError> {
        Ok(0)
    }

    fn config_write(&self, _: u16, _: ConfigWidth, _: u32) -> Result<(), HalError> {
        Ok(())
    }

    fn bar(&self, _: u8, _: usize) -> Result<Bar, HalError> {
        Ok(Bar(self.bar))
    }

    fn allocate<D: DmaDirection>(
        &self,
        bytes: usize,
        _: DmaConstraints,
    ) -> Result<DmaBuffer<Plain, D>, HalError> {
        Ok(DmaBuffer::new(Plain::new(bytes)))
    }

    fn interrupt(&self, _: u16) -> Result<Self, HalError> {
        Err(HalError::new(
            HalErrorKind::Unsupported,
            "there are no interrupts",
        ))
    }

    fn set_bus_master(&self, _: bool) -> Result<(), HalError> {
        Ok(())
    }

    fn reset(&self) -> Result<(), HalError> {
        Ok(())
    }

    fn clock(&self) -> Self {
        self.clone()
    }
}
