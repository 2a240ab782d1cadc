//! Services: how this process serves objects. [`crate::serve`] makes a server of one.

use core::{marker::PhantomData, ptr::NonNull};

use spillway_abi::{
    Error, Handle, Rights,
    call::Operation,
    limits::MAX_WINDOW_SLOTS,
    object::CreateKind,
    service::{Message, Reply, ServiceMeta, Token},
};

use super::{IoQueue, Mapping, Memory, Object, OwnedHandle, Process, Remote, create_on, object};
use crate::{startup::own_process, syscall, time::Deadline};

/// Where requests on the objects of a server arrive. It ends with its last handle in the server's
/// own table, or with the server.
#[derive(Debug)]
pub struct Service(OwnedHandle);

object!(Service);

impl Service {
    /// A service of this process.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`], [`Error::OutOfMemory`].
    pub fn new() -> Result<Self, Error> {
        Self::of(own_process())
    }

    /// A service of another process, which serves it once it has a handle to it. Others can mint
    /// objects of it, and end it, but not answer.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`], and those of the process's handle.
    pub fn of(process: &Process) -> Result<Self, Error> {
        create_on(process, CreateKind::Service, 0, 0).map(Self)
    }

    /// A handle to the server's object of this number, to be given to a client.
    ///
    /// # Errors
    ///
    /// [`Error::LimitReached`], [`Error::ServerGone`], and those of the handle.
    pub fn mint(&self, number: u64, rights: Rights) -> Result<Remote, Error> {
        let arguments = [number, rights.bits().into(), 0, 0];
        // SAFETY: nothing but a handle comes to be.
        let handle = unsafe { syscall::do_io(self.handle(), Operation::Open, arguments)? };
        let handle = OwnedHandle::new(Handle::from_raw(handle as u32));
        Ok(Remote::from(handle))
    }

    /// Makes the receive window: `slots` of `slot_bytes` each, a multiple of 64. A request with
    /// data has one of them until it is answered; one that finds none free waits.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for more than [`MAX_WINDOW_SLOTS`] slots, or slots larger than
    /// [`spillway_abi::limits::MAX_WINDOW_SLOT`]; [`Error::Busy`] if there is a window;
    /// [`Error::LimitReached`], [`Error::OutOfMemory`], and those of the handle.
    pub fn set_window(&self, slots: u32, slot_bytes: usize) -> Result<Window, Error> {
        let length = (slots as usize).checked_mul(slot_bytes);
        let length = length.filter(|&bytes| bytes > 0 && slots <= MAX_WINDOW_SLOTS);
        let memory = Memory::new(length.ok_or(Error::BadArgument)? as u64)?;
        let mapping = memory.map(Rights::READ | Rights::WRITE)?;
        let rights = Rights::READ | Rights::WRITE;
        let arguments = [
            memory.handle().raw().into(),
            rights.bits().into(),
            slot_bytes as u64,
            0,
        ];
        // SAFETY: the kernel writes to the window, which `Window` expects.
        unsafe { syscall::do_io(self.handle(), Operation::Share, arguments)? };
        Ok(Window {
            memory,
            mapping,
            slot_bytes,
        })
    }

    /// From now on requests arrive as completions of this queue, not by [`Self::serve`]. Returns the
    /// number by which they name the service.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if it has a queue, or a thread waits for it; [`Error::Refused`] in another
    /// process than the server; and those of the handles.
    pub fn bind(&self, queue: &IoQueue) -> Result<u32, Error> {
        let handle = queue.as_ref().get().raw();
        let arguments = [ServiceMeta::Queue as u64, handle.into(), 0, 0];
        // SAFETY: where messages arrive is no matter of memory safety.
        unsafe { syscall::do_io(self.handle(), Operation::SetMeta, arguments) }
            .map(|number| number as u32)
    }

    /// Answers a request, if one is given, and waits for the next message.
    ///
    /// # Errors
    ///
    /// See [`syscall::serve`].
    #[inline]
    pub fn serve(
        &self,
        answer: Option<(Token, Reply)>,
        deadline: Deadline,
    ) -> Result<Message, Error> {
        let (token, reply) = answer.unwrap_or((Token::NONE, Reply::Value(0)));
        syscall::serve(self.handle(), token, reply, deadline.raw())
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none of this token, those of a handle that is passed, and
    /// those of this handle.
    #[inline]
    pub fn reply(&self, token: Token, reply: Reply) -> Result<(), Error> {
        let [status, value, extra] = reply.to_raw();
        let arguments = [token.0, status, value, extra];
        // SAFETY: the client's memory is written by the client's own leave.
        unsafe { syscall::do_io(self.handle(), Operation::Reply, arguments) }.map(drop)
    }

    /// One of the values that describe the service.
    ///
    /// # Errors
    ///
    /// [`Error::BadOperation`] for a key that cannot be read, and those of the handle.
    pub fn meta(&self, key: ServiceMeta) -> Result<u64, Error> {
        // SAFETY: reading a value touches no memory.
        unsafe { syscall::do_io(self.handle(), Operation::GetMeta, [key as u64, 0, 0, 0]) }
    }

    /// Ends it: every request that is not answered gets [`Error::ServerGone`].
    ///
    /// # Errors
    ///
    /// Those of the handle.
    pub fn end(&self) -> Result<(), Error> {
        // SAFETY: only clients notice.
        unsafe { syscall::do_io(self.handle(), Operation::Destroy, [0; 4]) }.map(drop)
    }
}

/// The receive window of a service: memory through which the data of requests goes, in slots.
#[derive(Debug)]
pub struct Window {
    memory: Memory,
    mapping: Mapping,
    slot_bytes: usize,
}

impl Window {
    /// The memory that the slots lie in, one behind the other: to be pinned for a device.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Bytes of a slot: the most that one request copies.
    pub const fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// The slot that belongs to a request until it is answered; `None` if it has no data.
    #[inline]
    pub fn slot(&self, token: Token) -> Option<Slot<'_>> {
        let index = usize::from(token.window_slot()?);
        let start = index.checked_mul(self.slot_bytes)?;
        if start + self.slot_bytes > self.mapping.len() {
            return None;
        }
        // SAFETY: the slot is inside the mapping.
        let start = unsafe { self.mapping.as_ptr().add(start) };
        Some(Slot {
            start: NonNull::new(start)?,
            length: self.slot_bytes,
            window: PhantomData,
        })
    }
}

/// One slot of a window. The kernel writes to it before a request is delivered, and reads from it
/// when it is answered; between the two it is the server's.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    start: NonNull<u8>,
    length: usize,
    window: PhantomData<&'a Window>,
}

impl Slot<'_> {
    /// Copies out bytes from `offset`; returns how many there were before the slot's end.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.length.saturating_sub(offset));
        if count > 0 {
            // SAFETY: the range is inside the slot, which is mapped, and the buffer is not. What
            // the kernel might write meanwhile is bytes like any others.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    self.as_ptr().add(offset),
                    buffer.as_mut_ptr(),
                    count,
                )
            };
        }
        count
    }

    /// Copies bytes in, to `offset`; returns how many had room before the slot's end.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.length.saturating_sub(offset));
        if count > 0 {
            // SAFETY: as for `read`.
            unsafe {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.as_ptr().add(offset), count)
            };
        }
        count
    }

    /// The first byte, good for [`Self::len`] bytes as long as the window lives.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none, which no slot has.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}
