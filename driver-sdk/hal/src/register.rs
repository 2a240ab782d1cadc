//! A mapped BAR, accessed by constants that know name, width and permitted access.

use core::fmt;
use core::marker::PhantomData;

use crate::Word;

mod sealed {
    pub trait Sealed {}
}

/// How a register may be accessed: [`ReadOnly`], [`WriteOnly`] or [`ReadWrite`].
pub trait Access: sealed::Sealed + 'static {}

/// Registers that can be read.
pub trait Readable: Access {}

/// Registers that can be written.
pub trait Writable: Access {}

/// Can only be read.
#[derive(Debug)]
pub enum ReadOnly {}

/// Can only be written.
#[derive(Debug)]
pub enum WriteOnly {}

/// Can be read and written.
#[derive(Debug)]
pub enum ReadWrite {}

impl sealed::Sealed for ReadOnly {}
impl sealed::Sealed for WriteOnly {}
impl sealed::Sealed for ReadWrite {}
impl Access for ReadOnly {}
impl Access for WriteOnly {}
impl Access for ReadWrite {}
impl Readable for ReadOnly {}
impl Readable for ReadWrite {}
impl Writable for WriteOnly {}
impl Writable for ReadWrite {}

/// One register: its name, where it lies in its BAR, and in the type its width and access.
///
/// ```
/// use spillway_hal::{ReadOnly, Register};
///
/// const VERSION: Register<u32, ReadOnly> = Register::new("VERSION", 0x8);
/// assert_eq!(VERSION.offset(), 8);
/// ```
pub struct Register<T, A> {
    name: &'static str,
    offset: u32,
    index: u32,
    kind: PhantomData<fn() -> (T, A)>,
}

/// The `index` of a register that is not part of an array.
const ALONE: u32 = u32::MAX;

impl<T: Word, A: Access> Register<T, A> {
    /// The register `name`, as the device's specification calls it, `offset` bytes into its BAR.
    ///
    /// # Panics
    ///
    /// If `offset` is not naturally aligned: at compile time, for a constant.
    pub const fn new(name: &'static str, offset: u32) -> Self {
        assert!(
            (offset as usize).is_multiple_of(T::BYTES),
            "registers are naturally aligned"
        );
        Self {
            name,
            offset,
            index: ALONE,
            kind: PhantomData,
        }
    }

    /// Its name in the device's specification.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Bytes from the start of the BAR.
    #[inline(always)]
    pub const fn offset(self) -> usize {
        self.offset as usize
    }

    /// Its place in its array; `None` for a register that is not part of one.
    pub const fn index(self) -> Option<u32> {
        if self.index == ALONE {
            None
        } else {
            Some(self.index)
        }
    }
}

// Not derived: a derive would ask for `T: Clone, A: Clone`.
impl<T, A> Clone for Register<T, A> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, A> Copy for Register<T, A> {}

/// As it appears in a trace: `NAME` or `NAME[3]`.
impl<T: Word, A: Access> fmt::Display for Register<T, A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index() {
            Some(index) => write!(out, "{}[{index}]", self.name),
            None => out.write_str(self.name),
        }
    }
}

impl<T: Word, A: Access> fmt::Debug for Register<T, A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}@{:#x}", self.offset)
    }
}

/// Registers of one kind at equal distances, such as doorbells.
pub struct RegisterArray<T, A> {
    name: &'static str,
    offset: u32,
    stride: u32,
    count: u32,
    kind: PhantomData<fn() -> (T, A)>,
}

impl<T: Word, A: Access> RegisterArray<T, A> {
    /// `count` registers `name`, the first `offset` bytes into the BAR, `stride` bytes apart.
    ///
    /// # Panics
    ///
    /// If one of them is not naturally aligned, if they overlap, or if the last one ends past
    /// 4 GiB: at compile time, for a constant.
    pub const fn new(name: &'static str, offset: u32, stride: u32, count: u32) -> Self {
        assert!(
            (offset as usize).is_multiple_of(T::BYTES),
            "registers are naturally aligned"
        );
        assert!(
            (stride as usize).is_multiple_of(T::BYTES),
            "registers are naturally aligned"
        );
        assert!(stride as usize >= T::BYTES, "registers overlap");
        let end = offset as u64 + stride as u64 * count as u64;
        assert!(end <= u32::MAX as u64, "the array ends past 4 GiB");
        Self {
            name,
            offset,
            stride,
            count,
            kind: PhantomData,
        }
    }

    /// Registers in the array.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The register at `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`count`](Self::count).
    #[inline]
    pub const fn at(&self, index: u32) -> Register<T, A> {
        assert!(index < self.count, "no such register in the array");
        let offset = self.offset + index * self.stride;
        Register {
            name: self.name,
            offset,
            index,
            kind: PhantomData,
        }
    }
}

/// A mapped BAR. Cheap to clone: a clone is another handle to the same registers.
///
/// # What the implementer promises
///
/// - Each call is exactly one bus access of the register's width, in program order.
/// - A write is ordered after all stores to DMA memory that precede it, so a doorbell never
///   overtakes the entry that it announces.
/// - A read pushes all earlier (posted) writes to the device before it returns, and DMA memory
///   that is loaded after it is at least as new as the value read.
/// - Every access is checked against the BAR's length, and panics outside it, like an index into a
///   slice. A device that is gone reads as all ones, as on the bus.
/// - The registers stay mapped as long as any clone lives.
///
/// # What the caller promises
///
/// - It asks [`Device::bar`](crate::Device::bar) for as many bytes as its fixed registers need,
///   and where an offset depends on what the device said, it asks [`contains`](Self::contains).
/// - It trusts no value: what it reads comes from the device.
pub trait Registers: Clone {
    /// Bytes of the BAR.
    fn len(&self) -> usize;

    /// Whether the BAR has no bytes; no back end gives such a BAR away.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a register.
    fn read<T: Word, A: Readable>(&self, register: Register<T, A>) -> T;

    /// Writes a register.
    fn write<T: Word, A: Writable>(&self, register: Register<T, A>, value: T);

    /// Whether the whole register lies inside the BAR.
    #[inline]
    fn contains<T: Word, A: Access>(&self, register: Register<T, A>) -> bool {
        register.offset() + T::BYTES <= self.len()
    }
}
