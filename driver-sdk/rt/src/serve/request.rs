//! Requests as a server sees them.

use alloc::{string::String, vec, vec::Vec};
use core::mem;

use spillway_abi::{
    Error, Handle, Rights,
    call::Operation,
    object::CreateKind,
    service::{FIRST_SERVED_KIND, Message, Notice, Reply, Token},
};

use super::{Answer, Server};
use crate::object::{Object, OwnedHandle, Slot};

/// What is asked, or told. Data that a client sends, and data that it wants to read, is in the
/// request's window slot; [`Request::bytes`] and [`Request::reply_data`] reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look up the object whose name is the data.
    Open {
        /// Of the object's own meaning.
        value: u64,
    },
    /// Make an object of a kind; the data says more.
    Create {
        /// One of the kernel's kinds, or from [`FIRST_SERVED_KIND`] on one of the server's own.
        kind: u64,
        /// For the kernel's kinds without data, the arguments `b` and `c` of
        /// [`spillway_abi::object::CreateKind`].
        arguments: [u64; 2],
    },
    /// End what the object stands for.
    Destroy {
        /// As for a process.
        code: i32,
    },
    /// Read; the answer is [`Request::reply_data`].
    Read {
        /// In the object.
        offset: u64,
        /// Bytes at most.
        length: usize,
    },
    /// Write the data; the answer is how many bytes were.
    Write {
        /// In the object.
        offset: u64,
        /// Bytes.
        length: usize,
    },
    /// Read into a memory that the client registered before; the answer is how many bytes.
    ReadRegistered(Registered),
    /// Write from a memory that the client registered before; the answer is how many bytes.
    WriteRegistered(Registered),
    /// The value behind a key.
    GetMeta {
        /// Of the object's own meaning.
        key: u64,
    },
    /// Set the value behind a key.
    SetMeta {
        /// Of the object's own meaning.
        key: u64,
        /// The value.
        value: u64,
    },
    /// The client gives a Memory or an Event ([`Request::take_gift`]), or wants one if it does not.
    Share {
        /// Of the object's own meaning.
        key: u64,
        /// What the client's new handle, or the server's, is to allow.
        rights: Rights,
    },
    /// An operation that this version does not know.
    Other,
    /// A notice: nobody has a handle to the object any more. There is nothing to answer.
    Closed,
    /// A notice: the client no longer wants the request of this token, which named registered
    /// memory, and is still to be answered by whoever keeps it. This is nothing to answer itself.
    Cancelled(Token),
}

/// A part of a memory that the client registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The number that the server gave to the memory.
    pub registration: u16,
    /// In the object.
    pub offset: u64,
    /// In the memory. What is outside of it the server refuses: the kernel does not know its size.
    pub at: u64,
    /// Bytes.
    pub length: u64,
}

/// A request, to be answered once. Dropped without an answer, it is answered with
/// [`Error::Failed`].
#[derive(Debug)]
#[must_use = "a request is to be answered"]
pub struct Request<'s> {
    /// What is asked.
    pub ask: Ask,
    server: &'s Server,
    message: Message,
    gift: Option<OwnedHandle>,
    /// [`Token::NONE`] if there is nothing to answer, or nothing any more.
    token: Token,
}

impl<'s> Request<'s> {
    #[inline]
    pub(super) fn new(server: &'s Server, message: Message) -> Self {
        let (ask, token) = match message.what.notice() {
            Notice::Request => (decode(&message), message.token),
            Notice::Closed => (Ask::Closed, Token::NONE),
            Notice::Cancelled => (Ask::Cancelled(message.token), Token::NONE),
        };
        let mut request = Self {
            ask,
            server,
            message,
            gift: None,
            token,
        };
        if let (Ask::Share { .. }, Ok(raw @ 1..)) = (ask, u32::try_from(message.arguments[0])) {
            request.gift = Some(OwnedHandle::new(Handle::from_raw(raw)));
        }
        request
    }

    /// The server's number of the object.
    pub const fn object(&self) -> u64 {
        self.message.object
    }

    /// What the client's handle allows. The right that the operation needs was checked.
    pub const fn rights(&self) -> Rights {
        self.message.what.rights()
    }

    /// Follows the request through all that it passes; 0 for none.
    pub const fn trace(&self) -> u64 {
        self.message.trace
    }

    /// The name by which [`Ask::Cancelled`] speaks of it.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The server that it came to.
    pub const fn server(&self) -> &'s Server {
        self.server
    }

    /// Bytes of the client's data, or that the client wants.
    pub fn length(&self) -> usize {
        let most = self.slot().map_or(0, |slot| slot.len());
        let length = match (self.ask, self.message.arguments) {
            (Ask::Open { .. }, [_, length, _]) => length,
            (Ask::Create { .. } | Ask::Read { .. } | Ask::Write { .. }, [.., length]) => length,
            _ => 0,
        };
        usize::try_from(length).map_or(most, |length| length.min(most))
    }

    /// The slot of the window that is the request's until it is answered.
    pub fn slot(&self) -> Option<Slot<'_>> {
        self.server.slot(self.token)
    }

    /// Copies the client's data from `offset` into the buffer; returns how many bytes.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.length().saturating_sub(offset));
        match self.slot() {
            Some(slot) => slot.read(offset, &mut buffer[..count]),
            None => 0,
        }
    }

    /// A copy of the client's data.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length()];
        self.read(0, &mut bytes);
        bytes
    }

    /// The client's data as text.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] if it is not UTF-8.
    pub fn text(&self) -> Result<String, Error> {
        String::from_utf8(self.bytes()).map_err(|_| Error::BadArgument)
    }

    /// What the client gave with [`Ask::Share`], once.
    pub fn take_gift<T: Object>(&mut self) -> Option<T> {
        self.gift.take().map(T::from)
    }

    /// Answers with any reply.
    #[inline]
    pub fn reply(mut self, reply: Reply) -> Answer<'s> {
        let token = mem::replace(&mut self.token, Token::NONE);
        Answer::new(self.server, token, reply)
    }

    /// Answers that it is done.
    #[inline]
    pub fn done(self) -> Answer<'s> {
        self.value(0)
    }

    /// Answers with a value.
    #[inline]
    pub fn value(self, value: u64) -> Answer<'s> {
        self.reply(Reply::Value(value))
    }

    /// Answers [`Ask::Read`] with data, of which the client gets as much as it wanted.
    pub fn reply_data(self, data: &[u8]) -> Answer<'s> {
        let count = data.len().min(self.length());
        let count = match self.slot() {
            Some(slot) => slot.write(0, &data[..count]),
            None => 0,
        };
        self.value(count as u64)
    }

    /// Answers with an error.
    #[inline]
    pub fn refuse(self, error: Error) -> Answer<'s> {
        self.reply(Reply::Error(error, 0))
    }

    /// Answers with [`Error::Failed`], and a reason of the object's own beside it.
    #[inline]
    pub fn fail(self, reason: u64) -> Answer<'s> {
        self.reply(Reply::Error(Error::Failed, reason))
    }

    /// Answers with a handle to the server's object of this number.
    #[inline]
    pub fn reply_object(self, number: u64, rights: Rights) -> Answer<'s> {
        self.reply(Reply::Object(number, rights))
    }

    /// Answers with a handle to what a handle here leads to. The answer is given at once, while
    /// that handle is there.
    pub fn reply_handle(self, object: &impl AsRef<OwnedHandle>, rights: Rights) -> Answer<'s> {
        self.reply(Reply::Handle(object.as_ref().get(), rights))
            .send();
        Answer::later()
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if self.token != Token::NONE {
            self.server.send(self.token, Reply::Error(Error::Failed, 0));
        }
    }
}

#[inline]
fn decode(message: &Message) -> Ask {
    let [a, b, c] = message.arguments;
    let registration = message.what.registration();
    let registered = Registered {
        registration,
        offset: a,
        at: b,
        length: c,
    };
    match Operation::from_raw(message.what.operation()) {
        Some(Operation::Open) => Ask::Open { value: c },
        Some(Operation::Create) => Ask::Create {
            kind: a,
            arguments: if has_data(a) { [0; 2] } else { [b, c] },
        },
        Some(Operation::Destroy) => Ask::Destroy { code: a as i32 },
        Some(Operation::Read) if registration != 0 => Ask::ReadRegistered(registered),
        Some(Operation::Write) if registration != 0 => Ask::WriteRegistered(registered),
        Some(Operation::Read) => Ask::Read {
            offset: a,
            length: c as usize,
        },
        Some(Operation::Write) => Ask::Write {
            offset: a,
            length: c as usize,
        },
        Some(Operation::GetMeta) => Ask::GetMeta { key: a },
        Some(Operation::SetMeta) => Ask::SetMeta { key: a, value: b },
        Some(Operation::Share) => Ask::Share {
            key: c,
            rights: Rights::from_bits_truncate(b as u32),
        },
        _ => Ask::Other,
    }
}

/// Whether a `Create` of this kind comes with data.
const fn has_data(kind: u64) -> bool {
    kind >= FIRST_SERVED_KIND
        || kind == CreateKind::Process as u64
        || kind == CreateKind::Thread as u64
}
