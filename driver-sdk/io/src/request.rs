//! What goes to a device and what comes back.

use alloc::vec::Vec;
use core::fmt;

use spillway_hal::block::{ByteOffset, Operation};

use crate::{Buffer, Error, SharedBuffer, buffer::Part};

/// The memory of a request, given away with it and given back with its completion.
#[derive(Debug, Default)]
pub enum Buffers {
    /// None: a flush.
    #[default]
    None,
    /// One, to be read into or written from.
    One(Buffer),
    /// One that others may read meanwhile, to be written from.
    Shared(SharedBuffer),
    /// Several, one behind the other.
    List(Vec<Buffer>),
    /// Several that others may read meanwhile. What is owned can be frozen, to be listed here too.
    SharedList(Vec<SharedBuffer>),
}

impl Buffers {
    /// The one buffer that this is; `None`, and the memory goes back to its pool, if it is anything
    /// else.
    #[inline(always)]
    pub fn into_buffer(self) -> Option<Buffer> {
        match self {
            Self::One(buffer) => Some(buffer),
            other => give_back(other),
        }
    }

    /// The list of buffers that this is, like [`into_buffer`](Self::into_buffer).
    pub fn into_list(self) -> Option<Vec<Buffer>> {
        match self {
            Self::List(buffers) => Some(buffers),
            _ => None,
        }
    }

    /// How many buffers there are.
    pub fn count(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) | Self::Shared(_) => 1,
            Self::List(buffers) => buffers.len(),
            Self::SharedList(buffers) => buffers.len(),
        }
    }

    /// The bytes that are selected in all of them, which is how much the request moves.
    pub fn bytes(&self) -> u64 {
        let parts = (0..).map_while(|index| self.get(index));
        parts.map(|part| part.bytes().len() as u64).sum()
    }

    /// The buffer at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<Part<'_>> {
        match self {
            Self::None => None,
            Self::One(buffer) => (index == 0).then_some(Part::Owned(buffer)),
            Self::Shared(buffer) => (index == 0).then_some(Part::Shared(buffer)),
            Self::List(buffers) => buffers.get(index).map(Part::Owned),
            Self::SharedList(buffers) => buffers.get(index).map(Part::Shared),
        }
    }
}

/// Apart, so that a buffer that is one is not put into memory for this.
#[cold]
#[inline(never)]
fn give_back(_: Buffers) -> Option<Buffer> {
    None
}

impl From<Buffer> for Buffers {
    #[inline]
    fn from(buffer: Buffer) -> Self {
        Self::One(buffer)
    }
}

impl From<SharedBuffer> for Buffers {
    #[inline]
    fn from(buffer: SharedBuffer) -> Self {
        Self::Shared(buffer)
    }
}

impl From<Vec<Buffer>> for Buffers {
    fn from(buffers: Vec<Buffer>) -> Self {
        Self::List(buffers)
    }
}

impl From<Vec<SharedBuffer>> for Buffers {
    fn from(buffers: Vec<SharedBuffer>) -> Self {
        Self::SharedList(buffers)
    }
}

/// Follows a request through all that it passes; zero for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct TraceId(pub u64);

/// One request to a block device. It moves as many bytes as are selected in its buffers.
///
/// ```
/// # use spillway_io::{BlockDevice, ByteOffset, MemoryDevice, Request, TraceId};
/// # let device = MemoryDevice::new(1 << 20).unwrap();
/// let pool = device.create_pool(64 * 1024)?;
/// let read = Request::read(ByteOffset(8192), pool.allocate(4096)?).with_user_data(7);
/// let page = pool.allocate(4096)?.freeze();
/// let write = Request::write(ByteOffset(0), page.clone()).with_fua();
/// assert_eq!(page[0], 0); // still readable
/// # Ok::<(), spillway_io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a request does nothing before it is submitted"]
pub struct Request {
    pub(crate) operation: Operation,
    pub(crate) fua: bool,
    pub(crate) offset: ByteOffset,
    pub(crate) user_data: u64,
    pub(crate) trace: TraceId,
    pub(crate) buffers: Buffers,
}

impl Request {
    #[inline]
    fn new(operation: Operation, offset: ByteOffset, buffers: Buffers) -> Self {
        Self {
            operation,
            fua: false,
            offset,
            user_data: 0,
            trace: TraceId(0),
            buffers,
        }
    }

    /// Reads from the device at `offset`, a multiple of the block size.
    #[inline]
    pub fn read(offset: ByteOffset, buffer: Buffer) -> Self {
        Self::new(Operation::Read, offset, Buffers::One(buffer))
    }

    /// Reads into several buffers, one behind the other.
    pub fn read_list(offset: ByteOffset, buffers: Vec<Buffer>) -> Self {
        Self::new(Operation::Read, offset, Buffers::List(buffers))
    }

    /// Writes to the device at `offset`, a multiple of the block size: one buffer or a `Vec`, owned
    /// or shared.
    #[inline]
    pub fn write(offset: ByteOffset, buffers: impl Into<Buffers>) -> Self {
        Self::new(Operation::Write, offset, buffers.into())
    }

    /// Makes every write durable that had *completed* when this was submitted. A write that is
    /// still in flight may or may not be covered.
    pub fn flush() -> Self {
        Self::new(Operation::Flush, ByteOffset(0), Buffers::None)
    }

    /// Force unit access: a write is durable when it completes, a read comes from the medium.
    #[inline]
    pub fn with_fua(self) -> Self {
        Self { fua: true, ..self }
    }

    /// A number of the application's own, given back with the completion.
    #[inline]
    pub fn with_user_data(self, user_data: u64) -> Self {
        Self { user_data, ..self }
    }

    /// The trace that the request belongs to.
    #[inline]
    pub fn with_trace(self, trace: TraceId) -> Self {
        Self { trace, ..self }
    }

    /// What it does.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Where on the device.
    pub fn offset(&self) -> ByteOffset {
        self.offset
    }

    /// Whether it has [`with_fua`](Self::with_fua).
    pub fn fua(&self) -> bool {
        self.fua
    }

    /// The application's own number.
    pub fn user_data(&self) -> u64 {
        self.user_data
    }

    /// The memory.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The memory, back from a request that was not submitted.
    pub fn into_buffers(self) -> Buffers {
        self.buffers
    }
}

/// A request that was accepted by a queue, by name. The name is not used again for a long time: a
/// stale one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct RequestId(pub(crate) u64);

/// The one answer to a request.
#[derive(Debug)]
#[must_use = "a completion holds the buffers of its request, and says whether it succeeded"]
pub struct Completion {
    /// Which request.
    pub id: RequestId,
    /// The application's own number.
    pub user_data: u64,
    /// The trace that the request belongs to.
    pub trace: TraceId,
    /// Whether all of it was done. After an error nothing is known of the bytes that a read was to
    /// fill, or of the blocks that a write was to change.
    pub result: Result<(), Error>,
    /// The memory: what was given with the request, in the same order.
    pub buffers: Buffers,
}

/// A request that was refused. It has had no effect, and is given back.
#[derive(Debug)]
pub struct Rejected {
    /// The request, as it was.
    pub request: Request,
    /// Why.
    pub error: Error,
}

impl fmt::Display for Rejected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request {
            operation, offset, ..
        } = &self.request;
        let (bytes, at) = (self.request.buffers.bytes(), offset.0);
        write!(
            out,
            "{operation:?} of {bytes} bytes at {at}: {}",
            self.error
        )
    }
}

impl core::error::Error for Rejected {}

/// Drops the request, so its memory goes back to the pool.
impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Self {
        rejected.error
    }
}
