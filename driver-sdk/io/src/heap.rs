//! Memory of the program's own heap, for devices that are no hardware.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

use crate::{Error, ErrorKind, PoolMemory};

/// Bytes of a page, to which the memory is aligned.
const PAGE: usize = 4096;

/// Zeroed, page-aligned memory from the heap.
#[derive(Debug)]
pub struct HeapMemory {
    start: NonNull<u8>,
    layout: Layout,
}

impl HeapMemory {
    /// Allocates `bytes`, rounded up to pages.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for no bytes or more than fit into an address space, `OutOfMemory` when the
    /// heap has no more.
    pub fn new(bytes: usize) -> Result<Self, Error> {
        let layout = match Layout::from_size_align(bytes, PAGE) {
            Ok(layout) if bytes != 0 => layout.pad_to_align(),
            _ => return Err(Error::new(ErrorKind::InvalidRequest, "no such length")),
        };
        // SAFETY: the layout has a size that is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Error::new(
            ErrorKind::OutOfMemory,
            "the heap has no memory for this pool",
        ))?;
        Ok(Self { start, layout })
    }
}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: the memory belongs to the value, not to a thread.
unsafe impl Send for HeapMemory {}
// SAFETY: a shared value gives out its address only.
unsafe impl Sync for HeapMemory {}

// SAFETY: initialised with zeroes, at a fixed place until dropped, aligned to a page; the value has
// no method that touches it.
unsafe impl PoolMemory for HeapMemory {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.start, self.layout.size())
    }
}
