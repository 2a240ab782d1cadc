//! What an operation on a served object is for its server.

use alloc::sync::Arc;
use spillway_abi::{
    Error, Rights,
    call::Operation,
    limits::MAX_WINDOW_SLOT,
    service::{Message, Notice, Token, What, create_data},
};
use spillway_kernel_core::handles::restrict;

use super::{Asked, Gift, Stage};
use crate::{
    kernel::Kernel,
    object::{Process, Remote},
    syscall::{check_reachable, handle},
};

/// A request that was checked, and has no token yet.
pub struct Prepared {
    /// What is asked.
    pub asked: Asked,
    /// Memory of the client that goes to the server: address and bytes.
    pub source: Option<(u64, u64)>,
}

impl Prepared {
    /// Whether the data fits the window. A server that has not begun may still make one: its clients
    /// wait for that. [`Error::TooLong`], [`Error::ServerGone`].
    pub fn check_window(&self, kernel: &Kernel) -> Result<(), Error> {
        let bytes = self.window_bytes();
        if bytes == 0 {
            return Ok(());
        }
        let service = &self.asked.remote.service;
        service.check(kernel)?;
        let state = service.state.get(kernel);
        let fits = match &state.window {
            Some(window) => bytes <= window.slot_bytes,
            None => !state.begun && bytes <= MAX_WINDOW_SLOT,
        };
        if fits { Ok(()) } else { Err(Error::TooLong) }
    }

    /// Bytes that need room in the window.
    pub fn window_bytes(&self) -> u64 {
        match (self.source, self.asked.destination) {
            (Some((_, bytes)), _) | (None, Some((_, bytes))) => bytes,
            (None, None) => 0,
        }
    }
}

/// Checks an operation on a served object. [`Error::MissingRight`], [`Error::BadOperation`],
/// [`Error::BadArgument`], [`Error::BadHandle`] for what is shared, [`Error::TooLong`] for more data
/// than the window takes, [`Error::ServerGone`].
#[inline]
pub fn prepare(
    kernel: &Kernel,
    client: &Arc<Process>,
    remote: Arc<Remote>,
    rights: Rights,
    operation: Operation,
    [a, b, c, d]: [u64; 4],
    trace: u64,
) -> Result<Prepared, Error> {
    remote.service.check(kernel)?;
    let needed = match operation {
        Operation::Open | Operation::Read | Operation::GetMeta => Rights::READ,
        Operation::Write => Rights::WRITE,
        Operation::Create | Operation::Destroy | Operation::SetMeta => Rights::MANAGE,
        Operation::Share => Rights::MAP,
        _ => return Err(Error::BadOperation),
    };
    if !rights.contains(needed) {
        return Err(Error::MissingRight);
    }
    let (mut source, mut destination, mut gift, mut registration) = (None, None, None, 0);
    let arguments = match operation {
        Operation::Open => {
            source = Some((a, b));
            [0, b, c]
        }
        Operation::Create => match create_data(a, b, c) {
            Some(data) => {
                source = Some(data);
                [a, 0, data.1]
            }
            None => [a, b, c],
        },
        Operation::Read | Operation::Write if d != 0 => {
            registration = u16::try_from(d).map_err(|_| Error::BadArgument)?;
            [a, b, c]
        }
        Operation::Read => {
            destination = Some((b, c));
            [a, 0, c]
        }
        Operation::Write => {
            source = Some((b, c));
            [a, 0, c]
        }
        Operation::Share if a != 0 => {
            let state = client.state.get(kernel);
            let (object, have) = state.handles.get(handle(a)?)?;
            let wanted = u32::try_from(b).ok().and_then(Rights::from_bits);
            let wanted = restrict(have, wanted.ok_or(Error::BadArgument)?)?;
            if !have.contains(Rights::TRANSFER) {
                return Err(Error::MissingRight);
            }
            check_reachable(kernel, &remote.service.owner, object)?;
            gift = Some(Gift::new(object.clone(), wanted, client.clone()));
            [0, b, c]
        }
        _ => [a, b, c],
    };
    let prepared = Prepared {
        asked: Asked {
            message: Message {
                token: Token::NONE,
                object: remote.number,
                what: What::new(Notice::Request, operation as u8, registration, rights),
                arguments,
                trace,
            },
            remote,
            destination: destination.filter(|(_, bytes)| *bytes > 0),
            gift,
            stage: Stage::Waiting,
        },
        source: source.filter(|(_, bytes)| *bytes > 0),
    };
    prepared.check_window(kernel)?;
    Ok(prepared)
}
