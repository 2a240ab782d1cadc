//! The buffer: the same at all levels, and the only place where bytes are lent as slices.
//!
//! # Why this is sound
//!
//! **Aliasing.** A bit of the pool's map stands for each granule of 512 bytes. A [`Buffer`] owns
//! the granules that it was given until it is dropped, splitting hands some of them on, and nobody
//! else makes references to their bytes. So a mutable slice, borrowed mutably from the buffer, is
//! the only one. A [`SharedBuffer`] gives shared slices only; the granules are free, or in one
//! buffer again, when the last one is gone.
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
    mem::ManuallyDrop,
    ops::{Deref, DerefMut, Range},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{Ordering, fence},
};

use spillway_hal::IoAddress;

use crate::{
    Error, ErrorKind,
    granules::GRANULE,
    pool::{IoSpace, Region},
};

/// A piece of a [`Pool`](crate::Pool), owned: bytes to read and write while the application has
/// it, memory for the device while a request has it. Goes back to the pool when it is dropped.
pub struct Buffer {
    region: Arc<Region>,
    /// The first byte of the selected part.
    data: NonNull<u8>,
    /// Bytes of the selected part.
    length: u32,
    first: u32,
    granules: u32,
}

// SAFETY: a buffer owns its bytes, which may be used by every thread (see `PoolMemory`); a shared
// one only lets them be read.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer over granules of a region, with the first `length` bytes selected.
    ///
    /// # Safety
    ///
    /// The granules are inside the region, taken, and in no other buffer; `length` is not beyond
    /// them.
    pub(crate) unsafe fn new(region: Arc<Region>, first: u32, granules: u32, length: u32) -> Self {
        // SAFETY: inside the region, says the caller.
        let data = unsafe { region.start.add(first as usize * GRANULE) };
        Self {
            region,
            data,
            length,
            first,
            granules,
        }
    }

    /// The first byte of all that the buffer owns.
    fn start(&self) -> NonNull<u8> {
        // SAFETY: a buffer's granules are inside its region.
        unsafe { self.region.start.add(self.first as usize * GRANULE) }
    }

    /// All the bytes that the buffer owns, selected or not.
    pub fn capacity(&self) -> usize {
        self.granules as usize * GRANULE
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
        self.length = u32::try_from(range.len()).map_err(|_| outside)?;
        // SAFETY: inside what the buffer owns, or just past its end.
        self.data = unsafe { self.start().add(range.start) };
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
        let mut rest = Self {
            region: self.region.clone(),
            data: self.data,
            length: 0,
            first: self.first + kept,
            granules: self.granules - kept,
        };
        self.granules = kept;
        let end = rest.capacity();
        self.select(selected.start.min(at)..selected.end.min(at))?;
        rest.select(selected.start.saturating_sub(at)..selected.end.saturating_sub(at).min(end))?;
        Ok(rest)
    }

    /// The selected part, as a range of the capacity.
    fn selected(&self) -> Range<usize> {
        let start = self.data.addr().get() - self.start().addr().get();
        start..start + self.length as usize
    }

    /// Makes the bytes readable by several owners, so that they can be written to a device and read
    /// at the same time. Costs one store.
    #[inline]
    pub fn freeze(self) -> SharedBuffer {
        self.region.shares(self.first).store(1, Ordering::Relaxed);
        SharedBuffer(self)
    }

    /// Where the device of `space` finds the selected part; `None` if the pool is not registered
    /// there.
    #[inline]
    pub(crate) fn address(&self, space: IoSpace) -> Option<IoAddress> {
        self.region.address(space, self.data)
    }

    /// Bytes of the selected part.
    #[inline]
    pub(crate) fn length(&self) -> u32 {
        self.length
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        self.region.give(self.first, self.granules);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: initialised memory of the buffer's own, see the module's head.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.length as usize) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: initialised memory that nobody else refers to, see the module's head.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.length as usize) }
    }
}

/// A piece of a [`Pool`](crate::Pool) that several owners can read: made by [`Buffer::freeze`],
/// cloned at will, taken back by [`thaw`](Self::thaw). Requests that write take it as well.
pub struct SharedBuffer(Buffer);

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
        let mut part = self.clone();
        part.0.length = range.len() as u32;
        // SAFETY: inside what is selected here, or just past its end.
        part.0.data = unsafe { part.0.data.add(range.start) };
        Ok(part)
    }

    /// Gives the buffer back to one owner, with what is selected here, if nobody else has a clone.
    ///
    /// # Errors
    ///
    /// The same value, if there are others.
    pub fn thaw(self) -> Result<Buffer, Self> {
        // Whoever dropped the last other clone has read all that it wanted to.
        if self.0.region.shares(self.0.first).load(Ordering::Acquire) != 1 {
            return Err(self);
        }
        let shared = ManuallyDrop::new(self);
        // SAFETY: read once, and never dropped where it was read from.
        Ok(unsafe { ptr::read(&raw const shared.0) })
    }

    /// The buffer for the device's eyes.
    #[inline]
    pub(crate) fn buffer(&self) -> &Buffer {
        &self.0
    }
}

impl Clone for SharedBuffer {
    fn clone(&self) -> Self {
        let shares = self.0.region.shares(self.0.first);
        let before = shares.fetch_add(1, Ordering::Relaxed);
        if before > u32::MAX / 2 {
            // Clones were forgotten by the thousand million. One more lap and a buffer that is in
            // use would be given away.
            shares.fetch_sub(1, Ordering::Relaxed);
            panic!("a shared buffer has at most 2^31 clones");
        }
        Self(Buffer {
            region: self.0.region.clone(),
            data: self.0.data,
            length: self.0.length,
            first: self.0.first,
            granules: self.0.granules,
        })
    }
}

impl Drop for SharedBuffer {
    #[inline]
    fn drop(&mut self) {
        let shares = self.0.region.shares(self.0.first);
        if shares.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
        } else {
            // The others keep the granules.
            self.0.granules = 0;
        }
    }
}

impl Deref for SharedBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
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
        write!(out, "Buffer({} bytes)", self.length)
    }
}

impl fmt::Debug for SharedBuffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SharedBuffer({} bytes)", self.0.length)
    }
}
