//! The buffer: the same at all levels, and the only place where bytes are lent as slices.
//!
//! # Why this is sound
//!
//! **Aliasing.** A bit of the pool's map stands for each granule of 512 bytes. A [`Piece`] owns
//! the granules that it was given until it is dropped, splitting hands some of them on, and nobody
//! else makes references to their bytes. A piece is reached by one [`Buffer`], or by any number of
//! [`SharedBuffer`]s. So a mutable slice, borrowed mutably from the buffer, is the only one. A
//! `SharedBuffer` gives shared slices only; the granules are free, or in one buffer again, when the
//! last one is gone.
//!
//! **Lifetime.** Every buffer holds its pool, and the pool the memory, mapped and pinned.
//!
//! **The device.** A request takes its buffers by value, so there are no slices while the device
//! may use them; fences at the hand-over keep the compiler from moving accesses across it. A device
//! that writes outside of what it was asked to, or a raw request to a driver that names memory of a
//! pool, changes bytes behind the back of whoever owns them. An IOMMU confines that to the pools of
//! this device; inside of them, the device is trusted like a thread of the program.

use alloc::sync::Arc;
use core::{
    fmt,
    ops::{Deref, DerefMut, Range},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence},
};

use spillway_hal::IoAddress;

use crate::{
    Error, ErrorKind,
    granules::GRANULE,
    pool::{IoSpace, Region},
};

/// Granules of a pool, and which part of them is selected. What can change is atomic, as shared
/// buffers of other threads may exist; only who has the piece alone changes it.
struct Piece {
    region: Arc<Region>,
    /// The first byte of the selected part.
    data: AtomicPtr<u8>,
    /// Bytes of the selected part.
    length: AtomicU32,
    first: u32,
    granules: AtomicU32,
}

impl Piece {
    /// The first byte of all that the piece owns.
    fn start(&self) -> NonNull<u8> {
        // SAFETY: a piece's granules are inside its region.
        unsafe { self.region.start.add(self.first as usize * GRANULE) }
    }

    fn capacity(&self) -> usize {
        self.granules.load(Ordering::Relaxed) as usize * GRANULE
    }

    #[inline(always)]
    fn data(&self) -> *mut u8 {
        self.data.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.length.load(Ordering::Relaxed)
    }

    /// Selects a part, which is inside.
    fn select(&self, offset: usize, length: u32) {
        let data = self.start().as_ptr().wrapping_add(offset);
        self.data.store(data, Ordering::Relaxed);
        self.length.store(length, Ordering::Relaxed);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.region.give(self.first, *self.granules.get_mut());
    }
}

/// A piece of a [`Pool`](crate::Pool), owned: bytes to read and write while the application has
/// it, memory for the device while a request has it. Goes back to the pool when it is dropped. It is
/// one pointer, as it is moved all the time.
pub struct Buffer {
    /// Nobody else has it.
    piece: Arc<Piece>,
}

impl Buffer {
    /// A buffer over granules of a region, with the first `length` bytes selected.
    ///
    /// # Safety
    ///
    /// The granules are inside the region, taken, and in no other buffer; `length` is not beyond
    /// them.
    pub(crate) unsafe fn new(region: Arc<Region>, first: u32, granules: u32, length: u32) -> Self {
        let piece = Piece {
            region,
            data: AtomicPtr::new(core::ptr::null_mut()),
            length: AtomicU32::new(0),
            first,
            granules: AtomicU32::new(granules),
        };
        piece.select(0, length);
        Self {
            piece: Arc::new(piece),
        }
    }

    /// All the bytes that the buffer owns, selected or not.
    pub fn capacity(&self) -> usize {
        self.piece.capacity()
    }

    /// Selects a part of the whole [`capacity`](Self::capacity): what slices show, and what
    /// requests move. A new buffer has as many bytes selected as were asked for.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a range that is not inside; nothing changes then.
    pub fn select(&mut self, range: Range<usize>) -> Result<(), Error> {
        let outside = Error::new(
            ErrorKind::InvalidRequest,
            "a part of a buffer is inside its capacity, and less than 4 GiB",
        );
        if range.start > range.end || range.end > self.capacity() {
            return Err(outside);
        }
        let length = u32::try_from(range.len()).map_err(|_| outside)?;
        self.piece.select(range.start, length);
        Ok(())
    }

    /// Cuts the buffer in two: it keeps the bytes of its [`capacity`](Self::capacity) below `at`,
    /// and the other gets the rest. In each what was selected stays selected.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` unless `at` is a multiple of
    /// [`Pool::GRANULE`](crate::Pool::GRANULE), above zero and below the capacity.
    pub fn split_off(&mut self, at: usize) -> Result<Self, Error> {
        if at == 0 || at >= self.capacity() || !at.is_multiple_of(GRANULE) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "a buffer is cut at a multiple of 512 bytes, inside of it",
            ));
        }
        let selected = self.selected();
        let kept = (at / GRANULE) as u32;
        let granules = &self.piece.granules;
        let left = granules.load(Ordering::Relaxed) - kept;
        granules.store(kept, Ordering::Relaxed);
        // SAFETY: these granules were the buffer's until now.
        let mut rest =
            unsafe { Self::new(self.piece.region.clone(), self.piece.first + kept, left, 0) };
        let end = rest.capacity();
        self.select(selected.start.min(at)..selected.end.min(at))?;
        rest.select(selected.start.saturating_sub(at)..selected.end.saturating_sub(at).min(end))?;
        Ok(rest)
    }

    /// The selected part, as a range of the capacity.
    fn selected(&self) -> Range<usize> {
        let start = self.piece.data().addr() - self.piece.start().addr().get();
        start..start + self.piece.length() as usize
    }

    /// Makes the bytes readable by several owners, so that they can be written to a device and read
    /// at the same time. Costs next to nothing.
    #[inline]
    pub fn freeze(self) -> SharedBuffer {
        SharedBuffer {
            offset: self.selected().start as u32,
            length: self.piece.length(),
            piece: self.piece,
        }
    }

    /// Where the device of `space` finds the selected part; `None` if the pool is not registered
    /// there.
    #[inline]
    pub(crate) fn address(&self, space: IoSpace) -> Option<IoAddress> {
        self.piece.region.address(space, self.piece.data())
    }

    /// Bytes of the selected part.
    #[inline]
    pub(crate) fn length(&self) -> u32 {
        self.piece.length()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: initialised memory of the buffer's own, see the module's head.
        unsafe { slice::from_raw_parts(self.piece.data(), self.piece.length() as usize) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: initialised memory that nobody else refers to, see the module's head.
        unsafe { slice::from_raw_parts_mut(self.piece.data(), self.piece.length() as usize) }
    }
}

/// A piece of a [`Pool`](crate::Pool) that several owners can read: made by [`Buffer::freeze`],
/// cloned at will, taken back by [`thaw`](Self::thaw). Requests that write take it as well.
#[derive(Clone)]
pub struct SharedBuffer {
    piece: Arc<Piece>,
    /// The selected part, in all that the piece owns.
    offset: u32,
    length: u32,
}

impl SharedBuffer {
    /// A clone of which only `range` is selected; the range counts from the first byte that is
    /// selected here.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a range that is not inside.
    pub fn slice(&self, range: Range<usize>) -> Result<Self, Error> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "a part of a shared buffer is inside of it",
            ));
        }
        Ok(Self {
            piece: self.piece.clone(),
            offset: self.offset + range.start as u32,
            length: range.len() as u32,
        })
    }

    /// Gives the buffer back to one owner, with what is selected here, if nobody else has a clone.
    ///
    /// # Errors
    ///
    /// The same value, if there are others.
    pub fn thaw(self) -> Result<Buffer, Self> {
        if Arc::strong_count(&self.piece) != 1 {
            return Err(self);
        }
        // Whoever dropped the last other clone has read all that it wanted to.
        fence(Ordering::Acquire);
        self.piece.select(self.offset as usize, self.length);
        Ok(Buffer { piece: self.piece })
    }

    /// The first selected byte.
    fn data(&self) -> NonNull<u8> {
        // SAFETY: inside what the piece owns, or just past its end.
        unsafe { self.piece.start().add(self.offset as usize) }
    }

    /// See [`Buffer::address`].
    #[inline]
    pub(crate) fn address(&self, space: IoSpace) -> Option<IoAddress> {
        self.piece.region.address(space, self.data().as_ptr())
    }

    /// Bytes of the selected part.
    #[inline]
    pub(crate) fn length(&self) -> u32 {
        self.length
    }
}

impl Deref for SharedBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: initialised memory that nobody writes to, see the module's head.
        unsafe { slice::from_raw_parts(self.data().as_ptr(), self.length as usize) }
    }
}

/// A buffer of a request, of either kind.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Owned(&'a Buffer),
    Shared(&'a SharedBuffer),
}

impl<'a> Part<'a> {
    /// See [`Buffer::address`].
    #[inline]
    pub(crate) fn address(self, space: IoSpace) -> Option<IoAddress> {
        match self {
            Self::Owned(buffer) => buffer.address(space),
            Self::Shared(buffer) => buffer.address(space),
        }
    }

    /// The selected bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Owned(buffer) => buffer,
            Self::Shared(buffer) => buffer,
        }
    }
}

impl From<Buffer> for SharedBuffer {
    fn from(buffer: Buffer) -> Self {
        buffer.freeze()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl AsRef<[u8]> for SharedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Buffer({} bytes)", self.len())
    }
}

impl fmt::Debug for SharedBuffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SharedBuffer({} bytes)", self.len())
    }
}
