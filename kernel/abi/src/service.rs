//! Services: how a process serves objects, and how requests reach it.
//!
//! A Service is made on the process that is its server. The server mints objects: numbers of its
//! own, which clients hold by handles like any other. An operation on such a handle becomes a
//! request. It arrives where the server waits with [`Call::Serve`], or in the completion ring of
//! the IoQueue that the service is bound to, and is answered by its token, once, in any order, from
//! any thread of the server.
//!
//! | operation on a served object | right | data |
//! |---|---|---|
//! | `Open` | `READ` | `b` bytes at `a` go to the server |
//! | `Create` | `MANAGE` | [`create_data`] goes to the server |
//! | `Destroy`, `SetMeta` | `MANAGE` | – |
//! | `Read` | `READ` | what the server left in the window goes to `b`, at most `c` bytes |
//! | `Write` | `WRITE` | `c` bytes at `b` go to the server |
//! | `GetMeta` | `READ` | – |
//! | `Share` | `MAP` | the handle `a`, if it is not null, with the rights `b`, goes to the server |
//!
//! Data is copied once, into or out of a slot of the server's receive window, which the token names
//! ([`Token::window_slot`]). If `d` of a `Read` or `Write` is not 0 it is a registration, a number
//! up to 65535 by which the server knows a Memory that the client shared before: then `b` is an
//! offset in that Memory, and the kernel copies nothing.
//!
//! | operation on a Service | right | |
//! |---|---|---|
//! | `Open` | `MANAGE` | mints an object: `a` = its number, `b` = rights; the value is the handle |
//! | `Share` | `MANAGE` | `a` = a Memory, `c` = bytes of a slot: the receive window, once |
//! | `SetMeta` | `MANAGE` | [`ServiceMeta`] |
//! | `GetMeta` | `READ` | [`ServiceMeta`] |
//! | `Reply` | `WRITE` | answers: `a` = token, `b` = [`Reply::status`], `c` = value, `d` = extra |
//! | `Destroy` | `MANAGE` | ends it: every request that is not answered gets `ServerGone` |
//!
//! [`Call::Serve`]: crate::Call::Serve

use crate::{Error, Rights, object::CreateKind};

/// Keys of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ServiceMeta {
    /// To be set once: the handle of an IoQueue of the server, where requests arrive from then on.
    Queue = 1,
    /// Requests that nobody has taken yet.
    Waiting = 2,
    /// Requests that were taken and not answered.
    Taken = 3,
}

impl ServiceMeta {
    /// The key with this number, if there is one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw {
            1 => Some(Self::Queue),
            2 => Some(Self::Waiting),
            3 => Some(Self::Taken),
            _ => None,
        }
    }
}

/// Names a request until it is answered: the one who asks (bits 0 to 15), the slot of the window
/// plus one, or 0 (bits 16 to 31), and a sequence number that is never 0 (bits 32 to 63).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Token(pub u64);

impl Token {
    /// Names no request.
    pub const NONE: Self = Self(0);

    /// A token from its parts.
    #[inline]
    pub const fn new(asker: u16, window: Option<u16>, sequence: u32) -> Self {
        let window = match window {
            Some(slot) => slot as u64 + 1,
            None => 0,
        };
        Self((sequence as u64) << 32 | window << 16 | asker as u64)
    }

    /// Who asks, in the kernel's tables.
    #[inline]
    pub const fn asker(self) -> u16 {
        self.0 as u16
    }

    /// The slot of the receive window that holds the request's data, or takes it. It belongs to the
    /// request until the reply.
    #[inline]
    pub const fn window_slot(self) -> Option<u16> {
        match (self.0 >> 16) as u16 {
            0 => None,
            more => Some(more - 1),
        }
    }

    /// Which request of the asker.
    #[inline]
    pub const fn sequence(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What arrives at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Notice {
    /// A request, to be answered.
    Request = 0,
    /// Nobody has a handle to the object any more, and no request on it is under way: the last that
    /// is heard of it. There is no token.
    Closed = 1,
    /// The client no longer wants the request that the token names, which named registered memory.
    /// It is still to be answered.
    Cancelled = 2,
}

/// The word that says what a message is: the operation (bits 0 to 7), the [`Notice`] (bits 8 to
/// 15), the registration or 0 (bits 16 to 31), and the rights of the handle that was used (bits 32
/// to 63).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct What(pub u64);

impl What {
    /// A word from its parts.
    #[inline]
    pub const fn new(notice: Notice, operation: u8, registration: u16, rights: Rights) -> Self {
        Self(
            (rights.bits() as u64) << 32
                | (registration as u64) << 16
                | (notice as u64) << 8
                | operation as u64,
        )
    }

    /// The registered memory that the request names; 0 for none.
    #[inline]
    pub const fn registration(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The number of the operation.
    #[inline]
    pub const fn operation(self) -> u64 {
        self.0 & 0xff
    }

    /// What it is; a number that is not known is a request.
    #[inline]
    pub const fn notice(self) -> Notice {
        match (self.0 >> 8) as u8 {
            1 => Notice::Closed,
            2 => Notice::Cancelled,
            _ => Notice::Request,
        }
    }

    /// What the client's handle allows.
    #[inline]
    pub const fn rights(self) -> Rights {
        Rights::from_bits_truncate((self.0 >> 32) as u32)
    }
}

/// A message to a server. [`crate::Call::Serve`] returns it in registers: `rdx` the token, `rdi` the
/// object, `rsi` what, `r10`, `r8`, `r9` the arguments, `r12` the trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// For the reply; [`Token::NONE`] if there is nothing to answer.
    pub token: Token,
    /// The server's number of the object.
    pub object: u64,
    /// The operation, the kind of message and the rights.
    pub what: What,
    /// The operation's arguments `a` to `c`. Addresses of the client are 0; a handle that was given
    /// is the server's own.
    pub arguments: [u64; 3],
    /// Follows the request through all that it passes; 0 for none.
    pub trace: u64,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done, with a value. For a `Read` with data in the window, the number of bytes.
    Value(u64),
    /// Not done. The client gets the second number as the value beside the error.
    Error(Error, u64),
    /// Done: the client gets a handle to what the server's handle leads to, with these rights. The
    /// server's handle needs `TRANSFER`, and stays.
    Handle(crate::Handle, Rights),
    /// Done: the client gets a handle to the server's object of this number, with these rights.
    Object(u64, Rights),
}

/// In the status of a reply, above the error: the value is a handle to be passed.
pub const REPLY_HANDLE: u64 = 1 << 16;
/// In the status of a reply, above the error: the value is the number of an object to be minted.
pub const REPLY_OBJECT: u64 = 2 << 16;

impl Reply {
    /// The three words `status`, `value` and `extra`.
    #[inline]
    pub const fn to_raw(self) -> [u64; 3] {
        match self {
            Self::Value(value) => [0, value, 0],
            Self::Error(error, detail) => [error as u64, detail, 0],
            Self::Handle(handle, rights) => {
                [REPLY_HANDLE, handle.raw() as u64, rights.bits() as u64]
            }
            Self::Object(number, rights) => [REPLY_OBJECT, number, rights.bits() as u64],
        }
    }

    /// The reply behind three words; [`Error::BadArgument`] if there is none.
    #[inline]
    pub fn from_raw([status, value, extra]: [u64; 3]) -> Result<Self, Error> {
        if status == 0 {
            return Ok(Self::Value(value));
        }
        let rights = || {
            let bits = u32::try_from(extra).ok();
            bits.and_then(Rights::from_bits).ok_or(Error::BadArgument)
        };
        match status {
            REPLY_HANDLE => {
                let raw = u32::try_from(value).map_err(|_| Error::BadArgument)?;
                Ok(Self::Handle(crate::Handle::from_raw(raw), rights()?))
            }
            REPLY_OBJECT => Ok(Self::Object(value, rights()?)),
            error => match Error::from_raw(error) {
                Some(error) => Ok(Self::Error(error, value)),
                None => Err(Error::BadArgument),
            },
        }
    }
}

/// The kinds from here on are a server's own: `Create` then takes `c` bytes at the address `b` to
/// the server.
pub const FIRST_SERVED_KIND: u64 = 0x100;

/// The caller's data that a `Create` on a served object takes to the server: address and bytes.
#[inline]
pub const fn create_data(kind: u64, b: u64, c: u64) -> Option<(u64, u64)> {
    use crate::object::{ProcessArguments, ThreadArguments};
    if kind >= FIRST_SERVED_KIND {
        return Some((b, c));
    }
    match CreateKind::from_raw(kind) {
        Some(CreateKind::Process) => Some((b, size_of::<ProcessArguments>() as u64)),
        Some(CreateKind::Thread) => Some((b, size_of::<ThreadArguments>() as u64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Handle;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_round_trip(asker: u16, window in prop::option::of(0..u16::MAX), sequence: u32) {
            let token = Token::new(asker, window, sequence);
            prop_assert_eq!(token.asker(), asker);
            prop_assert_eq!(token.window_slot(), window);
            prop_assert_eq!(token.sequence(), sequence);
        }

        #[test]
        fn replies_that_decode_encode_to_themselves(raw: [u64; 3]) {
            if let Ok(reply) = Reply::from_raw(raw) {
                let again = reply.to_raw();
                prop_assert_eq!(again[..2].to_vec(), raw[..2].to_vec());
            }
        }

        #[test]
        fn replies_round_trip(value: u64, bits in 0u32..512) {
            let rights = Rights::from_bits_truncate(bits);
            for reply in [
                Reply::Value(value),
                Reply::Error(Error::Failed, value),
                Reply::Handle(Handle::from_raw(value as u32), rights),
                Reply::Object(value, rights),
            ] {
                prop_assert_eq!(Reply::from_raw(reply.to_raw()), Ok(reply));
            }
        }
    }

    #[test]
    fn words_have_their_parts() {
        let what = What::new(Notice::Cancelled, 3, 65535, Rights::READ | Rights::MAP);
        assert_eq!(what.operation(), 3);
        assert_eq!(what.notice(), Notice::Cancelled);
        assert_eq!(what.registration(), 65535);
        assert_eq!(what.rights(), Rights::READ | Rights::MAP);
    }

    #[test]
    fn what_a_create_takes_along() {
        assert_eq!(
            create_data(CreateKind::Process as u64, 64, 0),
            Some((64, 72))
        );
        assert_eq!(
            create_data(CreateKind::Thread as u64, 64, 0),
            Some((64, 56))
        );
        assert_eq!(create_data(CreateKind::Memory as u64, 4096, 0), None);
        assert_eq!(create_data(FIRST_SERVED_KIND, 64, 7), Some((64, 7)));
        assert_eq!(create_data(99, 64, 7), None);
    }
}
